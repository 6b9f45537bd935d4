"""Which names a part of a statement can see."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlglot import exp

from cutover.dialect.catalog import ROWID_NAMES, column_kind
from cutover.dialect.comparing import value
from cutover.dialect.reading import Reading, Scan
from cutover.dialect.typed import SQL_TYPE, Hidden, Kind, Refused, Typed, cast, helper, identifier
from cutover.model.table import Column, Table
from cutover.schema.codecs import base_of

TURN = "of:turn"
"""The column by which the rows of a recursion come in the order in which SQLite finds them."""
NUMBER = "of:number"
"""The column that numbers the rows of VALUES."""
WITHOUT_MIN = "without min"
"""Noted of a term: Postgres may have no min() of its type (uuid, boolean, before version 18 bytea)."""
OWN = ""
"""What `SourceColumn.tells` names where it is the order of the query itself."""
ARM = "arm"
"""Noted of the term by which the rows of a compound come SELECT by SELECT."""


@dataclass(slots=True)
class SourceColumn:
    """One column of something in FROM."""

    name: str
    """As SQLite spells it."""
    target: str
    kind: Kind
    affinity: str | None = None
    collation: str | None = None
    not_null: bool = False
    column: Column | None = None
    merged: bool = False
    """Found by a qualified name only, and not in `*`."""
    json: str = ""
    """See `Typed.json`."""
    json_merged: str = ""
    """The same where SQLite merges the query into the one around it."""
    real: bool = False
    """What is an integer there is read as a real."""
    computed: Callable[[], Typed] | None = None
    """What it stands for, if it is generated."""
    tells: tuple[str, int, exp.Expr] | None = None
    """What SQLite reads in the order of this column where it merges the query, and which term of ORDER BY that is."""
    given: bool = False
    """An argument of a table-valued function, which is a column of it."""

    loose: bool = False
    """Of a query that gives its rows in an order that is not known."""

    @property
    def hidden(self) -> bool:
        """Whether it is never in `*`: a hidden rowid, found by its names, an argument, what tells an order."""
        return self.name.startswith("of:") or self.given or (self.column is not None and self.column.hidden)


_BY_TYPE = (Kind.WHOLE, Kind.JSON, Kind.BOOL)
"""What is compared as its own type has it, whatever the affinity."""


@dataclass(slots=True)
class Source:
    """One thing in FROM: a table, a view, a subquery or a CTE."""

    alias: str
    """As Postgres is told."""
    columns: list[SourceColumn]
    table: Table | None = None
    nullable: bool = False
    """On the side of an outer join that may be absent."""
    name: str | None = None
    """As the statement calls it, if Postgres is told another name."""
    using: frozenset[str] = frozenset()
    """Lower-case names of the columns that it shares with what stands before it (USING, NATURAL)."""
    side: str = ""
    """LEFT, RIGHT or FULL: the join that brings it in."""

    counted: str = ""
    """The column that numbers the rows as they are read, where there is no table."""
    sorted: bool = False
    """A compound whose rows SQLite tells apart by sorting them."""
    lends: SourceColumn | None = None
    """In RETURNING SQLite takes affinity and collation of the first column for those of each, where it compares."""
    one_row: bool = False
    """A query that gives no more than one row."""
    unnamed: bool = False
    """Has columns that only SQLite can name, by the text of their expressions."""

    @property
    def comes_in_order(self) -> bool:
        """Whether a query tells in which order its rows come."""
        return bool(self.counted or self.sorted or self.merged(OWN))

    @property
    def by_arms(self) -> bool:
        """Whether it is a compound that tells from which of its SELECTs each row is."""
        return any(column.tells is not None and ARM in column.tells[2].meta for column in self.columns)

    def is_called(self, name: str) -> bool:
        """Whether a qualifier means this source."""
        return (self.alias if self.name is None else self.name) == name.lower()

    def merged(self, name: str) -> list[exp.Expr]:
        """The order in which SQLite reads what has that name within the query that this is."""
        told = [(*column.tells[1:], column) for column in self.columns if column.tells and column.tells[0] == name]
        terms: list[exp.Expr] = []
        for _, term, column in sorted(told, key=lambda one: one[0]):
            node = exp.Column(this=identifier(column.target), table=identifier(self.alias))
            terms.append(exp.Ordered(this=node, desc=term.args.get("desc"), nulls_first=term.args.get("nulls_first")))
            terms[-1].meta[WITHOUT_MIN] = term.meta.get(WITHOUT_MIN)
        return terms

    def find(self, name: str) -> SourceColumn | None:
        """The column of that name."""
        lower = name.lower()
        for column in self.columns:
            if column.name.lower() == lower:
                return column
        if lower in ROWID_NAMES and self.table is not None:
            if self.table.rowid_alias is None:
                raise Refused(f"The hidden rowid of table {self.table.name}")
            return self.find(self.table.rowid_alias)
        return None

    def typed(self, column: SourceColumn) -> Typed:
        """A reference to `column`. What stands in FROM always has a collation, whatever it was computed from."""
        made = self._typed(column)
        if self.lends is None or made.kind in _BY_TYPE:
            return made
        return made.but(affinity=self.lends.affinity, collation=self.lends.collation or "BINARY", lent=True)

    def _typed(self, column: SourceColumn) -> Typed:
        if column.computed is not None:
            return column.computed()
        if column.real:
            whole = exp.Column(this=identifier(column.target), table=identifier(self.alias))
            return Typed(cast(whole, SQL_TYPE[Kind.REAL]), Kind.REAL, affinity="REAL")  # SQLite reads it as a real
        made = Typed(
            exp.Column(this=identifier(column.target), table=identifier(self.alias)),
            column.kind,
            affinity=column.affinity,
            collation=column.collation or ("BINARY" if self.table is None else None),
            plus=self.table is None and column.affinity is None,
            not_null=column.not_null and not self.nullable,
            column=column.column,
            json=column.json,
        )
        if column.kind is Kind.REAL and column.column is not None and column.affinity in ("NUMERIC", "INTEGER"):
            # SQLite keeps whole numbers of such a column as integers, whatever Postgres makes of them.
            made = made.but(node=helper("whole", helper("num", made.node)), kind=Kind.NUM)
        # json knows neither equality nor order.
        is_text = column.kind is Kind.JSON and column.column is not None and base_of(column.column) == "json"
        return value(made) if is_text else made


def table_source(table: Table, alias: str) -> Source:
    """A mapped table in FROM."""
    return Source(alias, [_table_column(table, column) for column in table.columns], table)


def _table_column(table: Table, column: Column) -> SourceColumn:
    not_null = column.not_null or column.name in table.key
    kind = column_kind(column)
    return SourceColumn(column.name, column.target, kind, column.affinity, column.collation, not_null, column)


@dataclass(slots=True)
class Grouping:
    """An aggregated SELECT: what stands for a whole group."""

    keys: set[str] = field(default_factory=set)
    """SQL of the GROUP BY expressions, rewritten."""
    loose: set[str] = field(default_factory=set)
    """The same of those that may be equal without being the same."""
    whole: set[str] = field(default_factory=set)
    """Aliases of sources whose key is grouped by, so that all their columns are determined."""
    several: bool = False
    """There are several calls of min() and max() with FILTER, or in subqueries: whose row bare columns are from, is
    not known."""
    extreme: tuple[exp.Expr, bool] | None = None
    """The argument of the last min() or max(), and whether it is max: bare columns come from that row."""
    last: bool = False
    """Where that extreme is NULL, they come from the row that was read last."""


@dataclass(slots=True)
class Scope:
    """Names visible in one SELECT (or UPDATE, DELETE); subqueries have a child scope."""

    parent: Scope | None = None
    sources: list[Source] = field(default_factory=list)
    beside: list[Source] = field(default_factory=list)
    """What stands in the same FROM without being seen here: inside of a join in parentheses, what is outside."""
    ctes: dict[str, list[SourceColumn]] = field(default_factory=dict)
    aliases: dict[str, exp.Expr] = field(default_factory=dict)
    """Projection aliases and what they stand for, in SQLite's tree."""
    reading: Reading | None = None
    """How SQLite reads the sources, where the order of the rows is the answer's."""
    merged: tuple[Scan, ...] = ()
    """What SQLite reads where this query is merged into one whose order of rows is the answer's."""
    within: Reading | None = None
    """The same for the query that is all there is in FROM, if its order becomes that of the rows."""
    interleaved: tuple[Reading | None, ...] = ()
    """How SQLite reads the SELECTs of this UNION ALL, which is all that a sorted query reads."""
    beneath: Reading | None = None
    """How SQLite reads for the query itself, where its order is nobody's."""
    select: exp.Select | None = None
    """What is rewritten, in SQLite's tree."""
    tests: list[exp.Expr] = field(default_factory=list)
    """The conditions of WHERE and ON, in SQLite's tree."""
    named: dict[str, exp.Window] = field(default_factory=dict)
    """The windows that WINDOW names."""
    steps: list[exp.Window] = field(default_factory=list)
    """The different windows, in SQLite's tree. The first is computed last."""
    again: frozenset[int] = frozenset()
    """Windows that ORDER BY refers to, by the identity of their nodes."""
    cuts: bool = False
    """LIMIT takes some rows of what stands in FROM, which are sorted, told apart or grouped here."""
    tied: bool = False
    """The order of what is all there is in FROM shows in ties of ORDER BY here, or in what DISTINCT meets first."""
    cut: bool = False
    """LIMIT around it takes some of its rows."""
    alone: bool = False
    """There is but one thing in FROM."""
    any_equal: bool = False
    """Of rows that are equal any will do."""
    whichever: bool = False
    """Of all rows any will do: it is asked whether there is one, or how many."""
    counted: frozenset[str] = frozenset()
    """That holds if these columns of the result have no NULL: it is asked how many values they have."""
    recursive: bool = False
    """The query is the recursion of a CTE, which Postgres takes in one form alone."""
    turning: str = ""
    """The name of the CTE of whose recursion this is the repeated part, where its rows are to be numbered."""
    backwards: bool = False
    """An index is read backwards for the only min() or max()."""
    hoisted: int = 0
    """1: aggregates of this SELECT stand in its subqueries; 2: min() or max() among them."""
    grouping: Grouping | None = None
    """Set while an expression outside of aggregate functions is rewritten."""

    @contextmanager
    def unnamed(self) -> Iterator[None]:
        """While what AS has given is no name yet: in the columns of the result, and in FROM."""
        aliases, self.aliases = self.aliases, {}
        try:
            yield
        finally:
            self.aliases = aliases

    def columns(self, name: str, qualifier: str = "") -> list[tuple[Source, SourceColumn]]:
        """The columns that a name means in this SELECT alone: one, or those whose first value a FULL JOIN takes."""
        found: list[tuple[Source, SourceColumn]] = []
        for source in self.sources:
            if qualifier and not source.is_called(qualifier):
                continue
            column = source.find(name)
            if column is None or (column.merged and not qualifier):
                continue
            if found and not qualifier and name.lower() in source.using:
                if source.side not in ("RIGHT", "FULL"):
                    continue
                if source.side == "RIGHT":
                    found = []
            elif found:
                break
            found.append((source, column))
        return found

    def demand_seen(self, aliases: Collection[str], until: Scope) -> None:
        """Raises `Hidden` if something between here and a scope around is called as what was found there."""
        at: Scope | None = self
        while at is not None and at is not until:
            if any(source.alias in aliases for source in at.sources):
                what = "A column of an outer query whose name a table within hides"
                raise Hidden(what, "Give one of them another name.")
            at = at.parent

    def cte(self, name: str) -> list[SourceColumn] | None:
        """The columns of a CTE that is visible here."""
        scope: Scope | None = self
        while scope is not None:
            if name.lower() in scope.ctes:
                return scope.ctes[name.lower()]
            scope = scope.parent
        return None
