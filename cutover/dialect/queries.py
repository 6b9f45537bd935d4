"""SELECT, VALUES, compound queries and WITH."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from cutover.dialect import cut, cutting, windows
from cutover.dialect.aggregates import Aggregates
from cutover.dialect.calls import own_aggregates, owner_of
from cutover.dialect.collations import collated, collation
from cutover.dialect.compounds import Compounds
from cutover.dialect.context import Context
from cutover.dialect.distinct import distinct
from cutover.dialect.earliest import comes_backwards, nulls_come_at_once
from cutover.dialect.expressions import Expressions
from cutover.dialect.functions import is_aggregate
from cutover.dialect.generated import as_sorted, mark_given
from cutover.dialect.merging import is_canonical
from cutover.dialect.ordering import Ordering, sort_key
from cutover.dialect.present import note_present
from cutover.dialect.query import Query, bare_query
from cutover.dialect.reading import Reading, Scan
from cutover.dialect.scalars import number_within, place_in_list, place_of, place_within
from cutover.dialect.scope import Grouping, Scope, Source, SourceColumn
from cutover.dialect.sources import Sources
from cutover.dialect.terms import ordinal
from cutover.dialect.typed import Kind, Refused, Typed, identifier
from cutover.dialect.withs import Withs


class Queries:
    """Rewrites queries of one statement."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.expressions = Expressions(context)
        self.expressions.queries = self
        self.aggregates = Aggregates(self.expressions)
        self.ordering = Ordering(self.expressions)
        self.sources = Sources(self)
        self.compounds = Compounds(self)
        self.withs = Withs(self)

    def made(self, node: exp.Expr, columns: list[tuple[str | None, Typed]]) -> Query:
        """A query that others have put together."""
        return Query(node, columns)

    def query(self, node: exp.Expr, scope: Scope) -> Query:
        """Any query. `scope` is a fresh child scope for it."""
        node = bare_query(node)
        scope.reading = scope.reading or cut.reading_of(node, self.context.named)
        if scope.reading is not None and isinstance(node, exp.Select):
            if windows.has_own(node):
                made, _ = windows.steps(node, windows.definitions(node))
                scope.reading = scope.reading.behind_windows(len(made))
                scope.merged = () if scope.reading.inside else scope.reading.scans or ()
            elif _passes_on(node):
                scope.within = scope.reading.within()
            else:
                scope.merged = scope.reading.scans or ()
            scope.cuts = scope.within is None and _is_cut(node, self.context.catalog.views)
            shows = bool(node.args.get("order") or node.args.get("distinct")) and not node.args.get("group")
            scope.tied = scope.within is None and shows and scope.reading.inside is not None
            if scope.within is None and (self.context.gathers or scope.cuts or scope.tied):
                scope.within = scope.reading.inside
            if scope.within is None and scope.cuts and windows.has_own(node):  # SQLite merged it into this one
                scope.within = replace(scope.reading, sorts=frozenset())
        with_clause = self.withs.clause(node, scope)
        if isinstance(node, exp.Select):
            query = self._select(node, scope)
        elif isinstance(node, exp.SetOperation):
            query = self.compounds.compound(node, scope)
        elif isinstance(node, exp.Values):
            query = self.compounds.values(node, scope)
        else:
            raise Refused(f"The query {type(node).__name__}")
        if with_clause is not None:
            query.node.set("with_", with_clause)
        return query

    def view(
        self,
        parsed: exp.Create,
        reading: Reading | None = None,
        merged: tuple[Scan, ...] = (),
        arms: tuple[Reading | None, ...] = (),
    ) -> Query:
        """The query of a view, from its CREATE VIEW."""
        if self.context.of_view and isinstance(parsed.expression, exp.Select):
            number_within(parsed.expression, self.context.catalog.views)
        query = self.query(parsed.expression, Scope(reading=reading, merged=merged, interleaved=arms)).named()
        own = parsed.this.this if isinstance(parsed.this, exp.Schema) else parsed.this
        of_sqlite = self.context.catalog.view_columns.get(own.name.lower(), ())
        told = [str(query.columns[at][0]) for at in sorted(query.tells)]
        names: list[str] = []
        if isinstance(parsed.this, exp.Schema):
            names = [column.name for column in parsed.this.expressions]
        elif len(of_sqlite) + len(told) == len(query.columns):
            names = list(of_sqlite)
        if names:
            names += told
            query.columns = [(name, typed) for name, (_, typed) in zip(names, query.columns, strict=True)]
            query.named()
        return query

    # -- SELECT ------------------------------------------------------------------------------------------------------

    def _select(self, node: exp.Select, scope: Scope) -> Query:
        for projection in node.expressions:
            if isinstance(projection, exp.Alias):
                scope.aliases.setdefault(projection.alias.lower(), projection.this)
        scope.select = node
        from_, joins = self.sources.from_clause(node, scope)
        scope.named = windows.definitions(node)
        scope.steps, scope.again = windows.steps(node, scope.named)
        result = exp.Select(from_=from_, joins=joins)
        if node.args.get("where"):
            scope.tests.append(node.args["where"].this)
            result.set("where", exp.Where(this=self._filter(node.args["where"].this, scope)))
            note_present(node.args["where"].this, scope)
        grouping = self._grouping(node, scope, result)
        scope.grouping = grouping
        sorts = scope.parent is None and scope.reading is not None and scope.reading.orders
        sorts = sorts and grouping is None and not scope.steps
        for projection in node.expressions if sorts else ():
            mark_given(projection, as_sorted)
        columns = self.projections(node.expressions, scope)
        if scope.hoisted and (grouping is None or scope.hoisted > 1):
            scope.grouping = grouping = grouping or Grouping()
            grouping.several = grouping.several or scope.hoisted > 1
            columns = self.projections(node.expressions, scope)
        if sorts and grouping is None:
            columns = [(name, as_sorted(typed)) for name, typed in columns]
        result.set("expressions", [typed.node for _, typed in columns])
        if node.args.get("having"):
            result.set("having", exp.Having(this=self._filter(node.args["having"].this, scope)))
        elif grouping is not None and not node.args.get("group") and not any(map(_is_aggregate, node.expressions)):
            # What is known without them takes the place of calls: `coalesce(1, count(*))`. One row it is all the same.
            result.set("having", exp.Having(this=exp.Boolean(this=True)))
        if node.args.get("distinct"):
            return distinct(self, node, scope, result, columns)
        order, asked = self.ordering.of_select(node, scope, columns)
        if order:
            result.set("order", exp.Order(expressions=order))
        one_row = not scope.sources if grouping is None else not node.args.get("group")
        plain = grouping is None
        made = Query(result, columns, one_row=one_row)
        cut = cutting.guarded(self, node, scope, made, order, asked) if plain else None
        if cut is not None:
            return cut
        self.ordering.limit(node, result)
        turn = self.ordering.unasked.turn(node, scope) if scope.turning and grouping is None else None
        turns: list[tuple[exp.Expr, exp.Expr]] = [(result, turn)] if turn is not None else []
        reads = {} if grouping or scope.steps or any(map(node.args.get, _KEPT)) else self.ordering.unasked.merged(scope)
        told = [*order, *(term for terms in reads.values() for term in terms)]
        untold = plain and cutting.certain(scope, told, asked) is not None
        return Query(result, columns, turns=turns, one_row=one_row, reads=reads, loose=untold)

    def is_untold(self, scope: Scope, order: list[exp.Expr]) -> bool:
        """Whether only SQLite knows which of a group's rows comes first, with this for an order."""
        if self.context.catalog.any_of_ties or not cutting.loose(scope, order):
            return False
        self.context.caveats[cutting.OF_GROUPS] = None
        return True

    def _filter(self, node: exp.Expr, scope: Scope) -> exp.Expr:
        return self.expressions.condition(node, scope, loose=True)

    def projections(self, nodes: Sequence[exp.Expr], scope: Scope) -> list[tuple[str | None, Typed]]:
        """The columns of a SELECT list or of RETURNING, stars expanded."""
        columns: list[tuple[str | None, Typed]] = []
        for node in nodes:
            inner = node.this if isinstance(node, exp.Alias) else node
            if isinstance(inner, exp.Star) or (isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star)):
                qualifier = inner.table.lower() if isinstance(inner, exp.Column) else ""
                columns += self.star(qualifier, scope)
                continue
            name = (
                node.alias if isinstance(node, exp.Alias) else (inner.name if isinstance(inner, exp.Column) else None)
            )
            with scope.unnamed():
                columns.append((name, self.expressions.typed(inner, scope)))
        return columns

    def star(self, qualifier: str, scope: Scope) -> list[tuple[str | None, Typed]]:
        """All columns of one source, or of all."""
        columns: list[tuple[str | None, Typed]] = []
        for source in scope.sources:
            if qualifier and not source.is_called(qualifier):
                continue
            for column in source.columns:
                columns += self._starred(source, column, qualifier, scope)
        return columns

    def _starred(
        self, source: Source, column: SourceColumn, qualifier: str, scope: Scope
    ) -> list[tuple[str | None, Typed]]:
        """A column of `*`, at the place of the first of those that USING makes one."""
        name = column.name.lower()
        if column.hidden or (not qualifier and (column.merged or name in source.using)):
            return []
        later = scope.sources[scope.sources.index(source) + 1 :]
        shared = any(name in other.using for other in later)
        if shared and (not qualifier or any(other.side in ("RIGHT", "FULL") for other in later)):
            return [(column.name, self.expressions.typed(exp.Column(this=identifier(column.name)), scope))]
        return [(column.name, self.expressions.of_source(source, column, scope))]

    def _grouping(self, node: exp.Select, scope: Scope, result: exp.Select) -> Grouping | None:
        group = node.args.get("group")
        with scope.unnamed():
            calls = _calls(node.expressions, scope)
        calls += _calls([part for clause in ("having", "order") if (part := node.args.get(clause))], scope)
        if group is None and not calls:
            return None
        extremes = _extremes(node, calls)
        calls = list({_with_filter(call): call for call in calls}.values())  # to SQLite the same call is one
        grouping = Grouping()
        keys: list[exp.Expr] = []
        for term in group.expressions if group else ():
            typed = self.expressions.typed(ordinal(term, node.expressions), scope)
            if typed.is_constant or typed.kind is Kind.NULL:
                continue
            key = collated(typed, collation(typed)) if typed.kind is Kind.TEXT else typed.node
            if typed.kind is Kind.DYNAMIC and collation(typed) != "BINARY":
                key = sort_key(typed)
            keys.append(key)
            # Of values that are equal without being the same a group shows the first.
            loose = typed.kind is Kind.DYNAMIC or (typed.kind is Kind.NUM and not is_canonical(typed))
            written = key.sql("postgres")
            (grouping.loose if loose else grouping.keys).add(written)
            if key is not typed.node and (spelled := typed.node.sql("postgres")) != written:
                grouping.loose.add(spelled)
        if group is not None:
            result.set("group", exp.Group(expressions=keys or [_one_group()]))
        for source in scope.sources:
            key_names = [source.find(name) for name in source.table.key] if source.table else []
            nodes = [source.typed(column).node.sql("postgres") for column in key_names if column]
            if nodes and len(nodes) == len(key_names) and set(nodes) <= grouping.keys:
                grouping.whole.add(source.alias)
        grouping.several = len(extremes) > 1 and any(isinstance(call.parent, exp.Filter) for call in extremes)
        if extremes and not grouping.several:
            last = extremes[-1]
            written = last.expressions[0]
            argument = self.expressions.plain(
                written.expressions[0] if isinstance(written, exp.Distinct) else written, scope
            )
            key, around = sort_key(argument), last.parent
            if isinstance(around, exp.Filter):
                passes = self.expressions.condition(around.expression.this, scope, loose=True)
                key = exp.Case(ifs=[exp.If(this=passes, true=key)])
            grouping.extreme = (key, str(last.this) == "fn_max")
            filtered = isinstance(around, exp.Filter)
            alone = len(calls) == 1 and not any(map(node.args.get, ("group", "having")))
            first = alone and nulls_come_at_once(written, scope, is_max=grouping.extreme[1])
            scope.backwards = alone and not filtered and comes_backwards(written, scope, is_max=grouping.extreme[1])
            grouping.last = not (filtered or first or scope.backwards)
        return grouping

    # -- subqueries in expressions -----------------------------------------------------------------------------------

    def scalar(self, node: exp.Expr, scope: Scope) -> Typed:
        """A query as one value: its first row, NULL without one."""
        inside = Scope(scope, reading=self._reading_of(node))
        query = self.query(node, inside)
        if len(query.columns) != 1:
            raise Refused("A subquery with several columns as one value", "Select one column.")
        if query.loose and not query.one_row and query.node.args.get("limit") is None:
            node = bare_query(node).copy()  # its first row is what LIMIT 1 takes
            node.set("limit", exp.Limit(expression=exp.Literal.number(1)))
            query = self.query(node, Scope(scope, reading=self._reading_of(node)))
        if not query.one_row and query.node.args.get("limit") is None:
            if isinstance(node, exp.Select) and query.node.args.get("order") is None:
                self.ordering.first(node, inside, query.node)
            query.node.set("limit", exp.Limit(expression=exp.Literal.number(1)))
        elif not query.one_row and not _takes_one(node):
            query.node = _first_row(query.node)
        typed = query.columns[0][1]
        json = typed.json
        if json and node.args.get("order") and not query.one_row:
            json = "mixed"  # SQLite forgets it where it sorts, and an index may spare it that
        node = exp.Subquery(this=query.node)
        return typed.but(json=json, node=node, not_null=False, constant=None, slot=None, collation=None, plus=False)

    def _reading_of(self, node: exp.Expr) -> Reading | None:
        """How SQLite reads for a query that is one value."""
        query = bare_query(node)
        place, within = place_of(query), place_within(query)
        if within is not None:
            return self.context.of_view.get(within)
        return self.context.scalars[place] if place is not None and self.context.scalars else None

    def listed(self, node: exp.Expr) -> Reading | None:
        """How SQLite reads for a query behind IN, where it matters: of which rows LIMIT takes the first."""
        query = bare_query(node)
        place = place_in_list(query) if query.args.get("limit") is not None else None
        return self.context.lists[place] if place is not None and self.context.lists else None


