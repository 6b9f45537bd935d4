"""Aggregate and window functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from cutover.dialect import functions, json_functions, merging, numbers, peers, windows
from cutover.dialect.calls import SUMS, arguments_of, owner_of
from cutover.dialect.collations import bytewise, collated, collation
from cutover.dialect.comparing import dynamic, text, value
from cutover.dialect.expressions import Expressions
from cutover.dialect.frames import as_number, by_number, frame
from cutover.dialect.ordering import sort_key
from cutover.dialect.scope import Scope
from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.typed import NUMBERS, Kind, Refused, Typed, call, cast, collate_c, helper, null
from cutover.dialect.unasked import once
from cutover.dialect.whole import extreme

_RANKS = {"row_number": Kind.INT, "rank": Kind.INT, "dense_rank": Kind.INT}
_BY_ROW = frozenset({"row_number", "ntile", "lag", "lead", "first_value"})
"""They tell rows apart that are equal by the window's ORDER BY, and do not mind how far its frame goes."""
_BY_PEER = frozenset({"rank", "dense_rank", "percent_rank", "cume_dist"})
"""Rows that are equal by the window's ORDER BY are equal to them, whatever the frame."""
_IN_ROW_ORDER = {"group_concat", *json_functions.AGGREGATES}
_OF_ONE_ROW = ("fn_first_value", "fn_last_value", "fn_nth_value")
_BY_LAST = {"last_value", "nth_value", *_IN_ROW_ORDER}
_WHOLE = exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="UNBOUNDED", end_side="FOLLOWING")
_ZERO = exp.Literal.number(0)
_SHARES = {"percent_rank": Kind.REAL, "cume_dist": Kind.REAL}


def _same(node: exp.Expr) -> exp.Expr:
    return node


@dataclass(slots=True)
class _Call:
    """A call, to which FILTER and OVER are added, and what goes around all of that."""

    node: exp.Expr
    kind: Kind
    wrap: Callable[..., exp.Expr] = _same
    not_null: bool = False
    collation: str | None = None
    json: str = ""
    summed: exp.Expr | None = None
    """The numbers that sum() adds up, of which some may be integers and some reals."""
    beside: tuple[exp.Expr, ...] = ()
    """More calls of the same rows, for `wrap`."""
    rounds: exp.Expr | None = None
    """The reals that it adds up: their last digits tell the order in which it met them."""
    inexact: bool = False
    """They may be other than integers."""


