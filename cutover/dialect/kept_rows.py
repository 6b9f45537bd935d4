"""A CTE that is read several times: SQLite makes its rows once, keeps them, and reads them in the order in which they
came. They are numbered here as they come, so what reads them has that order as well, and LIMIT within takes the same.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from cutover.dialect.query import Query
from cutover.dialect.reading import Reading
from cutover.dialect.scope import NUMBER, Scope
from cutover.dialect.trees import means_with
from cutover.dialect.typed import Kind, Typed, identifier


def kept(cte: exp.CTE, whole: Reading | None, scope: Scope) -> Scope | None:
    """The scope of such a CTE, with how SQLite reads for it; None where that is not known, or it is no such one."""
    around = scope.parent
    if whole is None or (around is not None and (around.parent is not None or around.sources)):
        return None
    name, root = cte.alias.lower(), cte.root()
    called = [one for one in root.find_all(exp.CTE, exp.Subquery) if one.alias.lower() == name]
    found = [reading for known, reading in whole.kept if known == name]
    read = sum(means_with(table, name) for table in root.find_all(exp.Table))
    if len(found) != 1 or len(called) != 1 or read < 2:
        return None
    return Scope(ctes={**(around.ctes if around is not None else {}), **scope.ctes}, reading=found[0])


def numbered(query: Query) -> Query:
    """With a number for each row, where the query has an order."""
    behind = isinstance(query.node, exp.Union) and not query.node.args.get("distinct", True)
    ordered = query.node.args.get("order") is not None or behind or query.one_row or _passes_on(query.node)
    if not ordered or any(name == NUMBER for name, _ in query.columns):
        return query
    names = query.aliases()
    alias = exp.TableAlias(this=identifier("unnumbered"), columns=[identifier(name) for name in names])
    columns: list[exp.Expr] = [exp.Column(this=identifier(name)) for name in names]
    place = exp.Alias(this=exp.Window(this=exp.RowNumber()), alias=identifier(NUMBER))
    node = exp.Select(expressions=[*columns, place], from_=exp.From(this=exp.Subquery(this=query.node, alias=alias)))
    made = [(name, typed.but(node=column.copy())) for (name, typed), column in zip(query.columns, columns, strict=True)]
    number = Typed(exp.Column(this=identifier(NUMBER)), Kind.INT, not_null=True)
    ends = ([*query.ends[0], None], [*query.ends[1], None]) if query.ends is not None else None
    return replace(query, node=node, columns=[*made, (NUMBER, number)], ends=ends, reads={})


def _passes_on(node: exp.Expr) -> bool:
    """Whether rows come in the order of a query, or a view, that is all there is in FROM, and is sorted."""
    source = node.args["from_"].this if isinstance(node, exp.Select) and node.args.get("from_") is not None else None
    inner = source.this if isinstance(source, exp.Subquery) else None
    if inner is None or any(map(node.args.get, ("joins", "group", "distinct"))):
        return False
    return inner.args.get("order") is not None and not any(one.find(exp.Window) for one in node.expressions)
