"""Columns of types that only their codec knows: they are stored, shown and compared with their own kind, as wholes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.comparing import number_of
from cutover.dialect.scope import Context
from cutover.dialect.typed import NUMERIC_AFFINITIES, Kind, Refused, Typed, cast, paren
from cutover.errors import Unrepresentable
from cutover.model.table import Column
from cutover.model.values import SqlValue
from cutover.schema.codecs import Codec, codec_for


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
    return cast(exp.Literal.string(text), codec.native)


def _native(node: exp.Expr, codec: Codec) -> exp.Expr:
    return cast(node, codec.native) if codec.by_text else node


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