_KEPT = ("order", "limit", "offset")
"""What keeps SQLite from merging a query into the one around it, or its order from being that of reading."""


def _passes_on(node: exp.Select) -> bool:
    """Whether rows come in the order of the only thing in FROM."""
    clause = node.args.get("from_")
    if clause is None or any(node.args.get(part) for part in ("joins", "group", "distinct", "order", "having")):
        return False
    return not clause.this.args.get("joins") and not any(map(own_aggregates, node.expressions))


def _is_cut(node: exp.Select, views: Mapping[str, str]) -> bool:
    """Whether LIMIT takes some rows of what stands in FROM: which, the order of reading tells."""
    clause = node.args.get("from_")
    source = clause.this if clause is not None else None
    if isinstance(source, exp.Subquery):
        return bare_query(source).args.get("limit") is not None
    if not isinstance(source, exp.Table):
        return False
    name, clause = source.name.lower(), node.args.get("with_")
    for cte in clause.expressions if clause is not None else ():
        if cte.alias.lower() == name:
            return bare_query(cte.this).args.get("limit") is not None
    return "limit" in views.get(name, "").lower()


def _takes_one(node: exp.Expr) -> bool:
    """Whether LIMIT says that there is one row at most."""
    limit = bare_query(node).args.get("limit")
    count = limit.expression if limit is not None else None
    return isinstance(count, exp.Literal) and str(count.this) in ("0", "1")


