"""How a column of SQLite spells its values, learned from its first and last rows.

    configuration ─▶ recorded in the file ─▶ the data ─▶ other columns declared alike ─▶ the default of the type

What the data say is recorded once (`_cutover_formats`), so that it stays when Postgres's rows come back.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cutover.errors import SchemaError, Unrepresentable
from cutover.model.table import Column, Table, Tables
from cutover.model.values import SqlValue
from cutover.schema.codecs import base_of, codec_for
from cutover.schema.codecs.documents import style
from cutover.schema.codecs.flags import NUMBERS, PAIRS
from cutover.schema.codecs.instants import spelled
from cutover.schema.sqlite_schema import quoted

RECORD = "_cutover_formats"
RECORD_SQL = f"""CREATE TABLE IF NOT EXISTS {RECORD} (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, type TEXT NOT NULL, format TEXT NOT NULL,
  PRIMARY KEY (table_name, column_name))"""

_SAMPLE = 1000
"""Rows at each end of a table."""

Where = tuple[str, str]
"""(table, column)."""


@dataclass(frozen=True)
class Formats:
    """The tables with the formats of their columns, and what was found that is not recorded yet."""

    tables: Tables
    fresh: Mapping[Where, tuple[str, str]]
    """(type on Postgres, format) by column."""


def with_formats(connection: sqlite3.Connection, tables: Tables) -> Formats:
    """Settle the formats of all columns that have one. Cheap: reads the ends of tables that nothing is known of."""
    known = _recorded(connection)
    fresh: dict[Where, tuple[str, str]] = {}
    settled = [_settle(connection, table, known, fresh) for table in tables]
    alike = _alike(settled)
    made = [
        replace(table, columns=tuple(_assumed(column, alike) for column in table.columns)) if _open(table) else table
        for table in settled
    ]
    return Formats(tuple(made), fresh)


def record(connection: sqlite3.Connection, fresh: Mapping[Where, tuple[str, str]]) -> None:
    """Keep what was found."""
    connection.execute(RECORD_SQL)
    connection.executemany(
        f"INSERT OR IGNORE INTO {RECORD} (table_name, column_name, type, format) VALUES (?, ?, ?, ?)",
        [(*where, kind, name) for where, (kind, name) in fresh.items()],
    )


def _recorded(connection: sqlite3.Connection) -> dict[tuple[str, str, str], str]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (RECORD,)).fetchone():
        return {}
    rows = connection.execute(f"SELECT table_name, column_name, type, format FROM {RECORD}")
    return {(table, column, kind): name for table, column, kind, name in rows}


def _settle(
    connection: sqlite3.Connection,
    table: Table,
    known: Mapping[tuple[str, str, str], str],
    fresh: dict[Where, tuple[str, str]],
) -> Table:
    found: dict[str, str] = {}
    for column in _open(table):
        name = known.get((table.name, column.name, column.target_type), "")
        if name and fits(column, name):
            found[column.name] = name
    unknown = [column for column in _open(table) if column.name not in found]
    for column, values in zip(unknown, _ends(connection, table, unknown), strict=True):
        name = detect(column, values)
        if name:
            found[column.name] = name
            fresh[table.name, column.name] = (column.target_type, name)
    if not found:
        return table
    return replace(
        table, columns=tuple(replace(each, format=found.get(each.name, each.format)) for each in table.columns)
    )


def _ends(connection: sqlite3.Connection, table: Table, columns: Sequence[Column]) -> list[list[SqlValue]]:
    """The values of these columns at both ends of the table, NULLs left out."""
    if not columns:
        return []
    names = ", ".join(quoted(column.name) for column in columns)
    order = [quoted(name) for name in table.key] if table.without_rowid else ["rowid"]
    rows: list[tuple[SqlValue, ...]] = []
    factory, connection.text_factory = connection.text_factory, _any_text
    try:
        for direction in ("", " DESC"):
            ordered = ", ".join(name + direction for name in order)
            rows += connection.execute(f"SELECT {names} FROM {quoted(table.name)} ORDER BY {ordered} LIMIT {_SAMPLE}")
    finally:
        connection.text_factory = factory
    ends = [[value for value in values if value is not None] for values in zip(*rows, strict=True)]
    return ends or [[] for _ in columns]


def _any_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _open(table: Table) -> list[Column]:
    return [column for column in table.columns if is_open(column)]


def is_open(column: Column) -> bool:
    """Whether nothing is known of the format of a column that has one."""
    return not column.format and base_of(column) in _DETECTORS


def unsaid(column: Column) -> bool:
    """Whether no value of the column has said how it is spelled, though it has a format that one could say."""
    return column.assumed or is_open(column)


def _alike(tables: Iterable[Table]) -> dict[tuple[str, str], str]:
    """One application spells its times in one way: the format that most columns of a declared type have."""
    votes: dict[tuple[str, str], Counter[str]] = {}
    for table in tables:
        for column in table.columns:
            if column.format:
                votes.setdefault(_kind(column), Counter())[column.format] += 1
    return {kind: counter.most_common(1)[0][0] for kind, counter in votes.items()}


def _kind(column: Column) -> tuple[str, str]:
    return column.declared.lower(), base_of(column)


def _assumed(column: Column, alike: Mapping[tuple[str, str], str]) -> Column:
    name = alike.get(_kind(column), "")
    assumed = name and is_open(column) and fits(column, name)
    return replace(column, format=name, assumed=True) if assumed else column


def fits(column: Column, name: str) -> bool:
    """Whether the column can have this format."""
    try:
        codec = codec_for(replace(column, format=name))
    except SchemaError:
        return False
    return not (column.exact and codec.key)


# -- what values look like -----------------------------------------------------------------------------------------


def detect(column: Column, values: Sequence[SqlValue]) -> str:
    """The format that most of the values have; empty if they say nothing that the column can have."""
    detector = _DETECTORS.get(base_of(column))
    name = detector(values) if detector is not None and values else ""
    return name if name and fits(column, name) else ""


def _moment(values: Sequence[SqlValue]) -> str:
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) > len(texts):
        return _count(numbers)
    found = []
    for text in texts:
        try:
            found.append(spelled(text))
        except Unrepresentable:
            continue
    if not found:
        return ""
    shapes = Counter((one.separator, _utc(one.offset)) for one in found)
    separator, offset = shapes.most_common(1)[0][0]
    if not separator:
        return "YYYY-MM-DD"
    lengths = {len(one.decimals) for one in found if (one.separator, _utc(one.offset)) == (separator, offset)}
    return f"YYYY-MM-DD{separator}HH:MM:SS{_decimals(lengths)}{offset}"


def _utc(offset: str) -> str:
    """Other offsets than UTC come back as UTC, in the same form."""
    found = re.fullmatch(r"( ?)[+-]\d\d(:?)(\d\d)?( UTC)?", offset)
    if found is None:
        return offset
    return f"{found[1]}+00{found[2]}{'00' if found[3] else ''}{found[4] or ''}"


def _decimals(lengths: set[int]) -> str:
    styles = (
        (set[int](), ""),
        ({0}, ""),
        ({3}, ".fff"),
        ({6}, ".ffffff"),
        ({0, 6}, "[.ffffff]"),
        ({0, 3, 6}, "[.fff]"),
    )
    return next((style for lengths_there, style in styles if lengths <= lengths_there), "[.f]")


def _count(numbers: Sequence[float]) -> str:
    """By the magnitude of most: seconds pass 10^11 in the year 5138, milliseconds 10^14 likewise.

    Not of the largest: one odd value would make another time of all others. It is itself refused then.
    """
    if any(type(number) is float for number in numbers):
        days = sum(1e6 < number < 6e6 for number in numbers)
        return "julian_day" if days * 2 > len(numbers) else "epoch_real"
    typical = _typical(numbers)
    if typical < 1e11:
        return "epoch_seconds"
    return "epoch_milliseconds" if typical < 1e14 else "epoch_microseconds"


def _typical(numbers: Sequence[float]) -> float:
    """The magnitude in the middle."""
    return sorted(map(abs, numbers))[len(numbers) // 2]


def _day(values: Sequence[SqlValue]) -> str:
    numbers = [value for value in values if type(value) is int]
    if numbers and len(numbers) * 2 > len(values) and _typical(numbers) < 3_000_000:
        return "epoch_days"
    return _moment(values)


def _time(values: Sequence[SqlValue]) -> str:
    clocks = [found for value in values if isinstance(value, str) and (found := _CLOCK.fullmatch(value))]
    if len(clocks) * 2 >= len(values):
        return "HH:MM:SS" + _decimals({len(found[1] or "") for found in clocks})
    if all(type(value) is int for value in values):
        return "epoch_milliseconds" if max(abs(value) for value in values if isinstance(value, int)) > 86_400 else ""
    days = Counter(value[:10] for value in values if isinstance(value, str))
    day = days.most_common(1)[0][0] if days else _FIRST_DAY
    return _moment(values) if day == _FIRST_DAY else _moment(values).replace("YYYY-MM-DD", day)


_FIRST_DAY = "1970-01-01"


_CLOCK = re.compile(r"\d\d:\d\d(?::\d\d(?:\.(\d+))?)?")


def _flag(values: Sequence[SqlValue]) -> str:
    words = Counter(value for value in values if isinstance(value, str))
    if not words:
        return NUMBERS if all(type(value) is int for value in values) else ""
    return max(PAIRS, key=lambda name: sum(words[word] for word in PAIRS[name]))


def _uuid(values: Sequence[SqlValue]) -> str:
    if sum(isinstance(value, bytes) for value in values) * 2 > len(values):
        return "blob"
    texts = [value for value in values if isinstance(value, str)]
    dashed = sum("-" in text for text in texts) * 2 >= len(texts)
    capitals = sum(text != text.lower() for text in texts) * 2 > len(texts)
    name = "dashed" if dashed else "hex"
    return name.upper() if capitals else name


def _length(values: Sequence[SqlValue]) -> str:
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) * 2 < len(values):
        return "microseconds" if any(type(value) is int for value in values) else ""  # as Django keeps them
    if sum(text.startswith("P") for text in texts) * 2 > len(texts):
        return "iso"
    return _moment(values) or "postgres"


def _document(values: Sequence[SqlValue]) -> str:
    styles = Counter(found for value in values if isinstance(value, str) and (found := style(value)))
    return styles.most_common(1)[0][0] if styles else ""


_DETECTORS: dict[str, Callable[[Sequence[SqlValue]], str]] = {
    "timestamp with time zone": _moment,
    "timestamp without time zone": _moment,
    "date": _day,
    "time without time zone": _time,
    "boolean": _flag,
    "uuid": _uuid,
    "interval": _length,
    "jsonb": _document,
}
