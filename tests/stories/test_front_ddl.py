"""Schema changes through the front door while Postgres is primary: there at once, carried to SQLite, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.checks import settled
from tests.support.service import Service, create, until


@pytest.fixture
async def service(tmp_path: Path, sqlite_path: str, postgres_url: str) -> AsyncIterator[Service]:
    create(
        sqlite_path, "CREATE TABLE old(id INTEGER PRIMARY KEY, v TEXT DEFAULT 'x'); INSERT INTO old(v) VALUES ('one')"
    )
    made = Service(tmp_path, sqlite_path, postgres_url)
    await made.start()
    try:
        await made.up()
        await settled(made)
        await made.verified()
        code, body = await made.switch("promote")
        assert code == 200, body
        await made.up("promoted")
        yield made
        assert await made.stop() == 0
    finally:
        await made.kill()


async def ok(service: Service, sql: str, *args: Any) -> dict[str, Any]:
    answer = await service.sql(sql, *args)
    assert answer["type"] == "ok", (sql, answer)
    return answer


async def error(service: Service, sql: str) -> tuple[str, str]:
    answer = await service.sql(sql)
    assert answer["type"] == "error", (sql, answer)
    return answer["error"]["code"], answer["error"]["message"]


def schema(path: str) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE '%cutover%' AND sql IS NOT NULL ORDER BY name"
        ).fetchall()


def rows(path: str, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        try:
            return db.execute(sql).fetchall()
        except sqlite3.OperationalError:  # the table is still to come
            return []


STATEMENTS = (
    "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE, born DATE, pay DECIMAL(8, 2))",
    "CREATE TABLE IF NOT EXISTS people (id INTEGER)",
    "CREATE UNIQUE INDEX by_name ON people (name)",
    "CREATE INDEX IF NOT EXISTS by_born ON people (born DESC) WHERE born IS NOT NULL",
    "CREATE TABLE pets (owner INTEGER REFERENCES people (id) ON DELETE CASCADE, kind, noise)",
    "INSERT INTO people (name, born, pay) VALUES ('Ada', '1815-12-10', 10.5), ('bob', NULL, 3)",
    "INSERT INTO pets VALUES (1, 'cat', 1), (1, 2.5, x'00'), (2, NULL, 'wuff')",
    "CREATE VIEW loud AS SELECT name, noise FROM people JOIN pets ON owner = id",
    "ALTER TABLE people ADD COLUMN active BOOLEAN NOT NULL DEFAULT 1",
    "ALTER TABLE people RENAME COLUMN born TO birthday",
    "ALTER TABLE old ADD COLUMN n INTEGER",
    "UPDATE old SET n = 5",
    "ALTER TABLE old RENAME TO older",
    "CREATE TABLE copied AS SELECT name, pay * 2 AS twice FROM people",
    "DROP INDEX by_born",
    "ALTER TABLE older DROP COLUMN v",
    "DELETE FROM people WHERE id = 2",
)
QUESTIONS = (
    "SELECT * FROM people ORDER BY id",
    "SELECT * FROM pets ORDER BY rowid",
    "SELECT * FROM loud ORDER BY 1, 2",
    "SELECT * FROM older",
    "SELECT * FROM copied ORDER BY name",
    "SELECT name, type FROM pragma_table_info('people')",
    "SELECT name FROM sqlite_master WHERE name NOT LIKE '%cutover%' ORDER BY name",
)


async def test_everything_is_there_at_once_and_comes_back(service: Service) -> None:
    oracle = sqlite3.connect(":memory:", isolation_level=None)
    oracle.execute("PRAGMA foreign_keys = ON")
    oracle.executescript("CREATE TABLE old(id INTEGER PRIMARY KEY, v TEXT DEFAULT 'x'); INSERT INTO old(v) VALUES ('one')")
    for statement in STATEMENTS:
        await ok(service, statement)
        oracle.execute(statement)
    assert (await error(service, "CREATE TABLE people (id INTEGER)"))[1].startswith("table people already exists")
    assert "no such table: nobody" in (await error(service, "DROP TABLE nobody"))[1]
    assert "duplicate column name: name" in (await error(service, "ALTER TABLE people ADD COLUMN name TEXT"))[1]
    assert (await error(service, "CREATE TRIGGER t AFTER INSERT ON people BEGIN SELECT 1; END"))[0] == "SQL_NOT_TRANSLATABLE"
    for question in QUESTIONS:
        expected = [list(row) for row in oracle.execute(question)]
        assert await service.rows(question) == expected, question
    wanted = [
        (name, sql)
        for name, sql in oracle.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        if not name.startswith("sqlite_")
    ]

    async def carried() -> bool:
        return [row for row in schema(service.sqlite) if not row[0].startswith("sqlite_")] == wanted

    await until(carried, "the schema on SQLite")
    await settled(service)

    async def whole() -> bool:
        return all(
            [list(row) for row in rows(service.sqlite, f"SELECT * FROM {table}")]
            == [list(row) for row in oracle.execute(f"SELECT * FROM {table}")]
            for table in ("people", "pets", "older", "copied")
        )

    await until(whole, "the rows on SQLite")
    assert (await service.verified())["drift_rows"] == 0
    code, body = await service.switch("demote")
    assert code == 200, body
    await service.up("shadowing")
    for question in QUESTIONS:
        assert await service.rows(question) == [list(row) for row in oracle.execute(question)], question
    await ok(service, "INSERT INTO pets VALUES (1, 'late', 0)")
