"""When two rows differ, and how. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Literal

from cutover.model.drift import DriftKind
from cutover.model.table import Table
from cutover.model.values import Key, Row, ScannedRange, SqlValue
from cutover.schema.codecs import Codec, Foreign

StorageType = Literal["null", "integer", "real", "text", "blob"]

_TYPES: dict[type, StorageType] = {type(None): "null", int: "integer", float: "real", str: "text", bytes: "blob"}
_RANKS = {"null": 0, "integer": 1, "real": 1, "text": 2, "blob": 3}

_TOLD_BY_EQUALITY = frozenset((type(None), int, str, bytes))
"""Types of which two values are the same if they are equal."""

Difference = tuple[DriftKind, tuple[str, ...]]
"""The kind, and the columns that differ (none for missing and extra)."""


def storage_type(value: SqlValue) -> StorageType:
    """The name that SQLite's `typeof` gives."""
    return _TYPES.get(type(value), "text")  # what only Postgres holds is a text of its own kind


def same_value(primary: SqlValue, shadow: SqlValue, codec: Codec) -> bool:
    """Equal by storage class and bytes; for types with many spellings of one value (JSON), by canonical form.

    Deliberately not by canonical form everywhere: a fault in it would hide the difference that this is asked about.
    """
    if type(primary) is type(shadow):
        if isinstance(primary, float):
            if struct.pack("d", primary) == struct.pack("d", shadow):
                return True
        elif primary == shadow:
            return True
    if primary is None or shadow is None or codec.exact:
        return False
    return codec.canonical(primary) == codec.canonical(shadow)


def same_text(primary: SqlValue, shadow: SqlValue) -> bool:
    """Of two storage classes, and yet the same to a reader: 1 and '1', 1 and 1.0, 'a' and x'61'."""
    if type(primary) is type(shadow) or primary is None or shadow is None:
        return False
    if isinstance(primary, int | float) and isinstance(shadow, int | float):
        return primary == shadow
    return _as_text(primary) == _as_text(shadow)


def _as_text(value: SqlValue) -> bytes:
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogatepass")


def difference(table: Table, codecs: Sequence[Codec], primary: Row | None, shadow: Row | None) -> Difference | None:
    """What is wrong with the shadow's row, given the primary's. None if nothing is."""
    if primary is None or shadow is None:
        if primary is shadow:
            return None
        return (DriftKind.MISSING if shadow is None else DriftKind.EXTRA), ()
    if primary == shadow:
        kinds = list(map(type, primary))
        if kinds == list(map(type, shadow)) and _TOLD_BY_EQUALITY.issuperset(kinds):
            return None  # as almost all are, found in a fraction of the time
    unlike = [
        index
        for index, (mine, theirs, codec) in enumerate(zip(primary, shadow, codecs, strict=True))
        if not same_value(mine, theirs, codec)
    ]
    if not unlike:
        return None
    only_type = all(same_text(primary[index], shadow[index]) for index in unlike)
    kind = DriftKind.TYPE_CHANGED if only_type else DriftKind.DIFFERENT
    return kind, tuple(table.columns[index].name for index in unlike)


def differing_keys(table: Table, codecs: Sequence[Codec], primary: Iterable[Row], shadow: Iterable[Row]) -> list[Key]:
    """Keys of the rows that are not the same in both, in the primary's order, those only on the shadow last."""
    theirs = {table.key_of(row): row for row in shadow}
    keys: list[Key] = []
    for row in primary:
        key = table.key_of(row)
        if difference(table, codecs, row, theirs.pop(key, None)) is not None:
            keys.append(key)
    keys.extend(theirs)
    return keys


def reaches_end(ranges: Sequence[ScannedRange], asked: int, rows_per_range: int) -> bool:
    """Whether a scan that was asked for so much has come to the end of the table."""
    return len(ranges) < asked or ranges[-1].rows < rows_per_range


def is_after(key: Key, upper: Key | None) -> bool:
    """Whether `key` is beyond `upper` in byte order, the order of ranges. Nothing is beyond None."""
    return upper is not None and _order(key) > _order(upper)


def _order(key: Key) -> tuple[tuple[int, int | float | bytes], ...]:
    return tuple(
        (
            _RANKS[storage_type(part)],
            part if isinstance(part, int | float) else b"" if part is None else _as_text(part),
        )
        for part in (part.place if type(part) is Foreign else part for part in key)
    )
