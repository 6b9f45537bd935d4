"""date, timestamp and timestamptz: one point in time, in the spelling that the column on SQLite has."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from cutover.errors import SchemaError, Unrepresentable
from cutover.model.values import SqlValue
from cutover.schema.codecs.base import ABOVE, BELOW, Codec, Foreign, Ladder, meaning, text_form
from cutover.schema.codecs.instants import (
    BEYOND,
    DAY,
    FIRST,
    REALS,
    UNITS,
    Format,
    spelled,
    text_sql,
    wall_clock,
)
from cutover.schema.codecs.plain import WHOLE_AFFINITIES, as_number

_NATIVE = {"date": "date", "timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone"}

DEFAULT = "YYYY-MM-DD HH:MM:SS[.ffffff]"
DEFAULT_DAY = "YYYY-MM-DD"
_DEFAULTS = {"INTEGER": "epoch_seconds", "REAL": "epoch_real"}
_COMMON = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|\+00:00)?", re.ASCII)
_COMMON_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_PRINTED = re.compile(r"(\d{4})-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d+)?)?(?:\+00)?", re.ASCII)


def default_format(kind: str, affinity: str) -> str:
    """The format of a column that neither the configuration nor data say anything of."""
    if kind == "date":
        return "epoch_days" if affinity in _DEFAULTS else DEFAULT_DAY
    return _DEFAULTS.get(affinity, DEFAULT)


def moment(kind: str, precision: int, affinity: str, wanted: str, *, strict: bool = False) -> Codec:
    """`kind` is date, timestamp or timestamptz; `precision` the decimals of its seconds.

    `strict`: nothing gets more decimals than its format has, since keys have to sort as time does.
    """
    name = wanted or default_format(kind, affinity)
    form = Format.of(name)
    if form is None:
        raise SchemaError(
            f"the format {name} is none for a column of type {kind}",
            hint=f"Formats are such as {DEFAULT}, YYYY-MM-DDTHH:MM:SS.fffZ, epoch_seconds, epoch_milliseconds.",
        )
    if (form.counts and affinity == "TEXT") or (form.name in UNITS and affinity == "REAL"):
        made = "text" if affinity == "TEXT" else "reals"
        raise SchemaError(
            f"the format {name} counts in numbers, and the column makes {made} of them",
            hint="Use a format of text." if affinity == "TEXT" else "Use epoch_real or julian_day.",
        )
    step = DAY if kind == "date" else 10 ** (6 - precision)

    rung = max(step, form.unit)

    def parse(value: SqlValue) -> int:
        micros = _micros(value, form, kind)
        if form.counts:
            form.render(micros)  # raises for what would not come back
        if micros % step:
            raise Unrepresentable(
                "a time of day in a column of type date"
                if kind == "date"
                else f"a time with more than {precision} decimals in a column of type {kind}({precision})"
            )
        return micros

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        if type(value) is Foreign:
            return str(value)
        return printed(parse(value), kind)

    def canonical(value: SqlValue) -> bytes:
        return b"m%d" % _micros(value, form, kind)

    return Codec(
        to_target=convert,
        to_source=_back(form, whole=form.name in REALS and affinity in WHOLE_AFFINITIES, strict=strict),
        canonical=meaning(canonical),
        digest=_digest(form, kind),
        sql_type="text",
        native=_NATIVE[kind],
        key="" if form.orderly else f"times in the format {name} do not sort as time does",
        format=name,
        quick=None if form.counts or precision < 6 else _QUICK_DAY if kind == "date" else _QUICK,
        shown=_shown(form, kind),
        rungs=_rungs(form, step),
        ladder=Ladder(FIRST // rung, BEYOND // rung - 1, lambda number: form.render(number * rung)),
    )


def _proved(spelling: re.Pattern[str], parse: Callable[[str], object]) -> Callable[[Any], str | None]:
    """Passes a common spelling in UTC, proved by Python's parser: that is C, and knows no 24:00 and no second 60."""

    def quick(value: Any) -> str | None:  # noqa: ANN401  # any storage class
        if type(value) is not str or not spelling.fullmatch(value):
            return None
        try:
            parse(value)
        except ValueError:
            return None
        return value

    return quick


