"""The pause of a switch as clients of the front door feel it: latency, and nothing else."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import aiohttp
import asyncpg

from tests.support.checks import check_promises, postgres_rows, postgres_script, settled, sqlite_rows
from tests.support.service import Service, until
from tests.support.streams import INSERT, Crowd, Reader, Stream, Writer, execute, transaction

UNHURRIED = {"CUTOVER_FRONT_TRANSACTION_TIMEOUT": "90s", "CUTOVER_FRONT_STREAM_IDLE_TIMEOUT": "90s"}
"""Who is in the way of a switch is ended by it or not at all, however long a busy machine takes to come to it."""
LONG_GRACE = {
    "CUTOVER_PROMOTION_GRACE": "60s",
    "CUTOVER_PROMOTION_PAUSE_TIMEOUT": "90s",
    "CUTOVER_FRONT_HOLD_TIMEOUT": "90s",
} | UNHURRIED
KINDS = ("statement", "batch", "conversation")
DIRECTIONS = (("promote", "promoted", "promoting"), ("demote", "shadowing", "demoting"))


@asynccontextmanager
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        yield session


async def held(service: Service) -> int:
    """Writes that wait for the switch, as the metrics tell."""
    _, text = await service.request("GET", service.admin + "/metrics")
    found = re.search(r"^cutover_held_writes (\d+)", str(text), re.MULTILINE)
    assert found is not None
    return int(found[1])


async def phase(service: Service, wanted: str) -> None:
    """From `promoting` and `demoting` on, writes are held."""

    async def look() -> bool:
        return bool((await service.status())["phase"] == wanted)

    await service.explained(until(look, f"phase {wanted}"))


async def holding(service: Service, number: int) -> None:
    """Wait until so many writes are held."""

    async def look() -> bool:
        return await held(service) == number

    await service.explained(until(look, f"{number} held writes"))


async def keys(service: Service, postgres: str, like: str) -> list[str]:
    """Keys of such items, the same on both stores once all is mirrored."""
    await settled(service)
    ours = sqlite_rows(service.sqlite, f"SELECT id FROM items WHERE id LIKE '{like}' ORDER BY id")
    theirs = await postgres_rows(postgres, f"SELECT id FROM items WHERE id LIKE '{like}' ORDER BY id COLLATE \"C\"")
    assert ours == theirs
    return [str(row[0]) for row in ours]


async def test_no_request_of_32_writers_fails_and_no_read_is_stale(service: Service, postgres_url: str) -> None:
    await service.start(environment=LONG_GRACE)
    await service.up()
    writers = [Writer(service, f"{KINDS[at % 3]}{at}", KINDS[at % 3]) for at in range(32)]
    readers = [Reader(service, writers, 500) for _ in range(2)]

    async def everyone_wrote(more: int) -> None:
        counts = [len(writer.acknowledged) for writer in writers]
        await service.explained(
            until(
                lambda: all(len(writer.acknowledged) >= n + more for writer, n in zip(writers, counts, strict=True)),
                "a write of each writer",
            )
        )

    async with Crowd(*writers, *readers):
        for verb, _, _ in DIRECTIONS:
            await everyone_wrote(3)
            await service.verified()
            before = [reader.reads for reader in readers]
            await service.switched(verb)
            assert all(reader.reads > n for reader, n in zip(readers, before, strict=True)), "reads went on"
        await everyone_wrote(3)
    assert [failure for writer in writers for failure in writer.failures] == []
    assert [stale for reader in readers for stale in reader.stale] == []
    assert max(reader.slowest for reader in readers) < 30  # of a pause that may last longer
    await check_promises(service, postgres_url, [key for writer in writers for key in writer.acknowledged])
    assert await service.stop() == 0


@asynccontextmanager
async def in_the_way(service: Service, postgres: str, verb: str) -> AsyncIterator[None]:
    """An application's own transaction on the primary, which the fence has to wait for; it commits in the end."""
    if verb == "promote":
        with closing(sqlite3.connect(service.sqlite, isolation_level=None)) as direct:
            direct.execute("BEGIN IMMEDIATE")
            direct.execute("INSERT INTO items VALUES ('beside-promote', 1, NULL)")
            yield
            direct.execute("COMMIT")
    else:
        native = await asyncpg.connect(postgres)
        try:
            async with native.transaction():
                await native.execute("INSERT INTO items VALUES ('beside-demote', 1, NULL)")
                yield
        finally:
            await native.close()


