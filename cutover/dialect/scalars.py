"""Subqueries that are one value, in the order in which SQLite numbers them: its plan tells how each is read.

Its parser gives a number to each SELECT where it ends, so that those within come before those around them.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

_PLACE = "scalar"
_PARTS = ("with_", "expressions", "from_", "joins", "where", "group", "having", "windows", "order", "limit", "offset")


def number_scalars(root: exp.Expr) -> int:
    """Note on each such subquery which of them it is. Returns how many there are."""
    count = 0
    for query in _scalars(root):
        query.meta[_PLACE] = count
        count += 1
    return count


def place_of(query: exp.Expr) -> int | None:
    """Which of them a query is."""
    place = query.meta.get(_PLACE)
    return place if isinstance(place, int) else None


def _scalars(root: exp.Expr) -> Iterator[exp.Expr]:
    """Those in `root`, in that order. Without recursion: chains of operators are thousands deep."""
    pending: list[tuple[exp.Expr, bool, bool]] = [(root, False, False)]  # whether it is one value, and has been entered
    while pending:
        node, value, entered = pending.pop()
        if entered:
            yield node
            continue
        query = isinstance(node, (exp.Query, exp.Values)) and not isinstance(node, exp.Subquery)
        if query and value:
            pending.append((node, value, True))
        inside = [(one, _is_value(node, key)) for key, one in _children(node)]
        if isinstance(node, exp.Subquery):
            inside = [(one, value and not node.alias) for one, _ in inside]
        pending += [(one, value, False) for one, value in reversed(inside)]


def _children(node: exp.Expr) -> Iterator[tuple[str, exp.Expr]]:
    """What a node is made of, in the order of its text."""
    parts = _PARTS if isinstance(node, exp.Select) else tuple(node.args)
    if isinstance(node, exp.Select) and isinstance(node.parent, exp.Exists):
        parts = tuple(part for part in parts if part != "expressions")  # which nobody reads, and no plan tells of
    for key in parts:
        given = node.args.get(key)
        for one in given if isinstance(given, list) else [given]:
            if isinstance(one, exp.Expr):
                yield key, one


def _is_value(node: exp.Expr, key: str) -> bool:
    """Whether a query that stands there is one value, and not rows."""
    if isinstance(node, (exp.From, exp.CTE, exp.With, exp.Insert, exp.Create, exp.Table, exp.SetOperation)):
        return False
    if isinstance(node, exp.Join):
        return key != "this"
    return not (isinstance(node, exp.In) and key in ("query", "field"))
