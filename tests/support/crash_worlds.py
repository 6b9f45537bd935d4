"""How the worlds of the crash stories are reached. See `worlds.py`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack

from tests.support.crash_run import ignored
from tests.support.ledger import Ledger
from tests.support.native import NativeWriter
from tests.support.promises import settled
from tests.support.service import Service, until
from tests.support.worlds import Build, Recipe, Worlds, nobody_connected
from tests.support.writers import DirectWriter, FrontWriter

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
"""A Postgres that is gone."""

_DIRECTIONS = {"promote": "shadowing", "demote": "promoted"}
_CUTS = {"fenced": "switch.fence.after", "sending": "switch.announce.after", "sent": "switch.commit.after"}
"""Where the first crash comes: the commit certainly not sent, perhaps sent, and done."""


async def _as_it_is(_worlds: Worlds, _service: Service, _url: str) -> Iterable[Ledger]:
    return ()


async def _shadowing(_worlds: Worlds, service: Service, _url: str) -> Iterable[Ledger]:
    await service.start()
    await service.up()
    async with FrontWriter(service, "early", lane=True, rest=0.003) as early:
        for _ in range(3):  # some batches, so that an older copy can be told
            count = len(early.acknowledged)
            await until(lambda count=count: len(early.acknowledged) > count + 5, "writes")
            await settled_once(service)
    await settled(service)
    assert await service.stop() == 0
    return (early,)


async def settled_once(service: Service) -> None:
    """Wait until some batch was applied while writes go on."""
    before = (await service.status())["mirror"]["applied_rows"]

    async def more() -> bool:
        return bool((await service.status())["mirror"]["applied_rows"] > before)

    await until(more, "a batch")


def _switched(direction: str) -> Build:
    async def build(_worlds: Worlds, service: Service, _url: str) -> Iterable[Ledger]:
        await service.start()
        await service.up(_DIRECTIONS[direction])
        await service.verified()
        await service.switched(direction)
        await settled(service)
        assert await service.stop() == 0
        return ()

    return build


def _cut(direction: str, point: str) -> Build:
    """A switch that was killed there, with writes going on."""

    async def build(_worlds: Worlds, service: Service, url: str) -> Iterable[Ledger]:
        await service.start(crash_point=point)
        await service.up(_DIRECTIONS[direction])
        async with AsyncExitStack() as writing:
            if direction == "promote":
                other: Ledger = writing.enter_context(DirectWriter(service.sqlite, "earlydirect", rest=0.01))
            else:
                other = await writing.enter_async_context(NativeWriter(url, "earlynative"))
            await service.verified()
            await ignored(service.switch(direction))
            assert await service.died() == -9
        await nobody_connected(url)
        return (other,)

    return build


async def _forced(_worlds: Worlds, service: Service, url: str) -> Iterable[Ledger]:
    """Postgres was given up by force, with writes that SQLite never saw."""
    await service.start()
    await service.up("promoted")
    code, body = await service.post("/v1/mirror/pause")
    assert code == 200, body
    async with NativeWriter(url, "earlynative") as native:
        await until(lambda: len(native.acknowledged) > 5, "writes that will be lost")
    assert await service.stop() == 0
    lose_postgres(service, url)
    await service.start()
    await service.answering()
    code, body = await service.switch("demote", force=True, accept_data_loss=True)
    assert code == 200, body
    assert await service.stop() == 0
    return (native,)


def lose_postgres(service: Service, url: str) -> None:
    """From the next start on, the service does not reach its Postgres."""
    service.config.write_text(service.config.read_text().replace(url, NOWHERE))


def find_postgres(service: Service, url: str) -> None:
    """From the next start on, it does again."""
    service.config.write_text(service.config.read_text().replace(NOWHERE, url))


RECIPES: dict[str, Recipe] = {
    "new": Recipe("", _as_it_is),
    "shadowing": Recipe("new", _shadowing),
    "promoted": Recipe("shadowing", _switched("promote")),
    "demoted": Recipe("promoted", _switched("demote")),
    "postgres-of-before": Recipe("demoted", _as_it_is, postgres="shadowing"),
    "forced": Recipe("promoted", _forced),
    **{
        f"{direction}-{cut}": Recipe(_DIRECTIONS[direction], _cut(direction, point))
        for direction in _DIRECTIONS
        for cut, point in _CUTS.items()
    },
}
