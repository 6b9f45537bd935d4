"""SQLite's hidden rowid of tables whose key is no integer: copied, mirrored, compared, and carried back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.support.checks import postgres_rows, postgres_script, settled, sqlite_rows
from tests.support.service import Service, create, until
from tests.support.tamper import run_past_fence

SCHEMA = """
CREATE TABLE word (name TEXT PRIMARY KEY, n INTEGER, code TEXT UNIQUE);
CREATE TABLE pair (a TEXT NOT NULL, b INTEGER NOT NULL, note TEXT, PRIMARY KEY (a, b));
CREATE TABLE mail (address TEXT NOT NULL COLLATE NOCASE UNIQUE, n INTEGER);
INSERT INTO word VALUES ('c', 1, NULL), ('a', 1, 'x'), ('b', 2, NULL), ('gone', 3, NULL), ('last', 3, NULL);
INSERT INTO pair VALUES ('b', 2, 'k'), ('a', 9, 'l'), ('b', 1, 'm');
INSERT INTO mail VALUES ('Z@', 1), ('a@', 1);
DELETE FROM word WHERE name = 'gone';
"""
DIRECT = (
    "REPLACE INTO word VALUES ('c', 7, 'y')",
    "REPLACE INTO word VALUES ('d', 7, 'x')",
    "UPDATE word SET n = n + 1 WHERE name = 'b'",
    "INSERT INTO word VALUES ('b', 0, NULL) ON CONFLICT (name) DO UPDATE SET n = 5",
    "UPDATE pair SET rowid = 40 WHERE b = 9",
    "UPDATE pair SET b = b + 10",
    "REPLACE INTO pair (rowid, a, b) VALUES (3, 'evicts', 0)",
    "UPDATE OR REPLACE mail SET address = 'A@' WHERE address = 'z@'",
    "INSERT INTO mail VALUES ('b@', 3)",
    "DELETE FROM mail WHERE address = 'b@'",
    "INSERT INTO mail VALUES ('c@', 3)",
    "UPDATE word SET rowid = -rowid",
)
BEHIND = (
    "INSERT INTO word VALUES ('0', 1, NULL)",
    "REPLACE INTO word VALUES ('b', 9, NULL)",
    "UPDATE pair SET rowid = rowid + 1 WHERE a = 'b'",
    "INSERT INTO mail SELECT name, n FROM word",
    "DELETE FROM mail WHERE rowid = (SELECT max(rowid) FROM mail)",
    "INSERT INTO mail VALUES ('after@', 1)",
)
ANEW = """
CREATE TABLE again (LIKE pair INCLUDING ALL); INSERT INTO again SELECT * FROM pair; DROP TABLE pair;
ALTER TABLE again RENAME TO pair; CREATE TABLE alike (LIKE word INCLUDING ALL);
INSERT INTO alike (name) VALUES ('q'), ('p');
"""
"""As native migrations do it: the column `_rowid_` comes along, and is none of SQLite's."""
TABLES = {"word": "name", "pair": "a, b", "mail": "address"}


async def rows_are_the_same(service: Service, postgres_url: str) -> None:
    """The same rows, each with the same number, on both stores."""
    for table, key in TABLES.items():
        there = await postgres_rows(postgres_url, f"SELECT _rowid_, {key} FROM {table} ORDER BY 1")
        here = sqlite_rows(service.sqlite, f"SELECT rowid, {key} FROM {table} ORDER BY 1")
        assert [tuple(row) for row in there] == here, table


async def answers(service: Service) -> list[object]:
    """What the front door tells of the tables, in the order in which it does."""
    found = []
    for table, key in TABLES.items():
        for sql in ("SELECT * FROM {0}", "SELECT rowid, {1} FROM {0} LIMIT 2", "PRAGMA table_info({0})"):
            answer = await service.sql(sql.format(table, key))
            assert answer["type"] == "ok", answer
            found.append(answer["response"]["result"]["rows"])
    return found


async def test_rows_keep_their_numbers_over_both_switches(tmp_path: Path, sqlite_path: str, postgres_url: str) -> None:
    create(sqlite_path, SCHEMA)
    service = Service(tmp_path, sqlite_path, postgres_url)
    await service.start()
    try:
        await service.up()
        await rows_are_the_same(service, postgres_url)
        direct = sqlite3.connect(sqlite_path, isolation_level=None)
        for sql in DIRECT:
            direct.execute(sql)
            await settled(service)
            await rows_are_the_same(service, postgres_url)
        direct.execute("VACUUM")
        direct.close()
        assert (await service.verified())["drift_rows"] == 0
        before = await answers(service)
        await service.switched("promote")
        await service.up("promoted")
        assert await answers(service) == before
        for sql in BEHIND:
            answer = await service.sql(sql)
            assert answer["type"] == "ok", answer
        await postgres_rows(postgres_url, "INSERT INTO word (name, n) VALUES ('native', 1) RETURNING name")
        await postgres_script(postgres_url, ANEW)

        async def followed() -> bool:  # first SQLite gets the table, then statements are read by it
            return bool((await service.sql("SELECT 1 FROM alike"))["type"] == "ok")

        await service.explained(until(followed, "the new table through the front door"))
        assert await service.rows("SELECT * FROM alike") == [["q", None, None], ["p", None, None]]
        await settled(service)
        await rows_are_the_same(service, postgres_url)
        assert (await service.verified())["drift_rows"] == 0
        before = await answers(service)
        await service.switched("demote")
        await service.up("shadowing")
        assert await answers(service) == before
        await rows_are_the_same(service, postgres_url)
        assert await service.stop() == 0
    finally:
        await service.kill()


async def test_other_numbers_are_drift_that_a_repair_mends(tmp_path: Path, sqlite_path: str, postgres_url: str) -> None:
    create(sqlite_path, SCHEMA)
    service = Service(tmp_path, sqlite_path, postgres_url)
    await service.start()
    try:
        await service.up()
        swapped = "UPDATE word SET _rowid_ = _rowid_ + 100; UPDATE word SET _rowid_ = 106 - _rowid_ WHERE _rowid_ > 100"
        for sql in swapped.split("; "):
            await run_past_fence(service.sqlite, postgres_url, "postgres", sql)
        assert (await service.verified())["drift_rows"] > 0
        _, drift = await service.request("GET", service.admin + "/v1/drift")
        assert {(row["kind"], tuple(row["columns"])) for row in drift["rows"]} == {("different", ("_rowid_",))}
        code, repaired = await service.post("/v1/repair")
        assert code == 200, repaired
        assert (await service.verified())["drift_rows"] == 0
        await rows_are_the_same(service, postgres_url)
    finally:
        await service.kill()
