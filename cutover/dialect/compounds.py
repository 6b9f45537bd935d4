"""VALUES, UNION, INTERSECT and EXCEPT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import numbers
from cutover.dialect.comparing import value
from cutover.dialect.ordering import inner, ordered, position
from cutover.dialect.scope import Scope
from cutover.dialect.typed import Kind, Refused, Typed, cast, identifier

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries, Query


def leftmost(node: exp.Expr) -> exp.Expr:
    """The first arm of a compound."""
    while isinstance(node, exp.SetOperation):
        node = node.this
    return node


def operations(node: exp.Expr) -> list[exp.SetOperation]:
    """The operations of a compound, from left to right."""
    found: list[exp.SetOperation] = []
    while isinstance(node, exp.SetOperation):
        found.append(node)
        node = node.this
    return found[::-1]


class Compounds:
    """Rewrites VALUES and compounds of one statement."""

    def __init__(self, queries: Queries) -> None:
        self.queries = queries

    def values(self, node: exp.Values, scope: Scope) -> Query:
        """VALUES as a query; columns are called column1, column2 ..."""
        plain = self.queries.expressions.plain
        rows = [[plain(item, scope) for item in row.expressions] for row in node.expressions]
        unified = [numbers.unify(column) for column in zip(*rows, strict=True)]
        names = [f"column{index}" for index in range(1, len(unified) + 1)]
        tuples = [exp.Tuple(expressions=[nodes[row] for _, nodes in unified]) for row in range(len(rows))]
        alias = exp.TableAlias(this=identifier("listed"), columns=[identifier(name) for name in names])
        source = exp.Values(expressions=tuples, alias=alias)
        projections = [exp.Column(this=identifier(name)) for name in names]
        columns: list[tuple[str | None, Typed]] = [
            (name, Typed(projection, kind))
            for name, projection, (kind, _) in zip(names, projections, unified, strict=True)
        ]
        return self.queries.made(exp.Select(expressions=projections, from_=exp.From(this=source)), columns)

    def compound(self, node: exp.SetOperation, scope: Scope) -> Query:
        """Arms brought to one kind a column."""
        arms = [self._arm(leftmost(node), scope), *(self._arm(one.expression, scope) for one in operations(node))]
        if len({len(arm.columns) for arm in arms}) != 1:
            raise Refused("A compound SELECT with arms of different widths")
        columns: list[tuple[str | None, Typed]] = []
        projections: list[list[exp.Expr]] = [[] for _ in arms]
        for index, (name, first) in enumerate(arms[0].columns):
            kind, nodes = numbers.unify([arm.columns[index][1] for arm in arms])
            for projected, converted in zip(projections, nodes, strict=True):
                projected.append(cast(converted, "BIGINT") if kind is Kind.INT else converted)
            not_null = all(arm.columns[index][1].not_null for arm in arms)
            columns.append((name, Typed(first.node, kind, first.affinity, first.collation, not_null=not_null)))
        for arm, projected in zip(arms, projections, strict=True):
            arm.node.set("expressions", projected)
        result: exp.Expr = arms[0].node
        for operation, arm in zip(operations(node), arms[1:], strict=True):
            distinct = operation.args.get("distinct", True)
            result = type(operation)(this=result, expression=arm.node, distinct=distinct)
        query = self.queries.made(result, columns)
        if node.args.get("order") is None:
            self.queries.ordering.limit(node, result)
            return query
        return self._ordered(node, query.named())

    def _arm(self, node: exp.Expr, scope: Scope) -> Query:
        query = self.queries.query(node, Scope(Scope(scope.parent, ctes=scope.ctes)))
        query.columns = [(name, value(typed)) for name, typed in query.columns]
        query.node.set("expressions", [typed.node for _, typed in query.columns])
        return query

    def _ordered(self, node: exp.SetOperation, query: Query) -> Query:
        derived, source = self.queries.sources.derived(query, "compound")
        scope = Scope(sources=[source])
        typed = [source.typed(column) for column in source.columns]
        terms = []
        for term in node.args["order"].expressions:
            place = position(inner(term), query.columns)
            expression = self.queries.expressions.typed(inner(term), scope) if place is None else typed[place]
            terms.append(ordered(term, expression))
        result = exp.Select(
            expressions=[one.node.copy() for one in typed],
            from_=exp.From(this=derived),
            order=exp.Order(expressions=terms),
        )
        self.queries.ordering.limit(node, result)
        names = [name for name, _ in query.columns]
        return self.queries.made(result, list(zip(names, typed, strict=True)))
