"""Columns of types that only their codec knows: they are stored, shown and compared with their own kind, as wholes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import exp

from cutover.dialect.comparing import SWAPPED, number_of
from cutover.dialect.context import Context
from cutover.dialect.shown import shown
from cutover.dialect.spelling import look, where
from cutover.dialect.typed import NUMERIC_AFFINITIES, Kind, Refused, Typed, binary, cast, null, paren
from cutover.errors import Unrepresentable
from cutover.model.table import Column
from cutover.model.values import SqlValue
from cutover.schema.codecs import Codec, base_of, codec_for

_WITHOUT_MIN = frozenset({"uuid", "macaddr", "macaddr8", "boolean"})
_PLAIN = (exp.EQ, exp.LT, exp.LTE, exp.GT, exp.GTE)


def show_as_text(query: exp.Expr, columns: Sequence[Typed]) -> None:
    """Have the result's columns come as their codecs read them. Raises `Refused` where they cannot be told."""
    shown = [at for at, typed in enumerate(columns) if _by_text(typed)]
    if not shown:
        return
    if isinstance(query, exp.Subquery):
        show_as_text(query.this, columns)
    elif isinstance(query, exp.SetOperation):
        raise Refused("A compound query over columns of such types")
    else:
        returning = query.args.get("returning")
        expressions = (returning or query).expressions
        for at in shown:
            held = expressions[at]
            inner = held.this if isinstance(held, exp.Alias) else held
            named = exp.Alias(this=cast(paren(inner.copy()), "TEXT"), alias=exp.to_identifier(held.alias_or_name, True))
            held.replace(named if held.alias_or_name else cast(paren(inner.copy()), "TEXT"))


def _by_text(typed: Typed) -> bool:
    return typed.kind is Kind.WHOLE and typed.column is not None and codec_for(typed.column).by_text


def argument(context: Context, slot: int, column: Column) -> exp.Expr:
    """A parameter as a value of the column, encoded by its codec after SQLite's affinity."""
    codec = codec_for(column)
    learned, place = context.catalog.learned, where(context.catalog.tables.values(), column)

    def encode(value: SqlValue) -> object:
        stored = as_stored(column, value)
        if place is not None:
            look(learned, place, column, stored)
        try:
            return codec.to_target(stored)
        except Unrepresentable as error:
            raise Unrepresentable(f"column {column.name}: {error.message}") from None

    return _native(context.use(slot, codec.sql_type, encode), codec)


def constant(context: Context, value: SqlValue, column: Column) -> exp.Expr:
    """A literal as a value of the column. Raises `Refused` for one that the column cannot hold."""
    codec, stored = codec_for(column), as_stored(column, value)
    place = where(context.catalog.tables.values(), column)
    if place is not None:
        look(context.catalog.learned, place, column, stored)
    try:
        there = codec.to_target(stored)
    except Unrepresentable as error:
        raise Refused(f"A literal for column {column.name} ({error.message})") from None
    if isinstance(there, bool):
        return exp.Boolean(this=there)
    text = repr(there) if isinstance(there, float) else str(there)
    return _as(exp.Literal.string(text), codec)


def natural(typed: Typed) -> Kind:
    """The kind of the arguments that are compared with the expression."""
    if typed.kind is not Kind.WHOLE or typed.column is None:
        return typed.kind
    shown = codec_for(typed.column).shown
    return {"integer": Kind.INT, "number": Kind.REAL, "real": Kind.REAL, "blob": Kind.BLOB}.get(
        shown[0] if shown else "", Kind.TEXT
    )


def sorts_alike(typed: Typed) -> bool:
    """Whether both databases put the column's values in the same order."""
    if typed.column is None:
        return False
    codec, base = codec_for(typed.column), base_of(typed.column)
    if base == "numeric":
        return typed.column.affinity in NUMERIC_AFFINITIES
    return (
        base in ("uuid", "macaddr", "macaddr8", "real", "boolean")
        or codec.rungs is not None
        or codec.format.startswith("epoch_")
    )


def _is_one_spelling(typed: Typed) -> bool:
    """Whether values that are equal to one of both databases are equal to the other."""
    return typed.column is not None and not codec_for(typed.column).key


