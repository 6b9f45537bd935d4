"""A schema that changes under the running service, on either primary: carried over, or the table stops and says why."""

from __future__ import annotations

from typing import Any

from tests.support.checks import postgres_rows, settled
from tests.support.service import Service, until
from tests.support.sqlite_world import make


async def shape(url: str, table: str) -> list[tuple[Any, ...]]:
    """(name, type, NOT NULL) of the columns on Postgres."""
    return await postgres_rows(
        url,
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_attribute a "
        f"WHERE a.attrelid = to_regclass('{table}') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname",
    )


async def columns(url: str, table: str) -> list[str]:
    return [row[0] for row in await shape(url, table)]


async def followed(service: Service) -> None:
    """Everything copied, nothing stopped, no drift."""

    async def look() -> bool:
        status = await service.status()
        done = all(t["state"] == "mirrored" and t["backfill"]["state"] == "done" for t in status["tables"])
        return done and status["phase"] in ("shadowing", "promoted") and status["attached"]

    await service.explained(until(look, "every table mirrored"))
    await settled(service)
    assert (await service.verified())["drift_rows"] == 0


async def test_columns_and_tables_come_and_go_under_sqlite_as_primary(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    make(
        service.sqlite,
        "ALTER TABLE items ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",
        "ALTER TABLE items RENAME COLUMN body TO words",
        "CREATE TABLE tags(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, item TEXT REFERENCES items(id))",
        "INSERT INTO tags VALUES (1, 'red', 'old-1')",
        "CREATE INDEX items_note ON items(note, n DESC)",
        "UPDATE items SET note = 'some', words = 'new words' WHERE id = 'old-1'",
    )

    async def carried() -> bool:
        return await postgres_rows(postgres_url, "SELECT note, words FROM items WHERE id = 'old-1'") == [
            ("some", "new words")
        ]

    await service.explained(until(lambda: columns(postgres_url, "tags"), "the new table"))
    await service.explained(until(carried, "the new columns"))
    await followed(service)
    assert ("note", "text", True) in await shape(postgres_url, "items")
    assert await columns(postgres_url, "items") == ["id", "n", "note", "words"]
    assert await postgres_rows(postgres_url, "SELECT 1 FROM pg_indexes WHERE indexname = 'items_note'") == [(1,)]