class Aggregates:
    """Rewrites aggregate and window functions of one statement."""

    def __init__(self, expressions: Expressions) -> None:
        self.expressions = expressions

    def aggregate(self, node: exp.Expr, scope: Scope) -> Typed:
        """An aggregate call with its FILTER and OVER."""
        over = node if isinstance(node, exp.Window) else None
        node = node.this if over is not None else node
        condition = node.expression.this if isinstance(node, exp.Filter) else None
        node = node.this if isinstance(node, exp.Filter) else node
        if not isinstance(node, exp.Anonymous) or not functions.is_aggregate(node):
            raise Refused(f"OVER or FILTER after {type(node).__name__}")
        if over is None and (owner := owner_of(node, scope)) is not scope:
            owner.hoisted = max(owner.hoisted, 1 + (str(node.this) in ("fn_min", "fn_max")))
            scope = owner
        grouping = scope.grouping
        if over is None:
            scope.grouping = None
        try:
            slides = over is not None and windows.slides(windows.spelled_out(over, scope.named))
            if over is not None and str(node.this) in _OF_ONE_ROW:
                windows.demand_own_row(windows.spelled_out(over, scope.named), str(node.this)[3:])
            if slides and str(node.this) in ("fn_min", "fn_max"):
                condition = None  # SQLite gives no heed to FILTER there
            built = self._call(node, scope, in_window=over is not None, slides=slides)
            result, *beside = (self._filtered(each, condition, scope) for each in (built.node, *built.beside))
            if over is not None:
                name = str(node.this).removeprefix(FUNCTION_PREFIX)
                real = self._sliding(over, name, condition, scope, built) if slides and built.rounds else None
                if real is not None and built.kind is not Kind.NUM:
                    result = real
                else:
                    result = self._over(over, name, result, scope, built)
                if built.kind is Kind.NUM and built.summed is not None:
                    result = windows.real_once_real(result, built.summed, real)
        finally:
            scope.grouping = grouping
        node = built.wrap(result, *beside)
        return Typed(node, built.kind, collation=built.collation, not_null=built.not_null, json=built.json)

    def _filtered(self, node: exp.Expr, condition: exp.Expr | None, scope: Scope) -> exp.Expr:
        if condition is None:
            return node
        where = exp.Where(this=self.expressions.condition(condition.copy(), scope, loose=True))
        return exp.Filter(this=node, expression=where)

    def _sliding(
        self, over: exp.Window, name: str, condition: exp.Expr | None, scope: Scope, built: _Call
    ) -> exp.Expr | None:
        """sum(), avg() or total() of reals in a frame that slides: SQLite takes back what leaves it, and what that
        leaves behind of the last digits stays, also where a frame is left without a value."""
        if built.inexact and windows.begins_anew(windows.spelled_out(over, scope.named)):
            raise Refused(
                f"{name}() of reals in a frame that has no row in common with the one before or begins behind the row,",
                "Take it from a subquery over the rows that are meant.",
            )
        if self.expressions.context.wide or built.rounds is None:
            return None
        passing = built.rounds
        if condition is not None:
            test = self.expressions.condition(condition, scope, loose=True)
            passing = exp.Case(ifs=[exp.If(this=test, true=passing)])
        nothing = cast(exp.Literal.number(0), "DOUBLE PRECISION")
        added = call("cutover.slid", exp.Coalesce(this=passing.copy(), expressions=[nothing]))
        total = self._over(over, name, added, scope, built)
        if name == "total":
            return total
        count = exp.Nullif(this=self._over(over, name, call("COUNT", passing), scope, built), expression=_ZERO.copy())
        if name == "avg":
            return exp.Div(this=total, expression=count, typed=True)
        return exp.Case(ifs=[exp.If(this=exp.Not(this=exp.Is(this=count, expression=exp.Null())), true=total)])

    def _over(self, window: exp.Window, name: str, inner: exp.Expr, scope: Scope, built: _Call) -> exp.Expr:
        written = windows.spelled_out(window, scope.named)
        rewritten = self.window(written, scope)
        if windows.has_own_frame(name):
            rewritten.set("spec", None)
        spec = rewritten.args.get("spec")
        by_row = spec is not None and str(spec.args.get("kind")).upper() == "ROWS"
        framed = name not in _BY_PEER and (name == "first_value" or name not in _BY_ROW)
        # Peers that the frame goes by would be others if more told rows apart.
        by_peers = framed and windows.goes_by_peers(rewritten)
        in_rows = (name in _BY_ROW or (by_row and name not in _BY_PEER)) and not by_peers
        minds = (name in _BY_LAST or built.rounds is not None) and not by_row
        by_last = minds or (by_peers and (by_row or name == "first_value"))
        rewritten.set("over", "OVER")
        if not (in_rows or by_last):
            rewritten.set("this", inner)
            return rewritten
        asked = rewritten.args["order"].expressions if rewritten.args.get("order") else []
        terms = self.expressions.queries.ordering.unasked.in_window(scope, asked, window)
        matters = in_rows or name not in SUMS  # of those the last digits alone go by it
        certain = peers.untold(self.expressions, scope, asked, terms, window) if matters else None
        if in_rows:
            rewritten.set("order", exp.Order(expressions=terms) if terms else None)
        rewritten.set("this", inner)
        found = self._in_row_order(rewritten, terms) if by_last else rewritten
        return found if certain is None else peers.guarded(found, rewritten.args["partition_by"], certain, scope)

    def _in_row_order(self, window: exp.Window, terms: list[exp.Expr]) -> exp.Expr:
        """A window whose frame ends where its ORDER BY tells rows apart, while it matters in which order they come.

        Postgres sorts once for windows of which one sorts further than the other, so a longer one is put beside it.
        """
        asked = window.args["order"].expressions if window.args.get("order") else []
        if len(terms) == len(asked):
            return window
        if not asked and window.args.get("spec") is None:  # all that is in the partition, whatever the others sort by
            window.set("order", exp.Order(expressions=terms))
            window.set("spec", _WHOLE.copy())
            return window
        partition = [part.copy() for part in window.args["partition_by"]]
        # What rows are parted by sorts none of a part; named again with its NULLs first, it would part them by another.
        rest = [term.copy() for term in terms[len(asked) :] if term.this not in partition]
        if not rest:
            return window
        order = exp.Order(expressions=[*(term.copy() for term in terms[: len(asked)]), *rest])
        longer = exp.Window(this=exp.RowNumber(), partition_by=partition, order=order)
        test = exp.GT(this=longer, expression=exp.Literal.number(0))
        return exp.Case(ifs=[exp.If(this=test, true=window)])

    def window(self, window: exp.Window, scope: Scope) -> exp.Window:
        """What stands in OVER (...), without what it is computed of."""
        parts = [self.expressions.typed(term, scope) for term in window.args.get("partition_by") or []]
        partition = [sort_key(part) for part in parts if not part.is_constant]  # they come in its order, too
        order = window.args.get("order")
        given = order.expressions if order else []
        terms = once([self.expressions.queries.ordering.term(term, scope) for term in given])
        keys = [self.expressions.typed(term.this, scope) for term in given]
        spec = window.args.get("spec")
        number = by_number(keys, spec)
        if number is not None and order is not None:
            keys, terms = [number], [self.expressions.queries.ordering.ordered(order.expressions[0], number)]
        return exp.Window(
            partition_by=partition,
            order=exp.Order(expressions=terms) if terms else None,
            spec=frame(self.expressions, spec, keys, scope),
        )

    def _call(self, node: exp.Anonymous, scope: Scope, *, in_window: bool, slides: bool) -> _Call:
        name = str(node.this).removeprefix(FUNCTION_PREFIX)
        arguments, distinct, order = arguments_of(node)
        if name == "count" and not arguments:
            return _Call(call("COUNT", exp.Star()), Kind.INT, not_null=True)
        if in_window and owner_of(node, scope) is not scope:
            raise Refused(f"{name}() over columns of an outer query in a window")
        given = [self.expressions.typed(argument, scope) for argument in arguments]
        own = extreme(given[0]) if name in ("min", "max") and len(given) == 1 else None
        if own is not None:
            least = call(name.upper(), given[0].node)
            return _Call(least, own(least).kind, lambda result: own(result).node)
        typed = [value(one) for one in given]
        ordering = [self.expressions.queries.ordering.term(term, scope) for term in order]
        by_row = name in _IN_ROW_ORDER or (bool(typed) and _minds_order(name, typed[0]))
        # Which of its integers is one too many.
        wide = self.expressions.context.wide and (name in SUMS or (bool(typed) and _has_zeros(typed[0])))
        by_row = by_row or wide or (name == "sum" and distinct)
        if by_row and not (order or in_window or (distinct and name not in (*_IN_ROW_ORDER, *SUMS))):
            ordering = self.expressions.queries.ordering.unasked.in_window(scope, [])
        if name in _RANKS or name in _SHARES:
            return _Call(call(name), {**_RANKS, **_SHARES}[name], not_null=True)
        if name in functions.WINDOW_ONLY:
            made = self._window_function(name, typed)
            made.json = "mixed" if typed and typed[0].json else ""
            return made
        if not typed:
            raise Refused(f"{name}() without an argument")
        made = self._aggregate(name, typed, distinct, ordering, in_window=in_window, slides=slides)
        if name in SUMS and (_minds_order(name, typed[0]) or (slides and name != "sum")):
            made.rounds = made.summed if made.summed is not None else numbers.real(typed[0]).node
            made.rounds = cast(made.rounds, "DOUBLE PRECISION") if made.kind is Kind.NUM else made.rounds
            made.inexact = _minds_order(name, typed[0])
        return made

    def _window_function(self, name: str, typed: list[Typed]) -> _Call:
        if name == "ntile":
            count = helper("ntile_strict", cast(numbers.integer(typed[0]).node, "BIGINT"))
            return _Call(call(name, count), Kind.INT, lambda node: cast(node, "BIGINT"))
        subject = null(Kind.TEXT) if typed[0].kind is Kind.NULL else typed[0].node
        if typed[0].kind is Kind.TEXT and typed[0].is_constant:
            subject = cast(subject, "TEXT")  # which Postgres knows no type of
        nodes = [subject, *(_offset(name, argument) for argument in typed[1:2])]
        if len(typed) > 2:
            kind, (subject, default) = numbers.unify([typed[0], typed[2]])
            return _Call(call(name, subject, nodes[1], default), kind)
        return _Call(call(name, *nodes), typed[0].kind)

    def _aggregate(
        self, name: str, typed: list[Typed], distinct: bool, order: list[exp.Expr], *, in_window: bool, slides: bool
    ) -> _Call:
        subject = typed[0]
        if name in json_functions.AGGREGATES:
            node, around = json_functions.group(name, typed, distinct=distinct, order=order)
            return _Call(node, Kind.TEXT, around, not_null=True, json="sure")
        if subject.kind is Kind.NULL:
            subject = subject.but(node=null(Kind.INT), kind=Kind.INT)

        def build(function: str, *nodes: exp.Expr) -> exp.Expr:
            first: exp.Expr = exp.Distinct(expressions=[nodes[0]]) if distinct else nodes[0]
            last = nodes[-1] if len(nodes) > 1 else first
            if order:
                last = exp.Order(this=last, expressions=order)
            return call(function, first, last) if len(nodes) > 1 else call(function, last)

        match name:
            case "count":
                node = collated(subject, collation(subject)) if subject.kind is Kind.TEXT else subject.node
                if distinct and subject.kind is Kind.DYNAMIC and collation(subject) != "BINARY":
                    node = sort_key(subject)
                return _Call(build("COUNT", node), Kind.INT, not_null=True)
            case _ if name in SUMS:
                if distinct:
                    return _summed_once(name, subject, order)
                return self._summed(name, subject, build, in_window=in_window, slides=slides)
            case "min" | "max":
                made = self._extreme(name, subject, build, in_window=in_window, slides=slides)
                made.json = "mixed" if subject.json else ""
                return made
            case _ if distinct:
                return _joined_once(subject, order)
            case _:
                separator = text(typed[1]).node if len(typed) > 1 else exp.Literal.string(",")
                wrap = _nothing_is_null if in_window else _same
                part = self._part(subject) if slides else text(subject).node
                return _Call(build("string_agg", part, separator), Kind.TEXT, wrap)

    def _part(self, subject: Typed) -> exp.Expr:
        if subject.kind in NUMBERS:
            return text(subject).node
        self.expressions.context.caveats["Fails if group_concat() meets '' in a frame that slides."] = None
        return helper("part", text(subject).node)

    def _summed(
        self, name: str, subject: Typed, build: Callable[..., exp.Expr], *, in_window: bool, slides: bool
    ) -> _Call:
        if name == "sum":
            return self._sum(subject, build, slides=slides)
        if subject.kind in (Kind.INT, Kind.BOOL) and not in_window:
            return self._summed_as_reals(name, numbers.number(subject).node, build)
        if name == "avg":
            return _Call(build(self._summing("AVG"), numbers.real(subject).node), Kind.REAL)
        wide = self.expressions.context.wide  # infinities may come to NULL, too
        summed = build("cutover.wide_total" if wide else self._summing("SUM"), numbers.real(subject).node)
        return _Call(summed, Kind.REAL, _same if wide else _or_zero, not_null=not wide)

    def _summed_as_reals(self, name: str, node: exp.Expr, build: Callable[..., exp.Expr]) -> _Call:
        """avg() or total() of integers, which SQLite adds as reals: exact up to 2^53, in whatever order. Where they may
        come further they are added once more, as reals in SQLite's order."""
        context = self.expressions.context
        if context.wide:
            real = cast(node, "DOUBLE PRECISION")
            return _Call(build("AVG", real), Kind.REAL) if name == "avg" else _total(build("SUM", real))
        context.may_widen = True
        node = cast(node, "BIGINT")
        beside = [build("cutover.sum_ints", call("abs", node.copy()))]
        if name == "avg":
            beside.append(build("COUNT", node.copy()))
        return _Call(
            build("cutover.sum_ints", node),
            Kind.REAL,
            lambda *found: helper(f"{name}_of_ints", *found),
            not_null=name == "total",
            beside=tuple(beside),
        )

    def _sum(self, subject: Typed, build: Callable[..., exp.Expr], *, slides: bool) -> _Call:
        """A text that is no number, and any blob, makes a real of the sum; an integer beyond 64 bits is an error, also
        on the way. Where Postgres meets one it is summed again, in SQLite's order."""
        if subject.kind in (Kind.TEXT, Kind.BLOB, Kind.DYNAMIC):
            node = helper("summand", subject.node)
            return _Call(build("cutover.sum_of", node), Kind.NUM, summed=node)
        inner = numbers.number(subject)
        match inner.kind:
            case Kind.NUM:
                node = helper("summand", inner.node)
                return _Call(build("cutover.sum_of", node), Kind.NUM, summed=node)
            case Kind.INT if slides:
                return _Call(build("SUM", inner.node), Kind.INT, _int_sum)
            case Kind.INT if self.expressions.context.wide:
                return _Call(build("cutover.sum_of", cast(inner.node, "NUMERIC")), Kind.INT, _int_sum)
            case Kind.INT:
                self.expressions.context.may_widen = True
                return _Call(build("cutover.sum_ints", inner.node), Kind.INT)
            case _:
                return _Call(build(self._summing("SUM"), inner.node), inner.kind, _from_zero)

    def _summing(self, name: str) -> str:
        """SUM or AVG of reals, which only the one of our own lets become infinite."""
        context = self.expressions.context
        context.may_widen = True
        return f"cutover.wide_{name.lower()}" if context.wide else name

    def _extreme(
        self, name: str, subject: Typed, build: Callable[..., exp.Expr], *, in_window: bool, slides: bool
    ) -> _Call:
        """Of equal values the first; in a frame that slides, where SQLite sorts what is in it, the last."""
        name_of, node, equal = collation(subject), subject.node, "last" if slides else "first"
        if subject.kind in (Kind.DYNAMIC, Kind.BLOB) or (subject.kind is Kind.TEXT and name_of != "BINARY"):
            given = [dynamic(subject), exp.Literal.string(name_of)]
            return _Call(build(f"cutover.{equal}_{name}_of", *given), subject.kind, _plain[subject.kind])
        if subject.kind is Kind.TEXT and not bytewise(subject):
            node = collate_c(node)
        if _differs(subject):
            return _Call(build(f"cutover.{equal}_{name}", node), subject.kind)  # 1 equals 1.0
        if _has_zeros(subject):
            if in_window or self.expressions.context.wide:
                return _Call(build(f"cutover.{equal}_{name}", node), subject.kind)
            self.expressions.context.may_widen = True
            return _Call(build(name.upper(), node), subject.kind, _no_zero)
        return _Call(build(name.upper(), node), subject.kind, collation=subject.collation)


