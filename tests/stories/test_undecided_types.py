"""Tables whose types the schema of SQLite leaves open: made from their data, captured all the time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.audit import read_records
from cutover.stores.postgres.embedded import EmbeddedPostgres
from tests.support.checks import postgres_rows, settled
from tests.support.servers import fresh_database, own_server
from tests.support.service import Service, create, until

ROWS = [(1, 1.25), (2, 2.5)]


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    with own_server() as postgres:  # its own, because these tests stop it
        postgres.start_blocking()
        yield postgres


def prices(folder: Path, more: str = "") -> str:
    path = str(folder / "app.db")
    create(
        path,
        "PRAGMA journal_mode = WAL; CREATE TABLE prices (id INTEGER PRIMARY KEY, price DECIMAL(10, 2));"
        f"INSERT INTO prices VALUES (1, 1.25), (2, 2.5); {more}",
    )
    return path


async def on_postgres(url: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await postgres_rows(url, "SELECT id, price FROM prices ORDER BY id")]


async def test_a_table_is_made_from_its_data_though_no_other_is_to_be_made(tmp_path: Path, postgres_url: str) -> None:
    service = Service(tmp_path, prices(tmp_path), postgres_url)
    try:
        await service.start()
        await service.up()
        assert (await service.verified())["rows"] == 2
        assert await on_postgres(postgres_url) == ROWS
    finally:
        await service.stop()


async def test_writes_while_postgres_is_away_at_a_start_are_captured(tmp_path: Path, server: EmbeddedPostgres) -> None:
    async with fresh_database(server.start_blocking()) as url:
        path = prices(tmp_path, "CREATE TABLE others (id INTEGER PRIMARY KEY);")
        service = Service(tmp_path, path, url)
        await service.start()
        await service.up()
        await service.verified()
        assert await service.stop() == 0
        server.stop_blocking()
        await service.start()
        try:
            await service.answering()
            connection = sqlite3.connect(path, isolation_level=None)
            connection.execute("UPDATE prices SET price = 99.5 WHERE id = 1")
            connection.close()
            assert (await service.sql("INSERT INTO prices VALUES (3, 7.5)"))["type"] == "ok"
            server.start_blocking()
            await service.up()
            await settled(service)
            assert await on_postgres(url) == [(1, 99.5), (2, 2.5), (3, 7.5)]
        finally:
            await service.stop()


async def test_a_start_has_nothing_to_repair(tmp_path: Path, postgres_url: str) -> None:
    service = Service(tmp_path, prices(tmp_path, "CREATE TABLE others (id INTEGER PRIMARY KEY);"), postgres_url)
    for _ in range(2):
        await service.start()
        await service.up()
        assert await service.stop() == 0
    records = read_records(service.folder / "state" / "audit.jsonl")
    assert "capture.repaired" not in [record["action"] for record in records]


async def test_a_table_that_was_empty_is_made_when_it_has_rows(tmp_path: Path, postgres_url: str) -> None:
    more = "CREATE TABLE pairs (a TEXT, b TEXT, v, PRIMARY KEY (a, b)) WITHOUT ROWID;"
    service = Service(tmp_path, prices(tmp_path, more), postgres_url)
    try:
        await service.start()
        await service.up()
        assert (await service.sql("INSERT INTO pairs VALUES ('a', 'b', NULL), ('a', 'c', 'x')"))["type"] == "ok"
        await ready(service)
        await settled(service)
        assert await postgres_rows(postgres_url, "SELECT v FROM pairs ORDER BY b") == [(None,), ("x",)]
    finally:
        await service.stop()


async def test_empty_columns_of_decimals_do_not_stand_in_the_way(tmp_path: Path, postgres_url: str) -> None:
    more = "CREATE TABLE bills (id INTEGER PRIMARY KEY, due decimal NOT NULL, paid NUMERIC);"
    whole = "INSERT INTO bills VALUES (1, 5, NULL), (2, 7, NULL);"
    service = Service(tmp_path, prices(tmp_path, more + more.replace("bills", "offers") + whole), postgres_url)
    try:
        await service.start()
        await ready(service)
        await settled(service)
        await service.verified()
        await service.switched("promote")
        for table in ("bills", "offers"):
            for due, paid in ((9.99, "12.50"), (3.0, 1e21), ("7", 0.1), (2**62, -0.0)):
                assert (await service.sql(f"INSERT INTO {table} (due, paid) VALUES (?, ?)", due, paid))["type"] == "ok"
        rows = await service.rows("SELECT due, typeof(due), paid FROM bills ORDER BY id")
        assert rows[2:] == [[9.99, "real", 12.5], [3, "integer", 1e21], [7, "integer", 0.1], [2**62, "integer", 0]]
        assert rows[2:] == await service.rows("SELECT due, typeof(due), paid FROM offers ORDER BY id")
        await settled(service)
        await service.verified()
        await service.switched("demote")
        assert await service.rows("SELECT due, typeof(due), paid FROM bills ORDER BY id") == rows
    finally:
        await service.stop()


async def test_a_table_comes_back_when_its_values_are_of_one_kind(tmp_path: Path, postgres_url: str) -> None:
    more = "CREATE TABLE loose (id INTEGER PRIMARY KEY, v); INSERT INTO loose VALUES (1, 1), (2, 'x'), (3, 0.5);"
    service = Service(tmp_path, prices(tmp_path, more), postgres_url)
    try:
        await service.start()

        async def stopped(kinds: str) -> bool:
            gates = {gate["name"]: gate["detail"] for gate in (await service.status())["gates"]}
            return f"several kinds of value ({kinds})" in gates["target_ready"]

        await service.answering()
        await until(lambda: stopped("1 integer, 1 real, 1 text"), "a reason")
        assert (await service.sql("UPDATE loose SET v = 2 WHERE id = 2"))["type"] == "ok"
        await until(lambda: stopped("2 integer, 1 real"), "the reason as it is now")
        assert (await service.sql("UPDATE loose SET v = 3 WHERE id = 3"))["type"] == "ok"
        await ready(service)
        await settled(service)
        assert await postgres_rows(postgres_url, "SELECT v FROM loose ORDER BY id") == [(1,), (2,), (3,)]
    finally:
        await service.stop()


async def ready(service: Service) -> None:
    """Wait until every table is mapped."""

    async def made() -> bool:
        gates = {gate["name"]: gate["ok"] for gate in (await service.status())["gates"]}
        return bool(gates["target_ready"])

    await until(made, "every table mapped")


async def test_a_foreign_key_comes_with_the_table_that_it_points_to(tmp_path: Path, postgres_url: str) -> None:
    more = """
        CREATE TABLE authors (id INTEGER PRIMARY KEY, balance BALANCE);
        CREATE TABLE books (id INTEGER PRIMARY KEY, author INTEGER REFERENCES authors (id) ON DELETE CASCADE);
    """
    service = Service(tmp_path, prices(tmp_path, more), postgres_url)
    try:
        await service.start()
        await service.answering()

        async def alone() -> bool:
            tables = {table["name"]: table["backfill"]["state"] for table in (await service.status())["tables"]}
            return tables.get("books") == "done"

        await until(alone, "books without authors")
        for sql in ("INSERT INTO authors VALUES (1, 2.5), (2, 3)", "INSERT INTO books VALUES (1, 1), (2, 2)"):
            assert (await service.sql(sql))["type"] == "ok"
        await ready(service)

        async def there() -> bool:
            return await postgres_rows(postgres_url, KEYS) == [("authors",)]

        await until(there, "the foreign key")
        await settled(service)
        await service.verified()
        await service.switched("promote")
        assert (await service.sql("DELETE FROM authors WHERE id = 1"))["type"] == "ok"
        assert await postgres_rows(postgres_url, "SELECT id FROM books") == [(2,)]
    finally:
        await service.stop()


async def test_a_column_that_was_empty_gets_the_type_of_what_comes(tmp_path: Path, postgres_url: str) -> None:
    """A DATETIME is text where nothing says otherwise; integers that come then would stay in quarantine."""
    create(
        str(tmp_path / "app.db"), "PRAGMA journal_mode = WAL; CREATE TABLE logs (id INTEGER PRIMARY KEY, at DATETIME);"
    )
    service = Service(tmp_path, str(tmp_path / "app.db"), postgres_url)
    try:
        await service.start()
        await service.up()
        await settled(service)
        kind = "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'logs'::regclass AND attname = 'at'"
        assert await postgres_rows(postgres_url, kind) == [("text",)]
        for sql in ("INSERT INTO logs VALUES (1, 1700000000123), (2, NULL)", "INSERT INTO logs VALUES (3, 5)"):
            assert (await service.sql(sql))["type"] == "ok"

        async def whole() -> bool:
            rows = await postgres_rows(postgres_url, "SELECT id, at FROM logs ORDER BY id")
            return rows == [(1, 1700000000123), (2, None), (3, 5)]

        await service.explained(until(whole, "the rows as integers"))
        await settled(service)
        await service.verified()
        await service.switched("promote")
        assert await service.rows("SELECT at, typeof(at) FROM logs WHERE at > 4 ORDER BY at") == [
            [5, "integer"],
            [1700000000123, "integer"],
        ]
    finally:
        await service.stop()


KEYS = "SELECT confrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND conrelid = 'books'::regclass"
