"""The columns of a table that a SELECT uses: SQLite sorts by them the index that it makes for a join without one."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.scope import Source, SourceColumn

_ROWID = frozenset({"rowid", "_rowid_", "oid"})


def columns_used(select: exp.Select, source: Source) -> list[SourceColumn]:
    """In the order of the table, the INTEGER PRIMARY KEY aside, which is no column of an index."""
    key = source.table.rowid_alias if source.table is not None else None
    return [column for column in columns_named(select, source) if column.name != key]


def columns_named(select: exp.Select, source: Source) -> list[SourceColumn]:
    """All that a SELECT names, in the order of the table, with what keeps its place there if the rowid is named."""
    shown = [column for column in source.columns if not column.hidden]
    if any(_is_star_of(one, source) for one in select.expressions):
        used = shown
    else:
        found = (one for one in select.walk(prune=_sees_nothing) if isinstance(one, exp.Column))
        names = {one.name.lower() for one in found if _may_mean(one, source)}
        place = source.table.place if source.table is not None and names & _ROWID else ()
        wanted = {*names, *source.using, *(name.lower() for name in place)}
        used = [column for column in source.columns if column.name.lower() in wanted]
    return used


def _is_star_of(projection: exp.Expr, source: Source) -> bool:
    if isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star):
        return source.is_called(projection.table)
    return isinstance(projection, exp.Star)


def _sees_nothing(node: exp.Expr) -> bool:
    """Whether it is a query in WITH or in FROM, which does not see what stands beside it."""
    return isinstance(node, exp.With) or (
        isinstance(node, exp.Subquery) and isinstance(node.parent, exp.From | exp.Join)
    )


def _may_mean(column: exp.Column, source: Source) -> bool:
    return not column.table or source.is_called(column.table)
