"""Comparison as SQLite does it: affinity first, then storage classes, then the collation."""

from __future__ import annotations

import re

from sqlglot import exp

from cutover.dialect.collations import bytewise, collated, collation
from cutover.dialect.shown import document, shown
from cutover.dialect.typed import (
    NUMBERS,
    NUMERIC_AFFINITIES,
    SQL_TYPE,
    Kind,
    Refused,
    Typed,
    binary,
    call,
    cast,
    collate_c,
    helper,
    literal,
    null,
    paren,
)

_NUMBER = re.compile(r"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)
_LONG = 4000
"""Characters of a text that Python would not make an integer of."""
_RANK = {Kind.TEXT: 2, Kind.BLOB: 3}
_EQUALITY = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ)
SWAPPED = {exp.LT: exp.GT, exp.GT: exp.LT, exp.LTE: exp.GTE, exp.GTE: exp.LTE}


def value(typed: Typed) -> Typed:
    """The expression as a value: a boolean becomes 0 or 1, JSON becomes text."""
    if typed.kind is Kind.BOOL:
        return typed.but(node=cast(cast(typed.node, "INTEGER"), "BIGINT"), kind=Kind.INT, column=None)
    if typed.kind is Kind.JSON:
        if typed.column is not None and typed.column.affinity == "NUMERIC":  # JSON that is a number is one on SQLite
            number = helper("kept", helper("dyn", document(typed)))
            return typed.but(node=number, kind=Kind.DYNAMIC, column=None)
        return typed.but(node=document(typed), kind=Kind.TEXT, column=None)
    if typed.kind is Kind.WHOLE and typed.column is not None:
        return shown(typed, typed.column)
    return typed


def aside(typed: Typed) -> Typed:
    """What BETWEEN and CASE compare more than once: SQLite keeps it aside, and there it loses what RETURNING lent."""
    if not typed.lent:
        return typed
    return typed.but(affinity=None, collation=typed.collation if typed.explicit else None, lent=False)


def text(typed: Typed) -> Typed:
    """The expression as text, as `||` and TEXT affinity see it."""
    if typed.kind is Kind.JSON:
        return typed.but(node=document(typed), kind=Kind.TEXT, column=None)
    typed = value(typed)
    if typed.kind in (Kind.TEXT, Kind.NULL):
        return typed
    if typed.kind is Kind.INT:
        if typed.is_constant:
            return literal(str(typed.constant))
        return typed.but(node=cast(typed.node, "TEXT"), kind=Kind.TEXT, column=None)
    if typed.kind is Kind.BLOB:
        return typed.but(node=call("convert_from", typed.node, exp.Literal.string("UTF8")), kind=Kind.TEXT, column=None)
    return typed.but(node=helper("txt", typed.node), kind=Kind.TEXT, column=None, constant=None)


def octets(typed: Typed) -> exp.Expr:
    """The expression as bytes: those of a blob, or of the text that it is otherwise."""
    typed = value(typed)
    if typed.kind is Kind.BLOB:
        return typed.node
    if typed.kind is Kind.DYNAMIC:
        return helper("octets", typed.node)
    written = null(Kind.TEXT) if typed.kind is Kind.NULL else text(typed).node
    return call("convert_to", written, exp.Literal.string("UTF8"))


def number_of(constant: str) -> int | float | None:
    """The number that numeric affinity makes of a text, None if it stays text."""
    if not _NUMBER.fullmatch(constant):
        return None
    if constant.strip().lstrip("+-").isdigit() and len(constant) < _LONG and -(1 << 63) <= int(constant) < 1 << 63:
        return int(constant)
    real = float(constant)
    return int(real) if real.is_integer() and abs(real) < 1 << 53 else real


def shared_affinity(left: Typed, right: Typed) -> str | None:
    """Which affinity is applied to both sides, None for none."""
    one, two = left.affinity, right.affinity
    if one is not None and two is not None:
        return "NUMERIC" if one in NUMERIC_AFFINITIES or two in NUMERIC_AFFINITIES else None
    either = one or two
    return "NUMERIC" if either in NUMERIC_AFFINITIES else ("TEXT" if either == "TEXT" else None)


def is_by_number(left: Typed, right: Typed) -> bool:
    """Whether a text column stands beside a column of dates: texts that are numbers are compared as such."""
    return "TEXT" in (left.affinity, right.affinity) and shared_affinity(left, right) == "NUMERIC"


def align(left: Typed, right: Typed) -> tuple[Typed, Typed]:
    """Both sides as values, with the affinity of one applied to the other where that can be said now.

    A text that is not constant and meets a numeric affinity stays text: `compare` treats it.
    """
    left, right = value(left), value(right)
    shared = shared_affinity(left, right)
    return _apply(left, shared), _apply(right, shared)


