"""What native programs change in the schema of Postgres, as the next statements of the front door meet it."""

from __future__ import annotations

from tests.support.checks import postgres_script, settled
from tests.support.service import Service

_COLUMNS = ("one", "two", "three")


async def test_statements_behind_a_native_drop_go_by_what_is_left(service: Service, postgres_url: str) -> None:
    """At once, and not a second later: SQLITE_SCHEMA is no error that clients expect from one statement."""
    await service.start()
    await service.up()
    for name in _COLUMNS:
        assert (await service.sql(f"ALTER TABLE accounts ADD COLUMN {name} TEXT"))["type"] == "ok"
    await settled(service)
    await service.verified()
    await service.switched("promote")
    await service.up("promoted")
    for at, name in enumerate(_COLUMNS):
        assert await service.rows("SELECT * FROM accounts WHERE id = 1") == [[1, 100, *[None] * (3 - at)]]
        await postgres_script(postgres_url, f"ALTER TABLE accounts DROP COLUMN {name}")
        assert await service.rows("SELECT * FROM accounts WHERE id = 1") == [[1, 100, *[None] * (2 - at)]]
    await postgres_script(postgres_url, "DROP TABLE pairs")
    answer = await service.sql("DELETE FROM pairs WHERE a = ?", "x")
    assert answer["error"]["code"] == "SQL_NOT_TRANSLATABLE", "SQLite keeps it, and it is not mirrored any more"
    assert await service.stop() == 0
