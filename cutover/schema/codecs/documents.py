"""json and jsonb: text on SQLite."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

from cutover.errors import SchemaError, Unrepresentable
from cutover.model.values import SqlValue
from cutover.schema.codecs.base import Codec, Foreign, canonical_any, same
from cutover.schema.codecs.decimals import significand, too_large
from cutover.schema.codecs.plain import plain_text


def _json(value: Any) -> str:  # noqa: ANN401  # any storage class
    """The `json` type keeps the text as it is, so it only has to be JSON."""
    text = plain_text(value)
    try:
        _PARSED.decode(text)
    except (ValueError, RecursionError):
        raise Unrepresentable("text that is not JSON in a column of type json") from None
    return text


def _jsonb(value: Any) -> str:  # noqa: ANN401  # any storage class
    """`jsonb` keeps what the text means, and has no room for some of it."""
    text = plain_text(value)
    try:
        parsed = (_DOUBTFUL if _LONG_NUMBER.search(text) else _PLAIN).decode(text)
        if "\\u" in text:
            plain = json.dumps(parsed, ensure_ascii=False)
            plain.encode()
            if "\\u0000" in plain.replace("\\\\", ""):
                raise Unrepresentable("JSON with a NUL character in a column of type jsonb")
    except UnicodeEncodeError:
        raise Unrepresentable("JSON that is not valid Unicode in a column of type jsonb") from None
    except (ValueError, RecursionError):
        raise Unrepresentable("text that is not JSON in a column of type jsonb") from None
    return text


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # SQLite's functions read the first of them, Postgres keeps the last.
        raise Unrepresentable("JSON with a key that occurs twice in a column of type jsonb")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _numeric(text: str) -> int:
    """Refuses a number beyond Postgres's numeric, which jsonb keeps numbers in."""
    if too_large(significand(text)):
        raise Unrepresentable("JSON with a number too large or too small for a column of type jsonb")
    return 0


SPACED, COMPACT = "spaced", "compact"
"""Formats of jsonb: a blank after commas and colons, as Python and Postgres write, or none."""
_JSON_JOINTS = re.compile(r'("(?:[^"\\]|\\.)*")|([,:])')
_JSON_SPACING = re.compile(r'("(?:[^"\\]|\\.)*")|([,:]) ')


def _json_compact(value: Any) -> SqlValue:  # noqa: ANN401  # text from the driver
    """Postgres prints jsonb with a blank after commas and colons. Numbers stay as printed."""
    return _JSON_SPACING.sub(lambda found: found[1] or found[2], value)


def style(text: str) -> str:
    """How a text that is JSON has blanks: `SPACED`, `COMPACT`, or empty where it has no place for them, or others."""
    compact = _json_compact(text)
    spaced = _JSON_JOINTS.sub(lambda found: found[1] or f"{found[2]} ", str(compact))
    if compact == spaced:
        return ""
    return COMPACT if text == compact else SPACED if text == spaced else ""


def _tagged_number(text: str) -> dict[str, str]:
    """One spelling a number: 1, 1.0 and 1e0 are the same. Tagged, so that no string and no object equals it."""
    sign, digits, power = significand(text)
    return {"number": f"{sign}{digits}e{power}"}


def _marked_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Tells an object's own keys from the tag above."""
    return {"=" + key: value for key, value in pairs}


def json_canonical(value: SqlValue) -> bytes:
    """Equal for texts that are equal as JSON: key order, white space and number spelling do not count."""
    if not isinstance(value, str) or type(value) is Foreign:
        return canonical_any(value)
    try:
        return b"j" + _SORTED.encode(_TAGGED.decode(value)).encode()
    except (ValueError, RecursionError):
        return canonical_any(value)


# Made once: json.loads with any option makes a decoder for each text, which costs more than most texts do.
_LONG_NUMBER = re.compile(r"\d{40}|\d[eE]")
_PARSED = json.JSONDecoder(parse_constant=_no_constant)
_PLAIN = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_distinct)
_DOUBTFUL = json.JSONDecoder(
    parse_constant=_no_constant, parse_float=_numeric, parse_int=_numeric, object_pairs_hook=_distinct
)
_TAGGED = json.JSONDecoder(
    parse_constant=_no_constant, parse_float=_tagged_number, parse_int=_tagged_number, object_pairs_hook=_marked_keys
)
_SORTED = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"))

_NO_KEY = "one JSON value has many spellings"


def json_codec(affinity: str) -> Codec:
    """json."""
    made = Codec(_json, same, canonical_any, None, "json", "json", _NO_KEY)
    return _with_numbers(made) if affinity == "NUMERIC" else made


def jsonb_codec(affinity: str, wanted: str) -> Codec:
    """jsonb."""
    name = wanted or COMPACT
    if name not in (SPACED, COMPACT):
        raise SchemaError(
            f"the format {name} is none for a column of type jsonb", hint=f"Formats are {COMPACT} and {SPACED}."
        )
    back = same if name == SPACED else _json_compact
    made = Codec(_jsonb, back, json_canonical, None, "jsonb", "jsonb", _NO_KEY, format=name)
    return _with_numbers(made) if affinity == "NUMERIC" else made


# -- a column declared JSON, whose affinity makes a number of JSON that is one -----------------------------------------

_NUMBER = re.compile(r"\s*(-?\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?\s*")
_BELOW_INTEGERS = 2.0**63
_LONGEST_INTEGER = 20


def _with_numbers(codec: Codec) -> Codec:
    def to_target(value: Any) -> Any:  # noqa: ANN401  # any storage class
        number = type(value) is int or (type(value) is float and math.isfinite(value))
        return codec.to_target(repr(value) if number else value)

    def to_source(value: Any) -> SqlValue:  # noqa: ANN401  # text from the driver
        return _as_number(value) if _NUMBER.fullmatch(value) else codec.to_source(value)

    return replace(codec, to_target=to_target, to_source=to_source)


def _as_number(text: str) -> SqlValue:
    """What SQLite's NUMERIC affinity makes of this text."""
    digits = text.strip()
    if len(digits) <= _LONGEST_INTEGER and digits.removeprefix("-").isdigit() and -(2**63) <= int(digits) < 2**63:
        return int(digits)
    number: float | int = float(text)
    if abs(number) < _BELOW_INTEGERS and float(number).is_integer():
        number = int(number)
    if not math.isfinite(number) or Decimal(digits) != Decimal(repr(number)):
        return Foreign(text, "a JSON number with more digits than a column declared JSON keeps on SQLite")
    return number
