"""FROM: tables, views, subqueries and CTEs, and the joins between them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import comparing, high_marks, json_functions
from cutover.dialect.arriving import comes_sorted, lacks_rows, minds_order, numbered, read_beside, tell_order, written
from cutover.dialect.catalog import DATABASES
from cutover.dialect.comparing import text
from cutover.dialect.connected import connected
from cutover.dialect.cutting import only_counts
from cutover.dialect.expressions import first_of
from cutover.dialect.generated import add_generated
from cutover.dialect.interleaved import arms_joined, arms_read
from cutover.dialect.reading import Reading
from cutover.dialect.scope import NUMBER, TURN, Scope, Source, SourceColumn, table_source
from cutover.dialect.subtypes import remember
from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.typed import UNDECLARED, Kind, Refused, Typed, identifier, literal, paren
from cutover.dialect.viewed import view_at
from cutover.dialect.whole import compared

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries
    from cutover.dialect.query import Query

_IN_WHERE = "Write the condition into WHERE."


class Sources:
    """Rewrites FROM clauses of one statement."""

    def __init__(self, queries: Queries) -> None:
        self.queries = queries

    def table(self, node: exp.Table, scope: Scope) -> tuple[exp.Expr, Source]:
        """A named table, view or CTE."""
        if not isinstance(node.this, exp.Identifier):
            return self._rows(node, scope)
        if node.db and node.db.lower() not in DATABASES:
            raise Refused(f"Schema {node.db}")
        name = node.name
        alias = (node.alias or name).lower()
        columns = None if node.db else scope.cte(name)
        if columns is not None:
            target = exp.Table(this=identifier(name.lower()), alias=exp.TableAlias(this=identifier(alias)))
            counted = next((column.name for column in columns if column.name in (TURN, NUMBER)), "")
            given = Source(alias, [_copied(column) for column in columns], counted=counted)
            given.sorted = not counted and scope.within is None and comes_sorted(written(node))
            remember(given, name.lower(), scope)
            return target, given
        view = self.queries.context.catalog.views.get(name.lower())
        if view is not None:
            parsed = view_at(node, view)
            beside = read_beside(scope, name.lower(), parsed.expression)
            arms = self._interleaved(scope, parsed.expression)
            made = self.queries.view(parsed, None if arms else beside or scope.within, scope.merged, arms)
            tells = scope.tied or (beside is not None and not lacks_rows(scope.select))
            told = tell_order(made) if tells else made.told()
            found = self.derived(told, alias, alone=scope.alone)
            remember(found[1], name.lower(), scope)
            return found if beside is None else (numbered(*found), found[1])
        if name.lower() == high_marks.NAME:
            context = self.queries.context
            context.marked = high_marks.settled(context.catalog)
            return high_marks.present(context.catalog, alias)
        table = self.queries.context.catalog.table(name)
        target = exp.Table(
            this=identifier(table.target),
            db=identifier(table.target_schema),
            alias=exp.TableAlias(this=identifier(alias)),
        )
        source = table_source(table, alias)
        add_generated(source, self.queries.expressions.typed)
        return target, source

    def _rows(self, node: exp.Table, scope: Scope) -> tuple[exp.Expr, Source]:
        """A table-valued function. It sees what stands before it in FROM."""
        name = str(node.this.this).lower() if isinstance(node.this, exp.Anonymous) else node.this.key
        name = name.removeprefix(FUNCTION_PREFIX)
        if name not in json_functions.TABLES:
            raise Refused(f"The table-valued function {name}()")
        arguments = [self.queries.expressions.typed(argument, scope) for argument in node.this.expressions]
        alias = (node.alias or name).lower()
        target = exp.Table(this=json_functions.rows(name, arguments), alias=exp.TableAlias(this=identifier(alias)))
        columns = [
            SourceColumn(column, column, kind, UNDECLARED, json="part" if column == "value" else "")
            for column, kind in json_functions.ROWS.items()
        ]
        source = Source(alias, columns, counted="id")
        for column, typed in zip(("json", "root"), [*map(text, arguments), literal("$")], strict=False):
            columns.append(
                SourceColumn(column, column, Kind.TEXT, computed=partial(_argument, typed, source), given=True)
            )
        return target, source

    def _interleaved(self, scope: Scope, query: exp.Expr) -> tuple[Reading | None, ...]:
        if scope.alone:
            return arms_read(scope.reading, scope.select, query)
        return arms_joined(scope.reading, scope.select, query, partial(self.is_table, scope))

    def is_table(self, scope: Scope, node: exp.Expr) -> bool:
        """Whether it names a table of the schema in FROM."""
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            return False
        return scope.cte(node.name) is None and node.name.lower() not in self.queries.context.catalog.views

    def derived(self, query: Query, alias: str, *, alone: bool = False) -> tuple[exp.Expr, Source]:
        """A query in FROM, its columns named from outside; `alone`: nothing else stands there."""
        if query.reads_otherwise(alone=alone):
            raise Refused(
                "A compound SELECT beside others in FROM whose arms have values of several types in one column"
            )
        names = [identifier(name) for name in query.aliases()]
        node = exp.Subquery(this=query.node, alias=exp.TableAlias(this=identifier(alias), columns=names))
        unnamed = any(name is None for name, _ in query.columns)
        return node, Source(alias, query.source_columns(), one_row=query.one_row, unnamed=unnamed)

    def from_clause(self, node: exp.Expr, scope: Scope) -> tuple[exp.From | None, list[exp.Join]]:
        """FROM and JOINs of a SELECT (or of UPDATE ... FROM). Fills `scope.sources`."""
        clause = node.args.get("from_")
        if clause is None:
            return None, []
        scope.alone = not (node.args.get("joins") or clause.this.args.get("joins"))
        # A column of whatever stands in FROM comes before an alias of the same name.
        aliases, scope.aliases = scope.aliases, {}
        target, joins = self._joined(clause.this, scope)
        others = _told_where_known(clause.this, node.args.get("joins") or [])
        joins += [self._join(join, scope, aliases if join is others[-1] else {}) for join in others]
        scope.aliases = aliases
        if scope.alone and (scope.cuts or scope.tied or (self.queries.context.gathers and minds_order(scope))):
            target = numbered(target, scope.sources[0])
        where = node.args.get("where")
        target, joins = connected(target, joins, where.this if where is not None else None, scope)
        return exp.From(this=target), joins

    def _joined(self, node: exp.Expr, scope: Scope) -> tuple[exp.Expr, list[exp.Join]]:
        """One thing in FROM with the joins that the parser hung on it."""
        target = self._source(node, scope)
        return target, [self._join(join, scope) for join in node.args.get("joins") or []]

    def _source(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        """One thing in FROM, added to the scope; a join in parentheses adds all that is in it."""
        if isinstance(node, exp.Subquery) and isinstance(node.this, (exp.Table, exp.Subquery)):
            inner = node.this
            if not node.alias and inner.args.get("joins"):
                within = Scope(scope.parent, ctes=scope.ctes, beside=[*scope.beside, *scope.sources])
                target, joins = self._joined(inner, within)
                target.set("joins", joins)
                scope.sources += within.sources
                return exp.Paren(this=target)
            if not node.alias:
                return self._source(inner, scope)
            if inner.args.get("joins") or inner.alias:
                raise Refused("A join in parentheses with a name of its own")
            inner = inner.copy()
            inner.set("alias", node.args["alias"].copy())
            return self._source(inner, scope)
        target, source = self._single(node, scope)
        taken = {other.alias for other in (*scope.beside, *scope.sources)}
        if self.queries.context.distinct:
            taken |= _around(scope)
        if source.alias in taken:
            source.name = source.name or source.alias
            source.alias = next(name for at in count(2) if (name := f"{source.name}:{at}") not in taken)
            target.args["alias"].set("this", identifier(source.alias))
        scope.sources.append(source)
        return target

    def _single(self, node: exp.Expr, scope: Scope) -> tuple[exp.Expr, Source]:
        if isinstance(node, exp.Table):
            return self.table(node, scope)
        alias = (node.alias or f"subquery_{len(scope.beside) + len(scope.sources)}").lower()
        if isinstance(node, exp.Values):
            values = self.queries.compounds.values(node, Scope(scope.parent, ctes=scope.ctes), numbered=True)
            made = self.derived(values, alias)
            made[1].counted = NUMBER
        elif isinstance(node, exp.Subquery):
            # A subquery in FROM does not see its neighbours.
            beside = read_beside(scope, node.alias.lower(), node.this)
            arms = self._interleaved(scope, node.this)
            read = None if arms else beside or scope.within
            inside = Scope(_outer(scope), reading=read, merged=scope.merged, interleaved=arms)
            counted = only_counts(scope)
            inside.whichever, inside.counted = counted is not None, counted or frozenset()
            inside.beneath = scope.reading.inside if scope.reading is not None and scope.alone else None
            query = self.queries.query(node.this, inside)
            tells = scope.tied or (beside is not None and not lacks_rows(scope.select))
            told = tell_order(query) if tells else query.told()
            made = self.derived(told, alias, alone=scope.alone)
            made[1].sorted = scope.within is None and comes_sorted(node.this)
            remember(made[1], alias, scope)
            if beside is not None:
                made = numbered(*made), made[1]
        else:
            raise Refused(f"{type(node).__name__} in FROM")
        if not node.alias:
            made[1].name = ""
        return made

    def _join(self, join: exp.Join, scope: Scope, aliases: dict[str, exp.Expr] | None = None) -> exp.Join:
        side, method = join.side.upper(), join.method.upper()
        earlier = len(scope.sources)
        target = self._source(join.this, scope)
        scope.aliases = aliases or {}
        before, right = Scope(sources=scope.sources[:earlier]), scope.sources[earlier:]
        using = [name.name for name in join.args.get("using") or []]
        if method == "NATURAL":
            seen = [column for source in right for column in source.columns if not column.hidden]
            names = {column.name.lower(): column.name for column in seen}
            using = [name for name in names.values() if before.columns(name)]
        test = self._using(using, before, right, side) if using else None
        for source in right:
            source.side = source.side or side
            source.nullable = source.nullable or side in ("LEFT", "FULL")
        if join.args.get("on") is not None and not using:
            scope.tests.append(join.args["on"])
            test = self.queries.expressions.condition(join.args["on"], scope, loose=True)
        for source in before.sources:
            source.nullable = source.nullable or side in ("RIGHT", "FULL")
        if test is None:
            if not side:
                return exp.Join(this=target, kind="CROSS")
            test = exp.Boolean(this=True)
        return exp.Join(this=target, side=side or None, kind=None if side else "INNER", on=test)

    def _using(self, names: list[str], before: Scope, right: list[Source], side: str) -> exp.Expr:
        """The condition of USING. The sources on the right learn which of their columns are shared."""
        if len(right) > 1 and (side in ("RIGHT", "FULL") or any(source.side in ("RIGHT", "FULL") for source in right)):
            raise Refused(f"{side or 'A'} JOIN with USING of a join in parentheses")
        tests = []
        for name in names:
            left, theirs = before.columns(name), Scope(sources=right).columns(name)
            if not left or not theirs:
                raise Refused(f"USING ({name})")
            shared = [source.typed(column) for source, column in left]
            one = shared[0] if len(shared) == 1 else first_of(shared)
            two = theirs[0][0].typed(theirs[0][1])
            tests.append(
                paren(compared(None, exp.EQ, one, two, loose=True) or comparing.compare(exp.EQ, one, two, loose=True))
            )
        for source in right:
            source.using |= {name.lower() for name in names if source.find(name)}
        return exp.and_(*tests)


def _around(scope: Scope) -> set[str]:
    """What is called in the queries around one."""
    taken, at = set[str](), scope.parent
    while at is not None:
        taken |= {source.alias for source in (*at.beside, *at.sources)}
        at = at.parent
    return taken


def _told_where_known(first: exp.Expr, joins: list[exp.Join]) -> list[exp.Join]:
    """ON may name what stands further right, where all joins are inner: the condition goes there."""
    places: dict[str, int] = {}
    for at, source in enumerate([first, *(join.this for join in joins)]):
        places.setdefault(source.alias_or_name.lower(), at - 1)
    if any(join.side for join in joins):
        for at, join in enumerate(joins):
            named = join.args["on"].find_all(exp.Column) if join.args.get("on") is not None else ()
            query = join.find_ancestor(exp.Select)
            own = (column for column in named if column.find_ancestor(exp.Select) is query)
            if any(places.get(column.table.lower(), -1) > at for column in own):
                raise Refused("ON that names what stands to its right, beside an outer join,", _IN_WHERE)
        return joins
    moved = list(joins)
    for at, join in enumerate(joins):
        condition = moved[at].args.get("on")
        named = condition.find_all(exp.Column) if condition is not None else ()
        needed = max((places.get(column.table.lower(), -1) for column in named), default=-1)
        there = next((to for to in range(needed, len(joins)) if not joins[to].args.get("using")), at)
        if condition is None or needed <= at or there <= at:
            continue
        moved[at], moved[there] = join.copy(), moved[there].copy()
        moved[at].set("on", None)
        both = [one for one in (moved[there].args.get("on"), condition.copy()) if one is not None]
        moved[there].set("on", exp.and_(*both, copy=False))
    return moved


def _argument(typed: Typed, source: Source) -> Typed:
    """What a table-valued function was called with, in a row of it."""
    node = typed.node.copy()
    if source.nullable:
        present = exp.Column(this=identifier(source.counted), table=identifier(source.alias))
        node = exp.Case(ifs=[exp.If(this=exp.Not(this=exp.Is(this=present, expression=exp.Null())), true=node)])
    return Typed(node, Kind.TEXT, collation="BINARY")


def _outer(scope: Scope) -> Scope:
    return Scope(scope.parent, ctes=scope.ctes)


def _copied(column: SourceColumn) -> SourceColumn:
    return replace(column, merged=column.name == TURN)
