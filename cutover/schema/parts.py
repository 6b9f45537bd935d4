"""Parts of an expression: what each is on SQLite and on Postgres, and which of them both compare alike. Pure."""

from __future__ import annotations

import re
from datetime import date
from typing import NamedTuple

from cutover.model.table import Column
from cutover.schema.codecs.moments import DEFAULT_DAY
from cutover.schema.codecs.names import TypeName

_KINDS = {
    "bigint": "int",
    "integer": "int",
    "smallint": "int",
    "double precision": "real",
    "text": "text",
    "character varying": "text",
    "bytea": "blob",
    "json": "json",
    "jsonb": "json",
}
NUMBERS = {"int", "real"}
VALUES = {*NUMBERS, "text"}
_SURE_DIGITS = 15
"""So many decimal digits survive the way into a double and back."""


class Untranslatable(Exception):
    """The expression has no form here that surely means the same; the message is the part that has none."""


class Part(NamedTuple):
    sql: str
    kind: str
    """int, real, text, blob or bool of SQLite; flag, decimal, day or json of Postgres, where SQLite has another kind;
    other for what can only be NULL or not."""
    collation: str = "BINARY"
    """By which SQLite compares it."""
    affinity: str = ""
    """Of a column."""
    constant: str | None = None
    """What a literal says."""


def kind_of(column: Column) -> str:
    """What the column's values are in expressions."""
    name = TypeName.of(column.target_type)
    if name.array:
        return "other"
    if name.name == "boolean":
        return "flag" if column.affinity in ("INTEGER", "NUMERIC") else "other"
    if name.name == "numeric":
        return "decimal" if column.affinity in ("INTEGER", "NUMERIC", "REAL") else "other"
    if name.name == "date":
        is_iso = column.affinity in ("TEXT", "NUMERIC", "BLOB") and column.format in ("", DEFAULT_DAY)
        return "day" if is_iso else "other"
    return _KINDS.get(name.name, "other")


def condition_of(part: Part) -> Part:
    """The part as a condition. Raises `Untranslatable`."""
    if part.kind in ("bool", "flag"):
        return part
    if part.kind in NUMBERS or part.kind == "decimal":
        return Part(f"({part.sql} <> 0)", "bool")
    raise Untranslatable(part.sql)


def plain(part: Part) -> Part:
    """The part as SQLite would give it: what is true there is 1."""
    if part.kind in ("bool", "flag"):
        return Part(f"({part.sql})::int::bigint", "int")
    if part.kind in {*VALUES, "blob"}:
        return part
    raise Untranslatable(part.sql)


def same_kind(parts: list[Part]) -> list[Part]:
    """Parts of which one is taken; flags as the numbers that SQLite has."""
    if any(part.kind == "flag" for part in parts) or {part.kind for part in parts} == {"bool", "int"}:
        parts = [plain(part) if part.kind in ("flag", "bool") else part for part in parts]
    kinds = {part.kind for part in parts}
    if len(kinds) != 1 or not kinds <= {*VALUES, "bool"} or len({part.collation for part in parts}) != 1:
        raise Untranslatable(" and ".join(part.sql for part in parts))
    return parts


def comparable(parts: list[Part]) -> list[Part]:
    """Parts as both databases compare them the same way. Raises `Untranslatable`."""
    kinds = {part.kind for part in parts}
    if "flag" in kinds and all(part.kind == "flag" or part.constant in ("0", "1") for part in parts):
        return [_as_flag(part) for part in parts]
    if kinds & {"flag", "bool"} and kinds != {"bool"}:
        parts = [plain(part) if part.kind in ("flag", "bool") else part for part in parts]
        kinds = {part.kind for part in parts}
    if kinds <= NUMBERS or kinds == {"bool"}:
        return parts
    if "decimal" in kinds and all(part.kind == "decimal" or _few_digits(part) for part in parts):
        return parts
    if "day" in kinds:
        return [_as_day(part) for part in parts]
    if kinds == {"text"} and not _made_numbers(parts):
        return _by_collation(parts)
    raise Untranslatable(" and ".join(part.sql for part in parts))


def beside_text(parts: list[Part], *, either: bool = False) -> list[Part]:
    """Numbers as the texts that SQLite makes of them beside the first, if that is a column of TEXT affinity; with
    `either` also beside the second."""
    columns = parts if either else parts[:1]
    if not any(part.affinity == "TEXT" and part.kind == "text" for part in columns):
        return parts
    return [_as_text(part) for part in parts]


def _as_text(part: Part) -> Part:
    """A constant number as text, unless it has so many digits that SQLite would spell it otherwise."""
    if part.kind not in NUMBERS or part.constant is None or not _few_digits(part):
        return part
    whole, point, broken = part.constant.removeprefix("-").partition(".")
    text = str(int(whole or "0")) + (point and f".{broken.rstrip('0') or '0'}")
    if point and int(whole or "0") == 0 and broken.startswith("000"):  # in exponents, or a zero with a sign
        return part
    if part.constant.startswith("-") and text != "0":
        text = f"-{text}"
    return Part(f"'{text}'", "text", constant=text)


def _as_flag(part: Part) -> Part:
    return part if part.kind == "flag" else part._replace(sql="true" if part.constant == "1" else "false")


def _few_digits(part: Part) -> bool:
    """Whether a constant is the same number as a decimal and as a double."""
    text = (part.constant or "").removeprefix("-")
    return part.kind in NUMBERS and text.replace(".", "").isdigit() and len(text) <= _SURE_DIGITS


def _as_day(part: Part) -> Part:
    """Days are compared as text by SQLite, which is the same for days that are spelled alike."""
    if part.kind == "day" and part.collation == "BINARY":
        return part
    if part.constant is None or not re.fullmatch(r"\d{4}-\d\d-\d\d", part.constant):
        raise Untranslatable(part.sql)
    try:
        date.fromisoformat(part.constant)
    except ValueError:
        raise Untranslatable(part.sql) from None
    return part._replace(sql=f"{part.sql}::date")


def _made_numbers(parts: list[Part]) -> bool:
    """Whether SQLite would compare something as a number: by the affinity of a column on the other side."""
    if not any(part.affinity in ("NUMERIC", "INTEGER", "REAL") for part in parts):
        return False
    return any(
        part.affinity == "TEXT" or (part.constant is not None and re.match(r"\s*[-+.]?\d", part.constant))
        for part in parts
    )


def _by_collation(parts: list[Part]) -> list[Part]:
    collations = {part.collation for part in parts if part.constant is None}
    if collations == {"NOCASE"}:
        return [part._replace(sql=f'lower({part.sql} COLLATE "C")') for part in parts]
    if collations <= {"BINARY"}:
        return parts
    raise Untranslatable(" and ".join(part.sql for part in parts))
