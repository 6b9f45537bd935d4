"""Small things about syntax trees."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.typed import paren


def unparen(node: exp.Expr) -> exp.Expr:
    while isinstance(node, (exp.Paren, exp.Subquery)) and not (
        isinstance(node, exp.Subquery) and node.args.get("alias")
    ):
        node = node.this
    return node


def flatten(node: exp.Expr) -> list[exp.Expr]:
    """The operands of a chain of one operator, without recursion."""
    operands: list[exp.Expr] = []
    while type(node.this) is type(node):
        operands.append(node.expression)
        node = node.this
    return [node.this, node.expression, *reversed(operands)]


def negated(node: exp.Expr, test: exp.Expr) -> exp.Expr:
    """sqlglot keeps NOT LIKE and its like as a flag of the node, or as a NOT around it, which is not ours to see."""
    return exp.Not(this=paren(test)) if node.args.get("negate") else test


def conjuncts(node: exp.Expr) -> list[exp.Expr]:
    """What all has to be true for the condition to be true."""
    node = unparen(node)
    if not isinstance(node, exp.And):
        return [node]
    return [inner for part in flatten(node) for inner in conjuncts(part)]
