"""Comparisons, IS, BETWEEN, IN, EXISTS, LIKE and GLOB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import below, comparing, exactly, rowwise, whole
from cutover.dialect.binding import as_bound
from cutover.dialect.collations import bytewise, collated, collation
from cutover.dialect.context import Context
from cutover.dialect.membership import in_query
from cutover.dialect.patterns import globbed, liked
from cutover.dialect.scope import Scope
from cutover.dialect.trees import negated, unparen
from cutover.dialect.typed import (
    NUMBERS,
    SQL_TYPE,
    Kind,
    Refused,
    Typed,
    null,
    paren,
)
from cutover.dialect.whole import natural
from cutover.errors import StatementError

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries


_EQUAL = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ)


class Predicates:
    """The part of `Expressions` that makes booleans."""

    context: Context
    queries: Queries

    def typed(self, node: exp.Expr, scope: Scope) -> Typed:
        """`node` rewritten."""
        raise NotImplementedError

    def condition(self, node: exp.Expr, scope: Scope, *, loose: bool = False) -> exp.Expr:
        """`node` as a boolean."""
        raise NotImplementedError

    def compare(self, node: exp.Expr, scope: Scope, *, loose: bool = False) -> exp.Expr:
        """A comparison as a boolean. `loose`: NULL may stand for false."""
        assert isinstance(node, exp.Binary)
        bound = as_bound(node)
        if bound is not node:
            return self.condition(bound, scope, loose=loose)
        left, right = unparen(node.this), unparen(node.expression)
        if isinstance(node, (exp.NullSafeEQ, exp.NullSafeNEQ)) and _truth(right) is not None:
            return self.is_(node, scope).node
        if isinstance(left, exp.Tuple) and isinstance(node.expression, exp.Subquery):
            return rowwise.with_query(self, type(node), left, right, scope)
        if isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple):
            return rowwise.compared(self, type(node), left, right, scope)
        one, two = self.typed(node.this, scope), self.typed(node.expression, scope)
        self._hint(one, two)
        self._hint(two, one)
        # `x IS 5` is a plain equality, which an index serves, where NULL may stand for false.
        plain = loose and isinstance(node, exp.NullSafeEQ) and (one.is_constant or two.is_constant)
        if loose and isinstance(node, exp.NullSafeEQ) and not plain and _is_column_of_argument(one, two):
            return self._equal_or_both_missing(one, two)
        return self.compared(exp.EQ if plain else type(node), one, two, loose=loose)

    def _equal_or_both_missing(self, one: Typed, two: Typed) -> exp.Expr:
        """`x IS ?` where NULL may stand for false, so that an index serves each way."""
        missing = [exp.Is(this=paren(side.node.copy()), expression=exp.Null()) for side in (one, two)]
        return exp.Paren(this=exp.or_(self.compared(exp.EQ, one, two, loose=True), exp.and_(*missing)))

    def compared(self, op: type[exp.Binary], one: Typed, two: Typed, *, loose: bool) -> exp.Expr:
        """A comparison of two values as a boolean."""
        by_type = whole.compared(self.context, op, one, two, loose=loose)
        if by_type is not None:
            return by_type
        if op not in _EQUAL:
            op, one, two = below.bounded(self.context, op, one, two)
        exact = exactly.compared(self.context, op, one, two, loose=loose)
        return exact if exact is not None else comparing.compare(op, one, two, loose=loose)

    def _hint(self, parameter: Typed, other: Typed) -> None:
        """A NULL argument beside a column needs no translation of its own."""
        if other.column is not None and other.kind not in (Kind.JSON, Kind.BOOL):
            self.context.hint(parameter.slot, natural(other))

    def comparison(self, node: exp.Expr, scope: Scope) -> Typed:
        """=, <>, <, <=, >, >= as a value."""
        return Typed(self.compare(node, scope), Kind.BOOL)

    def is_(self, node: exp.Expr, scope: Scope) -> Typed:
        """IS and IS NOT."""
        if isinstance(node.expression, exp.Null):
            inner = self.typed(node.this, scope)
            operand = null(Kind.TEXT) if inner.kind is Kind.NULL else paren(inner.node)
            self.context.hint(inner.slot, Kind.TEXT)
            return Typed(negated(node, exp.Is(this=operand, expression=exp.Null())), Kind.BOOL)
        asked = _truth(node.expression)
        if asked is not None:
            test: exp.Expr = exp.Is(this=paren(self.condition(node.this, scope)), expression=asked.copy())
            return Typed(negated(node, exp.Not(this=test) if isinstance(node, exp.NullSafeNEQ) else test), Kind.BOOL)
        left, right = self.typed(node.this, scope), self.typed(node.expression, scope)
        return Typed(negated(node, self.compared(exp.NullSafeEQ, left, right, loose=False)), Kind.BOOL)

    def between(self, node: exp.Expr, scope: Scope) -> Typed:
        """BETWEEN."""
        if isinstance(unparen(node.this), exp.Tuple):
            limits = ((exp.GTE, node.args["low"]), (exp.LTE, node.args["high"]))
            tests = [self.compare(op(this=node.this.copy(), expression=limit), scope) for op, limit in limits]
            return Typed(negated(node, exp.Paren(this=exp.and_(*tests))), Kind.BOOL)
        subject = comparing.aside(self.typed(node.this, scope))
        low, high = self.typed(node.args["low"], scope), self.typed(node.args["high"], scope)
        self._hint(low, subject)
        self._hint(high, subject)
        again = subject.but(node=subject.node.copy())
        sides = [
            self.compared(op, one, limit, loose=False)
            for op, one, limit in ((exp.GTE, subject, low), (exp.LTE, again, high))
        ]
        both = exp.And(this=paren(sides[0]), expression=paren(sides[1]))
        return Typed(negated(node, exp.Paren(this=both)), Kind.BOOL)

    def in_(self, node: exp.Expr, scope: Scope, *, loose: bool = False) -> Typed:
        """IN. `loose`: NULL may stand for false."""
        loose = loose and not node.args.get("negate")
        if node.args.get("query") is not None or node.args.get("field") is not None:
            return Typed(negated(node, in_query(self.queries, node, scope)), Kind.BOOL)
        if len(node.expressions) == 1 and isinstance(node.expressions[0], exp.Values):
            node = exp.In(this=node.this, query=node.expressions[0], negate=node.args.get("negate"))
            return Typed(negated(node, in_query(self.queries, node, scope)), Kind.BOOL)
        if isinstance(unparen(node.this), exp.Tuple) and node.expressions:
            tests = [exp.EQ(this=node.this.copy(), expression=item) for item in node.expressions]
            return Typed(negated(node, exp.Paren(this=exp.or_(*[self.compare(t, scope) for t in tests]))), Kind.BOOL)
        if not node.expressions:
            # Not a constant, which Postgres does not sort by.
            return Typed(negated(node, exp.Not(this=exp.Boolean(this=True))), Kind.BOOL, not_null=True)
        subject = self.typed(node.this, scope)
        items = [self.typed(item, scope) for item in node.expressions]
        for item in items:
            self._hint(item, subject)
        if subject.kind is Kind.WHOLE:
            each = [whole.compared(self.context, exp.EQ, subject, item, loose=loose) for item in items]
            if None not in each:
                return Typed(negated(node, exp.Paren(this=exp.or_(*each))), Kind.BOOL)
        if len(items) == 1 and items[0].explicit and _is_constant(node.expressions[0]):
            # To SQLite an equation, of which a written collation counts on the right as well.
            equal = self.compared(exp.EQ, subject, items[0].but(affinity=None), loose=loose)
            return Typed(negated(node, exp.Paren(this=equal)), Kind.BOOL)
        return Typed(
            negated(node, self._in_list(subject, [item.but(affinity=None) for item in items], loose)), Kind.BOOL
        )

    def _in_list(self, subject: Typed, items: Sequence[Typed], loose: bool) -> exp.Expr:
        """One IN where the elements compare alike, otherwise a chain of comparisons."""
        aligned = [comparing.align(subject, item) for item in items]
        aligned = [(one, exactly.equal_argument(self.context, one, item)) for one, item in aligned]
        if any(comparing.level(*pair) != pair for pair in aligned):
            return _any([self.compared(exp.EQ, subject, item, loose=loose) for item in items])
        return _alike_in_list(subject, items, aligned)

    def exists(self, node: exp.Expr, scope: Scope) -> Typed:
        """EXISTS."""
        query = self.queries.query(unparen(node.this), Scope(scope, whichever=True)).node
        return Typed(exp.Exists(this=query), Kind.BOOL, not_null=True)

    def like(self, node: exp.Expr, scope: Scope) -> Typed:
        """LIKE, which on SQLite knows no case among ASCII letters, and has no escape character unless told."""
        escape: exp.Expr = exp.Literal.string("")
        like = node
        if isinstance(node, exp.Escape):
            like, written = node.this, self.typed(node.expression, scope)
            escape = written.node
            if written.is_constant and (not isinstance(written.constant, str) or len(written.constant) != 1):
                raise StatementError("ESCAPE expression must be a single character", "SQLITE_UNKNOWN")
            if not isinstance(like, exp.Like):
                raise Refused("ESCAPE without LIKE")
        sides = [self.typed(side, scope) for side in (like.this, like.expression)]
        test = liked(sides[0], sides[1], escape)
        subject, pattern = map(comparing.text, sides)
        if like is node and collation(subject) == "NOCASE":
            test = _within_prefix(test, subject, pattern, "%_")
        return Typed(negated(like, test), Kind.BOOL)

    def glob(self, node: exp.Expr, scope: Scope) -> Typed:
        """GLOB."""
        sides = [self.typed(side, scope) for side in (node.this, node.expression)]
        test = globbed(sides[0], sides[1])
        subject, pattern = map(comparing.text, sides)
        if collation(subject) == "BINARY":
            test = _within_prefix(test, subject, pattern, "*?[")
        return Typed(negated(node, test), Kind.BOOL)


def _is_column_of_argument(one: Typed, two: Typed) -> bool:
    column, argument = (one, two) if two.slot is not None else (two, one)
    return column.column is not None and argument.slot is not None and Kind.NULL not in (one.kind, two.kind)


def _truth(node: exp.Expr) -> exp.Boolean | None:
    """TRUE or FALSE behind IS; neither parentheses nor COLLATE make a number of it."""
    node = unparen(node)
    while isinstance(node, exp.Collate):
        node = unparen(node.this)
    return node if isinstance(node, exp.Boolean) else None


def _is_constant(node: exp.Expr) -> bool:
    """Whether SQLite's parser takes it for a constant, of which functions are none to it."""
    node = unparen(node)
    while isinstance(node, exp.Collate):
        node = unparen(node.this)
    return not any(
        isinstance(part, (exp.Column, exp.Query, exp.Exists, exp.Like, exp.Glob))
        or (isinstance(part, exp.Func) and not isinstance(part, (exp.Cast, exp.Case, exp.Connector)))
        for part in node.walk()
    )