def _total(node: exp.Expr) -> _Call:
    return _Call(node, Kind.REAL, _or_zero, not_null=True)


def _minds_order(name: str, subject: Typed) -> bool:
    """Whether it answers another way if it meets the same values in another order."""
    if name in SUMS:  # whose last digits tell in which order reals were rounded
        return subject.kind not in (Kind.INT, Kind.BOOL, Kind.NULL)
    spelled = subject.kind is Kind.DYNAMIC or (subject.kind is Kind.TEXT and collation(subject) != "BINARY")
    return name in ("min", "max") and (spelled or _differs(subject))


def _has_zeros(subject: Typed) -> bool:
    """Whether it may be 0.0 and -0.0, which no table holds."""
    return subject.kind is Kind.REAL and subject.column is None and not subject.is_constant


def _no_zero(node: exp.Expr) -> exp.Expr:
    """Of both zeros the first is the least: that is looked for once more where the result is one."""
    return helper("no_zero", node)


def _differs(subject: Typed) -> bool:
    """Whether there may be an integer and a real that are equal."""
    return subject.kind is Kind.NUM and not merging.is_canonical(subject)


def _offset(name: str, typed: Typed) -> exp.Expr:
    """How many rows away. What SQLite answers where that is below zero depends on which rows it still holds."""
    constant = typed.constant
    if isinstance(constant, int) and (0 < constant < 1 << 31 or (constant == -1 and name != "nth_value")):
        return cast(typed.node, "INTEGER")  # one row the other way is always held
    if name == "nth_value":
        return helper("nth_strict", as_number(typed))
    if typed.kind not in (Kind.INT, Kind.REAL):
        raise Refused(f"{name}() with a computed offset that may be no integer", "CAST the offset AS INTEGER.")
    lowest = exp.Literal.number(0)
    offset = typed if typed.kind is Kind.REAL else numbers.integer(typed)
    return helper("offset_of", offset.node, lowest)


