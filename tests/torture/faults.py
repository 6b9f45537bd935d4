"""Each fault: done, held for a while, undone. Two that act on the same thing take turns."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
import asyncpg

from tests.support.servers import signal_all
from tests.torture.account import Account
from tests.torture.doors import OutsideDoor
from tests.torture.place import CONTINUE, KILL, STOP, Place
from tests.torture.plan import Blow

_ON = {
    "kill": "service", "freeze": "service", "stop": "service", "rival": "service",
    "postgres-kill": "postgres", "postgres-freeze": "postgres", "postgres-stop": "postgres",
    "disk-postgres": "postgres", "cut": "link", "hang": "link", "deafen": "link",
}  # fmt: skip

_HARMLESS = ("reader", "application-kill", "backfill", "pause")
"""Clients of the front door must not notice them."""


class Faults:
    """Turns the knobs of a place."""

    def __init__(self, place: Place, account: Account, seed: int) -> None:
        self.place, self.account = place, account
        self.done: defaultdict[str, int] = defaultdict(int)
        self.switch_over = asyncio.Event()
        """Set when the switch of a step has its answer."""
        self._rng = random.Random(f"faults {seed}")
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def strike(self, blow: Blow) -> None:
        """Do it and undo it."""
        if blow.in_pause and not await self._in_pause():
            self.account.event(f"  {blow.fault}: there was no pause to strike into")
        await asyncio.sleep(blow.after)
        if self.place.cannot(blow.fault):
            self.account.event(f"  {blow.fault}: this user may not mount a disk")
            return
        act: Callable[[float], Awaitable[None]] = getattr(self, "_" + blow.fault.replace("-", "_"))
        async with self._turns[_ON.get(blow.fault, blow.fault)]:
            if blow.fault not in _HARMLESS:
                self.account.disturb()
            self.account.event(f"  {blow.fault}")
            self.done[blow.fault] += 1
            await act(blow.lasting)
            self.account.event(f"  {blow.fault} is over")

    async def _in_pause(self) -> bool:
        """Wait until a store's control row says that a switch is under way."""
        until = time.monotonic() + 30
        while time.monotonic() < until and not self.switch_over.is_set():
            with suppress(
                sqlite3.Error,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
                OSError,
                TimeoutError,
            ):
                if await states(self.place) != {"steady"}:
                    return True
            await asyncio.sleep(0.004)
        return False

    # -- the service -------------------------------------------------------------------------------------------------

    async def _kill(self, lasting: float) -> None:
        await self.place.service.kill()
        await asyncio.sleep(lasting / 3)
        await self.place.start_service()

    async def _stop(self, lasting: float) -> None:
        starting = time.monotonic() - self.place.started < 10  # it may not have its signal handlers yet
        code = await self.place.service.stop()
        if code != 0 and not (starting and code == -signal.SIGTERM):
            self.account.problem("the service did not stop in order", f"exit code {code}")
        await asyncio.sleep(lasting / 3)
        await self.place.start_service()

    async def _freeze(self, lasting: float) -> None:
        self.place.signal_service(STOP)
        await asyncio.sleep(lasting)
        self.place.signal_service(CONTINUE)

    async def _rival(self, lasting: float) -> None:
        """Another owner is started while this one is frozen: it must refuse, and touch nothing."""
        self.place.signal_service(STOP)
        try:
            code, said = await self.place.rival()
            if code != 2:
                self.account.problem("a second owner was not refused", f"exit code {code}: {said[-1000:]}")
        finally:
            self.place.signal_service(CONTINUE)

    # -- Postgres ----------------------------------------------------------------------------------------------------

    async def _postgres_kill(self, lasting: float) -> None:
        await asyncio.to_thread(signal_all, self.place.postgres, KILL)
        await asyncio.sleep(lasting / 3)
        await self.place.postgres.start()

    async def _postgres_stop(self, lasting: float) -> None:
        await self.place.postgres.stop()
        await asyncio.sleep(lasting / 3)
        await self.place.postgres.start()

    async def _postgres_freeze(self, lasting: float) -> None:
        signal_all(self.place.postgres, STOP)
        await asyncio.sleep(lasting)
        signal_all(self.place.postgres, CONTINUE)

    async def _cut(self, lasting: float) -> None:
        await self.place.link.say("cut")
        await asyncio.sleep(lasting)
        await self.place.link.say("heal")

    async def _deafen(self, lasting: float) -> None:
        await self.place.link.say("deafen")
        await asyncio.sleep(lasting)
        await self.place.link.say("heal")

    async def _hang(self, lasting: float) -> None:
        await self.place.link.say("hang")
        await asyncio.sleep(lasting)
        if self._rng.random() < 0.5:
            await self.place.link.say("cut")
            await asyncio.sleep(0.1)
        await self.place.link.say("heal")

    # -- disks -------------------------------------------------------------------------------------------------------

    async def _disk(self, lasting: float) -> None:
        if not self.place.disk.mounted:
            self.place.limit_service(full=True)
            await asyncio.sleep(lasting)
            self.place.limit_service(full=False)
            return
        await asyncio.to_thread(self.place.disk.fill)
        await asyncio.sleep(lasting)
        self.place.disk.free()

    async def _disk_state(self, lasting: float) -> None:
        await asyncio.to_thread(self.place.state_disk.fill)
        await asyncio.sleep(lasting)
        self.place.state_disk.free()

    async def _disk_postgres(self, lasting: float) -> None:
        await asyncio.to_thread(self.place.postgres_disk.fill)
        await asyncio.sleep(lasting)
        self.place.postgres_disk.free()
        await self.place.postgres.start()

    # -- applications ------------------------------------------------------------------------------------------------

    async def _lock(self, lasting: float) -> None:
        """A direct writer that keeps the write lock."""
        connection = sqlite3.connect(self.place.sqlite, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            for _ in range(200):
                with suppress(sqlite3.Error):
                    connection.execute("BEGIN IMMEDIATE")
                    break
                await asyncio.sleep(0.005)
            await asyncio.sleep(lasting)
        finally:
            connection.close()

    async def _idle(self, lasting: float) -> None:
        """A native transaction that has written, and is left open."""
        with suppress(
            asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError
        ):
            connection = await asyncpg.connect(self.place.native, timeout=3)
            try:
                await connection.execute("BEGIN", timeout=3)
                await connection.execute("INSERT INTO markers VALUES ('idle', 'nobody', 0)", timeout=3)
                await asyncio.sleep(lasting)
            finally:
                connection.terminate()

    async def _reader(self, lasting: float) -> None:
        """A direct reader that pins the write-ahead log."""
        connection = sqlite3.connect(self.place.sqlite, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM markers").fetchone()
            await asyncio.sleep(lasting * 2)
        except sqlite3.Error:
            await asyncio.sleep(lasting)
        finally:
            connection.close()

    async def _application_kill(self, lasting: float) -> None:
        """Applications with the file open die in the middle of what they do."""
        for process in list(OutsideDoor.processes):
            with suppress(ProcessLookupError):
                process.kill()
        await asyncio.sleep(lasting / 10)

    # -- operators ---------------------------------------------------------------------------------------------------

    async def _backfill(self, lasting: float) -> None:
        await self._ask("backfill")

    async def _pause(self, lasting: float) -> None:
        await self._ask("mirror/pause")
        await asyncio.sleep(lasting)
        while not await self._ask("mirror/resume"):
            await asyncio.sleep(0.2)

    async def _ask(self, path: str) -> bool:
        service = self.place.service
        try:
            code, body = await asyncio.wait_for(service.post(f"/v1/{path}"), 20)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.account.event(f"  {path}: {error!r}")
            return False
        if code != 200:
            self.account.event(f"  {path}: {code} {str(body)[:200]}")
        return code in (200, 409)


async def states(place: Place) -> set[str]:
    """What the two control rows say of switches under way."""
    connection = sqlite3.connect(place.sqlite, timeout=0.1)
    try:
        found = {row[0] for row in connection.execute("SELECT state FROM _cutover_control")}
    finally:
        connection.close()
    if found == {"steady"}:
        native = await place.looker()
        found |= {row[0] for row in await native.fetch("SELECT state FROM cutover.control", timeout=0.5)}
    return found