_QUICK = _proved(_COMMON, datetime.fromisoformat)
_QUICK_DAY = _proved(_COMMON_DAY, date.fromisoformat)


def _micros(value: SqlValue, form: Format, kind: str) -> int:
    if isinstance(value, str):
        found = spelled(value)
        if found.shifted and kind != "timestamptz":
            raise Unrepresentable(f"a time with the offset {found.offset.strip()} in a column of type {kind}")
        if not FIRST <= found.micros < BEYOND:
            raise Unrepresentable("a point in time outside of the years 1 to 9999")
        return found.micros
    if isinstance(value, int | float):
        if not form.counts:
            raise Unrepresentable(f"a number in a column whose points in time are written as {form.name}")
        return form.counted(value)
    raise Unrepresentable(f"a blob in a column of type {kind}")


def printed(micros: int, kind: str) -> str:
    """As Postgres prints it, in UTC."""
    text = wall_clock(micros)
    if kind == "date":
        return text[:10]
    rest = micros % 1_000_000
    decimals = f".{rest:06}".rstrip("0") if rest else ""
    return text + decimals + ("+00" if kind == "timestamptz" else "")


def _back(form: Format, *, whole: bool, strict: bool) -> Callable[[str], SqlValue]:
    def convert(text: str) -> SqlValue:
        found = _PRINTED.fullmatch(text)
        if found is None or found[1] == "0000":
            below = text.startswith("-") or text.endswith("BC")
            return Foreign(text, f"{text} is outside of the years 1 to 9999", BELOW if below else ABOVE)
        micros = spelled(text.removesuffix("+00")).micros
        if micros % form.unit == 0 or not (strict or form.counts):
            try:
                made = form.render(micros)
            except Unrepresentable as error:
                return Foreign(text, error.message)
            return as_number(made) if whole and isinstance(made, float) else made
        floor = form.render(micros // form.unit * form.unit)
        place = f"{floor}~" if isinstance(floor, str) else floor
        return Foreign(text, f"the format {form.name} has no room for the fraction of {text}", place)

    return convert


# -- digests -----------------------------------------------------------------------------------------------------------


def _rungs(form: Format, step: int) -> Ladder | None:
    """Also those with more decimals than the format has, if they sort with the others."""
    finer = step < form.unit
    if form.counts or not form.orderly or (finer and form.offset.startswith(("Z", " "))):
        return None
    return Ladder(FIRST // step, BEYOND // step - 1, lambda number: form.render(number * step))


def _shown(form: Format, kind: str) -> tuple[str, str] | None:
    if form.name in REALS:
        return None
    moment_sql = _MOMENT_SQL[kind]
    if form.name not in UNITS:
        return "text", text_sql(form, moment_sql)
    if UNITS[form.name] == DAY:
        return "integer", "({0}::date - '1970-01-01'::date)::bigint"
    return "integer", f"floor(extract(epoch FROM {moment_sql}) * {1_000_000 // UNITS[form.name]})::bigint"


_MOMENT_SQL = {"date": "{0}::timestamp", "timestamp": "{0}", "timestamptz": "({0} AT TIME ZONE 'UTC')"}


def _digest(form: Format, kind: str) -> str | None:
    if form.name in REALS:
        return None
    moment_sql = _MOMENT_SQL[kind]
    inner = _count_sql(form, moment_sql) if form.name in UNITS else text_form(text_sql(form, moment_sql))
    # Infinity has no fields, and other years have other lengths.
    return f"CASE WHEN {{0}} >= '0001-01-01' AND {{0}} < '10000-01-01' THEN {inner} ELSE 'x' || {{0}}::text END"


def _count_sql(form: Format, sql: str) -> str:
    unit = UNITS[form.name]
    seconds = f"extract(epoch FROM date_trunc('second', {sql}))::bigint"
    micros = f"({seconds} * 1000000 + extract(microseconds FROM {sql})::bigint % 1000000)"
    return f"CASE WHEN {micros} % {unit} = 0 THEN 'i' || ({micros} / {unit})::text ELSE 'x' || {{0}}::text END"