def _summed_once(name: str, subject: Typed, order: list[exp.Expr]) -> _Call:
    """sum(DISTINCT ...) and its like, added in the order in which SQLite first meets each value. Values that differ may
    be the same number, if they are texts."""
    node = cast(collated(subject, collation(subject)), "TEXT") if subject.kind is Kind.TEXT else subject.node
    node = cast(node, "BIGINT") if subject.kind is Kind.INT else node
    kind = Kind.REAL if name != "sum" else Kind.NUM
    kind = subject.kind if name == "sum" and subject.kind in (Kind.INT, Kind.REAL) else kind
    every = call("array_agg", exp.Order(this=node, expressions=order) if order else node)

    def added(found: exp.Expr) -> exp.Expr:
        total = helper(f"{name}_each", helper("summands", helper("firsts", found)))
        return _int_sum(total) if kind is Kind.INT else total

    return _Call(every, kind, added, not_null=name == "total")


def _joined_once(subject: Typed, order: list[exp.Expr]) -> _Call:
    """group_concat(DISTINCT ...): its values are told apart by their texts."""
    if subject.kind is Kind.TEXT and collation(subject) != "BINARY":
        raise Refused(
            "group_concat(DISTINCT ...) with a collation",
            "Take the values from a subquery: SELECT group_concat(x) FROM (SELECT DISTINCT ...).",
        )
    if subject.kind is Kind.DYNAMIC or _differs(subject):
        raise Refused("group_concat(DISTINCT ...) of values of several types", "CAST the values AS TEXT.")
    node = text(subject).node
    node = exp.Order(this=node, expressions=order) if order else node
    return _Call(call("array_agg", node), Kind.TEXT, _joined)


def _joined(node: exp.Expr) -> exp.Expr:
    return helper("joined", node)


def _nothing_is_null(node: exp.Expr) -> exp.Expr:
    """In a window SQLite's group_concat() of nothing but '' is NULL."""
    return call("NULLIF", node, exp.Literal.string(""))


def _int_sum(node: exp.Expr) -> exp.Expr:
    return helper("int_sum", node)


def _plain_text(node: exp.Expr) -> exp.Expr:
    return helper("txt", node)


def _plain_blob(node: exp.Expr) -> exp.Expr:
    return helper("plain_blob", node)


_plain = {Kind.DYNAMIC: _same, Kind.BLOB: _plain_blob, Kind.TEXT: _plain_text}


def _or_zero(node: exp.Expr) -> exp.Expr:
    return exp.Coalesce(this=_from_zero(node), expressions=[cast(exp.Literal.number(0), "DOUBLE PRECISION")])


def _from_zero(node: exp.Expr) -> exp.Expr:
    """SQLite adds to 0.0, so that no sum is -0.0."""
    return exp.Paren(this=exp.Add(this=node, expression=cast(exp.Literal.number(0), "DOUBLE PRECISION")))
