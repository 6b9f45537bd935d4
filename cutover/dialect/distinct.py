"""SELECT DISTINCT: rows that are equal to SQLite become one, the first that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import cutting
from cutover.dialect.collations import collated, collation
from cutover.dialect.merging import is_canonical
from cutover.dialect.ordering import Columns, inner
from cutover.dialect.query import Query
from cutover.dialect.scope import Scope, Source
from cutover.dialect.typed import Kind, Refused, Typed, helper, literal
from cutover.dialect.unasked import once

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries


def distinct(queries: Queries, node: exp.Select, scope: Scope, result: exp.Select, columns: Columns) -> Query:
    """Equal rows become one: where a collation takes different texts for equal, the first that SQLite reads."""
    _demand_rows(node)
    keys = _keys(columns)
    result.set("distinct", exp.Distinct())
    plain = keys == [typed.node for _, typed in columns]
    unasked = queries.ordering.unasked
    read = _order(queries, node, scope)
    if plain and read is None and scope.grouping is None and not all(_is_canonical(typed) for _, typed in columns):
        plain = queries.ordering.scan(scope) is None  # 1 and 1.0 are equal, too
    keys = [key for key, (_, typed) in zip(keys, columns, strict=True) if _varies(typed)]
    if keys and (read is not None or not plain):
        scan = read if read is not None else queries.ordering.scan(scope)
        if scan is None or (scope.grouping is not None and read is None):
            raise Refused(
                "DISTINCT with a collation over more than tables",
                "GROUP BY the columns COLLATE BINARY, or leave COLLATE out.",
            )
        result.set("distinct", exp.Distinct(on=exp.Tuple(expressions=keys)))
        result.set("order", exp.Order(expressions=[exp.Ordered(this=key.copy()) for key in keys] + scan))
    unread = read is None and len(scope.sources) > (0 if any(map(_lacks_order, scope.sources)) else 1)
    numbered = bool(scope.steps) and node.args.get("order") is not None  # in which order they leave windows is not kept
    loose = unread or numbered or bool(cutting.loose(scope, read or []))
    query = Query(result, list(columns), loose=loose and scope.grouping is None)
    cuts = query.loose and cutting.may_cut(queries, node, scope, query)
    if node.args.get("order") is None:
        if keys and read is not None:
            return _sorted(queries, node, query, read, cutting.certain(scope, read, 0) if cuts else None)
        if cuts:
            return cutting.checked(queries, node, query, [])
        queries.ordering.limit(node, result)
        return query
    places = [queries.ordering.place(inner(term), scope, columns) for term in node.args["order"].expressions]
    known = [place for place in places if place is not None]
    untold = read is None or bool(scope.steps) or not keys
    if len(known) == len(places) and (untold or len(set(known)) == len(columns)):
        return queries.compounds.ordered(node, query, known, scope)
    if not keys:
        queries.ordering.limit(node, result)  # one row
        return query
    asked = queries.ordering.asked(node, scope, columns)
    if scope.grouping is None and not scope.steps:
        read = unasked.served(scope, asked)
    if read is None or scope.steps:
        if len(known) == len(places):
            return queries.compounds.ordered(node, query, known, scope)
        _demand_told(asked, query, told=plain and not scope.steps)
        return _sorted(queries, node, query, asked, len(asked) if cuts else None)
    by_key = [exp.Ordered(this=key.copy()) for key in keys]
    result.set("distinct", exp.Distinct(on=exp.Tuple(expressions=keys)))
    result.set("order", exp.Order(expressions=[*by_key, *(term.copy() for term in read)]))
    terms = once([*asked, *read])
    return _sorted(queries, node, query, terms, cutting.certain(scope, terms, len(asked)) if cuts else None)


def _demand_rows(node: exp.Select) -> None:
    """Raise `Refused` where OFFSET passes over some of what is asked for one row, or for whether there is one: SQLite
    then counts equal rows, too, or leaves what it has computed of the last row that it did not take."""
    around = node.parent
    while isinstance(around, (exp.Subquery, exp.Paren)):
        around = around.parent
    apart = (exp.From, exp.Join, exp.CTE, exp.In, exp.SetOperation, exp.Insert, exp.Create)
    if node.args.get("offset") is not None and around is not None and not isinstance(around, apart):
        raise Refused("OFFSET over DISTINCT rows in a subquery that is one value", "Take them from a subquery in FROM.")


def _lacks_order(source: Source) -> bool:
    """Whether its rows come as a query finds them, of which Postgres's own DISTINCT keeps no order."""
    return source.table is None and not source.one_row


