"""DELETE row by row, where a foreign key of the table's own acts upon it.

SQLite notes the keys of the rows that WHERE finds, and then deletes what is found by each of them. A row that went with
an earlier one is not there any more: it is not counted and not returned; one that an earlier one changed is returned
as it became; one that an earlier row may not leave behind (RESTRICT) forbids it, though its own turn would come.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.catalog import Catalog
from cutover.dialect.context import Context
from cutover.dialect.limiting import key_names
from cutover.dialect.steps import alone, at_most_one, row_by_row
from cutover.dialect.translation import Translation, rewrite, translation_of
from cutover.dialect.typed import Kind
from cutover.model.values import Row


class DeleteByRow:
    """The plan of one DELETE."""

    def __init__(self, node: exp.Delete, catalog: Catalog, kinds: Sequence[Kind]) -> None:
        self.node, self.catalog, self.kinds = node, catalog, kinds
        self.table = catalog.table(node.this.name)
        self.keys = [self._column(name) for name in key_names(self.table)]

    def translation(self) -> Translation:
        """Raises `Refused`."""
        in_order = self.table.rowid_alias is not None or self.table.without_rowid
        context = Context(self.catalog, self.kinds)
        _, columns, tree = rewrite(self._rows(), None, context)
        rows = translation_of(None, columns, tree, context)
        return row_by_row(rows, columns, _as_found if in_order else at_most_one, self._each, None, accepts_all=in_order)

    def _rows(self) -> exp.Select:
        """The keys of the rows, in the order of the table."""
        query = exp.Select(
            expressions=[key.copy() for key in self.keys],
            from_=exp.From(this=self.node.this.copy()),
            order=exp.Order(
                expressions=[exp.Ordered(this=key.copy(), desc=key.name in self.table.downwards) for key in self.keys]
            ),
        )
        for clause in ("with_", "where"):
            query.set(clause, self.node.args.get(clause) and self.node.args[clause].copy())
        return query

    def _each(self, of_row: tuple[Kind, ...]) -> Translation:
        single = self.node.copy()
        tests = [
            exp.EQ(this=key.copy(), expression=exp.Placeholder(this=f"p{len(self.kinds) + at}"))
            for at, key in enumerate(self.keys)
        ]
        single.set("where", exp.Where(this=exp.and_(*tests)))
        return alone(single, None, Context(self.catalog, [*self.kinds, *of_row]))

    def _column(self, name: str) -> exp.Column:
        quoted = exp.to_identifier(name, quoted=True)
        return exp.Column(this=quoted, table=exp.to_identifier(self.node.this.alias_or_name, quoted=True))


def _as_found(rows: list[Row]) -> list[Row]:
    return rows
