"""Columns that WHERE leaves no NULL in: an index serves ORDER BY only where nobody asks where its NULLs stand."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.scope import Scope, Source, SourceColumn
from cutover.dialect.trees import conjuncts, disjuncts, unparen

_COMPARISONS = (exp.EQ, exp.LT, exp.LTE, exp.GT, exp.GTE)


def note_present(where: exp.Expr, scope: Scope) -> None:
    """Have the columns that are no NULL behind this condition known as such, where the target's indexes would have
    NULLs where SQLite has none: not those of indexes that cutover made. Nor what an outer join may lack."""
    for column in _present(where, scope).values():
        column.not_null = True


def _present(node: exp.Expr, scope: Scope) -> dict[int, SourceColumn]:
    found: dict[int, SourceColumn] = {}
    for test in conjuncts(node):
        ways = disjuncts(test)
        if len(ways) > 1:
            each = [_present(way, scope) for way in ways]
            found |= {key: column for key, column in each[0].items() if all(key in way for way in each)}
            continue
        for side in _strict_in(unparen(test)):
            found |= _column(side, scope)
    return found


def _strict_in(test: exp.Expr) -> list[exp.Expr]:
    """What makes the test unknown, or false, where it is NULL."""
    if isinstance(test, exp.NEQ):
        return [test.this, test.expression]
    if isinstance(test, _COMPARISONS):
        return [_first(test.this), _first(test.expression)]
    if isinstance(test, exp.Between) or (isinstance(test, (exp.In, exp.Like)) and not test.args.get("negate")):
        return [_first(test.this)]
    if isinstance(test, exp.Not) and isinstance(test.this, exp.Is) and isinstance(test.this.expression, exp.Null):
        return [test.this.this]
    return []


def _first(side: exp.Expr) -> exp.Expr:
    """Of row values the first: the others may not be asked."""
    side = unparen(side)
    return side.expressions[0] if isinstance(side, exp.Tuple) and side.expressions else side


def _column(side: exp.Expr, scope: Scope) -> dict[int, SourceColumn]:
    if not isinstance(side, exp.Column) or isinstance(side.this, exp.Star):
        return {}
    found = scope.columns(side.name, str(side.args["table"].name) if side.args.get("table") else "")
    return {id(column): column for source, column in found if len(found) == 1 and _matters(source, column)}


def _matters(source: Source, column: SourceColumn) -> bool:
    return not source.nullable and column.column is not None and column.column.nulls_last
