"""LIKE, GLOB, BETWEEN and IN beside a comparison, without parentheses: which of them SQLite takes first.

To SQLite they bind as = does, from the left, and less tightly than <; the parser takes them before any comparison.
"""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.typed import Refused

_LOOSE = (exp.Like, exp.Glob, exp.Between, exp.In, exp.Is, exp.Escape)
_OPEN: dict[type[exp.Expr], str] = {
    **dict.fromkeys((exp.Like, exp.Glob, exp.Escape), "expression"),
    exp.Between: "high",
}
"""Those that end in an operand, which a < behind them takes for itself."""
_TIGHT = (exp.LT, exp.LTE, exp.GT, exp.GTE)


def as_bound(node: exp.Expr) -> exp.Expr:
    """The comparison as SQLite reads it: the node itself where the parser did. Raises `Refused` where only a NOT could
    tell, since the one before an operand and the one that belongs to IN look alike."""
    assert isinstance(node, exp.Binary)
    left, right = node.this, node.expression
    if isinstance(right, exp.Not) and isinstance(right.this, _LOOSE):
        raise Refused("NOT behind a comparison and beside LIKE, BETWEEN or IN", "Put parentheses around one of them.")
    if isinstance(node, _TIGHT) and isinstance(left, _TIGHT):
        left = as_bound(left)
    if isinstance(right, _LOOSE):
        return _before(right.copy(), type(node)(this=left.copy()))
    if isinstance(node, _TIGHT) and type(left.this if isinstance(left, exp.Not) else left) in _OPEN:
        return _behind(left.copy(), node)
    return node


def _before(made: exp.Expr, begun: exp.Binary) -> exp.Expr:
    """`a = b LIKE c`: what is compared is b, and LIKE has the outcome for its left operand."""
    first = made
    while isinstance(first.this, _LOOSE):
        first = first.this
    begun.set("expression", first.this.copy())
    first.set("this", begun)
    return made


def _behind(made: exp.Expr, node: exp.Binary) -> exp.Expr:
    """`a LIKE b < c`: the pattern is what b < c gives."""
    loose = made.this if isinstance(made, exp.Not) else made
    last = _OPEN[type(loose)]
    loose.set(last, type(node)(this=loose.args[last].copy(), expression=node.expression.copy()))
    return made
