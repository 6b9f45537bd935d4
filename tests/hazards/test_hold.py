"""Section A: what a switch may do to writes of the front door (16)."""

from __future__ import annotations

import asyncio

import pytest

from cutover.errors import StatementError
from cutover.model.statement import Statement, Step
from cutover.settings import Settings
from cutover.write_through import HeldTooLong, WriteThrough
from tests.flow.test_write_through import BEGIN, COMMIT, Stage, insert, stage, until

__all__ = ["stage"]


async def test_hazard_16_only_writers_older_than_the_grace_are_sent_away(stage: Stage) -> None:
    reader, quick, slow = stage.way.stream(), stage.way.stream(), stage.way.stream()
    await reader.execute(Statement("BEGIN"))
    await reader.execute(Statement("SELECT count(*) FROM t"))
    await quick.execute(BEGIN)
    await quick.execute(insert("quick"))
    holding = asyncio.create_task(stage.way.hold(0.3))
    await until(lambda: stage.way.holding)
    await quick.execute(COMMIT)  # within its grace
    await holding
    assert stage.way.open_transactions == 1  # the reader's
    await stage.way.resume(stage.members[0], 1)
    await slow.execute(BEGIN)
    await slow.execute(insert("slow"))
    await stage.way.hold(0.05)
    assert (await reader.execute(Statement("SELECT count(*) FROM t"))).rows == [(0,)]  # its snapshot, all the while
    with pytest.raises(StatementError) as refused:
        await slow.execute(insert("slow again"))
    assert (refused.value.code, refused.value.retry) == ("SQLITE_BUSY", True)
    await stage.way.resume(stage.members[1], 2)
    assert (stage.all(0), stage.all(1)) == (["quick"], [])


async def test_hazard_16_a_held_write_whose_client_left_never_runs(stage: Stage) -> None:
    await stage.way.hold(0)
    left, stays = [asyncio.create_task(stage.way.run([Step(insert(name))])) for name in ("left", "stays")]
    await until(lambda: stage.way.held == 2)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    await stage.way.resume(stage.members[1], 2)
    await stays
    assert (stage.all(0), stage.all(1)) == ([], ["stays"])


async def test_hazard_16_a_held_write_that_timed_out_is_repeated_and_not_doubled(stage: Stage) -> None:
    way = WriteThrough(stage.members[0], epoch=1, metrics=stage.metrics, hold_timeout=0.1)
    await way.hold(0)
    with pytest.raises(HeldTooLong) as refused:
        await way.run([Step(insert("once"))])
    assert (refused.value.code, way.held) == ("SQLITE_BUSY", 0)
    await way.resume(stage.members[1], 2)
    await way.run([Step(insert("once"))])  # the client's second try
    assert (stage.all(0), stage.all(1)) == ([], ["once"])
    await way.drain(1)


def test_hazard_16_writes_are_held_for_longer_than_a_pause_may_last() -> None:
    settings = Settings()
    assert settings.front.hold_timeout > settings.promotion.pause_timeout + settings.promotion.grace