async def test_a_write_held_too_long_is_refused_and_never_runs(service: Service, postgres_url: str) -> None:
    await service.start(environment=LONG_GRACE | {"CUTOVER_FRONT_HOLD_TIMEOUT": "500ms"})
    await service.up()
    for verb, after, under_way in DIRECTIONS:
        await service.verified()
        async with http() as session:
            known = Stream(service, session)
            assert await known.execute("SELECT 1") == ""
            async with in_the_way(service, postgres_url, verb):
                switching = asyncio.create_task(service.switch(verb))
                await phase(service, under_way)
                alone, batch, talk = (Stream(service, session) for _ in range(3))
                answers = await asyncio.gather(
                    alone.send(execute(INSERT, f"late-{verb}-1", 1, None)),
                    batch.send(transaction((INSERT, (f"late-{verb}-2", 1, None)))),
                    talk.send(execute("BEGIN IMMEDIATE")),
                )
                assert [(status, body["code"]) for status, body in answers] == [(503, "SQLITE_BUSY")] * 3
                assert await known.execute(INSERT, f"late-{verb}-3", 1, None) == "SQLITE_BUSY"
                assert await known.rows("SELECT count(*) FROM items WHERE id = 'old-1'") == [[1]], "reads go on"
                assert await held(service) == 0
            code, body = await switching
            assert code == 200, body
            await service.up(after)
            assert await known.execute(INSERT, f"timely-{verb}", 1, None) == ""
        assert await keys(service, postgres_url, "late-%") == []
    wanted = ["beside-demote", "beside-promote", "timely-demote", "timely-promote"]
    assert await keys(service, postgres_url, "beside-%") + await keys(service, postgres_url, "timely-%") == wanted
    await check_promises(service, postgres_url, wanted)


async def test_an_open_transaction_has_its_grace_while_others_wait(service: Service, postgres_url: str) -> None:
    """It goes on and commits; what came after it waits, and reads do not."""
    await service.start(environment=LONG_GRACE)
    await service.up()
    for verb, after, under_way in DIRECTIONS:
        await service.verified()
        async with http() as session:
            open_one, other, reader = (Stream(service, session) for _ in range(3))
            assert await open_one.execute("BEGIN IMMEDIATE") == ""
            assert await open_one.execute(INSERT, f"{verb}-1", 1, None) == ""
            assert await reader.execute("BEGIN") == ""
            assert await reader.rows("SELECT count(*) FROM items WHERE id LIKE ?", f"{verb}-%") == [[0]]
            switching = asyncio.create_task(service.switch(verb))
            await phase(service, under_way)
            waiting = asyncio.create_task(other.execute(INSERT, f"{verb}-3", 1, None))
            await holding(service, 1)
            async with asyncio.timeout(45):  # less than the grace
                assert await Stream(service, session).rows("SELECT count(*) FROM items WHERE n < 0") == [[0]]
            assert await open_one.execute(INSERT, f"{verb}-2", 1, None) == ""
            assert not switching.done()
            assert not waiting.done()
            assert await open_one.execute("COMMIT") == ""
            code, body = await switching
            assert code == 200, body
            await service.up(after)
            assert await waiting == ""
            assert await reader.rows("SELECT count(*) FROM items WHERE id LIKE ?", f"{verb}-%") == [[0]], "its snapshot"
            assert await reader.execute(INSERT, "never", 1, None) == "SQLITE_BUSY", "it began before the switch"
        assert await keys(service, postgres_url, f"{verb}-%") == [f"{verb}-{number}" for number in (1, 2, 3)]
    assert await keys(service, postgres_url, "never") == []


