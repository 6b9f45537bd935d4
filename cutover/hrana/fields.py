"""The fields of a message: JSON, objects, texts, numbers, values; each is as the protocol says, or refused. Pure.

`orjson` reads it: it refuses NaN, lone surrogates, invalid UTF-8, nesting beyond 1024 and trailing text, and
keeps 64-bit integers.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from cutover.errors import CutoverError
from cutover.model.values import SqlValue

Json = dict[str, Any]

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_INT64 = 1 << 63


class ProtocolError(CutoverError):
    """The client broke the protocol; its stream ends. HTTP `status`, and a `code` or an empty string."""

    def __init__(self, message: str, *, status: int = 400, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class NotJson(ProtocolError):
    """What came is no JSON at all."""


def read_json(body: bytes, what: str = "The body") -> Json:
    """What must hold one JSON object. Raises `NotJson`, `ProtocolError`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "infinity" not in str(error):
            raise NotJson(f"{what} is not valid JSON: {error}.") from None
        found = _read_infinite(body, what)
    return object_of(found, what)


def _read_infinite(body: bytes, what: str) -> object:
    """JSON with a number beyond every double, such as `answers.py` writes for an infinity."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not in JSON")

    try:
        found = json.loads(body, parse_constant=refuse)
        orjson.dumps(found)  # as strict as the other reader: no lone surrogates, and not too deep
    except (ValueError, RecursionError, orjson.JSONEncodeError) as error:
        raise NotJson(f"{what} is not valid JSON: {error}.") from None
    return found


def read_value(found: object) -> SqlValue:
    """A Value. Raises `ProtocolError`."""
    value = found if isinstance(found, dict) else object_of(found, "A value")
    kind = value.get("type")
    reader = READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise ProtocolError(f"A value has the unknown type {str(kind)[:40]!r}.")
    return reader(value)


def object_of(found: object, what: str) -> Json:
    """A JSON object. Raises `ProtocolError`, which names it `what`."""
    if not isinstance(found, dict):
        raise ProtocolError(f"{what} must be a JSON object.")
    return found


def list_of(found: object, what: str) -> Sequence[object]:
    """A JSON array. Raises `ProtocolError`, which names it `what`."""
    if not isinstance(found, list):
        raise ProtocolError(f"{what} must be a JSON array.")
    return found


def text_of(found: object, what: str) -> str:
    """A JSON string. Raises `ProtocolError`, which names it `what`."""
    if not isinstance(found, str):
        raise ProtocolError(f"{what} must be a JSON string.")
    return found


def bool_of(found: object, what: str) -> bool:
    """true or false. Raises `ProtocolError`, which names it `what`."""
    if not isinstance(found, bool):
        raise ProtocolError(f"{what} must be true or false.")
    return found


def _text_value(value: Json) -> str:
    text = value.get("value")
    return text if isinstance(text, str) else text_of(text, "A text value")


def _float_value(value: Json) -> float:
    number = value.get("value")
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        return float(number)
    raise ProtocolError("A float value must be a JSON number.")


def int32_of(found: object, what: str) -> int:
    """A 32-bit integer. Raises `ProtocolError`, which names it `what`."""
    if not isinstance(found, int) or isinstance(found, bool) or not -(1 << 31) <= found < 1 << 31:
        raise ProtocolError(f"{what} must be a 32-bit integer.")
    return found


def _integer_value(value: Json) -> int:
    found = value.get("value")
    if isinstance(found, str) and _INTEGER.fullmatch(found):
        number = int(found)
        if -_INT64 <= number < _INT64:
            return number
    raise ProtocolError("An integer value must be a string of decimal digits within 64 bits.")


def _blob_value(value: Json) -> bytes:
    text = text_of(value.get("base64"), "A blob value").rstrip("=")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("A blob value must be base64 in the standard alphabet.") from None


READERS: dict[str, Callable[[Json], SqlValue]] = {
    "text": _text_value,
    "integer": _integer_value,
    "null": lambda _: None,
    "float": _float_value,
    "blob": _blob_value,
}
