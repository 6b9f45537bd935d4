"""LIMIT of a query in FROM that SQLite merges into the one around it: it limits the sorted rows, then.

`SELECT * FROM (SELECT * FROM t LIMIT 2) ORDER BY x` has the two rows with the smallest x: SQLite makes one query of
both, whose ORDER BY comes before its LIMIT. A window sorts in the same place.
"""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect import windows
from cutover.dialect.calls import own_aggregates
from cutover.dialect.trees import unparen, with_of


def lift_limits(tree: exp.Expr) -> None:
    """Put each such LIMIT where SQLite has it. Inner queries come first, since they are merged first."""
    if next(tree.find_all(exp.Limit), None) is None:
        return
    selects = list(tree.find_all(exp.Select, bfs=True))
    for node in selects:
        within = _only_query(node) if node.args.get("order") else None
        if within is not None and within.args.get("limit") is None:
            within.set("order", None)  # which SQLite leaves out where the rows are sorted again
    for node in reversed(selects):
        _lift(node)


def _lift(node: exp.Select) -> None:
    inner = _only_query(node)
    if inner is None or not _may_merge(inner) or any(map(node.args.get, ("joins", "where", "group", "having"))):
        return
    if _gathers(node):
        return
    named = windows.definitions(node)
    steps, _ = windows.steps(node, named)
    if windows.has_own(node):
        first = steps[-1]
        order = first.args.get("order")
        terms = [*(first.args.get("partition_by") or []), *(order.expressions if order else [])]
        if terms:
            inner.set("order", exp.Order(expressions=[_unqualified(term) for term in terms]))
    elif not (node.args.get("distinct") or node.args.get("limit") or _ends_with_one(node)):
        node.set("limit", inner.args["limit"].pop())


def _ends_with_one(node: exp.Select) -> bool:
    """Whether it has a LIMIT of its own because of what it is for, or cannot have one."""
    around = node.parent
    if isinstance(around, exp.Subquery):
        around = around.parent
        return not isinstance(around, (exp.From, exp.Join, exp.In, exp.CTE))
    return isinstance(around, (exp.Exists, exp.SetOperation))


def _only_query(node: exp.Select) -> exp.Select | None:
    """The query that is all there is in FROM: written there, or in a WITH that nothing else refers to."""
    clause = node.args.get("from_")
    source = clause.this if clause is not None else None
    if source is None or source.args.get("joins"):
        return None
    found: exp.Expr | None = source
    if isinstance(source, exp.Table):
        found = _of_with(source)
    elif isinstance(source, exp.Subquery):
        found = unparen(source.this)
    return found if isinstance(found, exp.Select) else None


def _of_with(table: exp.Table) -> exp.Expr | None:
    found = with_of(table)
    around = found.parent.parent if found is not None and found.parent is not None else None
    if found is None or around is None or found.args.get("materialized") is True:
        return None
    used = [one for one in around.find_all(exp.Table) if one.name.lower() == table.name.lower()]
    return found.this if len(used) == 1 else None


def _may_merge(inner: exp.Select) -> bool:
    """Whether SQLite merges a query with this LIMIT into one that is nothing but sorted."""
    left_out = ("offset", "order", "distinct", "group", "having", "with_")
    if inner.args.get("limit") is None or inner.args.get("from_") is None or any(map(inner.args.get, left_out)):
        return False
    return not (_gathers(inner) or windows.has_own(inner))


def _gathers(node: exp.Select) -> bool:
    order = node.args.get("order")
    return any(own_aggregates(part) for part in (*node.expressions, *(order.expressions if order else ())))


def _unqualified(term: exp.Expr) -> exp.Expr:
    """A term of a window as the query within can tell it: by the names of its own columns."""
    made = term.copy() if isinstance(term, exp.Ordered) else exp.Ordered(this=term.copy(), nulls_first=True)
    for column in made.find_all(exp.Column):
        column.set("table", None)
    return made
