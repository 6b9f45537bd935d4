"""Who waits for whom before a group begins."""

import asyncio

import pytest

from cutover.stores.sqlite.gathering import Gathering


def suspends(gathering: Gathering) -> bool:
    """Whether a group would wait at all; the waiting is given up at once."""
    waiting = gathering.wait()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    waiting.close()
    return True


@pytest.mark.parametrize("size", [0, 1, 2, 3])
async def test_nobody_waits_who_is_not_in_a_crowd(size: int) -> None:
    queue = ["somebody"]
    gathering = Gathering(queue)
    assert not suspends(gathering)
    queue.clear()
    gathering.ended(size, 10.0)
    queue.append("somebody")
    assert not suspends(gathering)


async def test_a_group_waits_for_those_who_were_just_answered() -> None:
    size = 8
    queue: list[int] = []
    gathering = Gathering(queue)
    gathering.ended(size, 10.0)
    queue.append(0)
    waiting = asyncio.ensure_future(gathering.wait())
    for number in range(1, size):
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.append(number)
        gathering.arrived()
    async with asyncio.timeout(60):
        await waiting
    assert not suspends(gathering)


async def test_who_waits_already_is_of_the_crowd() -> None:
    queue = list(range(5))
    gathering = Gathering(queue)
    gathering.ended(5, 10.0)
    assert suspends(gathering), "five of ten are there"
    queue += range(5)
    assert not suspends(gathering)


async def test_it_does_not_wait_for_those_who_stay_away() -> None:
    queue = [0]
    gathering = Gathering(queue)
    gathering.ended(8, 600.0)
    async with asyncio.timeout(60):  # of ten minutes that the group took
        await gathering.wait()
    gathering.ended(1, 10.0)
    assert not suspends(gathering), "the crowd is those who came the last time"


async def test_it_waits_no_longer_than_a_group_takes() -> None:
    queue = [0]
    gathering = Gathering(queue)
    gathering.ended(1000, 0.0)
    assert not suspends(gathering)
    gathering.ended(1000, 0.02)
    waiting = asyncio.ensure_future(gathering.wait())
    async with asyncio.timeout(60):
        while not waiting.done():  # they come one by one, and never all of them
            queue.append(0)
            gathering.arrived()
            await asyncio.sleep(0)
            if len(queue) > 900:
                del queue[1:]
