"""Rows as the text form of COPY, a column at a time. Pure.

Python's own loops over columns cost a fraction of what a call for each value costs, so the common types are converted
and checked by whole columns; a column of any other type is converted by its codec, value by value.
https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cutover.errors import Unrepresentable
from cutover.model.table import Column
from cutover.model.values import Row
from cutover.schema.codecs import Codec

Values = Sequence[Any]
Encode = Callable[[Values], list[str]]

_NULL = "\\N"
_MEANT = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
"""What COPY would take for something else; the backslash first."""

_SLICE = 1 << 20


def encoders(columns: Sequence[Column], codecs: Sequence[Codec]) -> tuple[Encode, ...]:
    """How each column's values become text. They raise `Unrepresentable` if one value of them cannot be held."""
    return tuple(_encoder(column.target_type, codec) for column, codec in zip(columns, codecs, strict=True))


def copy_text(rows: Sequence[Row], encode: Sequence[Encode]) -> bytes:
    """Lines for COPY ... FROM STDIN, one a row. Raises `Unrepresentable` if any of the rows cannot be held."""
    if not rows:
        return b""
    columns = [encode_column(values) for encode_column, values in zip(encode, zip(*rows, strict=True), strict=True)]
    text = "\n".join(map("\t".join, zip(*columns, strict=True)))
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        raise Unrepresentable("text that is not valid Unicode") from None


def copy_slices(row: Row, codecs: Sequence[Codec]) -> Iterator[bytes]:
    """The line of one row with large values, in slices, so that no more copies of it are made than must be.

    Raises `Unrepresentable`.
    """
    for number, (value, codec) in enumerate(zip(row, codecs, strict=True)):
        yield b"\t" if number else b""
        if value is None:
            yield _NULL.encode()
            continue
        held = codec.to_target(value)
        if isinstance(held, bytes):
            yield b"\\\\x"
            yield from (held[at : at + _SLICE].hex().encode() for at in range(0, len(held), _SLICE))
        elif isinstance(held, str):
            yield from (escape(held[at : at + _SLICE]).encode() for at in range(0, len(held), _SLICE))
        else:
            yield _written(held).encode()
    yield b"\n"


def _encoder(target_type: str, codec: Codec) -> Encode:
    kind = target_type.partition("(")[0]
    if kind in ("smallint", "integer", "bigint"):
        return lambda values: _nullable(values, int, lambda given: _integers(given, codec))
    if kind in ("text", "character varying"):
        return lambda values: _nullable(values, str, lambda given: _texts(given, codec))
    if kind == "double precision" and codec.exact:
        return lambda values: _nullable(values, float, lambda given: list(map(repr, given)))
    return lambda values: _one_by_one(values, codec)


def _nullable(values: Values, kind: type, encode: Encode) -> list[str]:
    """`encode` the values that are not NULL, if all of these are of this kind."""
    kinds = set(map(type, values))
    if kinds == {kind}:
        return encode(values)
    if not kinds <= {kind, type(None)}:
        raise Unrepresentable("values of another storage class")
    encoded = iter(encode([value for value in values if value is not None]))
    return [_NULL if value is None else next(encoded) for value in values]


def _integers(values: Values, codec: Codec) -> list[str]:
    if values:
        codec.to_target(min(values))
        codec.to_target(max(values))
    return list(map(str, values))


def _texts(values: Values, codec: Codec) -> list[str]:
    """Checks and escapes them all at once, with NUL between them, which no text may hold."""
    if not values:
        return []
    codec.to_target(max(values, key=len))  # a varchar has a limit
    joined = "\0".join(values)
    if joined.count("\0") != len(values) - 1:
        raise Unrepresentable("text with a NUL character")
    escaped = escape(joined)
    return list(values) if escaped is joined else escaped.split("\0")


def _one_by_one(values: Values, codec: Codec) -> list[str]:
    convert, quick = codec.to_target, codec.quick
    if quick is None:
        return [_NULL if value is None else _written(convert(value)) for value in values]
    return [_NULL if value is None else quick(value) or _written(convert(value)) for value in values]


def _written(value: object) -> str:
    """A value as the driver would take it, as COPY reads it."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, bytes):
        return f"\\\\x{value.hex()}"
    return repr(value) if isinstance(value, float) else str(value)


def escape(text: str) -> str:
    """`text` itself where nothing in it means anything to COPY."""
    for special, written in _MEANT:
        if special in text:
            text = text.replace(special, written)
    return text