def _order(queries: Queries, node: exp.Select, scope: Scope) -> list[exp.Expr] | None:
    """In which SQLite meets the rows; None if it is not known."""
    unasked = queries.ordering.unasked
    read = unasked.rows(scope) if scope.grouping is None else unasked.groups(node, scope) or None
    if scope.steps and scope.reading is not None and node.args.get("order") is None:
        behind = unasked.behind_windows(scope) if scope.grouping is None else read
        return once([*unasked.by_windows(scope.steps, scope), *(behind or [])])
    return queries.ordering.scan(scope) if read is None and unasked.is_cut(node, scope) else read


def _sorted(
    queries: Queries, node: exp.Select, query: Query, terms: list[exp.Expr], certain: int | None = None
) -> Query:
    """Rows that differ, in the order of what SQLite knew when it first met each: of `certain` terms, if not of all."""
    width = len(query.columns)
    beside = [Typed(term.this.copy(), Kind.NULL) for term in terms]
    query.node.set("expressions", [*query.node.expressions, *(one.node for one in beside)])
    derived, source = queries.sources.derived(
        Query(query.node, [*query.columns, *((None, one) for one in beside)]), "met"
    )
    typed = [source.typed(column) for column in source.columns]
    order: list[exp.Expr] = [
        exp.Ordered(this=one.node, desc=term.args.get("desc"), nulls_first=term.args.get("nulls_first"))
        for term, one in zip(terms, typed[width:], strict=True)
    ]
    result = exp.Select(
        expressions=[one.node for one in typed[:width]],
        from_=exp.From(this=derived),
        order=exp.Order(expressions=order),
    )
    names = [name for name, _ in query.columns]
    if certain is not None:
        result.set("order", exp.Order(expressions=order[:certain]) if certain else None)
        return cutting.checked(
            queries, node, Query(result, list(zip(names, typed[:width], strict=True))), order[:certain]
        )
    queries.ordering.limit(node, result)
    return Query(result, list(zip(names, typed[:width], strict=True)))


def _demand_told(terms: list[exp.Expr], query: Query, *, told: bool) -> None:
    """Raise `Refused` unless rows that have the same in the result have the same in these terms of ORDER BY, and only
    SQLite knows the order of those in ties."""
    shown = [typed.node for _, typed in query.columns]
    nodes = [node for term in terms for node in term.walk()]
    foreign = any(isinstance(node, exp.Column) and node not in shown for node in nodes)
    if not told or not query.loose or foreign or any(isinstance(node, exp.Query) for node in nodes):
        raise Refused(
            "ORDER BY of DISTINCT rows by what is not in the result", "Select what it is ordered by, or GROUP BY."
        )


def _keys(columns: Columns) -> list[exp.Expr]:
    """What rows differ by."""
    keys = [typed.node.copy() for _, typed in columns]
    for at, (_, typed) in enumerate(columns):
        name = collation(typed)
        if name != "BINARY" and typed.kind is Kind.TEXT:
            keys[at] = collated(typed.but(node=keys[at]), name)
        elif name != "BINARY" and typed.kind is Kind.DYNAMIC:
            keys[at] = helper("folded", keys[at], literal(name).node)
    return keys


def _is_canonical(typed: Typed) -> bool:
    """Whether equal values are the same."""
    return typed.kind is not Kind.NUM or is_canonical(typed)


def _varies(typed: Typed) -> bool:
    """Whether the column is not one constant. Postgres takes a literal in DISTINCT ON for the number of a column."""
    return not typed.is_constant and typed.kind is not Kind.NULL
