"""INSERT into a table whose constraints have ON CONFLICT clauses of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect.own_clauses import of_insert, of_null
from cutover.dialect.passed_over import drop_nulls
from cutover.dialect.replacing import Replacing
from cutover.dialect.typed import ByKeys, RowByRow
from cutover.model.table import Column

if TYPE_CHECKING:
    from cutover.dialect.conflicts import Conflicts
    from cutover.dialect.writes import Written


def by_own(conflicts: Conflicts, node: exp.Insert, written: Written, columns: list[Column]) -> None:
    """Give an INSERT without a word after OR what the clauses of the constraints say. Raises `Refused`."""
    table, replacing = written.table, Replacing(conflicts)
    indexes = [index for index in table.unique if not replacing.is_automatic(written, index, columns)]
    clause = node.args.get("conflict")
    if clause is not None:  # which comes before what the constraint says that it means
        terms = [key.this if isinstance(key, exp.Ordered) else key for key in clause.args.get("conflict_keys") or []]
        meant = [term.name.lower() for term in terms]
        names = [[(name or "").lower() for name in index.columns] for index in indexes]
        indexes = [index for index, each in zip(indexes, names, strict=True) if meant and each != meant]
    several = written.several or not isinstance(written.node.expression, exp.Values | None)
    word = of_insert(table, indexes, columns, several=several)
    skipped = [column for column in table.columns if of_null(table, column) == "IGNORE"]
    if clause is not None and (word is not None or skipped):
        raise ByKeys("ON CONFLICT beside ON CONFLICT clauses of other constraints")
    if skipped:
        drop_nulls(written, columns, conflicts.queries.context, skipped)
    if word == "IGNORE":
        written.node.set("conflict", exp.OnConflict(action=exp.Var(this="DO NOTHING")))
    elif word == "REPLACE":
        replacing.resolve(written, columns)
    elif word == "FAIL":
        raise RowByRow("INSERT of several rows by ON CONFLICT FAIL of a constraint")