def _first_row(query: exp.Expr) -> exp.Expr:
    """Of a query whose LIMIT may be for several rows."""
    name = identifier("value")
    alias = exp.TableAlias(this=identifier("first"), columns=[name])
    source = exp.From(this=exp.Subquery(this=query, alias=alias))
    one = exp.Limit(expression=exp.Literal.number(1))
    return exp.Select(expressions=[exp.Column(this=name.copy())], from_=source, limit=one)


def _calls(parts: Sequence[exp.Expr], scope: Scope) -> list[exp.Anonymous]:
    """Aggregates of the SELECT itself."""
    return [call for part in parts for call in own_aggregates(part) if owner_of(call, scope) is scope]


def _is_aggregate(projection: exp.Expr) -> bool:
    """Whether it is an aggregate's call alone, without anything around."""
    inner = projection.this if isinstance(projection, exp.Alias) else projection
    return isinstance(inner, exp.Anonymous) and is_aggregate(inner)


def _extremes(node: exp.Select, calls: Sequence[exp.Anonymous]) -> list[exp.Anonymous]:
    """The calls of min() and max() as SQLite finds them: the last is the one that bare columns go by."""
    asked = {id(call) for call in calls if str(call.this) in ("fn_min", "fn_max")}
    parts = [*node.expressions, node.args.get("order"), node.args.get("having")]
    walked = (one for part in parts if part is not None for one in part.walk(bfs=False))
    found: dict[exp.Expr, exp.Anonymous] = {}
    for one in walked:
        if isinstance(one, exp.Anonymous) and id(one) in asked:
            found.setdefault(_with_filter(one), one)
    return list(found.values())


def _with_filter(call: exp.Anonymous) -> exp.Expr:
    return call.parent if isinstance(call.parent, exp.Filter) else call


def _one_group() -> exp.Expr:
    """What makes all rows one group, and none of no rows."""
    return exp.Subquery(this=exp.Select(expressions=[exp.Literal.number(1)]))
