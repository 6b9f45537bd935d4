"""Stores that go away, come back, come back older, or never come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from cutover.audit import read_records
from cutover.clock import monotonic
from cutover.stores.postgres.embedded import EmbeddedPostgres
from tests.support.checks import check_promises, postgres_rows, settled, sqlite_rows
from tests.support.servers import fresh_database, signal_all
from tests.support.service import Service, until
from tests.support.writers import FrontWriter


async def waiting(service: Service) -> None:
    """Wait until a Postgres that was given up by force has come back, and is kept out."""

    async def refused() -> bool:
        return "cutover backfill" in str((await service.status())["attach_error"])

    await until(refused, "the demand for a backfill")


async def taken_back_in(service: Service) -> None:
    """Have everything copied to it again."""
    await service.answering()
    await waiting(service)
    code, body = await service.post("/v1/backfill")
    assert code == 200, body
    await service.up()


async def test_a_restored_old_copy_of_the_file_is_refused(service: Service, postgres_url: str, tmp_path: Path) -> None:
    await service.start()
    await service.up()
    code, body = await service.post("/v1/backup")
    assert code == 200, body
    for wrong in (body["path"], service.sqlite + "-wal", f"{service.folder}/missing/copy.db"):
        told, error = await service.request("POST", service.admin + "/v1/backup", {"path": wrong})
        assert (told, error["error"]["code"]) == (400, "error"), "it is the request that is wrong, not a store"
    await service.verified()
    await service.switched("promote")
    assert await service.stop() == 0
    for suffix in ("", "-wal", "-shm"):
        Path(service.sqlite + suffix).unlink(missing_ok=True)
    shutil.copy(body["path"], service.sqlite)
    await service.start()
    assert await service.died() == 2
    assert "old copy" in service.log.read_text()
    shutil.rmtree(service.folder / "state")  # also without its memory: Postgres knows
    await service.start()
    assert await service.died() == 2
    assert "old copy" in service.log.read_text().splitlines()[-1]


async def test_an_old_copy_of_the_same_epoch_is_refused_before_it_destroys_anything(
    service: Service, postgres_url: str
) -> None:
    await service.start()
    await service.up()
    code, body = await service.post("/v1/backup")
    assert code == 200, body
    for number in range(5):
        assert (await service.sql("INSERT INTO items VALUES (?, ?, NULL)", f"k{number}", number))["type"] == "ok"
        await settled(service)
    assert await service.stop() == 0
    for suffix in ("", "-wal", "-shm"):
        Path(service.sqlite + suffix).unlink(missing_ok=True)
    shutil.copy(body["path"], service.sqlite)
    await service.start()
    assert await service.died() == 2
    (service.folder / "state" / "high-water.json").unlink()  # Postgres knows, too
    await service.start()
    assert await service.died() == 2
    assert await postgres_rows(postgres_url, "SELECT count(*) FROM items WHERE id LIKE 'k%'") == [(5,)]


async def test_a_postgres_set_back_while_primary_destroys_nothing(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    for number in range(5):
        assert (await service.sql("INSERT INTO items VALUES (?, ?, NULL)", f"k{number}", number))["type"] == "ok"
        await settled(service)
    assert await service.stop() == 0
    await postgres_rows(postgres_url, "DELETE FROM items WHERE id LIKE 'k%' RETURNING 1")
    await postgres_rows(postgres_url, "UPDATE cutover.control SET trimmed_batch = 0 RETURNING 1")
    await service.start()
    await service.answering()

    async def refused() -> bool:
        return "older copy" in str((await service.status())["problem"])

    await until(refused, "the refusal")
    assert sqlite_rows(service.sqlite, "SELECT count(*) FROM items WHERE id LIKE 'k%'") == [(5,)]
    code, body = await service.switch("demote", force=True, accept_data_loss=True)  # SQLite has what Postgres lost
    assert code == 200, body
    await taken_back_in(service)
    await check_promises(service, postgres_url, [f"k{number}" for number in range(5)])


async def test_a_file_that_is_replaced_under_the_service_ends_it(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    copy = Path(service.sqlite + ".copy")
    shutil.copy(service.sqlite, copy)
    copy.replace(service.sqlite)
    assert await service.died() == 1
    assert "moved or replaced" in service.log.read_text()


async def test_a_shadow_that_was_set_back_is_copied_again(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    for number in range(5):
        assert (await service.sql("INSERT INTO items VALUES (?, ?, NULL)", f"k{number}", number))["type"] == "ok"
        await settled(service)
    assert await service.stop() == 0
    await postgres_rows(postgres_url, "UPDATE cutover.control SET applied_batch = 1 RETURNING 1")
    await service.start()
    await service.up()
    actions = [record["action"] for record in read_records(service.folder / "state" / "audit.jsonl")]
    assert "recovery" in actions
    await check_promises(service, postgres_url, [f"k{number}" for number in range(5)])


async def test_another_postgres_is_refused_until_it_is_asked_for(
    service: Service, postgres_url: str, postgres_server: str
) -> None:
    await service.start()
    await service.up()
    assert (await service.sql("INSERT INTO items VALUES ('a', 1, NULL)"))["type"] == "ok"
    assert await service.stop() == 0
    async with fresh_database(postgres_server) as other:
        service.config.write_text(service.config.read_text().replace(postgres_url, other))
        await service.start()
        await service.answering()

        async def refused() -> bool:
            return "paired with another server" in str((await service.status())["attach_error"])

        await until(refused, "the refusal")
        assert (await service.sql("INSERT INTO items VALUES ('b', 1, NULL)"))["type"] == "ok"
        code, body = await service.post("/v1/backfill", new_target=True)
        assert code == 200, body
        await service.up()
        await check_promises(service, other, ["a", "b"])
        await service.kill()


async def test_demotion_by_force_and_the_lost_postgres_comes_back(
    service: Service, postgres_url: str, postgres_server: str
) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    assert (await service.sql("INSERT INTO items VALUES ('kept', 1, NULL)"))["type"] == "ok"
    await settled(service)
    code, body = await service.post("/v1/mirror/pause")
    assert code == 200, body
    assert (await service.sql("INSERT INTO items VALUES ('lost', 1, NULL)"))["type"] == "ok"
    code, body = await service.switch("demote", force=True, accept_data_loss=True)
    assert code == 409, body
    assert body["error"]["code"] == "not_lost"
    config = service.config.read_text()
    assert await service.stop() == 0
    service.config.write_text(config.replace(postgres_url, "postgresql://nobody@127.0.0.1:1/nothing"))
    await service.start()
    await service.answering()
    assert (await service.switch("demote", force=True))[0] == 400
    code, body = await service.switch("demote", force=True, accept_data_loss=True)
    assert code == 200, body
    assert (body["result"], body["primary"], body["epoch"]) == ("demoted", "sqlite", 3)
    assert (await service.sql("INSERT INTO items VALUES ('after', 1, NULL)"))["type"] == "ok"
    assert await service.rows("SELECT id FROM items WHERE id IN ('kept', 'lost', 'after') ORDER BY id") == [
        ["after"],
        ["kept"],
    ]
    assert await service.stop() == 0
    service.config.write_text(config)
    await service.start()
    await service.answering()
    await waiting(service)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await postgres_rows(postgres_url, "DELETE FROM items RETURNING 1")
    code, body = await service.switch("promote")
    assert (code, body["error"]["code"]) == (409, "gates_failed")
    assert not next(gate for gate in body["gates"] if gate["name"] == "backfill_complete")["ok"]
    assert await service.stop() == 0
    await service.start()  # it does not forget that it was not told to go on
    await service.answering()
    await waiting(service)
    assert (await service.post("/v1/backfill"))[0] == 200
    await service.kill()  # nor that it was
    await service.start()
    await service.up()
    records = read_records(service.folder / "state" / "audit.jsonl")
    (lost,) = (record for record in records if record["action"] == "recovery.lost_writes")
    assert lost["metadata"]["keys"]["items"] == [["lost"]]
    (line,) = Path(lost["metadata"]["file"]).read_text().splitlines()
    assert json.loads(line) == {
        "table": "items",
        "key": ["lost"],
        "row": {"id": "lost", "n": 1, "body": None, "_rowid_": 502},
        "standing": None,
    }
    await check_promises(service, postgres_url, ["kept", "after"])


async def test_only_what_sqlite_does_not_have_is_called_lost(service: Service, postgres_url: str) -> None:
    """A change that was applied, and whose log entry was not trimmed any more, is not lost."""
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    assert await service.stop() == 0
    await service.start(crash_point="mirror.after_commit")
    await service.answering()
    await postgres_rows(postgres_url, "INSERT INTO items VALUES ('applied', 1, NULL) RETURNING 1")
    await service.died()
    assert sqlite_rows(service.sqlite, "SELECT n FROM items WHERE id = 'applied'") == [(1,)]
    await postgres_rows(postgres_url, "INSERT INTO items VALUES ('lost', 1, NULL) RETURNING 1")
    config = service.config.read_text()
    service.config.write_text(config.replace(postgres_url, "postgresql://nobody@127.0.0.1:1/nothing"))
    await service.start()
    await service.answering()
    code, body = await service.switch("demote", force=True, accept_data_loss=True)
    assert code == 200, body
    assert await service.stop() == 0
    service.config.write_text(config)
    await service.start()
    await taken_back_in(service)
    records = read_records(service.folder / "state" / "audit.jsonl")
    lost = next(record for record in records if record["action"] == "recovery.lost_writes")
    del lost["metadata"]["file"]
    assert lost["metadata"] == {"changes": 1, "keys": {"items": [["lost"]]}, "whole": []}
    await check_promises(service, postgres_url, ["applied"])


@pytest.fixture
async def embedded(tmp_path: Path, sqlite_path: str) -> AsyncIterator[Service]:
    """A service with its own Postgres, which tests may kill."""
    connection = sqlite3.connect(sqlite_path)
    connection.executescript(
        "CREATE TABLE items(id TEXT PRIMARY KEY, n INTEGER NOT NULL, body TEXT);"
        "CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);"
        "INSERT INTO accounts WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10)"
        " SELECT i, 100 FROM n;"
    )
    connection.close()
    made = Service(tmp_path, sqlite_path, "")
    yield made
    if made.process is not None and made.process.returncode is None:
        await made.stop()
    if _server(made).pid is not None:
        signal_all(_server(made), signal.SIGKILL)


def _server(service: Service) -> EmbeddedPostgres:
    return EmbeddedPostgres(service.folder / "state" / "postgres")


def _postmaster(service: Service) -> int:
    pid = _server(service).pid
    assert pid is not None
    return pid


async def test_postgres_killed_under_load_comes_back_by_itself(embedded: Service) -> None:
    await embedded.start()
    await embedded.up()
    async with FrontWriter(embedded, "one") as one:
        await until(lambda: len(one.acknowledged) > 20, "writes")
        os.kill(_postmaster(embedded), signal.SIGKILL)
        count = len(one.acknowledged)
        await until(lambda: len(one.acknowledged) > count + 50, "writes while Postgres is away")
        await embedded.up()
    assert not one.refused
    assert not one.unknown
    await settled(embedded)
    assert (await embedded.verified())["drift_rows"] == 0
    assert {row[0] for row in sqlite_rows(embedded.sqlite, "SELECT id FROM items")} == one.acknowledged
    await embedded.switched("promote")
    async with FrontWriter(embedded, "two") as two:
        await until(lambda: len(two.acknowledged) > 20, "writes on Postgres")
        os.kill(_postmaster(embedded), signal.SIGKILL)
        await embedded.up("promoted")
        count = len(two.acknowledged)
        await until(lambda: len(two.acknowledged) > count + 20, "writes after Postgres came back")
    await settled(embedded)
    keys = {row[0] for row in await embedded.rows("SELECT id FROM items")}
    assert one.acknowledged | two.acknowledged <= keys
    assert keys <= one.acknowledged | two.acknowledged | two.unknown
    assert (await embedded.verified())["drift_rows"] == 0
    assert await embedded.rows("SELECT sum(balance) FROM accounts") == [[1000]]


async def test_a_second_owner_leaves_the_first_ones_postgres_alone(embedded: Service) -> None:
    await embedded.start()
    await embedded.up()
    first, server = embedded.process, _postmaster(embedded)
    await embedded.start()
    assert await embedded.died() == 2
    embedded.process = first
    assert _server(embedded).pid == server
    assert (await embedded.sql("INSERT INTO items VALUES ('k', 1, NULL)"))["type"] == "ok"
    await settled(embedded)
    assert await embedded.stop() == 0


async def test_a_primary_that_does_not_answer_is_not_ready(embedded: Service) -> None:
    await embedded.start()
    await embedded.up()
    await embedded.verified()
    await embedded.switched("promote")
    assert (await embedded.request("GET", embedded.admin + "/readyz"))[0] == 200
    frozen = _server(embedded)
    signal_all(frozen, signal.SIGSTOP)
    try:

        async def refused() -> bool:
            return (await embedded.request("GET", embedded.admin + "/readyz"))[0] == 503

        await until(refused, "the answer that no writes can be taken")
    finally:
        signal_all(frozen, signal.SIGCONT)
    await embedded.up("promoted")
    assert (await embedded.request("GET", embedded.admin + "/readyz"))[0] == 200


async def test_postgres_frozen_never_delays_a_write(embedded: Service) -> None:
    await embedded.start()
    await embedded.up()
    frozen = _server(embedded)
    async with FrontWriter(embedded, "one") as one:
        began = monotonic()
        await until(lambda: len(one.acknowledged) > 20, "writes")
        usual = 10 * (monotonic() - began)  # for 200 of them, on this machine
        signal_all(frozen, signal.SIGSTOP)
        try:
            count = len(one.acknowledged)
            enough, most = count + 200, max(20, 10 * usual)
            await until(lambda: len(one.acknowledged) > enough, "writes while Postgres is frozen", deadline=most)
            status = await embedded.status()
            assert status["mirror"]["lag_changes"] > 0
        finally:
            signal_all(frozen, signal.SIGCONT)
        await embedded.up()
    assert not one.errors
    await settled(embedded)
    assert (await embedded.verified())["drift_rows"] == 0
