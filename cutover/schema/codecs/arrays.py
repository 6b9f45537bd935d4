"""Arrays: JSON text on SQLite, with numbers, booleans and texts as elements.

The elements have codecs of their own, and only values that come back spelled the same are taken.
"""

from __future__ import annotations

import json
import re
from typing import Any

from cutover.errors import Unrepresentable
from cutover.model.values import SqlValue
from cutover.schema.codecs.base import Codec, Foreign
from cutover.schema.codecs.documents import json_canonical
from cutover.schema.codecs.plain import plain_text

_WHOLE = ("smallint", "integer", "bigint")
_REALS = ("double precision", "real")
_TOKEN = re.compile(r'\{|\}|,|"((?:[^"\\]|\\.)*)"|([^{},"]+)', re.DOTALL)
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


class _Number(str):
    """A number of JSON as it is written."""

    __slots__ = ()


def array(native: str, base: str, element: Codec) -> Codec:
    """An array of elements of type `base`."""

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        if type(value) is Foreign:
            return str(value)
        text = plain_text(value, native)
        try:
            parsed = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Unrepresentable(f"text that is not JSON in a column of type {native}") from None
        if not isinstance(parsed, list):
            raise Unrepresentable(f"JSON that is no array in a column of type {native}")
        _measure(parsed)
        return _literal(parsed, base, element)

    def back(text: str) -> SqlValue:
        try:
            return _json(_read(text), base, element)
        except Unrepresentable as error:
            return Foreign(text, error.message)

    return Codec(convert, back, json_canonical, None, "text", native, "one array has many spellings as JSON")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _measure(items: list[Any]) -> tuple[int, ...]:
    """The lengths of all dimensions. Raises `Unrepresentable` for what is no box."""
    inner = {_measure(item) if isinstance(item, list) else () for item in items}
    if len(inner) > 1 or inner == {(0,)}:
        raise Unrepresentable("arrays of different lengths within one, which Postgres has no room for")
    return (len(items), *(inner.pop() if inner else ()))


# -- there -------------------------------------------------------------------------------------------------------------


def _literal(items: list[Any], base: str, element: Codec) -> str:
    parts = [_literal(item, base, element) if isinstance(item, list) else _element(item, base, element)
             for item in items]  # fmt: skip
    return "{" + ",".join(parts) + "}"


def _element(item: Any, base: str, element: Codec) -> str:  # noqa: ANN401  # from JSON
    if item is None:
        return "NULL"
    if base == "boolean" and isinstance(item, bool):
        return "t" if item else "f"
    if isinstance(item, _Number) and base in (*_WHOLE, *_REALS, "numeric"):
        return _number(item, base, element)
    if type(item) is str and base not in ("boolean", *_WHOLE, *_REALS, "numeric"):
        written = str(element.to_target(item)).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{written}"'
    raise Unrepresentable(f"an element of another kind in an array of {base}")


def _number(item: _Number, base: str, element: Codec) -> str:
    try:
        if base == "numeric":
            return str(element.to_target(str(item)))
        return repr(element.to_target(int(item) if base in _WHOLE else _exact(item)))
    except ValueError:
        raise Unrepresentable(f"a number that is none of {base} in an array") from None


def _exact(item: str) -> float:
    """The real that this number is. Raises `Unrepresentable` if reals have not all of its digits."""
    value = float(item)
    if json_canonical(repr(value)) != json_canonical(str(item)):
        raise Unrepresentable("a number with more digits than a real holds in an array")
    return value


# -- back --------------------------------------------------------------------------------------------------------------


def _read(text: str) -> list[Any]:
    """What Postgres printed: texts, None and lists of them."""
    if not text.startswith("{"):
        raise Unrepresentable("an array that does not begin at 1, which JSON cannot say")
    outermost: list[Any] = []
    stack = [outermost]
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token == "{":  # noqa: S105  # no password
            opened: list[Any] = []
            stack[-1].append(opened)
            stack.append(opened)
        elif token == "}":  # noqa: S105  # no password
            stack.pop()
        elif found[1] is not None:
            stack[-1].append(re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL))
        elif token != ",":  # noqa: S105  # no password
            stack[-1].append(None if token == "NULL" else token)  # noqa: S105  # no password
    whole: list[Any] = outermost[0]
    return whole


def _json(items: list[Any], base: str, element: Codec) -> str:
    parts = [
        _json(item, base, element) if isinstance(item, list) else _json_element(item, base, element) for item in items
    ]
    return "[" + ",".join(parts) + "]"


def _json_element(text: str | None, base: str, element: Codec) -> str:
    if text is None:
        return "null"
    if base == "boolean":
        return "true" if text == "t" else "false"
    if base in (*_WHOLE, *_REALS, "numeric"):
        if not _PLAIN_NUMBER.fullmatch(text):
            raise Unrepresentable(f"an array with {text}, which is no number of JSON")
        return text
    value = element.to_source(text)
    if type(value) is Foreign:
        raise Unrepresentable(value.reason)
    return json.dumps(value, ensure_ascii=False)
