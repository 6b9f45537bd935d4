"""Section A through the running service: switches that were cut off, old copies, the two ends without a way back."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import asyncpg
import pytest

from cutover.audit import read_records
from cutover.model.control import SwitchState
from cutover.stores.postgres.embedded import EmbeddedPostgres
from cutover.stores.postgres.store import PostgresStore
from tests.hazards.left import SWITCH, leave, point_at
from tests.support.checks import check_promises, postgres_rows, settled, sqlite_rows
from tests.support.servers import fresh_database
from tests.support.service import Service, until
from tests.support.sqlite_world import PRIMARY, SHADOW, make, one, served

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
ADD = "INSERT INTO items VALUES (?, 1, NULL)"


async def said(service: Service, words: str) -> None:
    """Wait until the status gives this reason."""

    async def look() -> bool:
        status = await service.status()
        return words in f"{status['problem']} {status['attach_error']}"

    await until(look, f"a status with {words!r}")


def direct_write(service: Service, key: str) -> None:
    """An application on the file."""
    make(service.sqlite, f"INSERT INTO items VALUES ('{key}', 1, NULL)")


async def stays_fenced(service: Service) -> None:
    """No door takes a write, and each says that it may be tried again, or why not."""
    with pytest.raises(sqlite3.IntegrityError, match="cutover"):
        direct_write(service, "refused")
    assert (await service.request("GET", service.admin + "/readyz"))[0] == 503


# -- 3, 4: what a start may decide alone -----------------------------------------------------------------------------


async def test_hazard_03_only_the_server_that_may_have_committed_is_believed(
    service: Service, postgres_url: str, postgres_server: str, logical_server: EmbeddedPostgres
) -> None:
    await service.start()
    await service.up()
    assert (await service.sql(ADD, "before"))["type"] == "ok"
    await settled(service)
    assert await service.stop() == 0
    control = await leave(service, postgres_url, SwitchState.COMMITTING)
    async with fresh_database(postgres_server) as empty, fresh_database(logical_server.url) as restored:
        copy = PostgresStore(restored)  # a backup of the right one, restored elsewhere: it knows the switch, too
        await copy.open()
        await copy.initialise(control.but(state=SwitchState.STEADY, peer=None))
        await copy.prepare(SWITCH)
        await copy.close()
        for wrong, words in ((empty, "paired with another server"), (restored, "is not the one it was sent")):
            await point_at(service, postgres_url, wrong)
            await service.start()
            await service.answering()
            await said(service, words)
            await stays_fenced(service)
            assert await service.stop() == 0
            await point_at(service, wrong, postgres_url)
    await service.start()
    await service.up()
    assert (await service.sql(ADD, "after"))["type"] == "ok"
    await check_promises(service, postgres_url, ["before", "after"])


async def test_hazard_04_before_the_commit_was_sent_nobody_is_asked(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    assert await service.stop() == 0
    await leave(service, postgres_url, SwitchState.PROMOTING)
    with pytest.raises(sqlite3.IntegrityError, match="under way"):
        direct_write(service, "fenced")
    await point_at(service, postgres_url, NOWHERE)
    await service.start()
    await service.answering()
    assert (await service.sql(ADD, "front"))["type"] == "ok"
    direct_write(service, "direct")
    actions = [record["action"] for record in read_records(service.folder / "state" / "audit.jsonl")]
    assert "promote.aborted" in actions
    assert await service.stop() == 0
    await point_at(service, NOWHERE, postgres_url)
    await service.start()
    await service.up()
    await check_promises(service, postgres_url, ["front", "direct"])


async def test_hazard_04_after_it_was_sent_the_one_who_knows_is_waited_for(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    assert await service.stop() == 0
    await leave(service, postgres_url, SwitchState.COMMITTING, committed=True)
    await point_at(service, postgres_url, NOWHERE)
    await service.start()
    await service.answering()
    await said(service, "may have been sent")
    await stays_fenced(service)
    assert await service.stop() == 0
    await point_at(service, NOWHERE, postgres_url)
    await service.start()
    await service.up("promoted")
    assert (await service.sql(ADD, "after"))["type"] == "ok"
    await check_promises(service, postgres_url, ["after"])


# -- 6: copies put back ----------------------------------------------------------------------------------------------


async def test_hazard_06_naive_the_copy_itself_takes_writes(sqlite_path: str, tmp_path: Path) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    copy = str(tmp_path / "copy.db")
    async with served(sqlite_path, PRIMARY) as (store, _):
        await store.backup(copy)
        await store.fence(PRIMARY.but(state=SwitchState.PROMOTING, switch_id="s1"), 60)
        await store.settle(SHADOW.but(epoch=2))
    with pytest.raises(sqlite3.IntegrityError, match="write to postgres"):
        make(sqlite_path, "INSERT INTO t VALUES ('refused')")
    make(copy, "INSERT INTO t VALUES ('taken')")  # while Postgres is primary at epoch 2
    assert one(copy, "SELECT primary_store || epoch || state FROM _cutover_control") == "sqlite1steady"


async def test_hazard_06_an_old_copy_is_refused_by_whoever_remembers(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    code, body = await service.post("/v1/backup")
    assert code == 200, body
    await service.verified()
    await service.switched("promote")
    assert await service.stop() == 0
    for suffix in ("", "-wal", "-shm"):
        Path(service.sqlite + suffix).unlink(missing_ok=True)
    shutil.copy(body["path"], service.sqlite)
    await point_at(service, postgres_url, NOWHERE)
    for memory in ("state directory", "Postgres"):
        if memory == "Postgres":
            await point_at(service, NOWHERE, postgres_url)
            shutil.rmtree(service.folder / "state")
        await service.start()
        assert await service.died() == 2
        assert "old copy" in service.log.read_text().splitlines()[-1]


# -- 14, 17: the ends ------------------------------------------------------------------------------------------------


async def test_hazard_14_what_statements_need_stays_after_the_finish(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    code, body = await service.switch("finish")
    assert (code, body["result"]) == (200, "finished"), body
    for started_again in (False, True):
        if started_again:
            assert await service.stop() == 0
            await service.start()
            await service.up("finished")
        # Statements whose translations call helpers of schema cutover.
        assert (await service.sql(ADD, f"{started_again}"))["type"] == "ok"
        assert await service.rows("SELECT n / 2, substr(id, -2), round(n * 1.0, 1) FROM items WHERE id = 'old-3'") == [
            [1, "-3", 3.0]
        ]
        assert await postgres_rows(postgres_url, "SELECT primary_store, state FROM cutover.control") == [
            ("postgres", "finished")
        ]
        with pytest.raises(sqlite3.IntegrityError, match="write to postgres"):
            direct_write(service, "refused")
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'cutover%'"
    assert await postgres_rows(postgres_url, triggers) == [(0,)]


async def come_back(service: Service) -> None:
    """Wait for the first word on the Postgres that came back, which must be that it did."""

    async def look() -> str | None:
        error: str | None = (await service.status())["attach_error"]
        return error

    assert "given up by force and has come back" in await until(look, "a word on Postgres")


@pytest.mark.parametrize("committed", [False, True])
async def test_hazard_17_by_force_also_where_the_commit_may_have_happened(
    service: Service, postgres_url: str, committed: bool
) -> None:
    """Postgres is lost right after it may have committed; given up by force; it comes back with a write of its own."""
    await service.start()
    await service.up()
    assert await service.stop() == 0
    native = "INSERT INTO items VALUES ('lost', 1, NULL)" if committed else ""
    await leave(service, postgres_url, SwitchState.COMMITTING, committed=committed, native=native)
    await point_at(service, postgres_url, NOWHERE)
    await service.start()
    await service.answering()
    await said(service, "may have been sent")
    assert (await service.switch("demote", force=True))[0] == 400  # the loss has to be accepted by name
    code, body = await service.switch("demote", force=True, accept_data_loss=True)
    assert code == 200, body
    assert body["primary"] == "sqlite"
    assert (await service.sql(ADD, "kept"))["type"] == "ok"
    assert await service.stop() == 0
    await point_at(service, NOWHERE, postgres_url)
    await service.start()
    await service.answering()
    if committed:
        await come_back(service)
        assert (await service.post("/v1/backfill"))[0] == 200
    await service.up()
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):  # it was fenced before anything else
        await postgres_rows(postgres_url, "INSERT INTO items VALUES ('late', 1, NULL) RETURNING 1")
    if committed:
        records = read_records(service.folder / "state" / "audit.jsonl")
        lost = next(record for record in records if record["action"] == "recovery.lost_writes")
        assert lost["metadata"]["keys"] == {"items": [["lost"]]}
    await settled(service)
    assert (await service.verified())["drift_rows"] == 0
    keys = "SELECT id FROM items WHERE id NOT LIKE 'old-%'"
    assert sqlite_rows(service.sqlite, keys) == await postgres_rows(postgres_url, keys) == [("kept",)]
