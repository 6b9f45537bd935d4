"""HumanOnly moves to Postgres and back: its configuration, its own schema there, its traffic on every door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from cutover.cli.demo_data import configuration, generate, postgres_schema, write_audit_log
from cutover.cli.demo_front import FrontDoorWriter
from cutover.cli.demo_ledger import Ledger, postgres_rows, sqlite_rows
from cutover.cli.demo_smoke import application, smoke
from cutover.cli.demo_traffic import DirectWriter, NativeWriter
from tests.support.service import Service, until


@pytest.fixture
async def humanonly(tmp_path: Path, postgres_url: str) -> AsyncIterator[Service]:
    """A service with the example's configuration, its data, and the application's own tables on Postgres."""
    generate(tmp_path / "humanonly.db", rows=600, seed=1)
    write_audit_log(tmp_path / "audit.jsonl")
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(postgres_schema())
    await connection.close()
    tables_and_invariants = configuration()[configuration().index("[tables.users.columns]") :]
    service = Service(tmp_path, str(tmp_path / "humanonly.db"), postgres_url, tables_and_invariants)
    await service.start(environment={"HUMANONLY_AUDIT_LOG_FILE": str(tmp_path / "audit.jsonl")})
    await service.up()
    yield service
    if service.process is not None:
        await service.kill()


def written(ledger: Ledger) -> int:
    return ledger.outcomes["acknowledged"]


async def test_there_and_back_with_every_kind_of_traffic(humanonly: Service, postgres_url: str) -> None:
    front = FrontDoorWriter(humanonly.front, clients=4, tag="front")
    direct = DirectWriter(humanonly.sqlite, tag="direct")
    native = NativeWriter(postgres_url, tag="native")
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as traffic:
        traffic.create_task(front.run(stop, 0.01))
        traffic.create_task(direct.run(stop, 0.05))
        await until(lambda: written(front.ledger) > 60 and written(direct.ledger) > 10, "traffic")
        await verified(humanonly)
        await humanonly.switched("promote")
        count = written(front.ledger)
        await until(lambda: written(front.ledger) > count + 60, "traffic through the front door after the promotion")
        await until(lambda: "epoch 2" in direct.last_error, "a refusal of the application on the file")
        await native.open()
        assert {await native.step() for _ in range(20)} == {"acknowledged"}
        await smoke_passes(humanonly.front)
        await smoke_passes(postgres_url)
        await verified(humanonly)
        await humanonly.switched("demote")
        assert await native.step() == "refused"
        await native.close()
        count, saved = written(front.ledger), written(direct.ledger)
        await until(lambda: written(front.ledger) > count + 60 and written(direct.ledger) > saved + 5, "traffic again")
        await smoke_passes(humanonly.front)
        stop.set()
    await verified(humanonly)
    assert front.stats.stale_reads == []
    assert front.ledger.outcomes["unknown"] == 0, front.stats.errors
    for stored in (sqlite_rows(humanonly.sqlite), await postgres_rows(postgres_url)):
        for writer in (front, direct, native):
            assert writer.ledger.check(stored, writer.tag) == []


async def test_a_save_that_rewrites_the_whole_store_is_mirrored_and_costs_no_drift(
    humanonly: Service, postgres_url: str
) -> None:
    writer = DirectWriter(humanonly.sqlite, tag="app", whole_store=True)
    await asyncio.to_thread(writer.open)
    for _ in range(10):
        assert await asyncio.to_thread(writer.step) == "acknowledged"
    writer.close()
    await verified(humanonly)
    assert writer.ledger.check(await postgres_rows(postgres_url)) == []


async def test_an_orphan_blocks_the_promotion_and_is_named(humanonly: Service) -> None:
    assert (await humanonly.sql("INSERT INTO posts VALUES ('orphan', 'nobody', 'x', '2025-01-01T00:00:00.000Z')"))[
        "type"
    ] == "ok"
    await humanonly.verified()
    code, answer = await humanonly.switch("promote")
    assert code == 409, answer
    shut = {gate["name"]: gate["detail"] for gate in answer["gates"] if not gate["ok"]}
    assert "invariants" in shut
    assert "author" in shut["invariants"]


async def verified(service: Service) -> None:
    result = await service.verified()
    assert (result["state"], result["drift_rows"]) == ("done", 0), result


async def smoke_passes(url: str) -> None:
    said: list[str] = []
    async with application(url) as run:
        await smoke(run, said.append)
    assert len(said) == 5
