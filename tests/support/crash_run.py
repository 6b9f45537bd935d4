"""One case of the crash stories: a world, writers on three doors, a death, a new start, and the evidence."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.support.ledger import Ledger, acknowledged, possible
from tests.support.native import NativeWriter
from tests.support.promises import Evidence, highest_epoch
from tests.support.sampler import Sampler, look_sqlite
from tests.support.service import Service, until
from tests.support.worlds import nobody_connected
from tests.support.writers import DirectWriter, FrontWriter

Act = Callable[["Run"], Awaitable[None]]

_DIES_WITHIN = 120.0
_AFTER_ITS_STORY = 20.0
"""Seconds that a process has to die after the operator's command was answered: the mirror may be what is to die."""
_REST = 0.12
"""Seconds between a writer's transactions: all five together are still one in the way of every step."""
STEADY = ("shadowing", "promoted", "finished")


class NotReachedError(AssertionError):
    """A story came to its end, and the process did not pass the point where it was to die."""


class Writers:
    """A writer on each door; two on the front door, so that commits are shared, and two kinds of native ones."""

    def __init__(self, service: Service, postgres: str) -> None:
        self.front = [FrontWriter(service, name, lane=True, rest=_REST) for name in ("one", "two")]
        self.direct = DirectWriter(service.sqlite, "direct", rest=_REST)
        self.native = [
            NativeWriter(postgres, "native", rest=_REST),
            NativeWriter(postgres, "strict", "serializable", rest=_REST),
        ]
        self._stack = AsyncExitStack()

    @property
    def ledgers(self) -> list[Ledger]:
        return [*self.front, self.direct, *self.native]

    def of(self, store: str) -> list[Ledger]:
        """Those that go past the front door into this store."""
        return [self.direct] if store == "sqlite" else list(self.native)

    async def __aenter__(self) -> Self:
        for writer in (*self.front, *self.native):
            await self._stack.enter_async_context(writer)
        self.direct.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.direct.__exit__, kind, error, tb)
        await self._stack.aclose()


class Run:
    """What a story acts on."""

    def __init__(self, service: Service, postgres: str, point: str, before: tuple[Ledger, ...]) -> None:
        self.service, self.postgres, self.point, self.before = service, postgres, point, before
        self.writers = Writers(service, postgres)
        self.sampler = Sampler(service.sqlite, postgres)
        self.environment: dict[str, str] = {}
        self.readmits = False
        """Whether the operator has everything copied to a Postgres that was given up and came back."""
        self.lost: set[str] = set()
        self.epoch: int | None = None
        """What the epoch must be at the end, by what stood in the stores at the death."""

    @property
    def shadow(self) -> str:
        """The store that is the shadow now, by SQLite's control row."""
        sight = look_sqlite(self.service.sqlite)
        return "postgres" if sight is None or sight.primary == "sqlite" else "sqlite"

    async def crash(self, act: Act, passage: int = 1) -> None:
        """Start with the point armed for its n-th passage, and let the story go on until the process dies."""
        await self.service.start(crash_point=f"{self.point}:{passage}", environment=self.environment)
        await self._die(act)
        await nobody_connected_but_writers(self.postgres)
        self.epoch = await highest_epoch(self.service.sqlite, self.postgres) or 1

    async def _die(self, act: Act) -> None:
        acting = asyncio.ensure_future(act(self))
        dying = asyncio.ensure_future(self.service.died())
        try:
            await asyncio.wait({acting, dying}, timeout=_DIES_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({dying}, timeout=_AFTER_ITS_STORY)
            if not dying.done():
                told = acting.exception() if acting.done() else None
                raise NotReachedError(f"The process did not die at {self.point}. The story ended with: {told!r}")
            assert dying.result() == -9, f"ended with {dying.result()}:\n{self.service.log.read_text()[-3000:]}"
        finally:
            for task in (acting, dying):  # how the story noticed that it was cut off does not matter
                task.cancel()
                with contextlib.suppress(BaseException):
                    await task

    async def back(self) -> dict[str, Any]:
        """Start again with nothing armed and wait until all is steady; returns the status."""
        await self.service.start(environment=self.environment)
        return await self.steady()

    async def steady(self) -> dict[str, Any]:
        """Wait until the stores are attached, all is copied and nothing is under way; returns the status."""

        async def steady() -> dict[str, Any] | None:
            self.service.check_alive()
            status = await self.service.status()
            if self.readmits and "cutover backfill" in str(status["attach_error"]):
                await self.service.post("/v1/backfill")
            good = status["attached"] and not status["problem"] and status["phase"] in STEADY
            copied = all(table["backfill"]["state"] == "done" for table in status["tables"])
            return status if good and (copied or status["phase"] == "finished") else None

        status = await self.service.explained(until(steady, "a steady phase after the restart"))
        assert isinstance(status, dict)
        return status

    async def writes(self, primary: str) -> None:
        """Wait until the front door and the primary's own door took new writes, and the other door refused."""
        other = "sqlite" if primary == "postgres" else "postgres"
        took = [*self.writers.front, *self.writers.of(primary)]
        before = [len(ledger.acknowledged) for ledger in took]
        refused = sum(len(ledger.fenced) for ledger in self.writers.of(other))

        def done() -> bool:
            self.service.check_alive()
            return all(len(ledger.acknowledged) > count + 3 for ledger, count in zip(took, before, strict=True)) and (
                sum(len(ledger.fenced) for ledger in self.writers.of(other)) > refused
            )

        await until(done, f"writes into {primary} and refusals of {other} after the restart")
        counts = self.sampler.counts  # of what goes on: what is looked at later is at rest
        await until(lambda: counts["primary"] and counts["shadow"], f"snapshots of both roles, beyond {counts}")

    def evidence(self) -> Evidence:
        """Everything that the promises are held against."""
        ledgers = (*self.before, *self.writers.ledgers)
        return Evidence(
            self.service,
            self.postgres,
            acknowledged(ledgers),
            possible(ledgers),
            lost=self.lost,
            ledgers=ledgers,
            sampler=self.sampler,
            epoch=self.epoch,
        )


async def nobody_connected_but_writers(url: str) -> None:
    """Wait until the sessions of the killed service have ended: what they sent last may still have been committed."""
    await nobody_connected(url, like="cutover%")


async def until_killed(_run: Run) -> None:
    """The service dies of what it does by itself."""
    await asyncio.Event().wait()


async def until_steady(run: Run) -> None:
    """The service dies of bringing itself into order, if at all."""
    await run.steady()


async def ignored(call: Awaitable[object]) -> None:
    """A command whose answer may be lost with the process."""
    with contextlib.suppress(aiohttp.ClientError, OSError, asyncio.TimeoutError):
        await call
