"""The spelling of a column's values is learned from its ends, kept, and assumed for columns declared alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from cutover.model.table import Column, Table
from cutover.model.values import SqlValue
from cutover.schema.formats import detect, record, with_formats

TZ = "timestamp with time zone"


def column(kind: str, affinity: str = "NUMERIC", name: str = "c", *, exact: bool = False) -> Column:
    return Column(name, "datetime", affinity, name, kind, exact=exact)


@pytest.mark.parametrize(
    ("kind", "affinity", "values", "name"),
    [
        (TZ, "TEXT", ["2024-01-01 10:00:00", "2024-01-01 10:00:00.123456"], "YYYY-MM-DD HH:MM:SS[.ffffff]"),
        (TZ, "TEXT", ["2024-01-01 10:00:00"], "YYYY-MM-DD HH:MM:SS"),
        (TZ, "TEXT", ["2024-01-01T10:00:00.120Z"] * 3 + ["2024-01-01"], "YYYY-MM-DDTHH:MM:SS.fffZ"),
        (TZ, "NUMERIC", ["2024-01-01 10:00:00.1234+02:00", "2024-01-01 10:00:00+01:00"],
         "YYYY-MM-DD HH:MM:SS[.f]+00:00"),
        (TZ, "NUMERIC", ["2024-01-01 10:00:00 +0000 UTC"], "YYYY-MM-DD HH:MM:SS +0000 UTC"),
        (TZ, "TEXT", ["2024-01-01T10:00:00Z", "2024-01-01T10:00:00.123Z"], "YYYY-MM-DDTHH:MM:SS[.fff]Z"),
        (TZ, "NUMERIC", [1_700_000_000], "epoch_seconds"),
        (TZ, "INTEGER", [1_700_000_000_123, 0], "epoch_milliseconds"),
        (TZ, "INTEGER", [1_700_000_000_123_456], "epoch_microseconds"),
        (TZ, "REAL", [2460000.5, 2460001.25], "julian_day"),
        (TZ, "REAL", [1_700_000_000.25], "epoch_real"),
        (TZ, "TEXT", ["nonsense"], ""),
        (TZ, "TEXT", [], ""),
        ("date", "NUMERIC", ["2024-01-01"], "YYYY-MM-DD"),
        ("date", "INTEGER", [19_700], "epoch_days"),
        ("time without time zone", "TEXT", ["10:00:00", "10:00:00.5"], "HH:MM:SS[.f]"),
        ("boolean", "NUMERIC", [0, 1], "integer"),
        ("boolean", "NUMERIC", ["t", "f", "t"], "f|t"),
        ("uuid", "TEXT", ["a0eebc999c0b4ef8bb6d6bb9bd380a11"], "hex"),
        ("uuid", "TEXT", ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"], "DASHED"),
        ("uuid", "BLOB", [b"0" * 16], "blob"),
        ("interval", "TEXT", ["PT1S"], "iso"),
        ("interval", "NUMERIC", ["1970-01-01 00:00:10.000000"], "YYYY-MM-DD HH:MM:SS.ffffff"),
        ("interval", "INTEGER", [5], "microseconds"),
        ("time without time zone", "NUMERIC", ["1970-01-01 10:00:00"], "YYYY-MM-DD HH:MM:SS"),
        ("time without time zone", "NUMERIC", ["2000-01-01 10:00:00.500000"], "2000-01-01 HH:MM:SS.ffffff"),
        ("bigint", "INTEGER", [5], ""),
    ],
)  # fmt: skip
def test_most_values_decide(kind: str, affinity: str, values: list[SqlValue], name: str) -> None:
    assert detect(column(kind, affinity), values) == name


def test_a_key_has_no_format_that_does_not_sort() -> None:
    mixed = ["2024-01-01T10:00:00Z", "2024-01-01T10:00:00.123Z"]
    assert detect(column(TZ, "TEXT", exact=True), mixed) == ""
    assert detect(column(TZ, "TEXT", exact=True), mixed[1:]) == "YYYY-MM-DDTHH:MM:SS.fffZ"


@pytest.fixture
def sqlite() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, made datetime, gone datetime)")
    yield connection
    connection.close()


T = Table("t", "public", "t", (Column("id", "INTEGER", "INTEGER", "id", "bigint"), column(TZ, name="made"),
                               column(TZ, name="gone")), ("id",))  # fmt: skip


def formats(connection: sqlite3.Connection) -> list[str]:
    return [each.format for each in with_formats(connection, (T,)).tables[0].columns[1:]]


def test_what_was_found_is_kept(sqlite: sqlite3.Connection) -> None:
    assert formats(sqlite) == ["", ""]
    sqlite.execute("INSERT INTO t (made) VALUES (1700000000123)")
    found = with_formats(sqlite, (T,))
    assert found.fresh == {("t", "made"): (TZ, "epoch_milliseconds")}
    # The other column is empty; it is declared alike, and that is not recorded.
    assert [each.format for each in found.tables[0].columns[1:]] == ["epoch_milliseconds"] * 2
    record(sqlite, found.fresh)
    sqlite.execute("UPDATE t SET made = '2024-01-01', gone = '2024-01-01 10:00:00'")
    found = with_formats(sqlite, (T,))
    assert formats(sqlite) == ["epoch_milliseconds", "YYYY-MM-DD HH:MM:SS"]
    record(sqlite, {**found.fresh, ("t", "made"): (TZ, "YYYY-MM-DD")})
    assert formats(sqlite) == ["epoch_milliseconds", "YYYY-MM-DD HH:MM:SS"]
    assert not with_formats(sqlite, (T,)).fresh


def test_both_ends_of_a_long_table_are_asked(sqlite: sqlite3.Connection) -> None:
    sqlite.executemany("INSERT INTO t (made) VALUES (?)", [(None,)] * 2500 + [("2024-01-01T10:00:00Z",)] * 2)
    assert formats(sqlite)[0] == "YYYY-MM-DDTHH:MM:SSZ"