async def test_a_transaction_that_outlasts_its_grace_is_told_and_nothing_of_it_stays(
    service: Service, postgres_url: str
) -> None:
    await service.start(environment={"CUTOVER_PROMOTION_GRACE": "200ms"} | UNHURRIED)
    await service.up()
    for verb, after, _ in DIRECTIONS:
        await service.verified()
        async with http() as session:
            slow = Stream(service, session)
            assert await slow.execute("BEGIN") == ""
            assert await slow.execute(INSERT, f"{verb}-lost", 1, None) == ""
            await service.switched(verb)
            await service.up(after)
            assert await slow.execute(INSERT, f"{verb}-never", 1, None) == "SQLITE_BUSY", "no autocommit"
            assert await slow.execute("COMMIT") != "", "there is nothing to commit"
            assert await slow.execute(INSERT, f"{verb}-again", 1, None) == "", "it knows, and the stream goes on"
        assert await keys(service, postgres_url, f"{verb}-%") == [f"{verb}-again"]


async def test_a_transaction_that_has_changed_the_schema_keeps_no_switch_from_its_end(
    service: Service, postgres_url: str
) -> None:
    await service.start(environment=LONG_GRACE)
    await service.up()
    for verb, after, _ in DIRECTIONS:
        await service.verified()
        async with http() as session:
            migrating = Stream(service, session)
            for sql in (
                "BEGIN",
                "CREATE TABLE IF NOT EXISTS more (n INTEGER PRIMARY KEY)",
                "INSERT INTO more VALUES (1)",
            ):
                assert await migrating.execute(sql) == ""
            code, body = await service.switch(verb)
            assert code == 200, body
            await service.up(after)
            assert await migrating.execute("COMMIT") == "SQLITE_BUSY"
            await migrating.execute("ROLLBACK")  # the client is told so far
            assert await migrating.execute(INSERT, f"{verb}-again", 1, None) == ""


async def test_a_switch_rolls_back_who_keeps_tables_from_being_mapped_anew(service: Service, postgres_url: str) -> None:
    await service.start(environment=UNHURRIED)
    await service.up()
    await service.verified()
    async with http() as session:
        standing = Stream(service, session)
        assert await standing.execute("BEGIN IMMEDIATE") == ""
        assert await standing.execute(INSERT, "lost", 1, None) == ""
        await postgres_script(postgres_url, "ALTER TABLE items ADD COLUMN more text")

        async def mapping() -> bool:
            return bool((await service.status())["mirror"]["state"] == "stopped")

        await service.explained(until(mapping, "tables that are mapped anew"))
        code, body = await service.switch("promote", override=["verified"])  # nobody has, since the change
        assert code == 200, body
        await service.up("promoted")
        assert await standing.execute("COMMIT") == "SQLITE_BUSY"
    assert await keys(service, postgres_url, "lost") == []


async def test_a_held_write_whose_client_has_gone_never_runs(service: Service, postgres_url: str) -> None:
    """It may have been sent again elsewhere."""
    await service.start(environment=LONG_GRACE)
    await service.up()
    await service.verified()
    async with http() as session:
        open_one = Stream(service, session)
        assert await open_one.execute("BEGIN IMMEDIATE") == ""
        assert await open_one.execute(INSERT, "mine", 1, None) == ""
        switching = asyncio.create_task(service.switch("promote"))
        await phase(service, "promoting")
        async with http() as leaving:
            gone = asyncio.create_task(Stream(service, leaving).execute(INSERT, "gone", 1, None))
            await holding(service, 1)
            gone.cancel()
        try:
            await until(lambda: held_none(service), "an empty queue", 50.0)
        finally:
            assert await open_one.execute("COMMIT") == ""
            code, body = await switching
        assert code == 200, body
    assert await keys(service, postgres_url, "gone") == []
    assert await keys(service, postgres_url, "mine") == ["mine"]


async def held_none(service: Service) -> bool:
    """Whether no write is held."""
    return await held(service) == 0


async def test_a_pause_that_ends_in_vain_says_for_whom_it_waited(service: Service) -> None:
    await service.start(environment=LONG_GRACE | {"CUTOVER_PROMOTION_PAUSE_TIMEOUT": "1s"})
    await service.up()
    await settled(service)
    await service.verified()
    async with http() as session:
        stream = Stream(service, session)
        assert await stream.execute("BEGIN IMMEDIATE") == ""
        code, body = await service.switch("promote")
        assert (code, body["error"]["code"]) == (409, "aborted"), body
        for told in ("pause_timeout (1 s)", "step fence", "writes of the front door: 1 in open transactions"):
            assert told in body["error"]["message"], body
        assert await stream.execute(INSERT, "still-1", 1, 1) == ""
        assert await stream.execute("COMMIT") == ""
