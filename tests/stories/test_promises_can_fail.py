"""Each promise is broken on purpose; the check that the crash stories rely on must say so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from cutover.audit import AuditLog
from tests.support import promises
from tests.support.checks import check_all
from tests.support.ledger import Ledger, acknowledged, balances_after, transfer
from tests.support.promises import Evidence, WithoutEndError
from tests.support.sampler import Sampler, Sight, look_postgres, look_sqlite
from tests.support.tamper import run_past_fence
from tests.support.worlds import Worlds


@pytest.fixture
async def evidence(worlds: Worlds, tmp_path: Path) -> AsyncIterator[Evidence]:
    """Of a service after a promotion, with which all is well."""
    service, url = await worlds.copy("promoted", tmp_path / "promoted")
    await service.start()
    await service.up("promoted")
    ledgers = (await worlds.get("promoted")).ledgers
    good = Evidence(service, url, acknowledged(ledgers), ledgers=ledgers, epoch=2)
    await check_all(good)
    yield good
    await service.kill()
    await worlds.drop(url)


async def _spoil_shadow(evidence: Evidence, sql: str) -> None:
    await run_past_fence(evidence.service.sqlite, evidence.postgres, "sqlite", sql)


async def test_lost_and_unasked_rows(evidence: Evidence) -> None:
    known = set(evidence.acknowledged)
    evidence.acknowledged = known | {"one-1"}
    with pytest.raises(AssertionError, match=r"acknowledged and not in SQLite.*one-1"):
        await promises.durable(evidence)
    evidence.lost = {"one-1"}
    await promises.durable(evidence)
    evidence.acknowledged = known - {min(known)}
    with pytest.raises(AssertionError, match="refused, and there all the same"):
        await promises.lossless(evidence)
    evidence.acknowledged = known
    evidence.ledgers = (Ledger("one", errors=["SQLITE_CONSTRAINT: UNIQUE constraint failed"]),)
    with pytest.raises(AssertionError, match=r"one was told.*SQLITE_CONSTRAINT"):
        await promises.lossless(evidence)


async def test_half_a_transaction(evidence: Evidence) -> None:
    await _spoil_shadow(evidence, "UPDATE accounts SET balance = balance + 1 WHERE id = 3")
    with pytest.raises(AssertionError, match="add up to 1001"):
        await promises.atomic(evidence)
    sight = look_sqlite(evidence.service.sqlite)
    assert sight is not None
    assert [half.partition(" holds ")[0] for half in sight.halves()] == ["account 3"]
    evidence.sampler = Sampler(evidence.service.sqlite, evidence.postgres)
    evidence.sampler.judge(sight)
    assert evidence.sampler.counts["catching up"] == 1, "no batch came since it was first seen"
    evidence.sampler.judge(Sight(**{**vars(sight), "batch": sight.batch + 1}))
    await _spoil_shadow(evidence, "UPDATE accounts SET balance = balance - 1 WHERE id = 3")
    with pytest.raises(AssertionError, match="sqlite as shadow"):
        await promises.atomic(evidence)


async def test_a_sound_state_has_no_halves(evidence: Evidence) -> None:
    connection = await asyncpg.connect(evidence.postgres)
    try:
        primary = await look_postgres(connection)
    finally:
        await connection.close()
    shadow = look_sqlite(evidence.service.sqlite)
    assert primary is not None
    assert shadow is not None
    assert sum(primary.digits.values()) > 10, "writes on the way here"
    assert primary.halves() == shadow.halves() == []
    assert sum(balances_after(primary.digits).values()) == promises.TOTAL
    assert all(len(set(transfer(number))) == 2 for number in range(100))


async def test_rows_that_differ(evidence: Evidence) -> None:
    await _spoil_shadow(evidence, "UPDATE pairs SET v = 7.25 WHERE a = 'one'")
    with pytest.raises(AssertionError, match="pairs differs"):
        await promises.complete(evidence)
    with pytest.raises(AssertionError, match="'drift_rows': 1"):
        await promises.honest(evidence)


async def test_two_primaries(evidence: Evidence) -> None:
    native, direct = Ledger("native", accepted={(2, "postgres", "postgres")}), Ledger("direct")
    evidence.ledgers = (native, direct)
    await promises.one_primary(evidence)
    direct.note(2, "sqlite", "sqlite")
    with pytest.raises(AssertionError, match="two stores took writes in one epoch"):
        await promises.one_primary(evidence)
    direct.accepted = {(2, "postgres", "sqlite")}
    with pytest.raises(AssertionError, match="knew that postgres is primary"):
        await promises.one_primary(evidence)
    direct.accepted, direct.fenced = set(), ["no"]
    with pytest.raises(AssertionError, match="not told why"):
        await promises.one_primary(evidence)
    direct.fenced = []
    triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'items'"
    for (name,) in promises.sqlite_rows(evidence.service.sqlite, triggers):
        await _spoil_shadow(evidence, f"DROP TRIGGER {name}")
    with pytest.raises(AssertionError, match="The store that is not primary took a write"):
        await promises.one_primary(evidence)


async def test_a_switch_that_nobody_asked_for(evidence: Evidence) -> None:
    evidence.epoch = 1
    with pytest.raises(AssertionError, match="a start went on to epoch 2"):
        await promises.explicit(evidence)
    await promises.postgres_rows(
        evidence.postgres, "INSERT INTO cutover.switches VALUES ('secret', 'committed') RETURNING 1"
    )
    with pytest.raises(AssertionError, match="epoch 2 after 2 committed switches"):
        await promises.explicit(evidence)


async def test_records_that_are_missing(evidence: Evidence) -> None:
    path = evidence.service.folder / "state" / "audit.jsonl"
    await evidence.service.stop()
    log = AuditLog(path)
    log.open()
    log.append("demote.requested", "admin", {"switchId": "one", "approval": "CHANGE-1"})
    with pytest.raises(WithoutEndError, match="has the ends"):
        await promises.audited(evidence)
    log.append("demote.aborted", "admin", {"switchId": "one"})
    await promises.audited(evidence)
    log.append("demote.committed", "admin", {"switchId": "one"})
    with pytest.raises(WithoutEndError):
        await promises.audited(evidence)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    with pytest.raises(AssertionError, match="the tail is missing"):
        await promises.audited(evidence)
