"""VALUES, UNION, INTERSECT and EXCEPT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import cutting, merging, numbers
from cutover.dialect.arms import (
    by_places,
    chained,
    of_sorted,
    reading_of_arm,
    readings_for,
    sorted_alike,
    turns_of,
)
from cutover.dialect.comparing import value
from cutover.dialect.generated import as_sorted
from cutover.dialect.interleaved import tell_arms
from cutover.dialect.ordering import inner, ordered, position
from cutover.dialect.query import bare_query
from cutover.dialect.reading import Reading
from cutover.dialect.scope import NUMBER, Scope
from cutover.dialect.trees import keeps_all, leftmost, operations
from cutover.dialect.typed import NUMERIC_AFFINITIES, SQL_TYPE, Kind, Refused, Typed, cast, collate_c, identifier

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries
    from cutover.dialect.query import Query


def _across(arms: list[Query]) -> list[list[Typed]]:
    """The values of each column."""
    return [[typed for _, typed in column] for column in zip(*(arm.columns for arm in arms), strict=True)]


def unified(values: list[Typed]) -> tuple[Typed, list[exp.Expr]]:
    """One column of a compound, and the values of each arm in its kind."""
    kind, nodes = numbers.unify(values)
    first = values[0]
    telling = next((value for value in values if value.collation), first)
    plus = telling.explicit or telling.plus or (telling.affinity is not None and first.affinity is None)
    not_null = all(value.not_null for value in values)
    json = "mixed" if any(value.json for value in values) else ""
    return Typed(first.node, kind, first.affinity, telling.collation, plus=plus, not_null=not_null, json=json), nodes


def _in_one_kind(arms: list[Query], *, recursive: bool = False) -> list[tuple[str | None, Typed]]:
    """The columns of a compound. The arms give their values in the kinds of those.

    Of a recursion Postgres wants the collation of the whole in the first arm already, where a literal or what a
    function gives has none of its own.
    """
    columns: list[tuple[str | None, Typed]] = []
    projections: list[list[exp.Expr]] = [[] for _ in arms]
    for (name, _), values in zip(arms[0].columns, _across(arms), strict=True):
        typed, nodes = unified(values)
        columns.append((name, typed))
        for projected, node, given in zip(projections, nodes, values, strict=True):
            begins = recursive and projected is projections[0]
            if typed.kind is Kind.TEXT and (begins or given.kind is Kind.NULL):
                projected.append(collate_c(node))
            else:
                projected.append(cast(node, SQL_TYPE[typed.kind]) if typed.kind in (Kind.INT, Kind.NULL) else node)
    for arm, projected in zip(arms, projections, strict=True):
        arm.node.set("expressions", projected)
    return columns


def _mixes(arms: list[Query], columns: Sequence[tuple[str | None, Typed]]) -> bool:
    """See `Query.mixed`."""
    return any(
        typed.affinity in ("TEXT", *NUMERIC_AFFINITIES)
        and (typed.kind is Kind.DYNAMIC or (typed.kind is Kind.NUM and merging.differ(values, typed)))
        for values, (_, typed) in zip(_across(arms), columns, strict=False)
    )


class Compounds:
    """Rewrites VALUES and compounds of one statement."""

    def __init__(self, queries: Queries) -> None:
        self.queries = queries

    def values(self, node: exp.Values, scope: Scope, *, numbered: bool = False) -> Query:
        """VALUES as a query; columns are called column1, column2 ... `numbered`: with a number for each row."""
        plain = self.queries.expressions.plain
        rows = [[plain(item, scope) for item in row.expressions] for row in node.expressions]
        unified = [numbers.unify(column) for column in zip(*rows, strict=True)]
        names = [f"column{index}" for index in range(1, len(unified) + 1)]
        tuples = [exp.Tuple(expressions=[nodes[row] for _, nodes in unified]) for row in range(len(rows))]
        alias = exp.TableAlias(this=identifier("listed"), columns=[identifier(name) for name in names])
        source = exp.Values(expressions=tuples, alias=alias)
        if numbered:
            alias.append("columns", identifier(NUMBER))
            for at, one in enumerate(tuples):
                one.append("expressions", exp.Literal.number(at))
        projections = [exp.Column(this=identifier(name)) for name in names]
        telling = [next((one.collation for one in each if one.collation), None) for each in zip(*rows, strict=True)]
        columns: list[tuple[str | None, Typed]] = [
            (name, Typed(projection, kind, collation=called, explicit=called is not None))
            for name, projection, (kind, _), called in zip(names, projections, unified, telling, strict=True)
        ]
        if numbered:
            columns.append((NUMBER, Typed(exp.Column(this=identifier(NUMBER)), Kind.INT, not_null=True)))
            projections.append(exp.Column(this=identifier(NUMBER)))
        query = self.queries.made(exp.Select(expressions=projections, from_=exp.From(this=source)), columns)
        query.one_row = len(rows) == 1
        beside = [None] * numbered
        query.ends = [*(one.collation for one in rows[0]), *beside], [*(one.collation for one in rows[-1]), *beside]
        return query

    def compound(self, node: exp.SetOperation, scope: Scope) -> Query:
        """Arms brought to one kind a column."""
        first, chain = leftmost(node), operations(node)
        unordered = scope.reading is not None and node.args.get("order") is None
        if scope.reading is not None and keeps_all(chain[-1]) and by_places(node):
            # Rows that were sorted to find equal ones stay before the others.
            sorting = max((at for at, one in enumerate(chain, 1) if not keeps_all(one)), default=0)
            first, chain = chain[sorting - 1] if sorting else first, chain[sorting:]
        written = [first, *(one.expression for one in chain)]
        all_rows = all(map(keeps_all, chain))
        readings = readings_for(self.queries, written, scope, unordered=unordered, all_rows=all_rows)
        plain = all_rows and unordered
        within = all_rows and scope.reading is None and bool(node.args.get("limit")) and not node.args.get("order")
        arms = [
            self._arm(one, scope, read, plain=plain, repeated=one is written[-1], cut=within)
            for one, read in zip(written, readings, strict=True)
        ]
        if len({len(arm.columns) for arm in arms}) != 1:
            raise Refused("A compound SELECT with arms of different widths")
        ends = arms[0].collations(0), arms[-1].collations(1)
        query = self._merged(node, scope, written, arms) if not all_rows else None
        if query is None:
            columns = _in_one_kind(arms, recursive=scope.recursive)
            query = self.queries.made(chained(chain, arms), columns)
            query.turns = turns_of(arms) if all_rows else []
            if scope.interleaved:
                tell_arms(self.queries, node, scope, query, arms)
        query.mixed = _mixes(arms, query.columns)
        order = node.args.get("order")
        places = [self.place(inner(term), written, arms) for term in order.expressions] if order else []
        shown = node.args.get("limit") is not None or self.queries.context.gathers
        shown = shown and not (scope.recursive or scope.turning)
        if not all_rows and (unordered or order or shown):  # to find rows that are equal, SQLite sorts by all columns
            places = self._sorted(node, places, len(query.columns))
        query.loose = all_rows and any(arm.loose for arm in arms) and not (scope.recursive or scope.turning)
        if not places and query.loose and cutting.may_cut(self.queries, node, scope, query):
            query = cutting.checked(self.queries, node, query, [])
        elif not places:
            self.queries.ordering.limit(node, query.node)
        else:
            if all_rows and scope.reading is not None:
                query = self._numbered(node, scope, written, arms, places) or query
            query = self.ordered(node, query, places, scope)
        beside = [None] * len(query.tells)
        query.ends = [*ends[0], *beside], [*ends[1], *beside]
        return query

    def _numbered(
        self, node: exp.SetOperation, scope: Scope, written: list[exp.Expr], arms: list[Query], places: list[int]
    ) -> Query | None:
        """UNION ALL with rows that ORDER BY leaves in ties: SQLite merges its arms, each sorted as it is read."""
        readings, order = of_sorted(scope.reading, len(written)), node.args["order"]
        merges = scope.reading is not None and bool(scope.reading.merged)
        columns = [unified(values)[0] for values in _across(arms)]
        told = [merging.differ(values, whole) for values, whole in zip(_across(arms), columns, strict=True)]
        if len(readings) != len(written) or (set(places) == set(range(len(columns))) and not any(told)):
            return None
        for at, (arm, reading) in enumerate(zip(arms, readings, strict=True)):
            if reading.merged or (merges and reading.scans and not reading.orders):  # an index may be read backwards
                arms[at] = self._arm(sorted_alike(written[at], order, places), scope, reading)
            elif not arm.one_row and (reading.scans or reading.arms):
                arms[at] = self._arm(written[at], scope, reading)
        made = _in_one_kind(arms)
        way = merging.Merging([typed for _, typed in made], sorts=True)
        result: exp.Expr = way.arm(0, arms[0].node)
        for number, arm in enumerate(arms[1:], 1):
            result = exp.Union(this=result, expression=way.arm(number, arm.node), distinct=False)
        query = self.queries.made(way.numbered(result), [*way.named(made), *merging.NUMBERS])
        query.loose = any(arm.loose for arm in arms)
        query.mixed = _mixes(arms, query.columns)
        return query

    def _merged(self, node: exp.SetOperation, scope: Scope, written: list[exp.Expr], arms: list[Query]) -> Query | None:
        """The compound, if rows of it may be equal without being the same: then it matters which of them stays."""
        wholes = [unified(values)[0] for values in _across(arms)]
        told = [merging.differ(values, whole) for values, whole in zip(_across(arms), wholes, strict=True)]
        if not any(told):
            return None
        if scope.recursive:  # Postgres keeps the first that it meets, as SQLite does
            if any(whole.kind not in (Kind.NUM, Kind.REAL) for whole, one in zip(wholes, told, strict=True) if one):
                raise Refused("A recursive UNION of values that are equal without being the same")
            return None
        any_will_do = scope.any_equal and all(merging.is_bytewise(values) for values in _across(arms))
        for at, arm in enumerate(arms if not any_will_do else ()):
            listed = arm.one_row or isinstance(bare_query(written[at]), exp.Values)
            pairs = [(one, whole) for (_, one), whole in zip(arm.columns, wholes, strict=True) if not listed]
            kinds = {whole.kind for one, whole in pairs if merging.differ_within(one, whole)}
            # Which of two zeros stays is left to chance where the reading is not known.
            reading = reading_of_arm(node, scope, written, at, needed=kinds != {Kind.REAL}) if kinds else None
            if reading is not None:
                arms[at] = self._arm(written[at], scope, reading)
        columns = _in_one_kind(arms)
        way = merging.Merging([typed for _, typed in columns], sorts=node.args.get("order") is not None)
        result = way.arm(0, arms[0].node)
        for number, (operation, arm) in enumerate(zip(operations(node), arms[1:], strict=True), 1):
            result = way.combined(operation, number, result, way.arm(number, arm.node))
        return self.queries.made(way.result(result), way.named(columns))

    def _sorted(self, node: exp.SetOperation, places: list[int], width: int) -> list[int]:
        """Have it sorted by the other columns, too. Returns the columns that it is sorted by."""
        if keeps_all(operations(node)[-1]):
            return places
        others = [place for place in range(width) if place not in places]
        asked = node.args["order"].expressions if places else []
        added = [exp.Ordered(this=exp.Literal.number(place + 1), nulls_first=True) for place in others]
        node.set("order", exp.Order(expressions=[*asked, *added]))
        return [*places, *others]

    def place(self, term: exp.Expr, written: list[exp.Expr], arms: list[Query]) -> int:
        """The column that a term of ORDER BY means: by number, by name in any arm, or by its expression."""
        term = term.this if isinstance(term, exp.Collate) else term
        for select, arm in zip(written, arms, strict=True):
            place = position(term, arm.columns, select, compound=True)
            if place is not None:
                return place
            projections = [one.this if isinstance(one, exp.Alias) else one for one in select.expressions]
            if term in projections and not any(isinstance(one, exp.Star) for one in projections):
                return projections.index(term)
        raise Refused(
            "ORDER BY of a compound SELECT by this expression",
            "Order by the number or the name of a column, or select from it and order that.",
        )

    def _arm(
        self,
        node: exp.Expr,
        scope: Scope,
        reading: Reading | None,
        *,
        plain: bool = False,
        repeated: bool = False,
        cut: bool = False,
    ) -> Query:
        """One SELECT of a compound, which is `plain` if rows go out as they are read."""
        inside = Scope(Scope(scope.parent, ctes=scope.ctes), reading=reading)
        inside.turning, inside.cut = scope.turning if repeated else "", cut
        query = self.queries.query(node, inside)
        if scope.interleaved and not any(map(query.node.args.get, ("distinct", "limit", "offset"))):
            query.node.set("order", None)  # which columns tell
        if scope.parent is None and scope.reading is not None and not plain:
            query.columns = [(name, as_sorted(typed)) for name, typed in query.columns]
            query.node.set("expressions", [typed.node for _, typed in query.columns])
        # An arm of DISTINCT rows, which are the first of some order, or a compound.
        if query.node.args.get("order") is not None or isinstance(query.node, exp.SetOperation):
            derived, source = self.queries.sources.derived(query, "arm")
            typed = [source.typed(column) for column in source.columns]
            projections = [one.node for one in typed]
            query.node = exp.Select(expressions=projections, from_=exp.From(this=derived))
            query.columns = [
                (name, one.but(collation=was.collation, explicit=was.explicit, plus=was.plus))
                for (name, was), one in zip(query.columns, typed, strict=True)
            ]
        # The column of a DECIMAL stays known: it tells that equal numbers are the same.
        query.columns = [
            (name, value(typed).but(column=typed.column) if typed.kind is Kind.WHOLE else value(typed))
            for name, typed in query.columns
        ]
        query.node.set("expressions", [typed.node for _, typed in query.columns])
        return query

    def ordered(self, node: exp.Expr, query: Query, places: list[int], scope: Scope) -> Query:
        """The rows of a query in the order of some of its columns."""
        mixed, query.mixed = query.mixed, False  # only its order changes
        derived, source = self.queries.sources.derived(query, "unordered")
        typed = [source.typed(column) for column in source.columns]
        terms = []
        for term, place in zip(node.args["order"].expressions, places, strict=True):
            written = inner(term)
            key = typed[place]
            if isinstance(written, exp.Collate):
                key = key.but(collation=written.expression.name, explicit=True)
            terms.append(ordered(term, key.but(node=key.node.copy())))
        asked = list(terms)
        names = [name for name, _ in query.columns]
        if names[-2:] == [name for name, _ in merging.NUMBERS]:
            terms += [exp.Ordered(this=one.node) for one in typed[-2:]]
            names, typed = names[:-2], typed[:-2]
        result = exp.Select(
            expressions=[one.node for one in typed], from_=exp.From(this=derived), order=exp.Order(expressions=terms)
        )
        made = self.queries.made(result, list(zip(names, typed, strict=True)))
        made.mixed = mixed
        cuts = query.loose and len(set(places)) < len(typed)
        if cuts and cutting.may_cut(self.queries, node, scope, made):
            result.set("order", exp.Order(expressions=asked))
            return cutting.checked(self.queries, node, made, asked)
        self.queries.ordering.limit(node, result)
        return made
