"""Whether a narrow type of Postgres keeps a CHECK of SQLite's by itself. Pure, but for a database in memory.

A boolean keeps `CHECK (b IN (0, 1))`, a varchar(9) keeps `CHECK (length(c) < 10)`; an integer does not keep
`CHECK (n >= 0)`. So SQLite is asked about values of all kinds, of which the column's codec tells whether Postgres
takes them. What SQLite would have in one of its spellings is kept.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from uuid import UUID

from cutover.errors import SchemaError, Unrepresentable
from cutover.model.table import Column
from cutover.model.values import SqlValue
from cutover.schema.codecs import Codec, codec_for
from cutover.schema.sqlite_schema import quoted

_LENGTHS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 15, 16, 20, 24, 25, 30, 31, 32, 36, 40, 50, 60, 63, 64, 80, 100, 120, 128)
_LONG = (150, 191, 200, 250, 254, 255, 256, 320, 500, 512, 1000, 1024, 2000, 2048, 4000, 4096, 10_000)
_DAYS, _TIMES = ("2024-02-29", "1950-01-31", "2999-12-31"), ("00:00:00", "12:34:56", "23:59:59")
_IDENTIFIERS = (bytes(16).hex(), "a" * 32, "a0eebc999c0b4ef8bb6d6bb9bd380a11")
_SPELLED = ("{} {}", "{} {}.000", "{} {}.000000", "{} {}+00:00", "{}T{}", "{}T{}Z", "{}T{}.000Z", "{}T{}.000000Z")
_VALUES: tuple[SqlValue, ...] = (
    *(0, 1, 2, 3, 7, 10, 100, 1000, 32_767, 2**31 - 1, 2**63 - 1, -1, -2, -10, -32_768, -(2**31), 1_704_164_645_123),
    *(0.5, -0.5, 1.25, -2.75, 1e9, 12_345.5),
    *("", " ", "0", "1", "12", "a", "A", "ab", "aB c", "\u00e9", "a@example.org", "-1", "1.5", "%", "(\n"),
    *("null", "true", "1", '"a"', "[]", "{}", '{"a": [1, null]}'),
    *(spelled.format(day, time) for day in _DAYS for time in _TIMES for spelled in _SPELLED),
    *_DAYS,
    *(f"{time}{part}" for time in _TIMES for part in ("", ".000", ".000000")),
    *(str(UUID(one)) for one in _IDENTIFIERS),
    *(*_IDENTIFIERS, "10.0.0.1", "::1"),
    *(b"", b"\x00", b"abcdefgh", bytes(16), bytes(32)),
)


def asks_for_class(check: str, column: str) -> bool:
    """Whether nothing but its storage class is asked of a column."""
    name = rf'(?:["`\[]{re.escape(column)}["`\]]|{re.escape(column)})'
    asked = rf"\btypeof\s*\(\s*{name}\s*\)|(?<![\w.]){name}\s+IS\s+(?:NOT\s+)?NULL\b"
    left = re.sub(asked, "", check, flags=re.IGNORECASE)
    return left != check and re.search(rf"(?<![\w$]){re.escape(column)}(?![\w$])", left, re.IGNORECASE) is None


def implied(check: str, column: Column, *, nullable: bool) -> bool:
    """Whether all that Postgres takes for the column passes the CHECK, which is about nothing else.

    `nullable`: neither side demands a value. Where SQLite cannot tell, it is believed.
    """
    try:
        codec = codec_for(column)
    except SchemaError:
        return True
    collation = f" COLLATE {column.collation}" if column.collation != "BINARY" else ""
    declared = f"{quoted(column.name)} {column.affinity.replace('BLOB', '')}{collation}"
    db = sqlite3.connect(":memory:")
    try:
        db.execute(f"CREATE TABLE asked ({declared}, said BLOB)")
        db.executemany("INSERT INTO asked VALUES (?, ?)", _taken(column, codec))
        if nullable:
            db.execute("INSERT INTO asked VALUES (NULL, x'')")
        broken = f"SELECT 1 FROM asked GROUP BY said HAVING max(coalesce(({check}) <> 0, 1)) = 0"
        return db.execute(broken).fetchone() is None
    except sqlite3.Error:
        return True
    finally:
        db.close()


def _taken(column: Column, codec: Codec) -> Iterator[tuple[SqlValue, bytes]]:
    """Values that Postgres takes, with what is the same for all spellings of one."""
    texts = ("a" * length for length in (*_LENGTHS, *_LONG))
    for value in (*_VALUES, *texts, *column.labels):
        try:
            codec.to_target(value)
        except (Unrepresentable, ValueError):
            continue
        yield value, b"." + codec.canonical(value)
