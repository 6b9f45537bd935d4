"""Parity inside the pause of a switch: everything that a full verification before it could not have seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cutover import clock
from cutover.compare.counts import count_problem
from cutover.compare.invariants import known_missing
from cutover.compare.readback import ReadBack
from cutover.compare.scan import Tools
from cutover.compare.verify import Verifier
from cutover.errors import CutoverError
from cutover.logs import counted
from cutover.model.table import Tables


class QuickCheck:
    """Step `verify` of a switch. Writes are held and the log is drained, so nothing moves."""

    def __init__(self, tools: Tools, read_back: ReadBack, verifier: Verifier, tables: Callable[[], Tables]) -> None:
        self._tools = tools
        self._read_back = read_back
        self._verifier = verifier
        self._tables = tables

    async def check(self, timeout: float) -> list[str]:
        """What speaks against parity, one sentence each; empty if nothing does. Never raises for a store."""
        self._verifier.stop("A switch began.")
        began = clock.monotonic()
        try:
            async with asyncio.timeout(timeout):
                return await self._check()
        except TimeoutError:
            return [f"parity was not shown within {clock.monotonic() - began:.1f} s"]
        except CutoverError as error:
            return [f"parity could not be checked: {error}"]

    async def _check(self) -> list[str]:
        await self._verifier.wait()
        await self._read_back.drain()
        for table in self._tables():
            if table.name in self._read_back.unread():
                await self._verifier.scan_now(table)
        problems = await self._counts()
        ledger = self._tools.ledger
        problems += [f"{counted(ledger.total(name), 'row')} of {name} drifted" for name in ledger.tables()]
        problems += [f"rows of {name} were mirrored and not compared" for name in self._read_back.unread()]
        return problems

    async def _counts(self) -> list[str]:
        tables = self._tables()
        problems = []
        async with self._tools.ground.matched(tables, quarantine=True) as states:
            if states.pending.count:
                problems.append(f"{states.pending.count} changes are not applied")
            for table in tables:
                if why := states.unready(table.name):
                    problems.append(f"{table.name} cannot be judged: {why}")
                elif problem := await count_problem(states, table, known_missing(self._tools.ledger, table.name)):
                    problems.append(problem.rstrip("."))
        return problems
