"""Values and keys as operators see and type them."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from cutover.errors import CutoverError
from cutover.model.drift import Drift
from cutover.model.table import Column, Table
from cutover.model.values import Key, Row, SqlValue

_INTEGER = re.compile(r"[+-]?\d{1,19}")
_FORMS = frozenset(("base64", "null", "real", "text", "text_hex"))
"""Names of the one member of an object that stands for a value."""
_BLOB = re.compile(r"[xX]'([0-9a-fA-F]*)'")


class NoSuchKey(CutoverError):
    """A key that does not fit the table's key columns."""

    code = "no_such_key"


def jsonable(value: SqlValue) -> Any:  # noqa: ANN401  # any JSON value
    """A value for JSON: blobs as `{"base64": ...}`, reals that JSON has no word for and broken text as objects too."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"real": str(value)}
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return {"text_hex": _stored(value).hex()}
    return value


def _stored(text: str) -> bytes:
    """The bytes of text that is not valid UTF-8: the stores read each of them as a lone surrogate."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates of an application's own
        return text.encode("utf-8", "surrogatepass")


def json_row(table: Table, row: Row | None) -> dict[str, Any] | None:
    """A row by column name."""
    if row is None:
        return None
    return {column.name: jsonable(value) for column, value in zip(table.columns, row, strict=True)}


def json_key(key: Key) -> list[Any]:
    """A key as a list, in the order of the key's columns."""
    return [jsonable(part) for part in key]


def json_drift(table: Table | None, drift: Drift, iso: str) -> dict[str, Any]:
    """One entry of `GET /v1/drift`. Rows are lists where the table is no longer mapped."""

    def row(values: Row | None) -> Any:  # noqa: ANN401  # any JSON value
        return json_row(table, values) if table else values and json_key(values)

    return {
        "table": drift.table,
        "key": json_key(drift.key),
        "kind": drift.kind.value,
        "columns": list(drift.columns),
        "primary": row(drift.primary),
        "shadow": row(drift.shadow),
        "first_seen": iso,
    }


def parse_key(table: Table, parts: Sequence[Any]) -> Key:
    """A key from JSON values or from words of a command line, by the affinity of each key column.

    Blobs are `{"base64": ...}` or `x'00ff'`, NULL is null or `{"null": true}`, text of any look `{"text": ...}`; in a
    word, the object is JSON. Every other word is itself: `null` is text. Raises `NoSuchKey`, naming the key's columns.
    """
    columns = table.key_columns
    names = ", ".join(f"{column.name} ({column.declared or 'untyped'})" for column in columns)
    if len(parts) != len(columns):
        raise NoSuchKey(f"The key of {table.name} is {names}: {len(columns)} values, not {len(parts)}.")
    try:
        key = tuple(_coerce(column, part) for column, part in zip(columns, parts, strict=True))
        for column, value, part in zip(columns, key, parts, strict=True):
            if column.name == table.rowid_alias and not isinstance(value, int):
                raise ValueError(f"{part!r} is no integer of 64 bits, which is all that {column.name} can hold")
        return key
    except ValueError as error:
        raise NoSuchKey(f"The key of {table.name} is {names}: {error}.") from None


def _coerce(column: Column, part: Any) -> SqlValue:  # noqa: ANN401  # any JSON value
    if isinstance(part, str):
        part = _spelled_out(part)
    if isinstance(part, dict):
        return _from_object(part)
    if isinstance(part, bool | list) or (isinstance(part, int) and not -(2**63) <= part < 2**63):
        raise ValueError(f"{part!r} is no value of a column")  # one error for bad input
    if isinstance(part, str) and (blob := _BLOB.fullmatch(part)) and len(blob[1]) % 2 == 0:
        return bytes.fromhex(blob[1])
    value: SqlValue = part
    if column.affinity in ("INTEGER", "NUMERIC", "REAL") and isinstance(value, str):
        value = _number(value)
    if column.affinity == "TEXT" and isinstance(value, int | float):
        return str(value)
    if column.affinity == "REAL" and isinstance(value, int):
        return float(value)
    if column.affinity in ("INTEGER", "NUMERIC") and isinstance(value, float) and value.is_integer():
        return int(value) if -(2**63) < value < 2**63 else value  # both ends stay reals, as they do on SQLite
    return value


def _spelled_out(word: str) -> str | dict[str, Any]:
    """The object that a word spells, if it is one of ours; JSON of an application's own is text."""
    if not word.lstrip().startswith("{"):
        return word
    try:
        found = json.loads(word)
    except (ValueError, RecursionError):
        return word
    return found if isinstance(found, dict) and len(found) == 1 and found.keys() <= _FORMS else word


def _number(text: str) -> SqlValue:
    if _INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    try:
        value = float(text)
    except ValueError:
        return text
    return text if math.isnan(value) else value


def _from_object(part: dict[str, Any]) -> SqlValue:
    match part:
        case {"base64": str(text)} if len(part) == 1:
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error:
                raise ValueError(f"{text!r} is not base64") from None
        case {"real": "inf" | "-inf" as text} if len(part) == 1:
            return float(text)
        case {"null": True} if len(part) == 1:
            return None
        case {"text": str(text)} if len(part) == 1:
            return text
        case {"text_hex": str(text)} if len(part) == 1:
            return bytes.fromhex(text).decode("utf-8", "surrogateescape")
    forms = ", ".join(f'{{"{form}": ...}}' for form in sorted(_FORMS))
    raise ValueError(f"{json.dumps(part)} is none of {forms}")
