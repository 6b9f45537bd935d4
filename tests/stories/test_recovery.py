"""What a start makes of a switch that was cut off, and of records that somebody laid hands on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from cutover.audit import read_records
from tests.support.checks import check_promises, postgres_rows, postgres_script, settled, sqlite_rows
from tests.support.commands import cutover
from tests.support.service import Service, create, until

ADD = "INSERT INTO items VALUES (?, 1, NULL)"


def audit(service: Service, action: str) -> list[dict[str, object]]:
    """Metadata of the records with this action."""
    records = read_records(service.folder / "state" / "audit.jsonl")
    return [record["metadata"] for record in records if record["action"] == action]


@asynccontextmanager
async def commit_in_flight(service: Service, postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The service was killed while Postgres holds its commit, which waits for a lock of the given session."""
    await service.start()
    await service.up()
    await service.verified()
    holder = await asyncpg.connect(postgres_url)
    watcher = await asyncpg.connect(postgres_url)
    try:
        # Nothing is written, so that the commit is the first to want more of the table than to read it.
        await holder.execute("BEGIN; LOCK TABLE items IN SHARE MODE")
        switching = asyncio.create_task(service.switch("promote"))
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'cutover switch%' AND wait_event_type = 'Lock'"
        )
        await until(lambda: watcher.fetchval(waiting), "the commit on its way")
        await service.kill()
        with contextlib.suppress(aiohttp.ClientError):
            await switching
        yield holder
    finally:
        await holder.close()
        await watcher.close()


async def test_a_commit_in_flight_that_lands_is_completed(service: Service, postgres_url: str) -> None:
    async with commit_in_flight(service, postgres_url) as holder:
        with pytest.raises(sqlite3.IntegrityError, match="under way"):
            create(service.sqlite, "INSERT INTO items VALUES ('fenced', 1, NULL)")
        await holder.execute("ROLLBACK")

        async def landed() -> bool:
            return await postgres_rows(postgres_url, "SELECT outcome FROM cutover.switches") == [("committed",)]

        await until(landed, "the commit")
    await service.start()
    await service.up("promoted")
    assert (await service.sql(ADD, "after"))["type"] == "ok"
    assert len(audit(service, "promote.committed")) == 1
    await check_promises(service, postgres_url, ["after"])


async def test_a_commit_in_flight_that_is_late_is_ended(service: Service, postgres_url: str) -> None:
    async with commit_in_flight(service, postgres_url) as holder:
        await service.start()
        await service.answering()
        ended = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'cutover switch%'"

        async def gone() -> bool:
            return await postgres_rows(postgres_url, ended) == [(0,)]

        await until(gone, "the end of the session that held the commit")
        await holder.execute("ROLLBACK")
        assert (await service.up())["epoch"] == 1
    assert (await service.sql(ADD, "after"))["type"] == "ok"
    (end,) = audit(service, "promote.aborted")
    assert end["approval"] == "CHANGE-1"
    await check_promises(service, postgres_url, ["after"])


@pytest.mark.parametrize("harm", ["missing", "damaged"])
async def test_a_backup_that_did_not_last_is_taken_again(service: Service, postgres_url: str, harm: str) -> None:
    await service.start(crash_point="switch.commit.after")
    await service.up()
    await service.verified()
    with contextlib.suppress(aiohttp.ClientError):
        await service.switch("promote")
    assert await service.died() == -9
    (taken,) = audit(service, "backup")
    path = Path(str(taken["path"]))
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
    await service.start()
    await service.up("promoted")
    (replaced,) = audit(service, "backup.replaced")
    assert replaced["switchId"] == taken["switchId"]
    rows = "SELECT id, n, body FROM items ORDER BY id"
    assert sqlite_rows(str(replaced["path"]), rows) == sqlite_rows(service.sqlite, rows)


# -- control rows ----------------------------------------------------------------------------------------------------

EDITS = {
    "another primary": "UPDATE {control} SET primary_store = '{other}'",
    "another epoch": "UPDATE {control} SET epoch = epoch + 1",
    "a state of its own": "UPDATE {control} SET state = 'promoting'",
    "a state that is none": "UPDATE {control} SET state = 'whatever'",
    "no row": "DELETE FROM {control}",
}


async def inspected(service: Service) -> tuple[int, dict[str, object]]:
    ran = await cutover("inspect", "--config", str(service.config), "--json")
    return ran.code, json.loads(ran.out)