def _apply(typed: Typed, affinity: str | None) -> Typed:
    if affinity == "NUMERIC" and isinstance(typed.constant, str):
        number = number_of(typed.constant)
        return typed if number is None else literal(number)
    if affinity == "NUMERIC" and typed.lent and typed.kind is Kind.TEXT:
        return typed.but(node=helper("as_numeric", dynamic(typed)), kind=Kind.DYNAMIC)
    if affinity == "TEXT" and typed.kind in NUMBERS:
        return text(typed)
    if typed.kind is Kind.DYNAMIC and affinity is not None:
        return typed.but(node=helper("as_numeric" if affinity == "NUMERIC" else "as_text", typed.node))
    return typed


def dynamic(typed: Typed) -> exp.Expr:
    """The value as one that may be of any storage class, telling which it is."""
    typed = value(typed)
    if typed.kind is Kind.DYNAMIC:
        return typed.node
    return helper("dyn", cast(typed.node, SQL_TYPE[typed.kind]) if not isinstance(typed.node, exp.Cast) else typed.node)


def sortable(typed: Typed, name: str) -> exp.Expr:
    """The value as something that Postgres orders as SQLite orders values of several storage classes."""
    return helper("sortable", dynamic(typed), exp.Literal.string(name))


def compare(op: type[exp.Binary], left: Typed, right: Typed, *, loose: bool) -> exp.Expr:
    """`left op right` as a boolean. `loose`: NULL may stand for false (a conjunct of WHERE)."""
    numeric = shared_affinity(left, right) == "NUMERIC"
    left, right = align(left, right)
    if Kind.NULL in (left.kind, right.kind):
        return _with_null(op, left, right)
    if left.kind in NUMBERS and right.kind in NUMBERS:
        if loose and op is exp.EQ and {left.kind, right.kind} == {Kind.INT, Kind.REAL}:
            return _integer_is_real(*((left, right) if left.kind is Kind.INT else (right, left)))
        left, right = level(left, right)
        return binary(op, left.node, right.node)
    if left.kind is Kind.TEXT and right.kind is Kind.TEXT:
        if is_by_number(left, right):
            return _dynamic(op, left, right, numeric=True)
        return _texts(op, left, right)
    if left.kind is right.kind is Kind.BLOB:
        return binary(op, left.node, right.node)
    if Kind.DYNAMIC in (left.kind, right.kind):
        return _dynamic(op, left, right, numeric=numeric)
    texts = [side for side in (left, right) if side.kind is Kind.TEXT]
    # A text column with numeric affinity (DATETIME) holds no text that looks like a number: SQLite made those numbers.
    if numeric and texts and Kind.BLOB not in (left.kind, right.kind) and texts[0].affinity not in NUMERIC_AFFINITIES:
        return _number_with_text(op, left, right, loose=loose)
    return _classes(op, left, right, loose=loose)


def level(left: Typed, right: Typed) -> tuple[Typed, Typed]:
    """Numbers that Postgres compares exactly: a real that meets what may be an integer becomes a numeric."""
    kinds = {left.kind, right.kind}
    if Kind.REAL not in kinds or len(kinds) == 1 or not kinds <= NUMBERS or _is_exact(left) or _is_exact(right):
        return left, right
    one, two = (
        side.but(node=helper("num", side.node), kind=Kind.NUM) if side.kind is Kind.REAL else side
        for side in (left, right)
    )
    return one, two


def _is_exact(typed: Typed) -> bool:
    """Whether it is an integer that every real can be compared with."""
    return isinstance(typed.constant, int) and abs(typed.constant) <= 1 << 53


def _integer_is_real(integer: Typed, real: Typed) -> exp.Expr:
    """An integer and a real are equal; NULL where the real is no integer, so that an index of integers serves."""
    if _is_exact(integer):
        return binary(exp.EQ, integer.node, real.node)
    return binary(exp.EQ, integer.node, helper("int_of", real.node))


def _with_null(op: type[exp.Binary], left: Typed, right: Typed) -> exp.Expr:
    if op in (exp.NullSafeEQ, exp.NullSafeNEQ):
        other = left if right.kind is Kind.NULL else right
        test: exp.Expr = exp.Is(this=paren(_typed_null(other)), expression=exp.Null())
        return test if op is exp.NullSafeEQ else exp.Not(this=test)
    return null(Kind.BOOL)


def _typed_null(typed: Typed) -> exp.Expr:
    return null(Kind.TEXT) if typed.kind is Kind.NULL else typed.node


def told_apart(typed: Typed, collation: str) -> exp.Expr:
    """The expression as a unique index has it that goes by `collation`. Raises `Refused`."""
    if typed.kind in (Kind.NULL, Kind.WHOLE):
        raise Refused("An index over such a value")
    if typed.kind is Kind.JSON:
        typed = value(typed)
    if collation in ("", "BINARY"):
        return typed.node
    if typed.kind is Kind.TEXT:
        return collated(typed, collation)
    return helper("folded", typed.node, literal(collation).node) if typed.kind is Kind.DYNAMIC else typed.node


