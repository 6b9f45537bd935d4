"""The shadow is a state that the primary had, or says that it is not yet: also right after a copy, and in a repair."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import asyncpg
import pytest

from cutover.model.control import Phase, StoreName
from cutover.promote.overview import Overview
from cutover.shadow.pacing import CopyPace
from tests.flow.compare_world import World, world

_LOOK = "SELECT (SELECT count(*) FROM {} WHERE state = 'done'), (SELECT score FROM users), (SELECT body FROM posts)"


def _fill(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO users VALUES (1, 'ada', 0.0, NULL)")
    db.execute("INSERT INTO posts VALUES ('ada', 1, '0', 1)")


async def _write(here: World, number: int) -> None:
    """One transaction, both tables."""
    sql = (f"UPDATE users SET score = {number}", f"UPDATE posts SET body = '{number}'")
    if here.source.name == "sqlite":
        with closing(sqlite3.connect(here.sqlite.path)) as db:
            for statement in sql:
                db.execute(statement)
            db.commit()
        return
    connection = await asyncpg.connect(here._url)
    await connection.execute("; ".join(sql))  # one message, one transaction
    await connection.close()


async def _look(here: World) -> tuple[bool, int, int]:
    """What the shadow shows: whether all is copied, and the number in each table."""
    if here.target.name == "sqlite":
        with closing(sqlite3.connect(here.sqlite.path)) as db:
            done, one, two = db.execute(_LOOK.format("_cutover_backfill")).fetchone()
    else:
        connection = await asyncpg.connect(here._url)
        done, one, two = await connection.fetchrow(_LOOK.format("cutover.backfill"))
        await connection.close()
    return done == len(here.tables), int(one), int(two)


@pytest.mark.parametrize("primary", ["sqlite", "postgres"])
async def test_a_copy_is_not_done_before_the_shadow_is_one_state(
    sqlite_path: str, postgres_url: str, primary: StoreName
) -> None:
    async with world(sqlite_path, postgres_url, _fill, primary=primary) as here:
        mirror = here.mirror
        mirror.pause()  # this test takes the turns
        await mirror.copy_again([table.name for table in here.tables])
        for number in range(1, 20):
            async with mirror._applying:
                turn = await mirror._turn()
                await _write(here, number)
                await mirror._copy_some(turn)
            copied, one, two = await _look(here)
            assert one == two or not copied, "half of a transaction, on a shadow that claims to be whole"
            if copied:
                break
        assert copied
        assert not mirror.catching_up
        mirror.resume()
        await here.settled()


@pytest.mark.parametrize("primary", ["sqlite", "postgres"])
async def test_a_copy_is_done_without_another_write(sqlite_path: str, postgres_url: str, primary: StoreName) -> None:
    async with world(sqlite_path, postgres_url, _fill, primary=primary) as here:
        await here.mirror.copy_again([table.name for table in here.tables])
        await here.settled()
        assert (await _look(here))[0]


async def test_a_repair_shows_no_half_of_a_transaction(sqlite_path: str, postgres_url: str) -> None:
    async with world(sqlite_path, postgres_url, _fill) as here, asyncio.timeout(60):
        async with here.mirror.quiesced():  # the mirror waits, and the repair behind it
            await _write(here, 7)
            repairing = asyncio.create_task(here.mirror.reapply(here.table("users"), [(1,)]))
            await asyncio.sleep(0)
        await repairing
        _, one, two = await _look(here)
        assert one == two == 7


async def test_a_pause_outlasts_a_stop_and_a_start(sqlite_path: str, postgres_url: str) -> None:
    """Tables that are mapped anew stop the mirror and start it again: what an operator wished meanwhile holds."""
    async with world(sqlite_path, postgres_url, _fill) as here, asyncio.timeout(60):
        await here.settled()
        mirror = here.mirror
        await mirror.stop()
        mirror.pause()
        await mirror.start(here.pair, here.tables)
        assert mirror.state == "paused"
        await _write(here, 7)
        assert not await mirror.caught_up(0.1)
        mirror.resume()
        await here.settled()
        assert (await _look(here))[1:] == (7, 7)


async def test_a_primary_that_does_not_answer_is_not_told_to_be_level(
    sqlite_path: str, postgres_url: str, postgres_server: str
) -> None:
    async with world(sqlite_path, postgres_url, _fill, primary="postgres") as here:
        here.mirror.pause()
        await _write(here, 7)
        situation = SimpleNamespace(phase=Phase.PROMOTED, pair=here.pair, attached=True, attach_error="", tables=())
        parts = SimpleNamespace(situation=situation, mirror=here.mirror)
        overview = Overview(parts, None)  # type: ignore[arg-type]  # all that is asked of them
        known = await overview.mirror_status()
        assert (known["lag_changes"], known["last_error"]) == (2, None)
        async with here.postgres_away(postgres_server):
            silent = await overview.mirror_status()
            assert silent["last_error"]
            assert silent["lag_changes"] == 2
        here.mirror.resume()
        await here.settled()
        assert (await overview.mirror_status())["lag_changes"] == 0


async def test_what_was_in_the_way_of_a_copy_keeps_no_row_out(sqlite_path: str, postgres_url: str) -> None:
    """A row of a later range has, from before, a value in a unique index that one of an earlier range has now."""
    schema = "CREATE TABLE users (id INTEGER PRIMARY KEY, handle TEXT NOT NULL UNIQUE);"
    rows = [(1, "one"), (2, "two"), (3, "three"), (4, "four")]
    turned = [(3, "two"), (4, "one")]

    def fill(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO users VALUES (?, ?)", rows)

    async with world(sqlite_path, postgres_url, fill, schema=schema) as here:
        here.mirror._backfill._pace = CopyPace(1, None)  # row by row
        await here.spoil("users", deletes=[(1,), (2,), (3,), (4,)])
        await here.spoil("users", upserts=turned)
        await here.mirror.copy_again(["users"])
        await here.settled()
        assert await here.target.quarantined() == []
        async with here.target.snapshot() as snapshot:
            assert (await snapshot.page(here.table("users"), None, 10, 1 << 20)).rows == rows