@pytest.mark.parametrize("edit", EDITS)
async def test_a_sqlite_row_that_somebody_edited_is_not_believed(
    service: Service, postgres_url: str, edit: str
) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    assert (await service.sql(ADD, "kept"))["type"] == "ok"
    await settled(service)
    assert await service.stop() == 0
    assert (await inspected(service))[0] == 0
    create(service.sqlite, EDITS[edit].format(control="_cutover_control", other="sqlite"))
    await service.start()
    assert await service.died() == 2
    said = service.log.read_text().splitlines()[-1]
    assert "control row in SQLite" in said
    assert "cutover inspect" in said
    with pytest.raises(sqlite3.IntegrityError, match="cutover"):
        create(service.sqlite, "INSERT INTO items VALUES ('refused', 1, NULL)")
    code, found = await inspected(service)
    assert code == 3
    assert "refuses" in str(found["conclusion"])
    (way_out,) = found["ways_out"]  # type: ignore[misc]
    create(service.sqlite, str(way_out))
    assert (await inspected(service))[0] == 0
    await service.start()
    await service.up("promoted")
    await check_promises(service, postgres_url, ["kept"])


@pytest.mark.parametrize("edit", EDITS)
async def test_a_postgres_row_that_somebody_edited_is_not_believed(
    service: Service, postgres_url: str, edit: str
) -> None:
    """SQLite is primary and takes writes all the same; nothing is mirrored past a row that cannot be believed."""
    await service.start()
    await service.up()
    assert await service.stop() == 0
    await postgres_script(postgres_url, EDITS[edit].format(control="cutover.control", other="postgres"))
    await service.start()
    await service.answering()

    async def refused() -> bool:
        return "control row in PostgreSQL" in str((await service.status())["attach_error"])

    await until(refused, "the refusal")
    assert "cutover inspect" in str((await service.status())["attach_error"])
    assert (await service.sql(ADD, "kept"))["type"] == "ok"
    code, body = await service.switch("promote")
    assert code == 409, body
    code, found = await inspected(service)
    assert code == 3
    (way_out,) = found["ways_out"]  # type: ignore[misc]
    await postgres_script(postgres_url, str(way_out))
    await service.up()
    await check_promises(service, postgres_url, ["kept"])


async def test_inspect_is_a_page_for_people_and_works_beside_the_service(service: Service) -> None:
    await service.start()
    await service.up()
    ran = await cutover("inspect", "--config", str(service.config))
    assert ran.code == 0, ran.err
    for told in ("primary_store", "believed", "High-water mark: epoch 1", "Both stores agree."):
        assert told in ran.out
    assert await service.stop() == 0


async def test_inspect_says_what_a_start_would_do(service: Service) -> None:
    await service.start(crash_point="switch.fence.after")
    await service.up()
    await service.verified()
    with contextlib.suppress(aiohttp.ClientError):
        await service.switch("promote")
    assert await service.died() == -9
    _, found = await inspected(service)
    assert "A start takes the switch back." in found["conclusion"]  # type: ignore[operator]
    await service.start()
    await service.up()


# -- the audit log ---------------------------------------------------------------------------------------------------


def cut_last(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))


async def test_a_tail_that_was_cut_off_is_missed_by_both_stores(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    assert await service.stop() == 0
    log = service.folder / "state" / "audit.jsonl"
    ran = await cutover("audit", "verify", "--config", str(service.config))
    assert (ran.code, "What sqlite and postgres remember of it is in it." in ran.out) == (0, True), ran
    whole = log.read_bytes()
    cut_last(log)
    assert (await cutover("audit", "verify", str(log))).code == 0, "the chain alone does not show it"
    ran = await cutover("audit", "verify", "--config", str(service.config))
    assert ran.code == 1
    assert "the tail is missing" in ran.err
    await service.start()
    assert await service.died() == 2
    assert "the tail is missing" in service.log.read_text()
    # SQLite's anchor set back as well: Postgres has one, too.
    lines = log.read_bytes().splitlines()
    last = json.loads(lines[-1])
    create(
        service.sqlite,
        f"UPDATE _cutover_control SET audit_sequence = {last['sequence']}, audit_hash = '{last['hash']}'",
    )
    await service.start()
    await service.answering()

    async def refused() -> bool:
        return "the tail is missing" in str((await service.status())["attach_error"])

    await until(refused, "the refusal")
    assert await service.stop() == 0
    log.write_bytes(whole)
    await service.start()
    await service.up("promoted")
