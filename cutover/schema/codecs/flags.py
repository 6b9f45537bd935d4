"""boolean: 0 and 1 on SQLite, or a pair of words."""

from __future__ import annotations

from typing import Any

from cutover.errors import SchemaError, Unrepresentable
from cutover.model.values import SqlValue
from cutover.schema.codecs.base import Codec, Ladder, binary, class_of, meaning, text_form

PAIRS: dict[str, tuple[str, str]] = {
    "0|1": ("0", "1"),
    "f|t": ("f", "t"),
    "false|true": ("false", "true"),
    "False|True": ("False", "True"),
    "FALSE|TRUE": ("FALSE", "TRUE"),
    "N|Y": ("N", "Y"),
    "n|y": ("n", "y"),
    "no|yes": ("no", "yes"),
    "off|on": ("off", "on"),
}
"""Formats of text: what stands for false and for true."""
NUMBERS = "integer"
"""The format of integers."""

_MEANS = {word: bool(at) for pair in PAIRS.values() for at, word in enumerate(pair)}


def boolean(affinity: str, wanted: str) -> Codec:
    """A column that holds integers takes only these: a word that stands for itself there is another thing."""
    name = wanted or ("0|1" if affinity == "TEXT" else NUMBERS)
    if name == NUMBERS or (name == "0|1" and affinity not in ("TEXT", "BLOB")):
        return binary(_of_integer, "boolean", "'i' || {0}::integer::text", int)
    if name not in PAIRS:
        raise SchemaError(
            f"the format {name} is none for a column of type boolean",
            hint=f"Formats are {NUMBERS}, {', '.join(PAIRS)}.",
        )
    false, true = PAIRS[name]

    def convert(value: SqlValue) -> bool:
        if isinstance(value, str) and value in _MEANS:
            return _MEANS[value]
        return _of_integer(value)

    def back(value: bool) -> SqlValue:  # the driver's value
        return true if value else false

    def canonical(value: SqlValue) -> bytes:
        return b"i%d" % convert(value)

    written = f"(CASE {{0}} WHEN true THEN '{true}' WHEN false THEN '{false}' END)"
    ladder = Ladder(0, 1, lambda number: (false, true)[number])
    return Codec(
        convert,
        back,
        meaning(canonical),
        text_form(written),
        "boolean",
        "boolean",
        format=name,
        ladder=ladder,
        shown=("text", written),
    )


def _of_integer(value: Any) -> bool:  # noqa: ANN401  # any storage class
    if type(value) is not int or value not in (0, 1):
        raise Unrepresentable(f"{class_of(value)} other than 0 and 1 in a column of type boolean")
    return bool(value)
