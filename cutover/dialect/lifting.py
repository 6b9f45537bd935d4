"""LIMIT of a query in FROM that SQLite merges into the one around it: it limits the sorted rows, then.

`SELECT * FROM (SELECT * FROM t LIMIT 2) ORDER BY x` has the two rows with the smallest x: SQLite makes one query of
both, whose ORDER BY comes before its LIMIT. A window sorts in the same place.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from cutover.dialect import windows
from cutover.dialect.calls import own_aggregates
from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.trees import keeps_all, leftmost, means_with, operations, unparen, with_of
from cutover.dialect.typed import Refused
from cutover.dialect.viewed import keep, kept, parsed_view


def lift_limits(tree: exp.Expr, views: Mapping[str, str]) -> None:
    """Put each such LIMIT where SQLite has it. Inner queries come first, since they are merged first."""
    selects = _selects(tree, views)
    if len(selects) < 2:
        return
    for node in selects:
        for within in _sorted_in_vain(node, views):
            within.set("order", None)
    for node in reversed(selects):
        _lift(node, views)


def _selects(tree: exp.Expr, views: Mapping[str, str]) -> list[exp.Select]:
    """Those of the statement and of the views that it names, if one of them may be sorted or cut; outer ones first."""
    found = list(tree.find_all(exp.Select, bfs=True))
    if any(word in view.lower() for view in views.values() for word in ("limit", "order")):
        for table in list(tree.find_all(exp.Table)):
            view = _of_view(table, views) if with_of(table) is None else None
            if view is not None:
                found += _selects(view, views)
    return found


def _sorted_in_vain(node: exp.Select, views: Mapping[str, str]) -> list[exp.Query]:
    """The queries in FROM whose ORDER BY SQLite leaves out: the rows are sorted again, or joined."""
    clause, joins = node.args.get("from_"), node.args.get("joins") or []
    if clause is None or _heeds_order(node) or windows.has_own(node):
        return []
    joined = joins or clause.this.args.get("joins")
    if not (node.args.get("order") or joined):
        return []
    return [one for one in _sorted(node, views) if not any(map(one.args.get, ("limit", "offset", "group")))]


def joins_sorted(node: exp.Select, views: Mapping[str, str]) -> bool:
    """Whether a query with ORDER BY is joined to others in FROM."""
    joined = node.args.get("joins") or node.args["from_"].this.args.get("joins")
    return bool(joined) and bool(_sorted(node, views))


def _sorted(node: exp.Select, views: Mapping[str, str]) -> list[exp.Query]:
    """The queries in FROM that have an ORDER BY."""
    first = node.args["from_"].this
    joins = [*(node.args.get("joins") or []), *(first.args.get("joins") or [])]
    found = (_query_of(source, views) for source in (first, *(join.this for join in joins)))
    return [one for one in found if one is not None and one.args.get("order")]


def _heeds_order(node: exp.Select) -> bool:
    """Whether it has an aggregate that SQLite knows to mind the order of its rows."""
    parts = [*node.expressions, *(node.args[part] for part in ("having", "order") if node.args.get(part))]
    calls = [str(call.this).removeprefix(FUNCTION_PREFIX) for part in parts for call in own_aggregates(part)]
    return any(name not in ("count", "min", "max") for name in calls)


def _lift(node: exp.Select, views: Mapping[str, str]) -> None:
    inner = _only_query(node, views)
    if inner is None or any(map(node.args.get, ("joins", "where", "group", "having"))):
        return
    if isinstance(inner, exp.SetOperation):
        if _may_merge_arms(inner) and _sorts_columns(node) and not (windows.has_own(node) or _gathers(node)):
            _cut(node, inner)
        return
    if not isinstance(inner, exp.Select) or not _may_merge(inner):
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
            around = inner.parent
            if isinstance(around, exp.Create) and isinstance(around.this, exp.Schema):
                raise Refused("A sorted window over a view with LIMIT that names its columns")
            inner.set("order", exp.Order(expressions=[_unqualified(term) for term in terms]))
    else:
        _cut(node, inner)


def _cut(node: exp.Select, inner: exp.Query) -> None:
    inner = _put_here(node, inner)
    if not (node.args.get("distinct") or node.args.get("limit") or _ends_with_one(node)):
        node.set("limit", inner.args["limit"].pop())


def _put_here(node: exp.Select, inner: exp.Query) -> exp.Query:
    """A query of a WITH that does not stand before this SELECT itself is put into it, as if it were written there:
    the plan tells of both as of one."""
    cte, source = inner.parent, node.args["from_"].this
    if not isinstance(cte, exp.CTE) or cte.parent_select is node or cte.args["alias"].args.get("columns"):
        return inner
    made = inner.copy()
    source.replace(
        exp.Subquery(this=made, alias=exp.TableAlias(this=exp.to_identifier(source.alias_or_name, quoted=True)))
    )
    return made


def _ends_with_one(node: exp.Select) -> bool:
    """Whether it has a LIMIT of its own because of what it is for, or cannot have one."""
    around = node.parent
    if isinstance(around, exp.Subquery):
        around = around.parent
        return not isinstance(around, (exp.From, exp.Join, exp.In, exp.CTE))
    return isinstance(around, (exp.Exists, exp.SetOperation))


def _only_query(node: exp.Select, views: Mapping[str, str]) -> exp.Query | None:
    """The query that is all there is in FROM."""
    clause = node.args.get("from_")
    source = clause.this if clause is not None else None
    return None if source is None or source.args.get("joins") else _query_of(source, views)


def _query_of(source: exp.Expr, views: Mapping[str, str]) -> exp.Query | None:
    """A query in FROM: written there, a view, or in a WITH that nothing else refers to."""
    found: exp.Expr | None = source
    if isinstance(source, exp.Table):
        found = _of_with(source) if with_of(source) is not None else _of_view(source, views)
    elif isinstance(source, exp.Subquery):
        found = unparen(source.this)
    return found if isinstance(found, (exp.Select, exp.SetOperation)) else None


def _of_with(table: exp.Table) -> exp.Expr | None:
    found = with_of(table)
    around = found.parent.parent if found is not None and found.parent is not None else None
    if found is None or around is None or found.args.get("materialized") is True:
        return None
    used = [one for one in around.find_all(exp.Table) if means_with(one, table.name)]
    return found.this if len(used) == 1 else None


def _of_view(table: exp.Table, views: Mapping[str, str]) -> exp.Expr | None:
    statement = views.get(table.name.lower()) if table.db.lower() in ("", "main") else None
    if statement is None:
        return None
    view = kept(table)
    if view is None:
        view = keep(table, parsed_view(statement))
    found: exp.Expr = unparen(view.expression)
    return found


def _may_merge(inner: exp.Select) -> bool:
    """Whether SQLite merges a query with this LIMIT into one that is nothing but sorted."""
    left_out = ("offset", "order", "distinct", "group", "having", "with_")
    if inner.args.get("limit") is None or inner.args.get("from_") is None or any(map(inner.args.get, left_out)):
        return False
    return not (_gathers(inner) or windows.has_own(inner))


def _may_merge_arms(inner: exp.SetOperation) -> bool:
    """Whether SQLite makes a compound with this LIMIT that of the query around it."""
    if inner.args.get("limit") is None or any(map(inner.args.get, ("offset", "order", "with_"))):
        return False
    made = operations(inner)
    arms = [leftmost(inner), *(one.expression for one in made)]
    left_out = ("distinct", "group", "having", "with_", "limit")
    return all(map(keeps_all, made)) and all(
        isinstance(arm, exp.Select)
        and arm.args.get("from_") is not None
        and not any(map(arm.args.get, left_out))
        and not (_gathers(arm) or windows.has_own(arm))
        for arm in arms
    )


def _sorts_columns(node: exp.Select) -> bool:
    """Whether ORDER BY goes by nothing but columns of the result."""
    order = node.args.get("order")
    names = {one.alias_or_name.lower() for one in node.expressions}
    terms = [term.this for term in order.expressions] if order else []
    starred = any(one.is_star for one in node.expressions)
    return all(
        isinstance(term, exp.Literal) or (isinstance(term, exp.Column) and (starred or term.name.lower() in names))
        for term in terms
    )


def _gathers(node: exp.Select) -> bool:
    order = node.args.get("order")
    return any(own_aggregates(part) for part in (*node.expressions, *(order.expressions if order else ())))


def _unqualified(term: exp.Expr) -> exp.Expr:
    """A term of a window as the query within can tell it: by the names of its own columns."""
    made = term.copy() if isinstance(term, exp.Ordered) else exp.Ordered(this=term.copy(), nulls_first=True)
    for column in made.find_all(exp.Column):
        column.set("table", None)
    return made
