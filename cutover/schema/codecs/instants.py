"""Points in time as SQLite's applications spell them, and the microseconds since 1970 that they mean. Pure.

A format of text is written as it looks: `YYYY-MM-DDTHH:MM:SS.fffZ`. Its parts, each of which is optional but the day:

    T or a blank      between day and time
    .fff  .ffffff     three or six decimals, always (six where three do not do)
    [.ffffff]         six decimals, none where they are zero (Python)
    [.fff]            none, three or six, as few as do (Rust's chrono, Java)
    [.f]              as few as do (Go)
    Z  +00:00  +0000  +00   the offset; ` +00:00` (Sequelize), and ` +0000 UTC` as Go's String() has it

Formats of numbers: `epoch_seconds`, `epoch_milliseconds`, `epoch_microseconds`, `epoch_days` (integers), `epoch_real`
(seconds with a fraction), `julian_day` (real, of whole milliseconds, as SQLite's own functions count).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from cutover.errors import Unrepresentable
from cutover.model.values import SqlValue

DAY = 86_400_000_000
"""Microseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = -62_135_596_800_000_000
"""0001-01-01."""
BEYOND = 253_402_300_800_000_000
"""10000-01-01."""
_JULIAN = Fraction(4_881_175, 2)
"""The Julian day of 1970-01-01."""

UNITS = {"epoch_days": DAY, "epoch_seconds": 1_000_000, "epoch_milliseconds": 1000, "epoch_microseconds": 1}
"""Microseconds in one of what the format counts."""
REALS = {"epoch_real": 1, "julian_day": 1000}
"""Microseconds in the least that a real can tell apart, as SQLite makes them."""

_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:([T ])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z| ?[+-]\d\d(?::?\d\d)?(?: UTC)?)?)?",
    re.ASCII,
)
_OFFSET = re.compile(r" ?([+-])(\d\d):?(\d\d)?(?: UTC)?", re.ASCII)
_FORMAT = re.compile(
    r"YYYY-MM-DD(?:([T ])HH:MM:SS(\.fff|\.ffffff|\[\.ffffff\]|\[\.fff\]|\[\.f\])?"
    r"(Z| ?\+00:00|\+0000|\+00| \+0000 UTC)?)?"
)


@dataclass(frozen=True)
class Spelled:
    """A text that names a point in time."""

    micros: int
    """Since 1970, in UTC; a text without an offset is taken for UTC."""
    separator: str
    """T, a blank, or nothing where only a day is written."""
    decimals: str
    """The digits after the point, as written."""
    offset: str
    """As written."""
    shifted: bool
    """Whether the offset is another than UTC."""


