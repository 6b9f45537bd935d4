"""An INSERT that may meet a row draws no automatic key for one that is there: `coalesce(its key, nextval(...))`.

A key that is drawn for nothing has to be given again, for SQLite gives none then; that costs a transaction before the
next INSERT, and an upsert of a row that is there would do it each time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect.automatic import NEXT, AutomaticKeys, column_named
from cutover.dialect.catalog import ROWID_NAMES
from cutover.dialect.context import Context
from cutover.dialect.trees import clauses_of
from cutover.dialect.typed import call, identifier
from cutover.model.table import Column, Table, UniqueIndex

if TYPE_CHECKING:
    from cutover.dialect.writes import Written

_OF_ITS_OWN = (exp.Column, exp.Query, exp.Var)


def spare_key(
    context: Context, node: exp.Insert, conflict: str | None, table: Table, columns: list[Column], values: exp.Expr
) -> bool:
    """Give the only row of VALUES its automatic key like this, if the conflict clause tells which row it may meet."""
    alias = table.rowid_alias
    given = [column.name for column in columns]
    if alias is None or alias in given or context.keys_slot is not None or context.catalog.counts(table):
        return False
    index = _met(node, conflict, table)
    sequence = context.catalog.sequences.get(table.name)
    if index is None or not sequence or table.autoincrement or not isinstance(values, exp.Values):
        return False
    places = [given.index(name) for name in index.columns if name in given]
    if len(values.expressions) != 1 or len(places) < len(index.columns):
        return False  # of several rows one may meet another
    (row,) = values.expressions
    key = [(columns[at], row.expressions[at]) for at in places]
    if not all(_is_plain(value) for _, value in key):
        return False
    column = column_named(table, alias)
    tests = [exp.EQ(this=exp.Column(this=identifier(of.target)), expression=value.copy()) for of, value in key]
    there = exp.Select(
        expressions=[exp.Column(this=identifier(column.target))],
        from_=exp.From(this=exp.Table(this=identifier(table.target), db=identifier(table.target_schema))),
        where=exp.Where(this=exp.and_(*tests, copy=False)),
    )
    item = call("coalesce", exp.Subquery(this=there), AutomaticKeys(context).next_of_sequence(table))
    item.meta[NEXT] = True
    row.append("expressions", item)
    columns.append(column)
    return True


def note_spared(written: Written, *, spares: bool) -> None:
    """Note that no key is drawn for a row that is not stored, unless it was put into a query that drops it since."""
    if spares and written.drawing is not None and isinstance(written.node.expression, exp.Values):
        written.drawing = replace(written.drawing, spares=True)


def _met(node: exp.Insert, conflict: str | None, table: Table) -> UniqueIndex | None:
    """The unique key by which a row may be met; None if it is not one of plain columns, or not the only one."""
    others = [index for index in table.unique if index.columns != (table.rowid_alias,)]
    clauses = clauses_of(node)
    if conflict not in (None, "IGNORE") or len(clauses) > 1 or (conflict is None) == (not clauses):
        return None
    found = others[0] if len(others) == 1 else None
    if clauses and (written := clauses[0].args.get("conflict_keys")):
        if clauses[0].args.get("index_predicate") is not None:
            return None
        terms = [one.this if isinstance(one, exp.Ordered) else one for one in written]
        aim = {one.name.lower() for one in terms if isinstance(one, exp.Column)}
        aimed = [each for each in others if {(name or "").lower() for name in each.columns} == aim]
        found = aimed[0] if len(aimed) == 1 and len(aim) == len(terms) else None
    names = ROWID_NAMES | {(table.rowid_alias or "").lower()}
    if any(
        one.table.lower() == "excluded" and one.name.lower() in names
        for each in clauses
        for one in each.find_all(exp.Column)
    ):
        return None  # to SQLite that is a new key
    if found is None or found.partial is not None or None in found.columns:
        return None
    return found if all(collation.upper() == "BINARY" for _, collation in found.terms) else None


def _is_plain(value: exp.Expr) -> bool:
    """Whether the value is the same when it is computed twice."""
    return value.find(*_OF_ITS_OWN) is None and "random" not in value.sql()
