"""INSERT of one row that goes one of several ways, by the unique keys that it has in common with rows that are there.

Postgres takes one ON CONFLICT clause, for one key. SQLite takes several, goes by the first of them whose key is met,
and constraints may have clauses of their own. So it is asked first which keys are met, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from cutover.dialect.catalog import ROWID_NAMES, Catalog, meant_by
from cutover.dialect.context import Context
from cutover.dialect.naming import first_met, in_order, is_met
from cutover.dialect.own_clauses import of_key, of_null, own_clauses
from cutover.dialect.referring import moves_keys
from cutover.dialect.replacing import parsed
from cutover.dialect.translation import Choosing, Order, Translation, rewrite, translation_of
from cutover.dialect.trees import clauses_of
from cutover.dialect.typed import Kind, Refused
from cutover.dialect.writes import Writes
from cutover.errors import StatementError
from cutover.model.table import Table, UniqueIndex
from cutover.model.values import Row


def by_keys(
    single: exp.Insert,
    conflict: str | None,
    catalog: Catalog,
    kinds: Sequence[Kind],
    naming: Callable[[], Translation | None],
) -> Translation:
    """The INSERT of one row as `Choosing`; `naming`: see there. Raises `Refused`."""
    return _Ways(single, conflict, catalog, kinds, naming).translation()


class _Ways:
    def __init__(
        self,
        single: exp.Insert,
        conflict: str | None,
        catalog: Catalog,
        kinds: Sequence[Kind],
        naming: Callable[[], Translation | None],
    ) -> None:
        into = single.this.this if isinstance(single.this, exp.Schema) else single.this
        self.single, self.catalog, self.kinds, self.naming = single, catalog, kinds, naming
        self.table: Table = catalog.table(into.name)
        self.word = None if conflict in ("ABORT", "ROLLBACK") else conflict
        self.own = conflict is None and bool(own_clauses(self.table.sql))
        if self.own and any(of_null(self.table, column) not in ("", "ABORT") for column in self.table.columns):
            raise Refused("NOT NULL with an ON CONFLICT clause of its own, beside other such clauses,")
        self.clauses = clauses_of(single)
        self.upserts: dict[str, Translation] = {}
        """By the name of the index whose key is met."""
        self.first: list[str] = []
        """Those indexes, in the order of the clauses; what is met of the rest is for the last clause."""

    def translation(self) -> Translation:
        rest: exp.OnConflict | None = None
        for clause in self.clauses:
            if not clause.args.get("conflict_keys"):
                rest = clause
            else:
                index = self._meant(clause)
                if index.name not in self.upserts:
                    self.first.append(index.name)
                    self.upserts[index.name] = self._way(clause)
        for index in self.table.unique if rest is not None else ():
            if index.name not in self.upserts:
                assert rest is not None
                self.upserts[index.name] = self._way(_aimed(rest, index))
        self.plain = self._way(None, self.word)
        self.skipping = self._way(exp.OnConflict(action=exp.Var(this="DO NOTHING"))) if self.own else None
        self.replacing = self._way(None, "REPLACE") if self.own else None
        ways = [self.plain, *self.upserts.values(), *filter(None, [self.skipping, self.replacing])]
        return replace(
            self.plain,
            stored=any(way.stored for way in ways) or self._moves_keys(),
            admits=any(way.admits for way in ways),
            choosing=Choosing(self._asked(), self._chosen, tuple(ways)),
        )

    def _moves_keys(self) -> bool:
        into, alias = self.single.this, (self.table.rowid_alias or "").lower()
        names = [meant_by(name.name, self.table) for name in into.expressions] if isinstance(into, exp.Schema) else []
        return moves_keys(self.single, self.table, self.catalog, given=not names or alias in names)

    def _way(self, clause: exp.OnConflict | None, word: str | None = None) -> Translation:
        """The statement with that clause alone."""
        made = self.single.copy()
        made.set("conflict", clause.copy() if clause is not None else None)
        made.set("clauses", None)
        context = self._context()
        written, columns, tree = rewrite(made, word if word in ("IGNORE", "REPLACE") else "ABORT", context)
        upserts = clause is not None and "UPDATE" in str(clause.args["action"].this)
        return replace(translation_of(written, columns, tree, context, naming=self.naming), upserts=upserts)

    def _context(self) -> Context:
        context = Context(self.catalog, self.kinds)
        context.by_row = True
        return context

    def _asked(self) -> Translation:
        asking, context = self.single.copy(), self._context()
        for part in ("conflict", "clauses", "returning"):
            asking.set(part, None)
        written, _, _ = rewrite(asking, "ABORT", context)
        assert written is not None
        return is_met(written, Writes(context).conflicts, context)

    def _meant(self, clause: exp.OnConflict) -> UniqueIndex:
        """The index that the target of a clause names."""
        terms = {_spelled(key, self.table) for key in clause.args["conflict_keys"]}
        partial = clause.args.get("index_predicate") is not None
        found = [index for index in self.table.unique if {_text(term) for term, _ in index.terms} == terms]
        found.sort(key=lambda index: (index.partial is not None) != partial)
        if not found:
            raise Refused("ON CONFLICT of this target beside other clauses")
        return found[0]

    def _chosen(self, met: Row, order: Order) -> tuple[Translation, StatementError | None]:
        """What becomes of a row that meets these of the unique keys, and what is said if it may not."""
        found = in_order(self.table, met, order)
        names = [index.name for index in found]
        for name in [*self.first, *names]:
            if name in names and name in self.upserts:
                return self.upserts[name], None
        if self.own and found:
            assert self.skipping is not None and self.replacing is not None  # noqa: PT018  # of one table
            firm = [index for index in found if of_key(self.table, index) != "REPLACE"]
            if not firm:
                return self.replacing, None
            if of_key(self.table, firm[0]) == "IGNORE":
                return self.skipping, None
            return self.plain, first_met(self.table, firm[0])
        return self.plain, first_met(self.table, found[0]) if found and self.word is None else None


def _aimed(clause: exp.OnConflict, index: UniqueIndex) -> exp.OnConflict:
    """The clause without a target as one for this index."""
    made = clause.copy()
    if "UPDATE" in str(made.args["action"].this):
        made.set("conflict_keys", [parsed(term) for term, _ in index.terms])
        made.set("index_predicate", exp.Where(this=parsed(index.partial)) if index.partial else None)
    return made


def _spelled(key: exp.Expr, table: Table) -> str:
    node = key.this if isinstance(key, exp.Ordered) else key
    node = node.this if isinstance(node, exp.Collate) else node
    alias = table.rowid_alias
    if alias is not None and isinstance(node, exp.Column) and node.name.lower() in ROWID_NAMES:
        return alias.lower()
    return _printed(node)


def _text(term: str) -> str:
    return _printed(parsed(term))


def _printed(node: exp.Expr) -> str:
    if isinstance(node, exp.Paren):
        return _printed(node.this)
    return node.name.lower() if isinstance(node, exp.Column) else node.sql(dialect="sqlite", identify=False).lower()
