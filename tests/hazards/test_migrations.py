"""Section B through the running service: the application changes its schema while everything goes on (24)."""

from __future__ import annotations

from tests.support.checks import postgres_rows, settled
from tests.support.service import Service, until
from tests.support.sqlite_world import direct, make


def without_triggers(path: str, migration: str) -> None:
    """A migration of `items` as docs/reliability.md tells it: the table's capture and the change in one transaction."""
    with direct(path) as application:
        application.execute("BEGIN IMMEDIATE")
        found = application.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'items' AND name LIKE ?",
            ("%cutover%capture%",),
        )
        for (name,) in found.fetchall():
            application.execute(f"DROP TRIGGER {name}")
        application.execute(migration)
        application.execute("UPDATE items SET n = n + 1 WHERE id = 'old-1'")  # captured by nobody
        application.execute("COMMIT")


async def test_hazard_24_a_column_is_dropped_under_the_running_service(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    without_triggers(service.sqlite, "ALTER TABLE items DROP COLUMN body")
    make(service.sqlite, "INSERT INTO items (id, n) VALUES ('after', 1)")

    async def arrived() -> bool:
        rows = await postgres_rows(postgres_url, "SELECT n FROM items WHERE id IN ('old-1', 'after') ORDER BY id")
        return rows == [(1,), (2,)]

    await until(arrived, "what nobody captured")
    await settled(service)
    assert (await service.verified())["drift_rows"] == 0


async def test_hazard_24_a_column_is_renamed_under_the_running_service(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    make(service.sqlite, "ALTER TABLE items RENAME COLUMN body TO words")
    for number in range(20):  # triggers made from the mapping of before would fail each of them
        make(service.sqlite, f"INSERT INTO items (id, n, words) VALUES ('w{number}', {number}, 'x')")
        make(service.sqlite, f"UPDATE items SET words = 'y' WHERE id = 'w{number}'")
        assert (await service.sql("DELETE FROM items WHERE id = ?", f"w{number}"))["type"] == "ok"

    async def followed() -> bool:
        rows = await postgres_rows(postgres_url, "SELECT attname FROM pg_attribute WHERE attrelid = 'items'::regclass")
        return ("words",) in rows and ("body",) not in rows

    await until(followed, "the column's new name on the shadow")
    await settled(service)
    assert (await service.verified())["drift_rows"] == 0
