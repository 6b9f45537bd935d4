"""Expressions: each node of SQLite's tree becomes a node for Postgres with its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from sqlglot import exp

from cutover.dialect import comparing, functions, json_functions, numbers
from cutover.dialect.calls import arguments_of, is_dropped
from cutover.dialect.collations import collate_in
from cutover.dialect.comparing import value
from cutover.dialect.context import Context
from cutover.dialect.generated import GIVEN
from cutover.dialect.operators import ARITHMETIC, Operators
from cutover.dialect.predicates import Predicates
from cutover.dialect.scope import Scope, Source, SourceColumn
from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.trees import flatten
from cutover.dialect.typed import (
    Kind,
    Refused,
    Typed,
    binary,
    call,
    cast,
    helper,
    literal,
    null,
    paren,
)

_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ)


_CAST_TYPES = {"INT": "INTEGER", "TEXT": "TEXT", "VARBINARY": "BLOB", "DOUBLE": "REAL", "DECIMAL": "NUMERIC"}
"""How the parser calls the five types that `tokens` leaves in a CAST."""

_Handler = Callable[[Any, exp.Expr, Scope], Typed]


class Expressions(Operators):
    """Rewrites expressions of one statement."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def plain(self, node: exp.Expr, scope: Scope) -> Typed:
        """`node` as a value, never a boolean or JSON."""
        return value(self.typed(node, scope))

    def typed(self, node: exp.Expr, scope: Scope) -> Typed:
        """`node` rewritten. Raises `Refused`, naming the construct, where there is no translation."""
        handler = self.handlers.get(type(node))
        if handler is None:
            raise Refused(f"The construct {type(node).__name__}")
        if scope.grouping and scope.grouping.keys and not isinstance(node, (exp.Literal, exp.Placeholder, exp.Null)):
            grouped = self._group_key(node, scope)
            if grouped is not None:
                return grouped
        typed = handler(self, node, scope)
        if self.context.collates and not typed.explicit and typed.kind in (Kind.TEXT, Kind.DYNAMIC):
            written = collate_in(node)
            if written is not None:  # COLLATE holds for all that its operand becomes a part of
                return typed.but(collation=written.expression.name, explicit=True)
        return typed

    def _group_key(self, node: exp.Expr, scope: Scope) -> Typed | None:
        grouping, scope.grouping = scope.grouping, None
        assert grouping is not None
        try:
            if any(functions.is_aggregate(inner) for inner in node.find_all(exp.Anonymous)):
                return None
            typed = self.typed(node, scope)
            return typed if typed.node.sql("postgres") in grouping.keys else None
        finally:
            scope.grouping = grouping

    def condition(self, node: exp.Expr, scope: Scope, *, loose: bool = False) -> exp.Expr:
        """`node` as a boolean. `loose`: whether NULL may stand for false, as in WHERE."""
        if isinstance(node, exp.Paren):
            return paren(self.condition(node.this, scope, loose=loose))
        if isinstance(node, exp.And) and is_dropped(node):
            return exp.Not(this=exp.Boolean(this=True))  # not a constant, which Postgres does not sort by
        if isinstance(node, (exp.And, exp.Or)):
            parts = [paren(self.condition(part, scope, loose=loose)) for part in flatten(node)]
            combined = parts[0]
            for part in parts[1:]:
                combined = type(node)(this=combined, expression=part)
            return combined
        if isinstance(node, _COMPARISONS):
            return self.compare(node, scope, loose=loose)
        if isinstance(node, exp.In):
            return self.truth(self.in_(node, scope, loose=loose))
        return self.truth(self.typed(node, scope))

    def truth(self, typed: Typed) -> exp.Expr:
        """Whether SQLite takes the value for true, as a boolean."""
        match typed.kind:
            case Kind.BOOL:
                return typed.node
            case Kind.NULL:
                return null(Kind.BOOL)
            case Kind.INT | Kind.REAL | Kind.NUM:
                return binary(exp.NEQ, typed.node, exp.Literal.number(0))
            case Kind.WHOLE:
                return self.truth(value(typed))
            case Kind.TEXT | Kind.JSON | Kind.BLOB | Kind.DYNAMIC:
                return binary(exp.NEQ, helper("tonum", value(typed).node), exp.Literal.number(0))
            case _:
                raise Refused(f"A condition on a {typed.kind}")

    # -- leaves ------------------------------------------------------------------------------------------------------

    def _literal(self, node: exp.Expr, _scope: Scope) -> Typed:
        if node.args["is_string"]:
            return literal(str(node.this))
        return literal(_number(str(node.this)))

    def _null(self, _node: exp.Expr, _scope: Scope) -> Typed:
        return literal(None)

    def _boolean(self, node: exp.Expr, _scope: Scope) -> Typed:
        return literal(int(node.this))

    def _blob(self, node: exp.Expr, _scope: Scope) -> Typed:
        return literal(bytes.fromhex(str(node.this)))

    def _parameter(self, node: exp.Expr, _scope: Scope) -> Typed:
        return self.context.parameter(int(str(node.this)[1:]))

    def _now(self, node: exp.Expr, _scope: Scope) -> Typed:
        return functions.now(type(node))

    def _column(self, node: exp.Expr, scope: Scope) -> Typed:
        if isinstance(node.this, exp.Star):
            raise Refused("A star inside an expression", "Name the columns.")
        name, qualifier = node.name, str(node.args["table"].name) if node.args.get("table") else ""
        at: Scope | None = scope
        unnamed = False
        while at is not None:
            found = at.columns(name, qualifier)
            if found:
                scope.demand_seen({source.alias for source, _ in found}, at)
                parts = [self.of_source(source, column, at) for source, column in found]
                if GIVEN in node.meta:
                    parts = [node.meta[GIVEN](part) for part in parts]
                return parts[0] if len(parts) == 1 else first_of(parts)
            if not qualifier and name.lower() in at.aliases:
                meant = at.aliases[name.lower()]
                with at.unnamed():
                    return self.typed(meant, at)
            unnamed = unnamed or any(source.unnamed for source in at.sources)
            at = at.parent
        if not qualifier and not unnamed and isinstance(node.this, exp.Identifier) and node.this.quoted:
            return literal(name)
        raise Refused(f"Column {name}, which is not mirrored,", "`cutover plan` tells why.")

    def of_source(self, source: Source, column: SourceColumn, scope: Scope) -> Typed:
        """A column of something in FROM."""
        return self._grouped(source.typed(column), source.alias, scope)

    def _grouped(self, typed: Typed, alias: str, scope: Scope) -> Typed:
        """A bare column beside aggregates: the value of some row of the group, or of the row with the extreme."""
        grouping = scope.grouping
        if grouping is None or alias in grouping.whole or typed.node.sql("postgres") in grouping.keys:
            return typed
        if grouping.several:
            if typed.node.sql("postgres") in grouping.loose:
                spelled = exp.Distinct(expressions=[cast(typed.node.copy(), "TEXT")])
                test = helper("one_spelling", call("count", spelled))
                only = call("min", typed.node) if typed.kind is Kind.TEXT else typed.node
                return typed.but(node=exp.Case(ifs=[exp.If(this=test, true=only)]))
            raise Refused(
                "A column beside several calls of min() and max() that is not grouped by",
                "Take the column of the row in a subquery with ORDER BY ... LIMIT 1.",
            )
        order = None
        if grouping.extreme is not None:
            argument, is_max = grouping.extreme
            order = exp.Ordered(this=argument.copy(), desc=is_max, nulls_first=False)
        known = self.queries.ordering.unasked.gathered(scope)
        read = known or self.queries.ordering.scan(scope)
        orders = [*([order] if order is not None else []), *(read or [])]
        inner: exp.Expr = exp.Order(this=typed.node, expressions=orders) if orders else typed.node
        array = exp.Paren(this=call("array_agg", inner))
        place: exp.Expr = exp.Literal.number(1)
        if grouping.extreme is not None and grouping.last:
            none = exp.EQ(this=call("count", grouping.extreme[0].copy()), expression=exp.Literal.number(0))
            place = exp.Case(ifs=[exp.If(this=none, true=call("cardinality", array.copy()))], default=place)
        first: exp.Expr = exp.Bracket(this=array, expressions=[place], offset=1)
        sure = read if known or (scope.reading is None and len(scope.sources) == 1) else None
        if self.queries.is_untold(scope, sure or []):
            extreme = cast(order.this.copy() if order is not None else exp.Literal.number(1), "TEXT")
            beside = exp.Order(this=extreme, expressions=[one.copy() for one in orders]) if orders else extreme
            first = helper("only", array, call("array_agg", beside), cast(place.copy(), "BIGINT"))
        return typed.but(node=exp.Paren(this=first), not_null=False)

    # -- operators ---------------------------------------------------------------------------------------------------

    def _paren(self, node: exp.Expr, scope: Scope) -> Typed:
        inner = self.typed(node.this, scope)
        return inner.but(node=paren(inner.node))

    def _collate(self, node: exp.Expr, scope: Scope) -> Typed:
        return self.typed(node.this, scope).but(collation=node.expression.name, explicit=True)

    def _not(self, node: exp.Expr, scope: Scope) -> Typed:
        return Typed(exp.Not(this=paren(self.condition(node.this, scope))), Kind.BOOL)

    def _logic(self, node: exp.Expr, scope: Scope) -> Typed:
        return Typed(self.condition(node, scope), Kind.BOOL)

    def _scalar(self, node: exp.Expr, scope: Scope) -> Typed:
        if isinstance(node.this, exp.Subquery):
            return self._scalar(node.this, scope)
        return self.queries.scalar(node.this, scope)

    # -- forms -------------------------------------------------------------------------------------------------------

    def _case(self, node: exp.Expr, scope: Scope) -> Typed:
        tests: list[exp.Expr] = []
        results: list[Typed] = []
        for branch in node.args["ifs"]:
            if node.this is None:
                tests.append(self.condition(branch.this, scope, loose=True))
            elif isinstance(node.this, exp.Tuple):
                test = exp.EQ(this=node.this.copy(), expression=branch.this)
                tests.append(self.condition(test, scope, loose=True))
            else:
                subject = comparing.aside(self.typed(node.this, scope))
                tests.append(comparing.compare(exp.EQ, subject, self.typed(branch.this, scope), loose=True))
            results.append(self.plain(branch.args["true"], scope))
        default = node.args.get("default")
        results.append(self.plain(default, scope) if default is not None else literal(None))
        kind, nodes = numbers.unify(results)
        ifs = [exp.If(this=test, true=paren(result)) for test, result in zip(tests, nodes, strict=False)]
        return Typed(exp.Paren(this=exp.Case(ifs=ifs, default=nodes[-1])), kind, json=json_functions.either(results))

    def _cast(self, node: exp.Expr, scope: Scope) -> Typed:
        inner = self.plain(node.this, scope)
        affinity = _CAST_TYPES[str(node.args["to"].this.name)]
        return numbers.cast_to(affinity, inner)

    def _function(self, node: exp.Expr, scope: Scope) -> Typed:
        name = str(node.this)
        if not name.startswith(FUNCTION_PREFIX):
            raise Refused(f"The function {name}()")
        name = name.removeprefix(FUNCTION_PREFIX)
        if functions.is_aggregate(node):
            return self.queries.aggregates.aggregate(node, scope)
        arguments = [self.typed(argument, scope) for argument in arguments_of(node)[0]]
        if name == "plus":
            return value(arguments[0]).but(affinity=None, plus=arguments[0].affinity is not None)
        return functions.scalar(name, arguments, self)

    def _aggregate(self, node: exp.Expr, scope: Scope) -> Typed:
        return self.queries.aggregates.aggregate(node, scope)

    handlers: ClassVar[dict[type[exp.Expr], _Handler]] = {
        exp.Literal: _literal,
        exp.Null: _null,
        exp.Boolean: _boolean,
        exp.HexString: _blob,
        exp.Placeholder: _parameter,
        exp.Column: _column,
        exp.Paren: _paren,
        exp.Collate: _collate,
        exp.Not: _not,
        exp.And: _logic,
        exp.Or: _logic,
        **dict.fromkeys(_COMPARISONS, Predicates.comparison),
        exp.Is: Predicates.is_,
        exp.Between: Predicates.between,
        exp.In: Predicates.in_,
        exp.Exists: Predicates.exists,
        exp.Subquery: _scalar,
        exp.Like: Predicates.like,
        exp.Escape: Predicates.like,
        exp.Glob: Predicates.glob,
        exp.DPipe: Operators.concat,
        **dict.fromkeys(ARITHMETIC, Operators.arithmetic),
        exp.Neg: Operators.negative,
        exp.BitwiseNot: Operators.complement,
        **dict.fromkeys((exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseLeftShift, exp.BitwiseRightShift), Operators.bits),
        exp.Case: _case,
        exp.Cast: _cast,
        exp.Anonymous: _function,
        exp.Filter: _aggregate,
        exp.Window: _aggregate,
        **dict.fromkeys((exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime), _now),
    }


def _number(written: str) -> int | float:
    if written.isdigit():
        number = int(written)
        return number if number < 1 << 63 else float(number)
    return float(written)


def first_of(values: list[Typed]) -> Typed:
    """COALESCE."""
    kind, nodes = numbers.unify(values)
    return Typed(exp.Coalesce(this=nodes[0], expressions=nodes[1:]), kind)
