"""Keys as text for our own tables, and as bounds of ranges in SQL. Pure.

A bound can be a key that Postgres cannot hold: the row of SQLite at which a range was cut may have a NUL in its text or
another storage class than its column. `Bound.of` gives the condition on representable keys that means the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cutover.errors import Unrepresentable
from cutover.model.table import Column, Table
from cutover.model.values import Key, SqlValue
from cutover.schema.codecs import Foreign, base_of, codec_for
from cutover.schema.codecs.base import Ladder

_INTEGERS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
_TEXTS = ("text", "character varying", "character", "name", "enum")
_CLASSES: dict[type, int] = {type(None): 0, int: 1, float: 1, str: 2, bytes: 3}
"""SQLite orders NULL, numbers, text, blobs (https://sqlite.org/datatype3.html, section 4.1)."""


def raw_text(text: str) -> bytes:
    """The bytes SQLite holds for `text`, which may stand for bytes that are no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def encode_key(key: Key) -> str:
    """ASCII text for any key, such as `[["i","42"],["t","616263"]]`."""
    return json.dumps([_encode(value) for value in key], separators=(",", ":"))


def _encode(value: SqlValue) -> list[str]:
    if value is None:
        return ["n"]
    if isinstance(value, str):
        return ["t", value.encode("utf-8", "surrogatepass").hex()]
    if isinstance(value, int):
        return ["i", str(value)]
    if isinstance(value, float):
        return ["r", value.hex()]
    return ["b", value.hex()]


def decode_key(text: str) -> Key:
    """What `encode_key` was given."""
    return tuple(_decode(*item) for item in json.loads(text))


def _decode(kind: str, value: str = "") -> SqlValue:
    match kind:
        case "n":
            return None
        case "t":
            return bytes.fromhex(value).decode("utf-8", "surrogatepass")
        case "i":
            return int(value)
        case "r":
            return float.fromhex(value)
        case _:
            return bytes.fromhex(value)


def order(key: Key) -> tuple[tuple[int, object], ...]:
    """Sorts keys as SQLite sorts them bytewise."""
    return tuple(_place(value) for value in key)


def _place(value: SqlValue) -> tuple[int, object]:
    if type(value) is Foreign:
        value = value.place  # SQLite does not hold it; it has a place among what it does
    return _CLASSES[type(value)], _within_class(value)


def _within_class(value: SqlValue) -> object:
    if value is None:
        return 0
    return raw_text(value) if isinstance(value, str) else value


def within(key: Key, after: Key | None, upto: Key | None) -> bool:
    """Whether after < key <= upto."""
    place = order(key)
    return (after is None or place > order(after)) and (upto is None or place <= order(upto))


@dataclass(frozen=True)
class Bound:
    """Splits the keys of a table in two: a key is *below* if its first `len(values)` columns are less than `values`,
    or equal to them and the bound is inclusive."""

    values: tuple[object, ...]
    """In what the driver takes."""
    inclusive: bool

    @classmethod
    def of(cls, table: Table, key: Key) -> Bound:
        """The bound that puts exactly the representable keys <= `key` below."""
        values: list[object] = []
        for column, value in zip(table.key_columns, key, strict=True):
            try:
                if value is None:
                    return cls(tuple(values), inclusive=False)
                values.append(codec_for(column).to_target(_comparable(column, value)))
            except Unrepresentable:
                return _edge(column, value, values)
        return cls(tuple(values), inclusive=True)

    def whole(self, table: Table) -> bool:
        """Whether this is an ordinary bound: a complete key, inclusive."""
        return self.inclusive and len(self.values) == len(table.key)


def _comparable(column: Column, value: SqlValue) -> SqlValue:
    """A number as the column's own kind of number, if that is equal: 1.0 sorts with 1."""
    name = base_of(column)
    if name in _INTEGERS and isinstance(value, float) and value.is_integer():
        return int(value)
    if name == "double precision" and isinstance(value, int) and int(float(value)) == value:
        return float(value)
    return value


def _edge(column: Column, value: SqlValue, before: Sequence[object]) -> Bound:
    """The bound for a key whose columns up to this one are representable, and this one is not."""
    nothing, everything = Bound(tuple(before), inclusive=False), Bound(tuple(before), inclusive=True)
    ladder = codec_for(column).ladder
    if ladder is not None:
        return _ladder_edge(column, ladder, value, before)
    name = base_of(column)
    ours = 3 if name == "bytea" else 2 if name in _TEXTS else 1
    theirs = _CLASSES[type(value)]
    if theirs != ours:
        return everything if theirs > ours else nothing
    if isinstance(value, str):
        successor = text_above(raw_text(value))
        return everything if successor is None else Bound((*before, successor), inclusive=False)
    if isinstance(value, bytes):
        return everything
    assert isinstance(value, int | float), "the classes agree"
    if name == "double precision":
        return _real_edge(value, before)
    return _integer_edge(value, _INTEGERS.get(name), before)


def _ladder_edge(column: Column, ladder: Ladder, value: SqlValue, before: Sequence[object]) -> Bound:
    """Between which two of the values that there can be it stands, by halving."""
    convert = codec_for(column).to_target
    place = _place(value)
    if _place(ladder.at(ladder.low)) > place:
        return Bound((*before, convert(ladder.at(ladder.low))), inclusive=False)
    low, high = ladder.low, ladder.high
    while low < high:
        middle = (low + high + 1) // 2
        if _place(ladder.at(middle)) <= place:
            low = middle
        else:
            high = middle - 1
    return Bound((*before, convert(ladder.at(low))), inclusive=True)


def _integer_edge(value: float, limit: int | None, before: Sequence[object]) -> Bound:
    """`limit` is None for boolean."""
    low, high = (0, 1) if limit is None else (-limit, limit - 1)
    if value > high:
        return Bound(tuple(before), inclusive=True)
    if value < low or math.isnan(value):
        return Bound(tuple(before), inclusive=False)
    floor = math.floor(value)
    return Bound((*before, bool(floor) if limit is None else floor), inclusive=True)


def _real_edge(value: float, before: Sequence[object]) -> Bound:
    """An integer between reals."""
    if math.isnan(value):
        return Bound(tuple(before), inclusive=False)
    near = float(value)
    return Bound((*before, near), inclusive=int(near) <= value)


def text_above(raw: bytes) -> str | None:
    """The least text that Postgres can hold and that sorts after `raw`, which it cannot hold; None if there is none."""
    head = raw.split(b"\0", 1)[0]
    try:
        valid = head.decode()
    except UnicodeDecodeError as error:
        valid = head[: error.start].decode()
    rest = raw[len(valid.encode()) :]
    following = _least_character(rest)
    while following is None:
        if not valid:
            return None
        valid, last = valid[:-1], valid[-1]
        following = _least_character(last.encode() + b"\xff")
    return valid + following


def _least_character(above: bytes) -> str | None:
    """The first character whose UTF-8 sorts after these bytes. UTF-8 sorts as code points do."""
    low, high = 1, 0x110000
    while low < high:
        middle = (low + high) // 2
        point = middle if not 0xD800 <= middle <= 0xDFFF else 0xD7FF
        if chr(point).encode() > above:
            high = middle
        else:
            low = middle + 1
    if low >= 0x110000:
        return None
    return chr(0xE000) if 0xD800 <= low <= 0xDFFF else chr(low)
