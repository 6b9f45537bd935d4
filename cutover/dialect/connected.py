"""FROM with many tables: each is written behind one that a condition joins it to.

Postgres plans a long list of joins in pieces of `join_collapse_limit`, in the order in which they are written, and
what is in a piece without a condition between becomes a product of all its rows. SQLite takes any order.
"""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.scope import Scope
from cutover.dialect.trees import conjuncts, unparen

_PIECE = 8
"""Postgres's own `join_collapse_limit`: up to so many are planned as one, in whatever order."""


def connected(
    first: exp.Expr, joins: list[exp.Join], where: exp.Expr | None, scope: Scope
) -> tuple[exp.Expr, list[exp.Join]]:
    """The same tables, those that are equal to something known first, then what is joined to those before."""
    targets = [first, *(join.this for join in joins)]
    alone = len(targets) == len(scope.sources) and all(join.kind == "CROSS" for join in joins)
    if len(targets) <= _PIECE or not alone or where is None:
        return first, joins
    if any(source.table is None for source in scope.sources):  # it may name what stands before it
        return first, joins
    known, beside = _equalities(where, scope)
    waiting = sorted(range(len(targets)), key=lambda at: at not in known)
    order, reached = [], set[int]()
    while waiting:
        at = next((at for at in waiting if at in reached), waiting[0])
        waiting.remove(at)
        order.append(at)
        reached |= beside.get(at, set())
    return targets[order[0]], [exp.Join(this=targets[at], kind="CROSS") for at in order[1:]]


def _equalities(where: exp.Expr, scope: Scope) -> tuple[set[int], dict[int, set[int]]]:
    """Which sources have a column that is equal to what is no column, and which are equal to each other in some."""
    known: set[int] = set()
    beside: dict[int, set[int]] = {}
    for test in conjuncts(where):
        if not isinstance(test, exp.EQ):
            continue
        sides = [_source(side, scope) for side in (unparen(test.this), unparen(test.expression))]
        found = [at for at in sides if at is not None]
        if len(found) == 1:
            known.add(found[0])
        elif len(found) == 2:
            for at, other in (found, found[::-1]):
                beside.setdefault(at, set()).add(other)
    return known, beside


def _source(node: exp.Expr, scope: Scope) -> int | None:
    """Which source a column is of."""
    found = scope.columns(node.name, node.table) if isinstance(node, exp.Column) else []
    return next((at for at, source in enumerate(scope.sources) if found and source is found[0][0]), None)
