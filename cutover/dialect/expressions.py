"""Expressions: each node of SQLite's tree becomes a node for Postgres with its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from sqlglot import exp

from cutover.dialect import comparing, functions
from cutover.dialect.comparing import value
from cutover.dialect.scope import Context, Scope
from cutover.dialect.tokens import FUNCTION_PREFIX
from cutover.dialect.typed import (
    NUMBERS,
    SQL_TYPE,
    Kind,
    Refused,
    Typed,
    affinity_of,
    binary,
    call,
    collate_c,
    helper,
    literal,
    null,
    paren,
)

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries

_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_BITWISE = {exp.BitwiseAnd: exp.BitwiseAnd, exp.BitwiseOr: exp.BitwiseOr}


_Handler = Callable[[Any, exp.Expr, Scope], Typed]


class Expressions:
    """Rewrites expressions of one statement."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.queries: Queries
        """Set by `Queries`, which needs this object first."""

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
        return handler(self, node, scope)

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
        if isinstance(node, (exp.And, exp.Or)):
            parts = [paren(self.condition(part, scope, loose=loose)) for part in _flatten(node)]
            combined = parts[0]
            for part in parts[1:]:
                combined = type(node)(this=combined, expression=part)
            return combined
        if isinstance(node, _COMPARISONS):
            return self._compare(node, scope, loose=loose)
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
            case Kind.TEXT | Kind.JSON:
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
            raise Refused("A star inside an expression")
        name, qualifier = node.name, str(node.args["table"].name) if node.args.get("table") else ""
        at: Scope | None = scope
        while at is not None:
            found = at.column(name, qualifier)
            if found is not None:
                source, column = found
                return self._grouped(source.typed(column), source.alias, at)
            if not qualifier and name.lower() in at.aliases:
                return self.typed(at.aliases[name.lower()], at)
            at = at.parent
        if not qualifier and isinstance(node.this, exp.Identifier) and node.this.quoted:
            return literal(name)
        raise Refused(f"Column {name}, which is not mirrored,")

    def _grouped(self, typed: Typed, alias: str, scope: Scope) -> Typed:
        """A bare column beside aggregates: the value of some row of the group, or of the row with the extreme."""
        grouping = scope.grouping
        if grouping is None or alias in grouping.whole or typed.node.sql("postgres") in grouping.keys:
            return typed
        order = None
        if grouping.extreme is not None:
            argument, is_max = grouping.extreme
            order = exp.Ordered(this=argument.copy(), desc=is_max, nulls_first=False)
        inner: exp.Expr = typed.node
        if order is not None:
            inner = exp.Order(this=inner, expressions=[order])
        array = exp.Paren(this=call("array_agg", inner))
        first = exp.Bracket(this=array, expressions=[exp.Literal.number(1)], offset=1)
        return typed.but(node=exp.Paren(this=first), not_null=False, column=None)

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

    def _compare(self, node: exp.Expr, scope: Scope, *, loose: bool = False) -> exp.Expr:
        assert isinstance(node, exp.Binary)
        left, right = _unparen(node.this), _unparen(node.expression)
        if isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple):
            return self._compare_rows(type(node), left, right, scope)
        one, two = self.typed(node.this, scope), self.typed(node.expression, scope)
        self._hint(one, two)
        self._hint(two, one)
        return comparing.compare(type(node), one, two, loose=loose)

    def _hint(self, parameter: Typed, other: Typed) -> None:
        """A NULL argument beside a column needs no translation of its own."""
        if other.column is not None and other.kind not in (Kind.JSON, Kind.BOOL):
            self.context.hint(parameter.slot, other.kind)

    def _compare_rows(self, op: type[exp.Binary], left: exp.Tuple, right: exp.Tuple, scope: Scope) -> exp.Expr:
        if len(left.expressions) != len(right.expressions):
            raise Refused("A comparison of rows of different lengths")
        pairs = [
            comparing.align(self.typed(one, scope), self.typed(two, scope))
            for one, two in zip(left.expressions, right.expressions, strict=True)
        ]
        if any(
            (one.kind in NUMBERS) != (two.kind in NUMBERS)
            for one, two in pairs
            if Kind.NULL not in (one.kind, two.kind)
        ):
            raise Refused("A comparison of rows with different types")
        rows = [exp.Tuple(expressions=[pair[side].node for pair in pairs]) for side in (0, 1)]
        return op(this=rows[0], expression=rows[1])

    def _comparison(self, node: exp.Expr, scope: Scope) -> Typed:
        return Typed(self._compare(node, scope), Kind.BOOL)

    def _is(self, node: exp.Expr, scope: Scope) -> Typed:
        if isinstance(node.expression, exp.Null):
            inner = self.typed(node.this, scope)
            operand = null(Kind.TEXT) if inner.kind is Kind.NULL else paren(inner.node)
            self.context.hint(inner.slot, Kind.TEXT)
            return Typed(_negated(node, exp.Is(this=operand, expression=exp.Null())), Kind.BOOL)
        if isinstance(node.expression, exp.Boolean):
            truth = paren(self.condition(node.this, scope))
            return Typed(_negated(node, exp.Is(this=truth, expression=node.expression.copy())), Kind.BOOL)
        left, right = self.typed(node.this, scope), self.typed(node.expression, scope)
        return Typed(_negated(node, comparing.compare(exp.NullSafeEQ, left, right, loose=False)), Kind.BOOL)

    def _between(self, node: exp.Expr, scope: Scope) -> Typed:
        subject = self.typed(node.this, scope)
        low, high = self.typed(node.args["low"], scope), self.typed(node.args["high"], scope)
        self._hint(low, subject)
        self._hint(high, subject)
        both = exp.And(
            this=paren(comparing.compare(exp.GTE, subject, low, loose=False)),
            expression=paren(comparing.compare(exp.LTE, subject.but(node=subject.node.copy()), high, loose=False)),
        )
        return Typed(_negated(node, exp.Paren(this=both)), Kind.BOOL)

    def _in(self, node: exp.Expr, scope: Scope) -> Typed:
        if node.args.get("query") is not None or node.args.get("field") is not None:
            return Typed(_negated(node, self.queries.in_query(node, scope)), Kind.BOOL)
        if isinstance(_unparen(node.this), exp.Tuple):
            tests = [exp.EQ(this=node.this.copy(), expression=item) for item in node.expressions]
            return Typed(_negated(node, exp.Paren(this=exp.or_(*[self._compare(t, scope) for t in tests]))), Kind.BOOL)
        subject = self.typed(node.this, scope)
        if not node.expressions:
            return Typed(_negated(node, exp.Boolean(this=False)), Kind.BOOL)
        items = [self.typed(item, scope) for item in node.expressions]
        for item in items:
            self._hint(item, subject)
        return Typed(_negated(node, _in_list(subject, [item.but(affinity=None) for item in items])), Kind.BOOL)

    def _exists(self, node: exp.Expr, scope: Scope) -> Typed:
        query = self.queries.query(_unparen(node.this), Scope(scope)).node
        return Typed(exp.Exists(this=query), Kind.BOOL, not_null=True)

    def _scalar(self, node: exp.Expr, scope: Scope) -> Typed:
        if isinstance(node.this, exp.Subquery):
            return self._scalar(node.this, scope)
        return self.queries.scalar(node.this, scope)

    def _like(self, node: exp.Expr, scope: Scope) -> Typed:
        escape: exp.Expr = exp.Literal.string("")
        like = node
        if isinstance(node, exp.Escape):
            like, written = node.this, self.typed(node.expression, scope)
            escape = written.node
            if not isinstance(like, exp.Like):
                raise Refused("ESCAPE without LIKE")
        subject, pattern = (comparing.text(self.typed(side, scope)) for side in (like.this, like.expression))
        if Kind.NULL in (subject.kind, pattern.kind):
            return Typed(null(Kind.BOOL), Kind.BOOL)
        test: exp.Expr = exp.ILike(this=collate_c(subject.node), expression=paren(pattern.node))
        return Typed(_negated(like, exp.Escape(this=test, expression=escape)), Kind.BOOL)

    def _glob(self, node: exp.Expr, scope: Scope) -> Typed:
        subject, pattern = (comparing.text(self.typed(side, scope)).node for side in (node.this, node.expression))
        return Typed(_negated(node, helper("glob", pattern, subject)), Kind.BOOL)

    def _concat(self, node: exp.Expr, scope: Scope) -> Typed:
        parts = [comparing.text(self.typed(part, scope)) for part in _flatten(node)]
        combined = _nulled(parts[0])
        for part in parts[1:]:
            combined = exp.DPipe(this=combined, expression=_nulled(part), safe=False)
        return Typed(combined, Kind.TEXT, not_null=all(part.not_null for part in parts))

    def _arithmetic(self, node: exp.Expr, scope: Scope) -> Typed:
        left, right = self.number(node.this, scope), self.number(node.expression, scope)
        assert isinstance(node, exp.Binary)
        return functions.arithmetic(type(node), left, right)

    def number(self, node: exp.Expr, scope: Scope) -> Typed:
        """`node` as a number, as arithmetic takes it."""
        return functions.number(self.typed(node, scope))

    def _negative(self, node: exp.Expr, scope: Scope) -> Typed:
        inner = self.number(node.this, scope)
        if isinstance(inner.constant, (int, float)):
            return literal(-inner.constant)
        return Typed(exp.Paren(this=exp.Neg(this=paren(inner.node))), inner.kind, not_null=inner.not_null)

    def _complement(self, node: exp.Expr, scope: Scope) -> Typed:
        inner = functions.integer(self.typed(node.this, scope))
        return Typed(exp.Paren(this=exp.BitwiseNot(this=paren(inner.node))), Kind.INT)

    def _bits(self, node: exp.Expr, scope: Scope) -> Typed:
        left, right = (functions.integer(self.typed(side, scope)).node for side in (node.this, node.expression))
        if isinstance(node, exp.BitwiseLeftShift):
            return Typed(helper("shift", left, right), Kind.INT)
        if isinstance(node, exp.BitwiseRightShift):
            return Typed(helper("shift", left, exp.Paren(this=exp.Neg(this=paren(right)))), Kind.INT)
        assert isinstance(node, exp.Binary)
        return Typed(binary(type(node), left, right), Kind.INT)

    # -- forms -------------------------------------------------------------------------------------------------------

    def _case(self, node: exp.Expr, scope: Scope) -> Typed:
        tests: list[exp.Expr] = []
        results: list[Typed] = []
        for branch in node.args["ifs"]:
            if node.this is None:
                tests.append(self.condition(branch.this, scope, loose=True))
            else:
                subject = self.typed(node.this, scope)
                tests.append(comparing.compare(exp.EQ, subject, self.typed(branch.this, scope), loose=True))
            results.append(self.plain(branch.args["true"], scope))
        default = node.args.get("default")
        results.append(self.plain(default, scope) if default is not None else literal(None))
        kind, nodes = functions.unify(results)
        ifs = [exp.If(this=test, true=paren(result)) for test, result in zip(tests, nodes, strict=False)]
        return Typed(exp.Paren(this=exp.Case(ifs=ifs, default=nodes[-1])), kind)

    def _cast(self, node: exp.Expr, scope: Scope) -> Typed:
        inner = self.plain(node.this, scope)
        affinity = affinity_of(str(node.args["to"].this.name))
        return functions.cast_to(affinity, inner)

    def _function(self, node: exp.Expr, scope: Scope) -> Typed:
        name = str(node.this)
        if not name.startswith(FUNCTION_PREFIX):
            raise Refused(f"The function {name}()")
        name = name.removeprefix(FUNCTION_PREFIX)
        if functions.is_aggregate(node):
            return self.queries.aggregates.aggregate(node, scope)
        arguments = [self.typed(argument, scope) for argument in node.expressions]
        return functions.scalar(name, arguments, self)

    def _aggregate(self, node: exp.Expr, scope: Scope) -> Typed:
        return self.queries.aggregates.aggregate(node, scope)

    def _json_arrow(self, node: exp.Expr, scope: Scope) -> Typed:
        document, path = self.plain(node.this, scope), functions.json_path(node.expression)
        name = "json_extract" if isinstance(node, exp.JSONExtractScalar) else "json_arrow"
        kind = Kind.DYNAMIC if name == "json_extract" else Kind.TEXT
        return Typed(helper(name, document.node, exp.Literal.string(path)), kind)

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
        **dict.fromkeys(_COMPARISONS, _comparison),
        exp.Is: _is,
        exp.Between: _between,
        exp.In: _in,
        exp.Exists: _exists,
        exp.Subquery: _scalar,
        exp.Like: _like,
        exp.Escape: _like,
        exp.Glob: _glob,
        exp.DPipe: _concat,
        **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod), _arithmetic),
        exp.Neg: _negative,
        exp.BitwiseNot: _complement,
        **dict.fromkeys((exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseLeftShift, exp.BitwiseRightShift), _bits),
        exp.Case: _case,
        exp.Cast: _cast,
        exp.Anonymous: _function,
        exp.Filter: _aggregate,
        exp.Window: _aggregate,
        **dict.fromkeys((exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime), _now),
        exp.JSONExtract: _json_arrow,
        exp.JSONExtractScalar: _json_arrow,
    }


