"""A rewritten query, and its columns as others see them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlglot import exp

from cutover.dialect.collations import lasting
from cutover.dialect.scope import SourceColumn
from cutover.dialect.subtypes import where_merged
from cutover.dialect.typed import Kind, Typed, identifier
from cutover.model.table import Column


@dataclass(slots=True)
class Query:
    """A rewritten query and its columns: SQLite's name (None: none to refer to) and meaning of each."""

    node: exp.Expr
    columns: list[tuple[str | None, Typed]]
    one_row: bool = False
    mixed: bool = False
    """A compound with values of several types and an affinity, which SQLite applies to them all where it stores them:
    not where it is all that a query reads."""

    ends: tuple[list[str | None], list[str | None]] | None = None
    """The collations of a compound's first and last arm, or of the first and last row of VALUES."""

    turns: list[tuple[exp.Expr, exp.Expr]] = field(default_factory=list)
    """The parts of a recursion, and what numbers the rows of each."""

    reads: dict[str, list[exp.Expr]] = field(default_factory=dict)
    """How SQLite reads what stands in FROM, if that is told from outside."""
    loose: bool = False
    """It gives its rows in an order that is not known."""
    tells: dict[int, tuple[str, int, exp.Expr]] = field(default_factory=dict)
    """Which columns tell that: of what, and as which term of ORDER BY."""

    def told(self) -> Query:
        """With columns that tell how SQLite reads, where it merges the query into the one around it: its own, or more
        behind those."""
        own = len(self.columns)
        for place, (name, term) in enumerate((name, term) for name, read in self.reads.items() for term in read):
            shown = (at for at in range(own) if self.columns[at][1].node == term.this and at not in self.tells)
            found = next(shown, len(self.columns))
            self.tells[found] = name, place, term
            if found < own:
                continue
            self.node.append("expressions", term.this.copy())
            self.columns.append((f"of:{len(self.columns)}", Typed(term.this.copy(), Kind.NULL)))
        if self.ends is not None:
            beside = [None] * (len(self.columns) - own)
            self.ends = [*self.ends[0], *beside], [*self.ends[1], *beside]
        return self

    def aliases(self) -> list[str]:
        """Unique names of the columns on Postgres."""
        taken: list[str] = []
        for index, (name, _) in enumerate(self.columns, 1):
            alias = (name or f"column{index}").lower()
            taken.append(f"{alias}:{index}" if alias in taken else alias)
        return taken

    def reads_otherwise(self, *, alone: bool) -> bool:
        """Whether SQLite reads values of several types in one column otherwise than the compound gives them: beside
        others in FROM, and integers as reals where the column is one of reals."""
        reals = (typed.kind is Kind.DYNAMIC and typed.affinity == "REAL" for _, typed in self.columns)
        return self.mixed and (not alone or any(reals))

    def source_columns(self) -> list[SourceColumn]:
        """The columns as others see them in FROM."""
        collations = self.collations(0)
        return [
            SourceColumn(
                name or alias,
                alias,
                typed.kind,
                typed.affinity,
                collation,
                typed.not_null,
                _shown(typed.column) if typed.kind is not Kind.BOOL else None,
                json="mixed" if typed.json else "",  # SQLite forgets it unless it merges the queries (`subtypes`)
                json_merged=where_merged(typed),
                real=self.mixed and typed.kind is Kind.NUM and typed.affinity == "REAL",
                tells=self.tells.get(at),
                loose=self.loose,
            )
            for at, ((name, typed), alias, collation) in enumerate(
                zip(self.columns, self.aliases(), collations, strict=True)
            )
        ]

    def collations(self, end: int) -> list[str | None]:
        """The collation of each column as others see it, whatever the arms of a compound are merged by.

        In FROM (0) it is that of the first arm, to IN (1) that of the last.
        """
        return [lasting(typed) for _, typed in self.columns] if self.ends is None else self.ends[end]

    def named(self) -> Query:
        """With its column names written into the SQL, so that others can refer to them."""
        if isinstance(self.node, exp.Select):
            pairs = zip(self.node.expressions, self.aliases(), strict=True)
            projections = [exp.Alias(this=bare(node), alias=identifier(alias)) for node, alias in pairs]
            self.node.set("expressions", projections)
        elif isinstance(self.node, exp.SetOperation):
            first = self.node
            while isinstance(first, (exp.SetOperation, exp.Subquery)):
                first = first.this
            Query(bare_query(first), self.columns).named()
        return self


def bare(node: exp.Expr) -> exp.Expr:
    """A projection without its name."""
    return node.this if isinstance(node, exp.Alias) else node


def bare_query(node: exp.Expr) -> exp.Expr:
    """A query without parentheses."""
    while isinstance(node, (exp.Subquery, exp.Paren)):
        node = node.this
    return _plain_values(node) or node


def _plain_values(node: exp.Expr) -> exp.Values | None:
    """VALUES in a compound, of which the parser makes SELECT * FROM (VALUES ...) AS _values."""
    if not isinstance(node, exp.Select) or any(node.args.get(part) for part in _PARTS):
        return None
    clause = node.args.get("from_")
    inner = clause.this if clause is not None else None
    given = isinstance(inner, exp.Subquery) and inner.alias == "_values" and not inner.args.get("joins")
    values = inner.this if given and inner is not None else inner
    stars = len(node.expressions) == 1 and isinstance(node.expressions[0], exp.Star)
    return values if isinstance(values, exp.Values) and stars and values.alias in ("", "_values") else None


_PARTS = ("joins", "where", "group", "having", "windows", "distinct", "order", "limit", "offset", "with_")


def _shown(column: Column | None) -> Column | None:
    """As a column of a query: a rowid that it names is one like others."""
    return replace(column, hidden=False) if column is not None and column.hidden else column
