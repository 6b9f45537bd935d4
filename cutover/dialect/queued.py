"""Recursion in an order of its own: ORDER BY in WITH RECURSIVE, and several repeated parts.

SQLite keeps the rows that it has found in a queue, takes the first, gives it out, and runs the repeated part for it
alone. Here a row of a recursion on Postgres is a state of that queue, a jsonb array of rows which are arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import compounds, numbers
from cutover.dialect.collations import collation
from cutover.dialect.comparing import value
from cutover.dialect.ordering import inner, ordered
from cutover.dialect.query import Query
from cutover.dialect.scope import TURN, Scope, SourceColumn
from cutover.dialect.trees import keeps_all, leftmost, means_with, operations
from cutover.dialect.typed import SQL_TYPE, Kind, Refused, Typed, call, cast, helper, identifier

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries

_STATE, _QUEUE, _SEEN, _ITEM = "of:state", "of:queue", "of:seen", "item"
Columns = list[tuple[str | None, Typed]]


@dataclass(frozen=True, slots=True)
class _Parts:
    """A recursive compound, taken apart."""

    initial: exp.Expr
    repeated: exp.Expr
    written: list[exp.Expr]
    """Each SELECT."""
    ahead: int
    """How many of those are not repeated."""
    distinct: bool


def queued(
    queries: Queries, name: str, names: Sequence[str], body: exp.SetOperation, scope: Scope, *, rounds: bool = False
) -> Query:
    """The rows of the recursion `name`, in SQLite's order, numbered. LIMIT is left to others.

    `rounds`: the whole queue is taken at once, which is the same where it has no order of its own.
    """
    parts = _parts(body, name)
    begun = queries.ordering.begun(name.lower())
    first = queries.query(parts.initial.copy(), Scope(Scope(scope.parent, ctes=scope.ctes), reading=begun))
    columns = [(names[at] if names else called, value(typed)) for at, (called, typed) in enumerate(first.columns)]
    again, whole = _settled(queries, name, columns, parts, scope, by_turn=rounds)
    if parts.distinct and any(
        typed.kind is Kind.DYNAMIC or (typed.kind is Kind.TEXT and collation(typed) != "BINARY") for _, typed in whole
    ):
        raise Refused("A recursive UNION of values that are equal without being the same")
    order = body.args.get("order")
    arms = [first] * parts.ahead + [again] * (len(parts.written) - parts.ahead)
    places = [queries.compounds.place(inner(term), parts.written, arms) for term in order.expressions] if order else []
    terms = list(zip(order.expressions if order else (), places, strict=True))
    queue = _Queue(whole, terms, parts.distinct, rounds)
    return queue.rows(queue.begin(first), queue.step(name, again))


def _parts(body: exp.SetOperation, name: str) -> _Parts:
    chain = operations(body)
    written = [leftmost(body), *(one.expression for one in chain)]
    repeats = [any(means_with(table, name) for table in arm.find_all(exp.Table)) for arm in written]
    ahead = repeats.index(True)
    joining = chain[ahead - 1 :]
    if not ahead or not all(repeats[ahead:]) or any(keeps_all(one) != keeps_all(joining[0]) for one in joining):
        raise Refused("A recursive query with several recursive parts")
    repeated = written[ahead].copy()
    for one in written[ahead + 1 :]:
        repeated = exp.Union(this=repeated, expression=one.copy(), distinct=False)
    initial = written[0] if ahead == 1 else chain[ahead - 2]
    return _Parts(initial, repeated, written, ahead, not keeps_all(joining[0]))


def _settled(
    queries: Queries, name: str, columns: Columns, parts: _Parts, scope: Scope, *, by_turn: bool
) -> tuple[Query, Columns]:
    """The repeated part, and columns of kinds that hold for what it is given as well as for what it gives."""
    readings = [read for called, read in queries.ordering.repeated if called == name.lower()]
    whole = columns
    for _ in range(2):
        inside = Scope(Scope(scope.parent, ctes=scope.ctes), reading=readings[0] if len(readings) == 1 else None)
        inside.ctes[name.lower()] = [*Query(exp.Select(), whole).source_columns(), turn()]
        again = queries.query(parts.repeated.copy(), inside)
        if len(again.columns) != len(columns):
            raise Refused("A compound SELECT with arms of different widths")
        made = [
            compounds.unified([one, value(two)])[0] for (_, one), (_, two) in zip(columns, again.columns, strict=True)
        ]
        settled = all(one.kind is two.kind for one, (_, two) in zip(made, whole, strict=True))
        whole = [
            (called, typed.but(not_null=False, column=None)) for (called, _), typed in zip(columns, made, strict=True)
        ]
        if settled:
            if by_turn:
                _by_turn(again.node, inside)
            return again, whole
    raise Refused("A recursive query whose values change their types")


def _by_turn(node: exp.Expr, scope: Scope) -> None:
    """What is found for one row comes before what is found for the next."""
    given = [source.alias for source in scope.sources if source.counted == TURN]
    if len(given) != 1:
        raise Refused("A recursive query that reads what it finds twice")
    read = node.args["order"].expressions if node.args.get("order") else []
    node.set("order", exp.Order(expressions=[exp.Ordered(this=_column(TURN, given[0])), *read]))


def turn() -> SourceColumn:
    """The column that numbers the rows of a recursion."""
    return SourceColumn(TURN, TURN, Kind.INT, not_null=True, merged=True)


@dataclass(frozen=True, slots=True)
class _Queue:
    """Builds the recursion over states of the queue."""

    columns: Columns
    terms: Sequence[tuple[exp.Expr, int]]
    """Of ORDER BY, and the columns that they mean."""
    distinct: bool
    rounds: bool = False

    def begin(self, query: Query) -> exp.Select:
        """The state with the rows that the recursion begins with."""
        found = self._collected(query)
        if self.distinct:
            found = helper("queue_unseen", _empty(), found)
        given = exp.Select(expressions=[exp.Alias(this=found, alias=identifier("found"))])
        state = [self._sorted(_column("found", "given")), cast(exp.Literal.number(0), "BIGINT")]
        if self.distinct:
            state.append(_column("found", "given"))
        return exp.Select(expressions=state, from_=exp.From(this=_derived(given, "given")))

    def step(self, name: str, query: Query) -> exp.Select:
        """The state after the first row was taken, and the repeated part run for it."""
        item = self._item()
        names = Query(exp.Select(), self.columns).aliases()
        taken = [
            exp.Alias(this=self._read(item.copy(), at), alias=identifier(called)) for at, called in enumerate(names)
        ]
        place = _column("place", "rows") if self.rounds else exp.Literal.number(0)
        taken.append(exp.Alias(this=place, alias=identifier(TURN)))
        rows = exp.From(this=self._all()) if self.rounds else None
        row = exp.CTE(
            this=exp.Select(expressions=taken, from_=rows), alias=exp.TableAlias(this=identifier(name.lower()))
        )
        found = exp.Select(expressions=[exp.Alias(this=self._collected(query), alias=identifier("found"))])
        found.set("with_", exp.With(expressions=[row]))
        given = _derived(found, "given", lateral=True)
        fresh: exp.Expr = _column("found", "given")
        if self.distinct:
            fresh = helper("queue_unseen", _column(_SEEN, _STATE), fresh)
        passed = exp.Select(expressions=[exp.Alias(this=fresh, alias=identifier("fresh"))])
        left: exp.Expr = call("jsonb_delete", _column(_QUEUE, _STATE), exp.Literal.number(0))
        both: exp.Expr = call("jsonb_concat", left, _column("fresh", "passed"))
        if self.rounds:
            both = _column("fresh", "passed")
        elif self.terms:  # most rows of a tree are leaves, behind which the queue is sorted already
            nothing = exp.EQ(this=_column("fresh", "passed"), expression=_empty())
            both = exp.Case(ifs=[exp.If(this=nothing, true=left.copy())], default=self._sorted(both))
        state = [both, exp.Add(this=_column(TURN, _STATE), expression=exp.Literal.number(1))]
        if self.distinct:
            state.append(call("jsonb_concat", _column(_SEEN, _STATE), _column("fresh", "passed")))
        joins = [exp.Join(this=one, kind="CROSS") for one in (given, _derived(passed, "passed", lateral=True))]
        return exp.Select(expressions=state, from_=_from_state(), joins=joins, where=_where_any())

    def rows(self, begin: exp.Select, step: exp.Select) -> Query:
        """What is taken from the queue, one state after the other."""
        names = [_QUEUE, TURN, *([_SEEN] if self.distinct else [])]
        alias = exp.TableAlias(this=identifier(_STATE), columns=[identifier(name) for name in names])
        states = exp.CTE(this=exp.Union(this=begin, expression=step, distinct=False), alias=alias)
        item, number = self._item(), _column(TURN, _STATE)
        columns = [
            (called, typed.but(node=self._read(item.copy(), at))) for at, (called, typed) in enumerate(self.columns)
        ]
        node = exp.Select(expressions=[typed.node for _, typed in columns], from_=_from_state(), where=_where_any())
        node.set("with_", exp.With(expressions=[states], recursive=True))
        if self.rounds:
            node.set("joins", [exp.Join(this=self._all(), kind="CROSS")])
            number = exp.Add(
                this=exp.Mul(this=number, expression=exp.Literal.number(1 << 32)), expression=_column("place", "rows")
            )
        return Query(node, columns, turns=[(node, number)])

    def _item(self) -> exp.Expr:
        """What is taken from the queue."""
        if self.rounds:
            return _column(_ITEM, "rows")
        return call("jsonb_array_element", _column(_QUEUE, _STATE), exp.Literal.number(0))

    def _all(self) -> exp.Expr:
        """All rows of the queue."""
        return exp.Table(
            this=helper("queue_rows", _column(_QUEUE, _STATE)), alias=exp.TableAlias(this=identifier("rows"))
        )

    def _collected(self, query: Query) -> exp.Expr:
        """All rows of a query as one array, in the order in which they come."""
        names = [f"c{at}" for at in range(len(self.columns))]
        given = [
            Typed(_column(called, "each"), value(typed).kind)
            for called, (_, typed) in zip(names, query.columns, strict=True)
        ]
        whole = [numbers.converted(one, typed.kind) for one, (_, typed) in zip(given, self.columns, strict=True)]
        query.columns = [(called, value(typed)) for called, typed in query.columns]
        if isinstance(query.node, exp.Select):
            query.node.set("expressions", [typed.node for _, typed in query.columns])
        array = call("coalesce", call("jsonb_agg", call("jsonb_build_array", *whole)), _empty())
        collected = exp.Select(expressions=[array], from_=exp.From(this=_derived(query.node, "each", names)))
        return exp.Subquery(this=collected)

    def _sorted(self, queue: exp.Expr) -> exp.Expr:
        """The queue with the row first that is taken next: of rows that are equal, the one that was found first."""
        if not self.terms:
            return queue
        order = []
        for term, place in self.terms:
            typed = self.columns[place][1].but(node=self._read(_column(_ITEM, "rows"), place))
            if isinstance(inner(term), exp.Collate):
                typed = typed.but(collation=inner(term).expression.name, explicit=True)
            order.append(ordered(term, typed))
        order.append(exp.Ordered(this=_column("place", "rows")))
        array = call("jsonb_agg", exp.Order(this=_column(_ITEM, "rows"), expressions=order))
        source = exp.Table(this=helper("queue_rows", queue), alias=exp.TableAlias(this=identifier("rows")))
        chosen = exp.Select(expressions=[call("coalesce", array, _empty())], from_=exp.From(this=source))
        return exp.Subquery(this=chosen)

    def _read(self, item: exp.Expr, at: int) -> exp.Expr:
        """One column of a row."""
        kind = self.columns[at][1].kind
        if kind is Kind.DYNAMIC:
            nothing = cast(exp.Literal.string("null"), "JSONB")
            return call("NULLIF", call("jsonb_array_element", item, exp.Literal.number(at)), nothing)
        return cast(call("jsonb_array_element_text", item, exp.Literal.number(at)), SQL_TYPE[kind])


def _column(name: str, table: str) -> exp.Expr:
    return exp.Column(this=identifier(name), table=identifier(table))


def _empty() -> exp.Expr:
    return cast(exp.Literal.string("[]"), "JSONB")


def _derived(node: exp.Expr, alias: str, names: Sequence[str] = (), *, lateral: bool = False) -> exp.Expr:
    named = exp.TableAlias(this=identifier(alias), columns=[identifier(name) for name in names])
    if lateral:
        return exp.Lateral(this=exp.Subquery(this=node), alias=named)
    return exp.Subquery(this=node, alias=named)


def _from_state() -> exp.From:
    return exp.From(this=exp.Table(this=identifier(_STATE)))


def _where_any() -> exp.Where:
    length = call("jsonb_array_length", _column(_QUEUE, _STATE))
    return exp.Where(this=exp.GT(this=length, expression=exp.Literal.number(0)))
