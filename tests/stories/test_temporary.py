"""A migration that goes through a temporary table, sent to the running service before and after each switch."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.flow.test_sqlite_temporary import CHANGE_COLUMN, STATEMENT_BY_STATEMENT
from tests.support.checks import settled
from tests.support.service import Service, create, until

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE products(id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, price INTEGER);
INSERT INTO products VALUES (1, 10), (7, 20);
"""


def changed_to(declared: str) -> list[str]:
    """In a transaction, and then once more without one."""
    outside = [sql.replace("price REAL", f"price {declared}") for sql in STATEMENT_BY_STATEMENT]
    return [*(sql.replace('"price" real', f'"price" {declared}') for sql in CHANGE_COLUMN), *outside]


async def migrate(service: Service, declared: str) -> None:
    """One statement a request, on one stream, as a driver sends them."""
    baton = None
    for sql in changed_to(declared):
        steps: list[dict[str, Any]] = [{"type": "execute", "stmt": {"sql": sql}}]
        status, answer = await service.request(
            "POST", f"{service.front}/v2/pipeline", {"baton": baton, "requests": steps}
        )
        assert status == 200, answer
        assert [result["type"] for result in answer["results"]] == ["ok"], (sql, answer)
        baton = answer["baton"]
    await service.request("POST", f"{service.front}/v2/pipeline", {"baton": baton, "requests": [{"type": "close"}]})


async def test_a_migration_through_a_temporary_table(tmp_path: Path, postgres_url: str) -> None:
    path = str(tmp_path / "app.db")
    create(path, SCHEMA)
    service = Service(tmp_path, path, postgres_url)
    await service.start()

    async def ready() -> object:
        _, answer = await service.switch("promote", dry_run=True)
        return answer["would_proceed"]

    typed = "SELECT id, typeof(price) FROM products ORDER BY id"
    try:
        await service.up()
        await migrate(service, "real")
        assert await service.rows(typed) == [[1, "real"], [7, "real"]]
        await settled(service)
        await service.verified()
        await until(ready, "the migration's statements to be ready")
        await service.switched("promote")
        assert await service.rows(typed) == [[1, "real"], [7, "real"]]
        await migrate(service, "text")
        assert await service.rows(typed) == [[1, "text"], [7, "text"]]
        await settled(service)
        await service.verified()
        await service.switched("demote")
        assert await service.rows(typed) == [[1, "text"], [7, "text"]]
        with closing(sqlite3.connect(path)) as db:
            names = db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'aprod%'").fetchall()
            assert names == []
            assert db.execute("SELECT price FROM products ORDER BY id").fetchall() == [("10",), ("20",)]
    finally:
        await service.kill()


async def said(service: Service, baton: str | None, sql: str) -> tuple[str | None, dict[str, Any]]:
    """(the stream's baton, the answer to one statement)."""
    body = {"baton": baton, "requests": [{"type": "execute", "stmt": {"sql": sql}}]}
    status, answer = await service.request("POST", f"{service.front}/v2/pipeline", body)
    assert status == 200, answer
    return answer["baton"], answer["results"][0]


async def test_a_switch_ends_temporary_tables_after_its_grace_and_their_stream_is_told(
    tmp_path: Path, postgres_url: str
) -> None:
    path = str(tmp_path / "app.db")
    create(path, SCHEMA)
    service = Service(tmp_path, path, postgres_url)
    await service.start()
    try:
        await service.up()
        await settled(service)
        await service.verified()
        for direction in ("promote", "demote"):
            baton, made = await said(service, None, "CREATE TEMP TABLE t AS SELECT * FROM products")
            assert made["type"] == "ok", made
            await service.switched(direction)
            baton, told = await said(service, baton, "INSERT INTO products SELECT id + 100, price FROM t")
            assert (told["type"], told["error"]["code"]) == ("error", "SQLITE_BUSY"), told
            assert "temporary tables went with a switch" in told["error"]["message"]
            baton, again = await said(service, baton, "SELECT * FROM t")
            assert "no such table: t" in again["error"]["message"]
            assert (await said(service, baton, "SELECT count(*) FROM products"))[1]["type"] == "ok"
            await settled(service)
            await service.verified()
    finally:
        await service.kill()
