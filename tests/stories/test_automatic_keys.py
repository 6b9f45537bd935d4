"""Automatic keys all the way: through the front door, over switches in both directions."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from tests.support.checks import settled
from tests.support.postgres import native
from tests.support.service import Service, create, until

END = 2**63 - 1


async def insert(service: Service, table: str, key: int | None = None) -> int:
    """Insert a row; returns its key."""
    if key is None:
        answer = await service.sql(f"INSERT INTO {table}(v) VALUES (1)")
    else:
        answer = await service.sql(f"INSERT INTO {table}(id, v) VALUES (?, 1)", key)
    assert answer["type"] == "ok", answer
    return int(answer["response"]["result"]["last_insert_rowid"])


TELLING = (
    "REPLACE INTO named VALUES ('a', 1)",
    "REPLACE INTO named VALUES ('a', 2)",
    "INSERT INTO named VALUES ('a', 3) ON CONFLICT (name) DO UPDATE SET v = v + 1",
    "INSERT INTO loose VALUES (0, 1)",
    "INSERT INTO named VALUES ('a', 3) ON CONFLICT DO NOTHING",
)


async def told(service: Service, *statements: str) -> list[str]:
    """The keys that a stream is told for each of these."""
    requests = [{"type": "execute", "stmt": {"sql": sql}} for sql in statements]
    code, body = await service.request("POST", service.front + "/v3/pipeline", {"requests": requests})
    assert code == 200, body
    return [one["response"]["result"]["last_insert_rowid"] for one in body["results"]]


async def switched(service: Service, direction: str) -> None:
    await settled(service)
    await service.verified()
    await service.switched(direction)
    await service.up("promoted" if direction == "promote" else "shadowing")


async def test_no_key_is_given_twice(tmp_path: Path, sqlite_path: str, postgres_url: str) -> None:
    create(
        sqlite_path,
        "CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v INTEGER);"
        "CREATE TABLE loose(id INTEGER PRIMARY KEY, v INTEGER);"
        "CREATE TABLE named(name TEXT PRIMARY KEY, v INTEGER);"
        "CREATE TABLE holed(name TEXT PRIMARY KEY, rowid TEXT);"
        "INSERT INTO holed(name) VALUES ('a'), ('b'), ('c'), ('d'), ('e');"
        "DELETE FROM holed WHERE name IN ('a', 'b', 'e');"
        "INSERT INTO counted(v) VALUES (1), (1);",
    )
    service = Service(tmp_path, sqlite_path, postgres_url)
    await service.start()
    try:
        await service.up()
        assert await insert(service, "counted", 100) == 100
        await service.sql("DELETE FROM counted WHERE id = 100")
        await switched(service, "promote")
        assert await told(service, *TELLING) == ["1", "2", "2", "0", "0"]
        assert await told(service, *(f"INSERT INTO holed(name) VALUES ('{name}')" for name in "xy")) == ["5", "6"]
        assert await insert(service, "counted") == 101
        assert await insert(service, "counted") == 102
        await service.sql("DELETE FROM counted WHERE id > 100")
        assert await insert(service, "loose", END) == END
        assert await insert(service, "loose") == 1
        await service.sql("DELETE FROM loose WHERE id = ?", END)
        assert await insert(service, "loose") == 2
        await switched(service, "demote")
        assert await insert(service, "counted") == 103
        assert await insert(service, "loose") == 3
        assert await told(service, "INSERT INTO holed(name) VALUES ('z')") == ["7"]
        await service.sql("DELETE FROM holed WHERE name < 'z'")
        await switched(service, "promote")
        assert await told(service, "INSERT INTO holed(name) VALUES ('a')") == ["8"]
        assert await insert(service, "counted") == 104
        assert await insert(service, "loose") == 4
        assert await service.stop() == 0
    finally:
        await service.kill()


COUNTED = "CREATE TABLE {0}(id INTEGER PRIMARY KEY AUTOINCREMENT, v INTEGER CHECK (v > 0));"
MARKED = (
    (
        "UPDATE moved SET id = 90 WHERE id = 2",
        "INSERT OR FAIL INTO failed(v) VALUES (1), (1), (-1)",
        "INSERT INTO emptied(v) VALUES (1), (1)",
    ),
    (
        "DELETE FROM moved WHERE id = 90",
        "INSERT INTO moved(v) VALUES (1)",
        "DELETE FROM failed WHERE id > 1",
        "INSERT INTO failed(v) VALUES (1)",
        "INSERT OR FAIL INTO failed(v) VALUES (1), (1), (-1)",
        "DELETE FROM failed WHERE id > 2",
        "INSERT INTO failed(v) VALUES (1)",
        "UPDATE moved SET id = 80 WHERE id = 3",
        "INSERT OR FAIL INTO failed(v) VALUES (1), (1), (-1)",
        "DELETE FROM emptied",
        "DELETE FROM sqlite_sequence WHERE name = 'emptied'",
    ),
    (
        "DELETE FROM moved WHERE id = 80",
        "INSERT INTO moved(v) VALUES (1)",
        "DELETE FROM failed WHERE id > 3",
        "INSERT INTO failed(v) VALUES (1)",
        "INSERT INTO emptied(v) VALUES (1)",
        "DELETE FROM lowered",
        "DELETE FROM sqlite_sequence WHERE name = 'lowered'",
    ),
    ("INSERT INTO lowered(v) VALUES (1)",),
)
"""Behind each part, a switch."""


async def test_counts_below_the_highest_row_or_lowered_go_over_switches(
    tmp_path: Path, sqlite_path: str, postgres_url: str
) -> None:
    tables = ("moved", "failed", "emptied", "lowered")
    schema = "".join(COUNTED.format(table) + f"INSERT INTO {table}(v) VALUES (1), (1);" for table in tables)
    schema = schema.replace("INSERT INTO failed(v) VALUES (1), (1);", "")
    create(sqlite_path, schema)
    plain = sqlite3.connect(":memory:", isolation_level=None)
    plain.executescript(schema)
    service = Service(tmp_path, sqlite_path, postgres_url)
    await service.start()
    try:
        await service.up()
        for part, direction in zip(MARKED, ("promote", "demote", "promote", "demote"), strict=True):
            for sql in part:
                with contextlib.suppress(sqlite3.IntegrityError):
                    plain.execute(sql)
                await service.sql(sql)
            await switched(service, direction)
            if direction == "demote":
                marks = "SELECT name, seq FROM sqlite_sequence ORDER BY name"
                assert await service.rows(marks) == [list(row) for row in plain.execute(marks)]
            for table in tables:
                rows = f"SELECT id FROM {table} ORDER BY id"
                assert await service.rows(rows) == [list(row) for row in plain.execute(rows)]
        assert await service.stop() == 0
    finally:
        plain.close()
        await service.kill()


async def test_tables_without_a_key_go_there_and_back(tmp_path: Path, sqlite_path: str, postgres_url: str) -> None:
    create(
        sqlite_path,
        "CREATE TABLE notes(a TEXT, b INTEGER); CREATE TABLE sparse(a TEXT UNIQUE, b INTEGER);"
        "INSERT INTO notes VALUES ('same', 1), ('same', 1), ('gone', 2), ('late', 3); DELETE FROM notes WHERE b = 2;"
        "INSERT INTO sparse VALUES (NULL, 1), ('x', 2), (NULL, 1);",
    )
    service = Service(tmp_path, sqlite_path, postgres_url)
    await service.start()

    async def notes() -> list[list[object]]:
        return await service.rows("SELECT rowid, * FROM notes ORDER BY rowid")

    try:
        await service.up()
        await service.sql("INSERT INTO notes VALUES ('same', 1)")
        await service.sql("INSERT OR REPLACE INTO sparse VALUES ('x', 5)")
        await settled(service)
        assert (await service.verified())["drift_rows"] == 0
        before = await notes()
        assert [row[0] for row in before] == [1, 2, 4, 5]
        direct = sqlite3.connect(sqlite_path, isolation_level=None)
        direct.execute("VACUUM")  # and gives the rows new numbers
        direct.execute("DELETE FROM notes WHERE b = 3")
        direct.close()
        assert [row[0] for row in await notes()] == [1, 2, 4]
        async with native(postgres_url) as postgres:

            async def copied() -> bool:
                rows = await postgres.fetch("SELECT _rowid_ FROM notes ORDER BY 1")
                return [row[0] for row in rows] == [1, 2, 4]

            await until(copied, "the rows under their new numbers")
        await switched(service, "promote")
        assert await notes() == [[1, "same", 1], [2, "same", 1], [4, "same", 1]]
        await service.sql("DELETE FROM notes WHERE rowid = 2")
        await service.sql("INSERT INTO notes VALUES ('new', 7)")
        await service.sql("UPDATE sparse SET b = b + 1 WHERE a IS NULL")
        await switched(service, "demote")
        assert [row[1:] for row in await notes()] == [["same", 1], ["same", 1], ["new", 7]]
        assert await service.rows("SELECT * FROM sparse ORDER BY b, a") == [[None, 2], [None, 2], ["x", 5]]
        assert await service.stop() == 0
    finally:
        await service.kill()
