"""Postgres goes away at the one moment of a switch that is asked about, by a link that is cut."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from cutover.stores.postgres.embedded import EmbeddedPostgres
from tests.stories.conftest import SCHEMA
from tests.support.checks import check_promises, postgres_rows, sqlite_rows
from tests.support.servers import own_server
from tests.support.service import Service, create, until
from tests.torture.link import Link


@pytest.fixture
async def linked(tmp_path: Path, sqlite_path: str) -> AsyncIterator[tuple[Service, Link, EmbeddedPostgres]]:
    """A service that reaches its own Postgres by a link only."""
    rows = ",".join(f"({number}, 100)" for number in range(1, 11))
    create(sqlite_path, SCHEMA + f"INSERT INTO accounts VALUES {rows};")
    with own_server() as postgres:
        await postgres.start()
        link = await Link.open(str(postgres.socket_dir / ".s.PGSQL.5432"))
        made = Service(tmp_path, sqlite_path, f"postgresql://postgres@127.0.0.1:{link.port}/postgres")
        yield made, link, postgres
        if made.process is not None:
            await made.kill()
        await link.close()


async def test_a_promotion_that_loses_postgres_in_its_pause_is_taken_back_at_once(
    linked: tuple[Service, Link, EmbeddedPostgres],
) -> None:
    service, link, postgres = linked
    await service.start()
    await service.up()
    await service.verified()
    with closing(sqlite3.connect(service.sqlite, isolation_level=None)) as direct:
        direct.execute("BEGIN IMMEDIATE")  # the fence waits for it
        switching = asyncio.create_task(service.switch("promote"))

        async def under_way() -> bool:
            return bool((await service.status())["phase"] == "promoting")

        await until(under_way, "the pause")
        await link.say("cut")
    code, body = await switching
    assert (code, body["error"]["code"]) == (409, "aborted"), body
    assert (await service.status())["phase"] == "shadowing"
    assert (await service.sql("INSERT INTO items VALUES ('away', 1, NULL)"))["type"] == "ok", "SQLite does not wait"
    await link.say("heal")
    await service.up()
    await check_promises(service, postgres.url, ["away"])


async def test_a_start_without_the_primary_answers_no_read_from_the_shadow(service: Service, postgres_url: str) -> None:
    """SQLite is the shadow, and behind: a read from it would not see what was acknowledged before it was sent."""
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    assert await service.stop() == 0
    await postgres_rows(postgres_url, "INSERT INTO items VALUES ('native', 1, NULL) RETURNING id")
    config = service.config.read_text().replace("[front]\n", '[front]\nhold_timeout = "500ms"\n')
    service.config.write_text(config.replace(postgres_url, "postgresql://nobody@127.0.0.1:1/nothing"))
    await service.start()
    await service.answering()
    entry = await service.sql("SELECT id FROM items WHERE id = 'native'")
    assert (entry["type"], entry.get("error", {}).get("code")) == ("error", "HTTP_503"), entry
    assert await service.stop() == 0
    service.config.write_text(config)
    await service.start()
    await service.up("promoted")
    assert await service.rows("SELECT id FROM items WHERE id = 'native'") == [["native"]]


async def test_while_a_commit_is_not_known_no_read_is_answered_from_the_giver(
    linked: tuple[Service, Link, EmbeddedPostgres],
) -> None:
    """Postgres is primary already, takes native writes, and cannot say so."""
    service, link, postgres = linked
    config = service.config.read_text().replace("[front]\n", '[front]\nhold_timeout = "500ms"\n')
    service.config.write_text(config)
    await service.start()
    await service.up()
    await service.verified()
    native = await asyncpg.connect(postgres.url)
    await native.execute("BEGIN; LOCK TABLE items IN ROW EXCLUSIVE MODE")  # the commit waits for it
    switching = asyncio.create_task(service.switch("promote"))

    async def committing() -> bool:
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'items'::regclass"
        state = sqlite_rows(service.sqlite, "SELECT state FROM _cutover_control")
        return state == [("committing",)] and bool(await native.fetchval(waits))

    await until(committing, "the commit")
    await link.say("deafen")
    await native.execute("COMMIT")

    async def committed() -> bool:
        return bool(await native.fetchval("SELECT primary_store = 'postgres' FROM cutover.control"))

    await until(committed, "the commit on Postgres")
    await native.execute("INSERT INTO items VALUES ('native', 1, NULL)")
    entry = await service.sql("SELECT id FROM items WHERE id = 'native'")
    await link.say("heal")
    code, body = await switching
    await native.close()
    assert code == 200, body
    assert (entry["type"], entry.get("error", {}).get("code")) == ("error", "HTTP_503"), entry


async def test_a_mirror_goes_on_though_postgres_went_while_a_table_was_mapped_anew(
    linked: tuple[Service, Link, EmbeddedPostgres],
) -> None:
    """The mirror rests while tables are mapped, and starting it again takes a Postgres that answers."""
    service, link, postgres = linked
    await service.start()
    await service.up()
    await service.verified()
    native = await asyncpg.connect(postgres.url)
    try:
        await native.execute("BEGIN; SELECT * FROM items")  # what is carried over waits for it
        await service.rows("ALTER TABLE items ADD COLUMN note TEXT")

        async def waiting() -> bool:
            asked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'items'::regclass"
            return await postgres_rows(postgres.url, asked) != [(0,)]

        await until(waiting, "the change to wait for its lock")
        await link.say("cut")

        async def noticed() -> bool:
            return not (await service.status())["attached"]

        await service.explained(until(noticed, "the loss of Postgres"))
    finally:
        await native.close()
    await link.say("heal")
    await service.rows("INSERT INTO items VALUES ('behind it', 1, NULL, 'carried')")

    async def carried() -> bool:
        try:
            found = await postgres_rows(postgres.url, "SELECT note FROM items WHERE id = 'behind it'")
        except asyncpg.UndefinedColumnError:
            return False
        return found == [("carried",)]

    await service.explained(until(carried, "the row on Postgres"))
