"""Operators on numbers and texts."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect import comparing, numbers
from cutover.dialect.predicates import Predicates
from cutover.dialect.scope import Scope
from cutover.dialect.trees import flatten
from cutover.dialect.typed import Kind, Typed, binary, cast, helper, literal, null, paren

ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod)


class Operators(Predicates):
    """Rewrites them."""

    def concat(self, node: exp.Expr, scope: Scope) -> Typed:
        """||: texts, numbers as texts."""
        parts = [comparing.text(self.typed(part, scope)) for part in flatten(node)]
        combined = _nulled(parts[0])
        for part in parts[1:]:
            combined = exp.DPipe(this=combined, expression=_nulled(part), safe=False)
        return Typed(combined, Kind.TEXT, not_null=all(part.not_null for part in parts))

    def arithmetic(self, node: exp.Expr, scope: Scope) -> Typed:
        """A chain of operators, from the left and without recursion: there may be a thousand."""
        chain: list[exp.Expr] = []
        while type(node) in ARITHMETIC:
            chain.append(node)
            node = node.this
        result = self.typed(node, scope)
        for link in reversed(chain):
            assert isinstance(link, exp.Binary)
            result = numbers.arithmetic(type(link), result, self.typed(link.expression, scope), self.context)
        return result

    def number(self, node: exp.Expr, scope: Scope) -> Typed:
        """`node` as a number, as arithmetic takes it."""
        return numbers.number(self.typed(node, scope))

    def negative(self, node: exp.Expr, scope: Scope) -> Typed:
        """-x; SQLite has no negative zero."""
        written = str(node.this.this) if isinstance(node.this, exp.Literal) and not node.this.is_string else ""
        if written.isdigit() and int(written) == 1 << 63:
            return literal(-(1 << 63))  # on its own it is a real
        inner = self.number(node.this, scope)
        if isinstance(inner.constant, (int, float)):
            return literal(-inner.constant if inner.constant != -(1 << 63) else 2.0**63)
        if inner.kind is Kind.REAL:  # SQLite has no negative zero
            zero = literal(0.0).node
            return Typed(exp.Paren(this=exp.Sub(this=zero, expression=paren(inner.node))), Kind.REAL)
        if inner.kind is Kind.INT:
            self.context.may_widen = True
            if self.context.wide:
                inner = inner.but(node=cast(inner.node, "NUMERIC"), kind=Kind.NUM)
        if inner.kind is Kind.NUM:
            return Typed(helper("neg", inner.node), Kind.NUM, not_null=inner.not_null)
        return Typed(exp.Paren(this=exp.Neg(this=paren(inner.node))), inner.kind, not_null=inner.not_null)

    def complement(self, node: exp.Expr, scope: Scope) -> Typed:
        """~x."""
        inner = numbers.integer(self.typed(node.this, scope))
        return Typed(exp.Paren(this=exp.BitwiseNot(this=paren(inner.node))), Kind.INT)

    def bits(self, node: exp.Expr, scope: Scope) -> Typed:
        """&, |, << and >> on integers."""
        left, right = (numbers.integer(self.typed(side, scope)).node for side in (node.this, node.expression))
        if isinstance(node, exp.BitwiseLeftShift):
            return Typed(helper("shift", left, right), Kind.INT)
        if isinstance(node, exp.BitwiseRightShift):
            return Typed(helper("unshift", left, right), Kind.INT)
        assert isinstance(node, exp.Binary)
        return Typed(binary(type(node), left, right), Kind.INT)


def _nulled(typed: Typed) -> exp.Expr:
    return null(Kind.TEXT) if typed.kind is Kind.NULL else paren(typed.node)
