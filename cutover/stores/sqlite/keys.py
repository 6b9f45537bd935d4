"""Keys as SQLite must be asked for them: by type and bytes, in byte order, whatever the columns' collations (pure)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cutover.model.table import Column, Table
from cutover.model.values import Key, SqlValue
from cutover.schema.codecs import Foreign
from cutover.schema.sqlite_schema import quoted

TypedKey = tuple[object, ...]
"""A key in which 1 and 1.0 are different, as they are to us and are not to Python."""


def typed(key: Key) -> TypedKey:
    """A hashable identity by type and value."""
    return (*map(type, key), *key)


def encode_key(key: Key) -> str:
    """A key as text that gives back exactly the same key."""
    return json.dumps([_encode(value) for value in key], separators=(",", ":"))


def decode_key(text: str) -> Key:
    """The key of `encode_key`."""
    return tuple(_decode(tag, value) for tag, value in json.loads(text))


def _encode(value: SqlValue) -> tuple[str, Any]:
    match value:
        case None:
            return "n", None
        case int():
            return "i", value
        case float():
            return "r", value.hex()
        case Foreign():
            return "f", [value, value.reason, _encode(value.place)]
        case str():
            return "t", value
        case bytes():
            return "b", value.hex()


def _decode(tag: str, value: Any) -> SqlValue:  # noqa: ANN401  # from JSON
    if tag == "r":
        return float.fromhex(value)
    if tag == "b":
        return bytes.fromhex(value)
    if tag == "f":
        return Foreign(value[0], value[1], _decode(*value[2]))
    return value  # type: ignore[no-any-return]  # i, t and n are themselves


_RANK = {type(None): 0, int: 1, float: 1, str: 2, bytes: 3}


def order(key: Key) -> tuple[tuple[int, Any], ...]:
    """Sorts keys as SQLite does under BINARY collation: NULL, numbers, text by its bytes, blobs."""
    return tuple((_RANK[type(value)], 0 if value is None else value) for value in map(_place, key))


def _place(value: SqlValue) -> SqlValue:
    """What SQLite does not hold has a place among what it does."""
    return value.place if type(value) is Foreign else value


def within(key: Key, after: Key | None, upto: Key | None) -> bool:
    """Whether after < key <= upto; None is open."""
    place = order(key)
    return (after is None or place > order(after)) and (upto is None or place <= order(upto))


def binary(column: Column, prefix: str = "") -> str:
    """SQL of a column that compares and sorts by bytes. Says COLLATE only where it must, so that indexes are used."""
    name = prefix + quoted(column.name)
    return name if column.collation.upper() == "BINARY" else f"{name} COLLATE BINARY"


def key_order(table: Table) -> str:
    """The ORDER BY list of byte order."""
    return ", ".join(binary(column) for column in table.key_columns)


def bound(value: SqlValue) -> tuple[str, SqlValue]:
    """(placeholder, parameter) of a value; text that was not valid UTF-8 goes back as the bytes it was."""
    value = _place(value)
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            try:
                return "CAST(? AS TEXT)", value.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError:
                return "CAST(? AS TEXT)", value.encode("utf-8", "surrogatepass")
    return "?", value


def match(table: Table, key: Key) -> tuple[str, tuple[SqlValue, ...]]:
    """WHERE text and parameters that find the row with exactly this key, by type and bytes, through the key's index."""
    parts: list[str] = []
    parameters: list[SqlValue] = []
    for column, value in zip(table.key_columns, key, strict=True):
        name = quoted(column.name)
        if type(value) is Foreign:
            parts.append("0")  # SQLite has no such row
            continue
        if value is None:
            parts.append(f"{name} IS NULL")
            continue
        mark, parameter = bound(value)
        parts.append(f"{name} = {mark} AND typeof({name}) = '{_class(value)}'")
        parameters.append(parameter)
        if column.collation.upper() != "BINARY":
            parts.append(f"{name} COLLATE BINARY = {mark}")
            parameters.append(parameter)
    return " AND ".join(parts), tuple(parameters)


def _class(value: SqlValue) -> str:
    return {int: "integer", float: "real", str: "text", bytes: "blob"}[type(value)]


def bounds(table: Table, after: Key | None, upto: Key | None) -> tuple[str, tuple[SqlValue, ...]]:
    """WHERE text and parameters of after < key <= upto in byte order, NULLs first; "1" where both are open."""
    parts: list[str] = []
    parameters: list[SqlValue] = []
    # Keys whose first column is NULL are in the range if it has no beginning, or begins among them.
    from_start = after is None or (len(after) > 1 and after[0] is None)
    for key, lower in ((after, True), (upto, False)):
        if key is None:
            continue
        sql, values = _side(table, key, lower=lower, from_start=from_start)
        parts.append(sql)
        parameters.extend(values)
    return " AND ".join(parts) or "1", tuple(parameters)


def _side(table: Table, key: Key, *, lower: bool, from_start: bool) -> tuple[str, list[SqlValue]]:
    columns = table.key_columns
    never_null = all(column.not_null or table.without_rowid or column.name == table.rowid_alias for column in columns)
    if None not in key and (never_null or (len(key) == 1 and (lower or not from_start))):
        marks, values = zip(*(bound(value) for value in key), strict=True)
        left, right = ", ".join(binary(column) for column in columns), ", ".join(marks)
        if len(key) == 1:
            return f"{left} {'>' if lower else '<='} {right}", list(values)
        return f"({left}) {'>' if lower else '<='} ({right})", list(values)
    sql, chain = _chain(columns, key, lower=lower)
    if key[0] is None or (not lower and from_start):
        return sql, chain
    # The chain alone would have SQLite read the whole table: the first column bounds the walk through the index.
    mark, value = bound(key[0])
    return f"({binary(columns[0])} {'>=' if lower else '<='} {mark} AND {sql})", [value, *chain]


def _chain(columns: Sequence[Column], key: Key, *, lower: bool) -> tuple[str, list[SqlValue]]:
    """key > given, or key <= given, column by column, with NULL below everything."""
    column, value = binary(columns[0]), key[0]
    mark, parameter = bound(value)
    if value is None:
        beyond, equal, values = (f"{column} IS NOT NULL" if lower else "0"), f"{column} IS NULL", []
    else:
        beyond = f"{column} > {mark}" if lower else f"({column} < {mark} OR {column} IS NULL)"
        equal, values = f"{column} = {mark}", [parameter]
    if len(key) == 1:
        return (beyond, values) if lower else (f"({beyond} OR {equal})", values * 2)
    rest, more = _chain(columns[1:], key[1:], lower=lower)
    return f"({beyond} OR ({equal} AND {rest}))", [*values, *values, *more]