def _number(written: str) -> int | float:
    if written.isdigit():
        number = int(written)
        return number if number < 1 << 63 else float(number)
    return float(written)


def _unparen(node: exp.Expr) -> exp.Expr:
    while isinstance(node, (exp.Paren, exp.Subquery)) and not (
        isinstance(node, exp.Subquery) and node.args.get("alias")
    ):
        node = node.this
    return node


def _flatten(node: exp.Expr) -> list[exp.Expr]:
    """The operands of a chain of one operator, without recursion."""
    operands: list[exp.Expr] = []
    while type(node.this) is type(node):
        operands.append(node.expression)
        node = node.this
    return [node.this, node.expression, *reversed(operands)]


def _negated(node: exp.Expr, test: exp.Expr) -> exp.Expr:
    """sqlglot keeps NOT LIKE and its like as a flag of the node, or as a NOT around it, which is not ours to see."""
    return exp.Not(this=paren(test)) if node.args.get("negate") else test


def _nulled(typed: Typed) -> exp.Expr:
    return null(Kind.TEXT) if typed.kind is Kind.NULL else paren(typed.node)


def _in_list(subject: Typed, items: Sequence[Typed]) -> exp.Expr:
    """One IN where the elements compare alike, otherwise a chain of comparisons."""
    aligned = [comparing.align(subject, item) for item in items]
    kinds = {SQL_TYPE[pair[1].kind] for pair in aligned if pair[1].kind is not Kind.NULL}
    subjects = {pair[0].kind for pair in aligned}
    numeric = all(pair[1].kind in NUMBERS or pair[1].kind is Kind.NULL for pair in aligned)
    same = len(kinds) <= 1 and len(subjects) == 1 and {SQL_TYPE[next(iter(subjects))]} == kinds
    if Kind.NULL not in subjects and ((numeric and subjects <= NUMBERS) or same):
        name = comparing.collation(subject)
        sides = [comparing.collated(pair[1], name) if pair[1].kind is Kind.TEXT else pair[1].node for pair in aligned]
        first = aligned[0][0]
        left = comparing.collated(first, name) if first.kind is Kind.TEXT else first.node
        return exp.In(this=paren(left), expressions=sides)
    tests = [comparing.compare(exp.EQ, subject, item, loose=False) for item in items]
    return exp.Paren(this=exp.or_(*[paren(test) for test in tests]))