def compared(context: Context | None, op: type[exp.Binary], one: Typed, two: Typed, *, loose: bool) -> exp.Expr | None:
    """A comparison by the column's own type, which an index serves; None where it has to be of SQLite's values.

    `loose`: NULL may stand for false, as in WHERE.
    """
    if two.kind is Kind.WHOLE and one.kind is not Kind.WHOLE:
        op, one, two = SWAPPED.get(op, op), two, one
    if one.kind is not Kind.WHOLE or one.column is None or op not in _PLAIN:
        return None
    if base_of(one.column) == "numeric":
        return _number(context, op, one, two)
    if op is exp.EQ:
        same = _equal(context, one, two)
        return same if same is None or loose or two.kind is Kind.WHOLE else _or_false(context, one, two, same)
    return _beyond(context, op, one, two)


def _equal(context: Context | None, one: Typed, two: Typed) -> exp.Expr | None:
    """`one = two` where one is such a column and the other its like, an argument or a literal.

    An argument that is not spelled as the column's values are equals none of them, as it does on SQLite.
    """
    assert one.column is not None
    if not _is_one_spelling(one) or one.collation not in (None, "BINARY"):
        return None
    if two.kind is Kind.WHOLE and two.column is not None:
        return binary(exp.EQ, one.node, two.node) if _spelled_alike(one.column, two.column) else None
    column = replace(one.column, exact=True)
    return _with(context, exp.EQ, one, two, _Exactly(column))


def _spelled_alike(one: Column, two: Column) -> bool:
    return base_of(one) == base_of(two) and codec_for(one).format == codec_for(two).format


def equal_alike(one: Typed, two: Typed) -> bool:
    """Whether two columns of such types are equal on Postgres where their values are equal on SQLite."""
    if one.kind is not Kind.WHOLE or two.kind is not Kind.WHOLE or one.column is None or two.column is None:
        return False
    if base_of(one.column) == base_of(two.column) == "numeric":
        return one.column.affinity in NUMERIC_AFFINITIES and two.column.affinity in NUMERIC_AFFINITIES
    plain = {one.collation, two.collation} <= {None, "BINARY"}
    return plain and _is_one_spelling(one) and _is_one_spelling(two) and _spelled_alike(one.column, two.column)


def extreme(typed: Typed) -> Callable[[exp.Expr], Typed] | None:
    """How min() and max() of the column's own type are shown; None where there is no such, or SQLite's are others."""
    column = typed.column
    if typed.kind is not Kind.WHOLE or column is None or typed.collation not in (None, "BINARY"):
        return None
    if not sorts_alike(typed) or base_of(column) in _WITHOUT_MIN:
        return None
    return lambda node: shown(typed.but(node=node), column)


def _or_false(context: Context | None, one: Typed, two: Typed, same: exp.Expr) -> exp.Expr:
    """`same`, but false where the argument can be no value of the column, which makes `same` NULL."""
    missing: exp.Expr = exp.Is(this=paren(one.node.copy()), expression=exp.Null())
    if two.slot is not None and context is not None:
        given = context.use(two.slot, "BOOLEAN", _given)  # NULL is never encoded
        missing = exp.Or(this=missing, expression=exp.Is(this=given, expression=exp.Null()))
    elif two.constant is None:
        missing = exp.Boolean(this=True)
    return exp.Case(
        ifs=[exp.If(this=same, true=exp.Boolean(this=True)), exp.If(this=missing, true=null(Kind.BOOL))],
        default=exp.Boolean(this=False),
    )


def _given(_value: SqlValue) -> bool:
    return True


def _with(
    context: Context | None, op: type[exp.Binary], one: Typed, two: Typed, encode: Callable[[SqlValue], object]
) -> exp.Expr | None:
    """`one op two`, where two is an argument or a literal that `encode` makes a value of the column's type."""
    assert one.column is not None
    codec = codec_for(one.column)
    if two.slot is not None and context is not None and two.kind is not Kind.NULL:
        return binary(op, one.node, _native(context.use(two.slot, codec.sql_type, encode), codec))
    if not two.is_constant:
        return None
    there = encode(two.constant)
    return binary(op, one.node, _as(exp.Literal.string(str(there)) if there is not None else exp.Null(), codec))


