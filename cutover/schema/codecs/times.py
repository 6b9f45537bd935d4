"""time, timetz and interval: times of day and lengths of time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cutover.errors import SchemaError, Unrepresentable
from cutover.model.values import SqlValue
from cutover.schema.codecs.base import Codec, Foreign, Ladder, meaning, text_form
from cutover.schema.codecs.instants import DAY, Format, decimals_sql, fraction, spelled, text_sql
from cutover.schema.codecs.plain import WHOLE_AFFINITIES

TIME = "HH:MM:SS[.ffffff]"
_TIME_FORMAT = re.compile(r"HH:MM:SS(\.fff|\.ffffff|\[\.ffffff\]|\[\.fff\]|\[\.f\])?")
_ON_A_DAY = re.compile(r"(\d{4}-\d\d-\d\d)([T ]HH:.*)")
_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)


# -- times of day ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _TimeFormat:
    """How a column spells times of day."""

    decimals: str = ""
    moments: Format | None = None
    """Where they are points in time on one day."""
    day: str = "1970-01-01"
    """Which day that is: Rails has another."""

    @classmethod
    def of(cls, wanted: str, affinity: str) -> _TimeFormat:
        """Raises `SchemaError` for a format that the column cannot have."""
        found = _TIME_FORMAT.fullmatch(wanted)
        if found is not None:
            return cls(found[1] or "")
        dated = _ON_A_DAY.fullmatch(wanted)
        form = Format.of(f"YYYY-MM-DD{dated[2]}" if dated else wanted)
        if form is None or (form.counts and affinity == "TEXT") or (dated and not _is_day(dated[1])):
            raise SchemaError(
                f"the format {wanted} is none for a column of type time",
                hint=f"Formats are such as {TIME}, HH:MM:SS.fff, YYYY-MM-DDTHH:MM:SS.fffZ, 2000-01-01 HH:MM:SS,"
                " epoch_milliseconds.",
            )
        return cls(moments=form, day=dated[1] if dated else cls.day)

    def render(self, micros: int) -> SqlValue:
        """Raises `Unrepresentable` where a count has no room for it."""
        if self.moments is None:
            return wall(micros, self.decimals)
        if micros >= DAY:
            raise Unrepresentable(f"24:00:00 is no time on {self.day}")
        return self.moments.render(spelled(self.day).micros + micros)

    def sql(self) -> str | None:
        """`render`, in SQL on Postgres; None where it is a number."""
        if self.moments is None:
            return f"(left({{0}}::text, 8) || {decimals_sql(self.decimals, '{0}::interval')})"
        if self.moments.counts:
            return None
        written = text_sql(self.moments, f"(timestamp '{self.day}' + {{0}}::interval)")
        none = f"cutover.misfit('24:00:00 is no time on {self.day}', {{0}}::text)::text"
        return f"(CASE WHEN {{0}} = '24:00' THEN {none} ELSE {written} END)"

    def read(self, value: SqlValue) -> int:
        """Microseconds since midnight."""
        micros, offset = _clock(value, self.moments, self.day)
        if offset:
            raise Unrepresentable("a time with an offset in a column of type time")
        return micros


def time(precision: int, affinity: str, wanted: str) -> Codec:
    """time: text, or a point in time on one day where the format is one of those."""
    form = _TimeFormat.of(wanted or TIME, affinity)
    step = 10 ** (6 - precision)

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        if type(value) is Foreign:
            return str(value)
        micros = form.read(value)
        if micros % step:
            raise Unrepresentable(f"a time with more than {precision} decimals in a column of type time({precision})")
        form.render(micros)  # raises for what would not come back
        return wall(micros, "[.f]")

    def back(text: str) -> SqlValue:
        try:
            return form.render(_clock(text, None)[0])
        except Unrepresentable as error:
            return Foreign(text, error.message)

    def canonical(value: SqlValue) -> bytes:
        return b"h%d" % form.read(value)

    written = form.sql()
    digest = None if written is None or form.moments else text_form(written)
    shown = None if written is None else ("text", written)
    no_key = "" if form.moments is None else "times of day are kept as points in time"
    ladder = Ladder(0, DAY // step, lambda number: form.render(number * step))
    return Codec(
        convert,
        back,
        meaning(canonical),
        digest,
        "text",
        "time without time zone",
        no_key,
        wanted or TIME,
        ladder,
        shown,
    )


def wall(micros: int, decimals: str) -> str:
    """A time of day; 24:00:00 is one."""
    seconds, rest = divmod(micros, 1_000_000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction(rest, decimals)}"


def _is_day(text: str) -> bool:
    try:
        return bool(spelled(text))
    except Unrepresentable:
        return False


def _clock(value: SqlValue, form: Format | None, day: str = _TimeFormat.day) -> tuple[int, str]:
    """(microseconds since midnight, the offset as written)."""
    if isinstance(value, str):
        found = _TIME.fullmatch(value)
        if found is None:
            return _on_day(spelled(value).micros, day), ""
        hours, minutes, seconds = int(found[1]), int(found[2]), int(found[3] or 0)
        decimals = found[4] or ""
        if decimals[6:].strip("0"):
            raise Unrepresentable("a time with more than six decimals, and Postgres keeps six")
        micros = (hours * 3600 + minutes * 60 + seconds) * 1_000_000 + int(decimals[:6].ljust(6, "0"))
        if minutes > 59 or seconds > 59 or micros > DAY:
            raise Unrepresentable("text that is no time of day")
        return micros, found[5] or ""
    if isinstance(value, int | float) and form is not None and form.counts:
        return _on_day(form.counted(value), day), ""
    raise Unrepresentable("a value that is no time of day in the format of the column")


def _on_day(micros: int, day: str) -> int:
    since = micros - spelled(day).micros
    if not 0 <= since < DAY:
        raise Unrepresentable(f"a point in time that is not on {day} in a column of type time")
    return since


def timetz() -> Codec:
    """time with time zone: text with its offset."""

    def parse(value: SqlValue) -> tuple[int, int]:
        micros, offset = _clock(value, None)
        if not offset:
            raise Unrepresentable("a time without an offset in a column of type time with time zone")
        digits = offset[1:].replace(":", "").ljust(4, "0")
        minutes = int(digits[:2]) * 60 + int(digits[2:]) if offset != "Z" else 0
        if minutes >= 16 * 60 or (offset != "Z" and int(digits[2:]) > 59):
            raise Unrepresentable(f"text with an offset that is none: {offset}")
        return micros, -minutes if offset[0] == "-" else minutes

    def printed(micros: int, minutes: int) -> str:
        sign = "-" if minutes < 0 else "+"
        return f"{wall(micros, '[.ffffff]')}{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        return str(value) if type(value) is Foreign else printed(*parse(value))

    def back(text: str) -> SqlValue:
        try:
            return printed(*parse(text))
        except Unrepresentable:
            return Foreign(text, f"the offset of {text} has seconds")

    def canonical(value: SqlValue) -> bytes:
        return b"z%d %d" % parse(value)

    no_key = "SQLite sorts times with an offset as text"
    return Codec(convert, back, meaning(canonical), None, "text", "time with time zone", no_key)


# -- lengths of time ---------------------------------------------------------------------------------------------------

UNITS = {"microseconds": 1, "milliseconds": 1000, "seconds": 1_000_000}
_ISO = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)W)?(?:(-?\d+)D)?"
    r"(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)
_PRINTED = re.compile(
    r"(?:([+-]?\d+) years?,? ?)?(?:([+-]?\d+) mons?,? ?)?()(?:([+-]?\d+) days?,? ?)?"
    r"(?:([+-]?)(\d+):(\d\d):(\d\d(?:\.\d{1,6})?))?",
    re.ASCII,
)
_LIMIT = 2**31


@dataclass(frozen=True)
class Length:
    """An interval as Postgres keeps it: months and days have no fixed length."""

    months: int
    days: int
    micros: int

    @property
    def total(self) -> int:
        """Microseconds of days and time together."""
        return self.days * DAY + self.micros

    def iso(self) -> str:
        """ISO 8601, as Postgres reads it."""
        sign = "-" if self.micros < 0 else ""
        seconds, rest = divmod(abs(self.micros), 1_000_000)
        return f"P{self.months}M{self.days}DT{sign}{seconds}{fraction(rest, '[.f]')}S"

    def printed(self) -> str:
        """As Postgres prints it."""
        years, months = divmod(abs(self.months), 12)
        sign = "-" if self.months < 0 else ""
        parts = [f"{sign}{count} {word}{'' if count == 1 and not sign else 's'}"
                 for count, word in ((years, "year"), (months, "mon")) if count]  # fmt: skip
        if self.days:
            plus = "+" if self.months < 0 < self.days else ""
            parts.append(f"{plus}{self.days} day{'' if self.days == 1 else 's'}")
        if self.micros or not parts:
            before = self.days or self.months
            sign = "-" if self.micros < 0 else "+" if before < 0 else ""
            parts.append(sign + wall(abs(self.micros), "[.f]"))
        return " ".join(parts)


def interval(affinity: str, wanted: str) -> Codec:
    """interval: an integer of microseconds (Django), text, or a point in time counted from 1970 (SQLAlchemy)."""
    name = wanted or ("microseconds" if affinity in WHOLE_AFFINITIES else "postgres")
    form = _length_format(name, affinity)

    def parse(value: SqlValue) -> Length:
        if type(value) is int and name in UNITS:
            return Length(0, *divmod(value * UNITS[name], DAY))
        if isinstance(value, str):
            return _length(value) if form is None else Length(0, *divmod(spelled(value).micros, DAY))
        raise Unrepresentable(f"a value that is no length of time in the format {name} of the column")

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        if type(value) is Foreign:
            return str(value)
        length = parse(value)
        if max(abs(length.months), abs(length.days)) >= _LIMIT or abs(length.micros) >= 2**63:
            raise Unrepresentable("a length of time out of range of interval")
        if type(_render(length, name, form, "")) is Foreign:
            raise Unrepresentable(f"a length of time that the format {name} of the column has no room for")
        return length.iso()

    def canonical(value: SqlValue) -> bytes:
        length = parse(value)
        return b"l%d %d" % (length.months, length.total)

    def back(text: str) -> SqlValue:
        try:
            return _render(_length(text), name, form, text)
        except Unrepresentable as error:
            return Foreign(text, error.message)

    no_key, shown = "lengths of time have several spellings", _length_shown(name, form)
    return Codec(convert, back, meaning(canonical), _length_digest(name), "text", "interval", no_key, name, shown=shown)


def _length_format(name: str, affinity: str) -> Format | None:
    """The points in time that stand for lengths, None where the name says something else."""
    form = Format.of(name)
    known = name in (*UNITS, "postgres", "iso") or (form is not None and not form.counts)
    if not known or (name in UNITS and affinity in ("TEXT", "REAL")):
        raise SchemaError(
            f"the format {name} is none for a column of type interval declared so",
            hint=f"Formats are {', '.join(UNITS)}, postgres, iso, and points in time such as "
            "YYYY-MM-DD HH:MM:SS.ffffff.",
        )
    return form


def _render(length: Length, name: str, form: Format | None, text: str) -> SqlValue:
    if name == "postgres":
        return length.printed()
    if name == "iso":
        return length.iso()
    if length.months:
        return Foreign(text, f"a length of time with months, which are no {name}")
    if form is not None:
        try:
            return form.render(length.total)
        except (Unrepresentable, OverflowError):
            return Foreign(text, f"a length of time that the format {name} has no room for")
    count, rest = divmod(length.total, UNITS[name])
    if rest or not -(2**63) <= count < 2**63:
        return Foreign(text, f"a length of time that the format {name} has no room for")
    return count


def _length(text: str) -> Length:
    found = _ISO.fullmatch(text)
    if found is not None and text[-1] not in "PT":
        years, months, weeks, days, hours, minutes = (int(part or 0) for part in found.groups()[:6])
        micros = (hours * 3600 + minutes * 60) * 1_000_000 + int(Decimal(found[7] or 0) * 1_000_000)
        return Length(years * 12 + months, weeks * 7 + days, micros)
    found = _PRINTED.fullmatch(text)
    if found is None or not text.strip() or text != text.strip():
        raise Unrepresentable("text that is no length of time in a form that is known")
    years, months, days = int(found[1] or 0), int(found[2] or 0), int(found[4] or 0)
    seconds = int(found[6] or 0) * 3600 + int(found[7] or 0) * 60
    if int(found[7] or 0) > 59 or Decimal(found[8] or 0) >= 60:
        raise Unrepresentable("text that is no length of time")
    micros = seconds * 1_000_000 + int(Decimal(found[8] or 0) * 1_000_000)
    return Length(years * 12 + months, days, -micros if found[5] == "-" else micros)


_PARTS = ("day", DAY), ("hour", 3_600_000_000), ("minute", 60_000_000), ("microseconds", 1)
_MICROS = " + ".join(f"extract({part} FROM {{0}})::bigint::numeric * {count}" for part, count in _PARTS)


def _length_shown(name: str, form: Format | None) -> tuple[str, str] | None:
    """The value as SQLite has it, in SQL; an error for what it has no room for."""
    if name == "postgres":
        return "text", "{0}::text"
    if name == "iso":
        return None
    longer = "extract(year FROM {0}) <> 0 OR extract(month FROM {0}) <> 0"
    if form is not None:
        kind, sql = "text", text_sql(form, "(timestamp '1970-01-01' + {0})")
    else:
        unit = UNITS[name]
        kind, sql = "integer", f"div({_MICROS}, {unit})::bigint"
        longer += f" OR ({_MICROS}) % {unit} <> 0" if unit > 1 else ""
    other = f"cutover.misfit('a length of time that the format {name} has no room for', {{0}}::text)"
    return kind, f"(CASE WHEN {longer} THEN {other}{'::text' if kind == 'text' else ''} ELSE {sql} END)"


def _length_digest(name: str) -> str | None:
    unit = UNITS.get(name)
    if unit is None:
        return None
    plain = (
        "isfinite({0}) AND abs(extract(day FROM {0})) < 106751993"
        " AND extract(year FROM {0}) = 0 AND extract(month FROM {0}) = 0"
    )
    whole = f"CASE WHEN ({_MICROS}) % {unit} = 0 THEN 'i' || div({_MICROS}, {unit})::text ELSE 'x' || {{0}}::text END"
    return f"CASE WHEN {plain} THEN {whole} ELSE 'x' || {{0}}::text END"
