"""One switch at a time, and none while the stores are brought into order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cutover.errors import SwitchRefused
from cutover.promote.switch import Switch


def parts(pause_timeout: float) -> Any:
    """What a switch looks at to be alone."""
    return SimpleNamespace(
        situation=SimpleNamespace(switching=False, attached=False),
        switching=asyncio.Lock(),
        settings=SimpleNamespace(promotion=SimpleNamespace(pause_timeout=pause_timeout, grace=0.0)),
    )


async def test_a_switch_waits_for_what_brings_the_stores_into_order_longer_than_a_short_pause_may_take() -> None:
    given = parts(pause_timeout=0.001)
    await given.switching.acquire()
    asyncio.get_running_loop().call_later(0.05, given.switching.release)
    async with Switch(cast("Any", given)).alone():
        assert given.situation.switching
    assert not given.situation.switching
    assert not given.switching.locked()


async def test_a_second_switch_is_refused() -> None:
    given = parts(pause_timeout=10)
    async with Switch(cast("Any", given)).alone():
        with pytest.raises(SwitchRefused, match="under way"):
            async with Switch(cast("Any", given)).alone():
                raise AssertionError
    assert not given.situation.switching
