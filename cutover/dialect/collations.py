"""Which collation texts are compared by, and the text as that sees it."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.typed import Refused, Typed, call, collate_c


def collation(left: Typed, right: Typed | None = None) -> str:
    """The collation SQLite compares with: written ones first, then the left column's, then the right's."""
    sides = [left] if right is None else [left, right]
    for side in sides:
        if side.explicit and side.collation:
            return side.collation.upper()
    for side in sides:
        if side.collation and (side.affinity is not None or side.plus):
            return side.collation.upper()
    return "BINARY"


def lasting(typed: Typed) -> str | None:
    """The collation of a query's column that is made of it: of a column's value it is the column's, of a call none."""
    return typed.collation if typed.explicit or typed.plus or typed.affinity is not None else None


def collated(typed: Typed, name: str) -> exp.Expr:
    """The text as the collation `name` sees it, to be compared bytewise. Raises `Refused` for unknown ones."""
    if name == "NOCASE":
        return call("lower", collate_c(typed.node))
    if name == "RTRIM":
        return call("rtrim", typed.node, exp.Literal.string(" "))
    if name != "BINARY":
        raise Refused(f"Collation {name}")
    return typed.node


def bytewise(typed: Typed) -> bool:
    """Whether Postgres compares this text bytewise without being told."""
    return typed.column is not None and typed.column.target_collation in (None, "C")


def collate_in(node: exp.Expr) -> exp.Collate | None:
    """The first COLLATE of what a value is made of; FILTER and OVER only say of which rows."""
    if isinstance(node, exp.Collate):
        return node
    if isinstance(node, exp.Query):
        return None
    parts = [node.this] if isinstance(node, (exp.Filter, exp.Window)) else node.iter_expressions()
    return next((found for part in parts if (found := collate_in(part)) is not None), None)