def spelled(text: str) -> Spelled:
    """What the text says. Raises `Unrepresentable` if it is no point in time, or finer than microseconds."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise Unrepresentable("text that is no date or time in a form that is known")
    year, month, day, separator, hour, minute, second, decimals, offset = found.groups()
    decimals, offset = decimals or "", offset or ""
    if decimals[6:].strip("0"):
        raise Unrepresentable("a time with more than six decimals, and Postgres keeps six")
    try:
        wall = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC)
    except ValueError as error:
        raise Unrepresentable(f"text that is no date or time: {error}") from None
    micros = (wall - _EPOCH) // timedelta(microseconds=1) + int(decimals[:6].ljust(6, "0") or 0)
    shift = _shift(offset)
    return Spelled(micros - shift, separator or "", decimals, offset, shift != 0)


def _shift(offset: str) -> int:
    found = _OFFSET.fullmatch(offset)
    if found is None:
        return 0
    hours, minutes = int(found[2]), int(found[3] or 0)
    if hours > 15 or minutes > 59:
        raise Unrepresentable(f"text with an offset that is none: {offset.strip()}")
    return (hours * 60 + minutes) * 60_000_000 * (-1 if found[1] == "-" else 1)


def wall_clock(micros: int, separator: str = " ") -> str:
    """`YYYY-MM-DD HH:MM:SS` without decimals. The year has to be one of four digits."""
    days, rest = divmod(micros, DAY)
    day = (_EPOCH + timedelta(days=days)).date().isoformat()
    minutes, seconds = divmod(rest // 1_000_000, 60)
    return f"{day}{separator}{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


@dataclass(frozen=True)
class Format:
    """How a column spells points in time."""

    name: str
    separator: str = ""
    decimals: str = ""
    offset: str = ""

    @classmethod
    def of(cls, name: str) -> Format | None:
        """The format of that name, None if there is none."""
        if name in UNITS or name in REALS:
            return cls(name)
        found = _FORMAT.fullmatch(name)
        return cls(name, found[1] or "", found[2] or "", found[3] or "") if found else None

    @property
    def counts(self) -> bool:
        """Whether points in time are numbers."""
        return self.name in UNITS or self.name in REALS

    @property
    def orderly(self) -> bool:
        """Whether what it writes sorts as time does, as long as nothing gets more decimals than it has."""
        return not (self.offset in ("Z", " +00:00", " +0000 UTC") and self.decimals.startswith("["))

    @property
    def unit(self) -> int:
        """The microseconds in the least that it tells apart."""
        if self.counts:
            return UNITS.get(self.name) or REALS[self.name]
        if not self.separator:
            return DAY
        return {"": 1_000_000, ".fff": 1000}.get(self.decimals, 1)

    def render(self, micros: int) -> SqlValue:
        """The point in time in this format; with more decimals than it has, where only they say it exactly.

        Raises `Unrepresentable` where a count has no room for it.
        """
        if self.name in REALS:
            made = self._real(micros)
            if self._nearest(made) != micros:
                raise Unrepresentable("a point in time that is finer than a real can say")
            return made
        if self.name in UNITS:
            count, rest = divmod(micros, UNITS[self.name])
            if rest:
                raise Unrepresentable(f"a time of day or a fraction that {self.name} has no room for")
            return count
        if not self.separator:
            day = wall_clock(micros)
            return day + fraction(micros % 1_000_000, "") if micros % DAY else day[:10]
        return wall_clock(micros, self.separator) + fraction(micros % 1_000_000, self.decimals) + self.offset

    def _real(self, micros: int) -> float:
        if self.name == "julian_day":
            return float(Fraction(micros, DAY) + _JULIAN)
        return float(Fraction(micros, 1_000_000))

    def _nearest(self, value: float) -> int:
        if self.name == "julian_day":
            return round((Fraction(value) - _JULIAN) * DAY / 1000) * 1000
        return round(Fraction(value) * 1_000_000)

    def counted(self, value: float) -> int:
        """The microseconds that a number means in this format. Raises `Unrepresentable`."""
        if type(value) is int and self.name in UNITS:
            micros = value * UNITS[self.name]
        elif value != value or abs(value) == float("inf"):
            raise Unrepresentable("an infinite real is no point in time")
        elif self.name in REALS:
            micros = self._nearest(value)
            if self._real(micros) != value:
                raise Unrepresentable(f"a real that is finer than {self.name} counts, and Postgres keeps")
        else:
            raise Unrepresentable(f"a number in a column whose points in time are written as {self.name}")
        if not FIRST <= micros < BEYOND:
            raise Unrepresentable("a point in time outside of the years 1 to 9999")
        return micros


def fraction(micros: int, decimals: str) -> str:
    """The decimals of a second in the given style; all six where fewer would not say it."""
    six = f".{micros:06}"
    few = six.rstrip("0")
    if decimals == ".ffffff":
        return six
    if decimals in (".fff", "[.fff]"):
        if micros == 0 and decimals == "[.fff]":
            return ""
        return six[:4] if micros % 1000 == 0 else six
    if decimals == "[.f]":
        return few.rstrip(".")
    return "" if micros == 0 else six


def decimals_sql(decimals: str, sql: str) -> str:
    """`fraction`, in SQL on Postgres."""
    six = f"to_char({sql}, '.US')"
    if decimals == ".ffffff":
        return six
    if decimals in (".fff", "[.fff]"):
        none = f"WHEN {six} = '.000000' THEN '' " if decimals == "[.fff]" else ""
        return f"CASE {none}WHEN right({six}, 3) = '000' THEN left({six}, 4) ELSE {six} END"
    if decimals == "[.f]":
        return f"rtrim(rtrim({six}, '0'), '.')"
    return f"CASE {six} WHEN '.000000' THEN '' ELSE {six} END"


def text_sql(form: Format, sql: str) -> str:
    """`Format.render` of a timestamp, in SQL on Postgres."""
    if not form.separator:
        time = f"to_char({sql}, 'YYYY-MM-DD HH24:MI:SS') || {decimals_sql('', sql)}"
        return f"(CASE date_trunc('day', {sql}) WHEN {sql} THEN to_char({sql}, 'YYYY-MM-DD') ELSE {time} END)"
    whole = f"to_char({sql}, 'YYYY-MM-DD\"{form.separator}\"HH24:MI:SS')"
    return f"({whole} || {decimals_sql(form.decimals, sql)} || '{form.offset}')"