def _within_prefix(test: exp.Expr, subject: Typed, pattern: Typed, wild: str) -> exp.Expr:
    """The test, and that the text lies between its prefix and what follows it: an index can serve that."""
    if subject.column is None or not bytewise(subject) or not isinstance(pattern.constant, str):
        return test
    name = collation(subject)
    prefix = pattern.constant[: next((at for at, char in enumerate(pattern.constant) if char in wild), None)]
    prefix = prefix.translate(_LOWER) if name == "NOCASE" else prefix
    if not prefix or ord(prefix[-1]) >= _LAST_ASCII:
        return test
    column = collated(subject, name)
    above = exp.GTE(this=paren(column.copy()), expression=exp.Literal.string(prefix))
    below = exp.LT(this=paren(column.copy()), expression=exp.Literal.string(prefix[:-1] + chr(ord(prefix[-1]) + 1)))
    return exp.Paren(this=exp.and_(above, below, test))


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_LAST_ASCII = 127


def _alike_in_list(subject: Typed, items: Sequence[Typed], aligned: Sequence[tuple[Typed, Typed]]) -> exp.Expr:
    kinds = {SQL_TYPE[pair[1].kind] for pair in aligned if pair[1].kind is not Kind.NULL}
    subjects = {pair[0].kind for pair in aligned}
    numeric = all(pair[1].kind in NUMBERS or pair[1].kind is Kind.NULL for pair in aligned)
    same = len(kinds) <= 1 and len(subjects) == 1 and {SQL_TYPE[next(iter(subjects))]} == kinds
    if Kind.NULL not in subjects and ((numeric and subjects <= NUMBERS) or same):
        name = collation(subject)
        first = aligned[0][0]
        sides = [_element(pair[1], name, first.kind) for pair in aligned]
        left = collated(first, name) if first.kind is Kind.TEXT else first.node
        return exp.In(this=paren(left), expressions=sides)
    return _any([comparing.compare(exp.EQ, subject, item, loose=False) for item in items])


def _element(item: Typed, name: str, kind: Kind) -> exp.Expr:
    """One of a list that is compared with a `kind`: what can only be NULL is a text to Postgres, unless told."""
    if item.kind is Kind.NULL and item.slot is None and not isinstance(item.node, exp.Null):
        return null(kind)
    return collated(item, name) if item.kind is Kind.TEXT else item.node


def _any(tests: Sequence[exp.Expr]) -> exp.Expr:
    return exp.Paren(this=exp.or_(*[paren(test) for test in tests]))