def _texts(op: type[exp.Binary], left: Typed, right: Typed) -> exp.Expr:
    name = collation(left, right)
    one, two = collated(left, name), collated(right, name)
    differs = left.column and right.column and left.column.target_collation != right.column.target_collation
    ordered = op not in _EQUALITY and not (bytewise(left) or bytewise(right))
    if name != "NOCASE" and (differs or ordered):
        one = collate_c(one)
    return binary(op, one, two)


def _dynamic(op: type[exp.Binary], left: Typed, right: Typed, *, numeric: bool) -> exp.Expr:
    name = collation(left, right)
    if numeric:
        left, right = (
            Typed(helper("as_numeric", dynamic(side)), Kind.DYNAMIC) if side.kind is Kind.TEXT else side
            for side in (left, right)
        )
    if op not in _EQUALITY:
        return binary(op, sortable(left, name), sortable(right, name))
    one, two = dynamic(left), dynamic(right)
    if name != "BINARY":
        one, two = (helper("folded", side, exp.Literal.string(name)) for side in (one, two))
    return binary(op, one, two)


def _number_with_text(op: type[exp.Binary], left: Typed, right: Typed, *, loose: bool) -> exp.Expr:
    if left.kind is Kind.TEXT:
        if op in _EQUALITY:
            return _number_with_text(op, right, left, loose=loose)
        return _number_with_text(SWAPPED[op], right, left, loose=loose)
    name = "aff_int" if left.kind is Kind.INT and op in (exp.EQ, exp.NullSafeEQ) else "aff"
    if left.kind is Kind.REAL:
        plain = _real_with_text(op, left, right)
    else:
        plain = binary(op, left.node, helper(name, right.node))
    if op is exp.EQ and loose:
        return plain
    if op is exp.NullSafeEQ or op is exp.NullSafeNEQ:
        converted = helper("aff", right.node)
        same = exp.And(
            this=binary(exp.NullSafeEQ, left.node.copy(), converted),
            expression=binary(exp.EQ, _is_null(converted.copy()), _is_null(right.node.copy())),
        )
        return exp.Paren(this=same) if op is exp.NullSafeEQ else exp.Not(this=exp.Paren(this=same))
    # A text that is no number is greater than every number; one that is no integer equals none.
    greater = exp.Boolean(this=op in (exp.LT, exp.LTE, exp.NEQ))
    known = exp.And(
        this=exp.Not(this=_is_null(left.node.copy())),
        expression=exp.Not(this=_is_null(right.node.copy())),
    )
    not_number = exp.And(this=exp.Paren(this=known), expression=_is_null(helper(name, right.node.copy())))
    return exp.Case(ifs=[exp.If(this=not_number, true=greater)], default=plain)


def _real_with_text(op: type[exp.Binary], real: Typed, written: Typed) -> exp.Expr:
    """Compared exactly, and beside that as doubles, which an index serves."""
    exact = binary(op, helper("num", real.node), helper("aff", written.node))
    nearly = {exp.EQ: exp.EQ, exp.LT: exp.LTE, exp.LTE: exp.LTE, exp.GT: exp.GTE, exp.GTE: exp.GTE}.get(op)
    if nearly is None:
        return exact
    double = cast(helper("aff", written.node.copy()), "DOUBLE PRECISION")
    return exp.Paren(this=exp.And(this=binary(nearly, real.node.copy(), double), expression=exact))


def _is_null(node: exp.Expr) -> exp.Expr:
    return exp.Paren(this=exp.Is(this=paren(node), expression=exp.Null()))


def _classes(op: type[exp.Binary], left: Typed, right: Typed, *, loose: bool) -> exp.Expr:
    """Storage classes differ: the answer is known, unless a side is NULL."""
    less = _RANK.get(left.kind, 1) < _RANK.get(right.kind, 1)
    answer = op in (exp.NEQ, exp.NullSafeNEQ) or (op in (exp.LT, exp.LTE) if less else op in (exp.GT, exp.GTE))
    if (loose and not answer) or op in (exp.NullSafeEQ, exp.NullSafeNEQ):
        if op in (exp.NullSafeEQ, exp.NullSafeNEQ):
            both = exp.And(this=_is_null(left.node), expression=_is_null(right.node))
            return exp.Paren(this=both) if op is exp.NullSafeEQ else exp.Not(this=exp.Paren(this=both))
        return exp.Boolean(this=False)
    either = exp.Or(this=_is_null(left.node), expression=_is_null(right.node))
    return exp.Case(ifs=[exp.If(this=either, true=null(Kind.BOOL))], default=exp.Boolean(this=answer))
