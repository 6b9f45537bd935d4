"""Columns of types that only their codec knows: they are stored, shown and compared with their own kind, as wholes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from cutover.dialect.comparing import number_of
from cutover.dialect.scope import Context
from cutover.dialect.typed import NUMERIC_AFFINITIES, Kind, Refused, Typed, binary, cast, paren
from cutover.errors import Unrepresentable
from cutover.model.table import Column
from cutover.model.values import SqlValue
from cutover.schema.codecs import Codec, base_of, codec_for


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

    def encode(value: SqlValue) -> object:
        return codec.to_target(as_stored(column, value))

    return _native(context.use(slot, codec.sql_type, encode), codec)


def constant(value: SqlValue, column: Column) -> exp.Expr:
    """A literal as a value of the column. Raises `Refused` for one that the column cannot hold."""
    codec = codec_for(column)
    try:
        there = codec.to_target(as_stored(column, value))
    except Unrepresentable as error:
        raise Refused(f"A literal for column {column.name} ({error.message})") from None
    if isinstance(there, bool):
        return exp.Boolean(this=there)
    text = repr(there) if isinstance(there, float) else str(there)
    return _as(exp.Literal.string(text), codec)


def sorts_alike(typed: Typed) -> bool:
    """Whether both databases put the column's values in the same order."""
    return typed.column is not None and not codec_for(typed.column).key


def equal(context: Context | None, op: type[exp.Binary], one: Typed, two: Typed) -> exp.Expr | None:
    """`one = two` where one is such a column and the other its like, an argument or a literal; else None.

    An argument that is not spelled as the column's values are equals none of them, as it does on SQLite.
    """
    if two.kind is Kind.WHOLE and one.kind is not Kind.WHOLE:
        one, two = two, one
    if one.kind is not Kind.WHOLE or one.column is None or op is not exp.EQ or not sorts_alike(one):
        return None
    if two.kind is Kind.WHOLE and two.column is not None:
        alike = base_of(one.column) == base_of(two.column) and (
            codec_for(one.column).format == codec_for(two.column).format
        )
        return binary(op, one.node, two.node) if alike else None
    column = replace(one.column, exact=True)
    codec = codec_for(column)
    if two.slot is not None and context is not None:
        return binary(op, one.node, _native(context.use(two.slot, codec.sql_type, _Exactly(column)), codec))
    if not two.is_constant:
        return None
    there = _Exactly(column)(two.constant)
    given: exp.Expr = exp.Literal.string(str(there)) if there is not None else exp.Null()
    return binary(op, one.node, _as(given, codec))


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
