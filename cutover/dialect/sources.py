"""FROM: tables, views, subqueries and CTEs, and the joins between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import comparing
from cutover.dialect.scope import Scope, Source, SourceColumn, table_source
from cutover.dialect.typed import Refused, identifier, paren
from cutover.dialect.whole import equal

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries, Query


class Sources:
    """Rewrites FROM clauses of one statement."""

    def __init__(self, queries: Queries) -> None:
        self.queries = queries

    def table(self, node: exp.Table, scope: Scope) -> tuple[exp.Expr, Source]:
        """A named table, view or CTE."""
        if not isinstance(node.this, exp.Identifier):
            raise Refused("A table-valued function")
        if node.db and node.db.lower() != "main":
            raise Refused(f"Schema {node.db}")
        name = node.name
        alias = (node.alias or name).lower()
        columns = None if node.db else scope.cte(name)
        if columns is not None:
            target = exp.Table(this=identifier(name.lower()), alias=exp.TableAlias(this=identifier(alias)))
            return target, Source(alias, [_copied(column) for column in columns])
        view = self.queries.context.catalog.views.get(name.lower())
        if view is not None:
            return self.derived(self.queries.view(view), alias)
        table = self.queries.context.catalog.table(name)
        target = exp.Table(
            this=identifier(table.target),
            db=identifier(table.target_schema),
            alias=exp.TableAlias(this=identifier(alias)),
        )
        return target, table_source(table, alias)

    def derived(self, query: Query, alias: str) -> tuple[exp.Expr, Source]:
        """A query in FROM."""
        node = exp.Subquery(this=query.node, alias=exp.TableAlias(this=identifier(alias)))
        return node, Source(alias, query.source_columns())

    def from_clause(self, node: exp.Expr, scope: Scope) -> tuple[exp.From | None, list[exp.Join]]:
        """FROM and JOINs of a SELECT (or of UPDATE ... FROM). Fills `scope.sources`."""
        clause = node.args.get("from_")
        if clause is None:
            return None, []
        first = self._source(clause.this, scope)
        joins = [self._join(join, scope) for join in [*_nested(clause.this), *(node.args.get("joins") or [])]]
        return exp.From(this=first), joins

    def _source(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        target, source = self._single(node, scope)
        if any(other.alias == source.alias for other in scope.sources):
            raise Refused(f"The name {source.alias} for two things in FROM")
        scope.sources.append(source)
        return target

    def _single(self, node: exp.Expr, scope: Scope) -> tuple[exp.Expr, Source]:
        alias = (node.alias or f"subquery_{len(scope.sources)}").lower()
        if isinstance(node, exp.Table):
            return self.table(node, scope)
        if isinstance(node, exp.Values):
            return self.derived(self.queries.compounds.values(node, Scope(scope.parent, ctes=scope.ctes)), alias)
        if isinstance(node, exp.Subquery):
            if isinstance(node.this, exp.Table):
                raise Refused("A join in parentheses")
            # A subquery in FROM does not see its neighbours.
            return self.derived(self.queries.query(node.this, Scope(_outer(scope))), alias)
        raise Refused(f"{type(node).__name__} in FROM")

    def _join(self, join: exp.Join, scope: Scope) -> exp.Join:
        side, method = join.side.upper(), join.method.upper()
        before = list(scope.sources)
        target = self._source(join.this, scope)
        right = scope.sources[-1]
        using = [name.name for name in join.args.get("using") or []]
        if method == "NATURAL":
            using = [c.name for c in right.columns if any(s.find(c.name) for s in before)]
        if using and side in ("RIGHT", "FULL"):
            raise Refused(f"{side} JOIN with USING or NATURAL")
        test: exp.Expr | None = None
        if using:
            test = self._using(using, before, right)
        elif join.args.get("on") is not None:
            test = self.queries.expressions.condition(join.args["on"], scope, loose=True)
        if side in ("LEFT", "FULL"):
            right.nullable = True
        if side in ("RIGHT", "FULL"):
            for source in before:
                source.nullable = True
        if test is None:
            if side:
                test = exp.Boolean(this=True)
            else:
                return exp.Join(this=target, kind="CROSS")
        return exp.Join(this=target, side=side or None, kind=None if side else "INNER", on=test)

    def _using(self, names: list[str], before: list[Source], right: Source) -> exp.Expr | None:
        tests = []
        for name in names:
            column = right.find(name)
            left = next(((s, c) for s in before if (c := s.find(name)) is not None and not c.merged), None)
            if column is None or left is None:
                raise Refused(f"USING ({name})")
            one, two = left[0].typed(left[1]), right.typed(column)
            same = equal(None, exp.EQ, one, two)
            tests.append(paren(same or comparing.compare(exp.EQ, one, two, loose=True)))
            column.merged = True
        return exp.and_(*tests) if tests else None


def _outer(scope: Scope) -> Scope:
    return Scope(scope.parent, ctes=scope.ctes)


def _nested(node: exp.Expr) -> list[exp.Join]:
    """Joins that the parser hung on the first table."""
    return list(node.args.get("joins") or [])


def _copied(column: SourceColumn) -> SourceColumn:
    return SourceColumn(column.name, column.target, column.kind, column.affinity, column.collation, column.not_null)
