"""What a codec is, the canonical form of any value, and what becomes of a value that SQLite has no room for."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from cutover.errors import Unrepresentable
from cutover.model.values import SqlValue

ABOVE: SqlValue = b""
"""In SQLite's order, beyond all numbers and texts."""
BELOW: SqlValue = float("-inf")
"""In SQLite's order, before all texts and all other numbers."""


class Foreign(str):
    """A value of Postgres that its column on SQLite would not hold unchanged, as Postgres prints it.

    It equals nothing that is on SQLite, and the applier there refuses it with its reason.
    """

    __slots__ = ("place", "reason")
    reason: str
    place: SqlValue
    """Where it stands among keys, in SQLite's order."""

    def __new__(cls, text: str, reason: str, place: SqlValue = ABOVE) -> Self:
        made = super().__new__(cls, text)
        made.reason = reason
        made.place = place
        return made

    def __reduce__(self) -> tuple[type[Foreign], tuple[str, str, SqlValue]]:
        return Foreign, (str(self), self.reason, self.place)


@dataclass(frozen=True)
class Ladder:
    """Values in SQLite's order, which is Postgres's as well, numbered from `low` to `high`."""

    low: int
    high: int
    at: Callable[[int], SqlValue]
    """SQLite's value of a number."""


@dataclass(frozen=True)
class Codec:
    """One Postgres type, for one column. Functions take and give single values; None (NULL) never reaches them.

    Where `native` differs from `sql_type`, values cross the driver as text and are cast in SQL: Python's own types
    would lose infinity, years beyond 9999, or digits.
    """

    to_target: Callable[[Any], Any]
    """SQLite's value → what the driver is given, and what COPY reads. Raises `Unrepresentable`.

    `Foreign` came from Postgres and goes back there unchanged: as a key that is looked up.
    """
    to_source: Callable[[Any], SqlValue]
    """What the driver gave → SQLite's value, or `Foreign`. Never raises."""
    canonical: Callable[[Any], bytes]
    """SQLite's value, from whichever side → comparable bytes, the same for spellings of one value. Never raises."""
    digest: str | None
    """SQL on Postgres for `canonical_any` of what `to_source` gives ({0} is the column; NULL for NULL), or None:
    compute it here."""
    sql_type: str
    """Type of parameters, such as `bigint`."""
    native: str
    """Type in which the value stands in SQL, once cast, as `format_type` prints it."""
    key: str = ""
    """Why a column of this type and format cannot be in a key; empty if it can."""
    format: str = ""
    """How SQLite's values are spelled on the way back; empty where there is only one way."""
    ladder: Ladder | None = None
    """All values that a key can have, in order, where that is no matter of course."""
    shown: tuple[str, str] | None = None
    """(storage class, SQL of the value as SQLite holds it, where {0} is the column): text, integer, real, blob, or
    number for what is an integer where it is whole, otherwise a real. None where the driver's own value is that,
    or it is not known in SQL."""
    rungs: Ladder | None = None
    """As `ladder`, of all values of a column that need not be a key."""
    quick: Callable[[Any], Any] | None = None
    """As `to_target` for the common spellings, in a fraction of the time, leaving them to Postgres to read; None where
    `to_target` has to look. What it passes, `to_target` does not refuse. Not in keys."""

    @property
    def by_text(self) -> bool:
        """Whether values cross as text."""
        return self.sql_type != self.native

    @property
    def exact(self) -> bool:
        """Whether values are equal only by storage class and bytes."""
        return self.canonical is canonical_any

    def write(self, parameter: str) -> str:
        """SQL of a parameter (or an element of an array of them) as a value of the column's type."""
        return f"{parameter}::{self.native}" if self.by_text else parameter

    def read(self, column: str) -> str:
        """SQL of a column as the driver is to give it."""
        return f"{column}::text" if self.by_text else column


def canonical_any(value: SqlValue) -> bytes:
    """The canonical form of a value by its own storage class; a letter for the class, then the value.

    integer `i42`; real `r` + big-endian IEEE bits in hex; text `t` + bytes + `:` + UTF-8; blob `b` + hex; NULL `n`;
    what SQLite cannot hold `x` + what it is. Digests concatenate the columns' forms, each followed by `;`.
    """
    if value is None:
        return b"n"
    if isinstance(value, str):
        encoded = value.encode("utf-8", "surrogatepass")
        return b"%b%d:%b" % (b"x" if type(value) is Foreign else b"t", len(encoded), encoded)
    if isinstance(value, int):
        return b"i%d" % value
    if isinstance(value, float):
        return b"r" + struct.pack(">d", value).hex().encode()
    return b"b" + value.hex().encode()


def class_of(value: object) -> str:
    """The storage class, with its article, for people."""
    return {int: "an integer", float: "a real", str: "text", bytes: "a blob"}.get(type(value), "a value")


def wrong_class(value: object, name: str) -> Unrepresentable:
    """The value is of a class that the type has no place for."""
    return Unrepresentable(f"{class_of(value)} in a column of type {name}")


def same(value: Any) -> Any:  # noqa: ANN401  # identity
    """What needs no conversion."""
    return value


def binary(
    to_target: Callable[[Any], Any],
    sql_type: str,
    digest: str | None,
    to_source: Callable[[Any], Any] = same,
    canonical: Callable[[Any], bytes] = canonical_any,
) -> Codec:
    """A codec whose values the driver takes and gives as they are."""
    return Codec(to_target, to_source, canonical, digest, sql_type, sql_type)


def text_form(sql: str) -> str:
    """SQL of the canonical form of a text expression."""
    return f"'t' || octet_length({sql})::text || ':' || {sql}"


def meaning(parse: Callable[[SqlValue], bytes]) -> Callable[[SqlValue], bytes]:
    """A canonical form by what a value means; a value that means nothing to the type stands for itself."""

    def canonical(value: SqlValue) -> bytes:
        if type(value) is Foreign:
            return canonical_any(value)
        try:
            return parse(value)
        except Unrepresentable:
            return canonical_any(value)

    return canonical