def _number(context: Context | None, op: type[exp.Binary], one: Typed, two: Typed) -> exp.Expr | None:
    """A real is compared by its shortest decimal: that is the number that the column has, if it has it at all."""
    assert one.column is not None
    if one.column.affinity not in NUMERIC_AFFINITIES:
        return None
    if two.kind in (Kind.INT, Kind.NUM):
        return binary(op, one.node, two.node)
    if two.kind is Kind.WHOLE and two.column is not None and base_of(two.column) == "numeric":
        return binary(op, one.node, two.node) if two.column.affinity in NUMERIC_AFFINITIES else None
    if two.kind is Kind.REAL:
        return _with(context, op, one, two, _decimal)
    if isinstance(two.constant, str) and (number := number_of(two.constant)) is not None:
        return binary(op, one.node, cast(exp.Literal.string(repr(number)), "NUMERIC"))
    if two.slot is not None and two.kind is Kind.TEXT:
        return _with(context, op, one, two, _decimal_of_text)
    return None


def _decimal(value: SqlValue) -> str:
    return str(value) if isinstance(value, float) and math.isinf(value) else repr(value)


def _decimal_of_text(value: SqlValue) -> str:
    """A text that is no number is greater than all numbers."""
    number = number_of(value) if isinstance(value, str) else value
    return "Infinity" if number is None else _decimal(number)


def _beyond(context: Context | None, op: type[exp.Binary], one: Typed, two: Typed) -> exp.Expr | None:
    """Before or after any text, whether or not it is a point in time: compared with the first that is not before it."""
    assert one.column is not None
    ladder = codec_for(one.column).rungs
    if ladder is None or one.collation not in (None, "BINARY"):
        return None
    after = op in (exp.GT, exp.LTE)
    return _with(context, exp.LT if op in (exp.LT, exp.LTE) else exp.GTE, one, two, _First(one.column, after=after))


@dataclass(frozen=True)
class _First:
    """Encodes the first value of the column that is not before another one (`after`: that is after it)."""

    column: Column
    after: bool

    def __call__(self, value: SqlValue) -> object:
        codec = codec_for(self.column)
        ladder, wanted = codec.rungs, _in_order(as_stored(self.column, value))
        assert ladder is not None
        low, high = ladder.low, ladder.high + 1
        while low < high:
            middle = (low + high) // 2
            found = _in_order(ladder.at(middle))
            if found < wanted or (self.after and found == wanted):
                low = middle + 1
            else:
                high = middle
        return "infinity" if low > ladder.high else codec.to_target(ladder.at(low))


def _in_order(value: SqlValue) -> tuple[int, Any]:
    rank = 1 if isinstance(value, str) else 2 if isinstance(value, bytes) else 0
    return rank, value.encode() if isinstance(value, str) else value


@dataclass(frozen=True)
class _Exactly:
    """Encodes what an application compares with a column; None where no value of the column can be that."""

    column: Column

    def __call__(self, value: SqlValue) -> object:
        try:
            return codec_for(self.column).to_target(as_stored(self.column, value))
        except Unrepresentable:
            return None


def _native(node: exp.Expr, codec: Codec) -> exp.Expr:
    return _as(node, codec) if codec.by_text else node


def as_stored(column: Column, value: SqlValue) -> SqlValue:
    """The value as SQLite would store it, by the affinity of the column."""
    if column.affinity in NUMERIC_AFFINITIES and isinstance(value, str):
        number = number_of(value)
        value = value if number is None else number
    if column.affinity == "REAL" and isinstance(value, int):
        return float(value)
    if column.affinity in ("INTEGER", "NUMERIC") and isinstance(value, float) and value.is_integer():
        return int(value) if abs(value) < 2**63 else value
    if column.affinity == "TEXT" and isinstance(value, int):
        return str(value)
    return value


def _as(node: exp.Expr, codec: Codec) -> exp.Expr:
    """A cast to the column's own type, which may be one of the application's."""
    return exp.Cast(this=node, to=exp.DataType(this=exp.DataType.Type.USERDEFINED, kind=codec.native))
