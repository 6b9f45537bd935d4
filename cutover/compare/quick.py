"""Parity for a switch: what a full verification before it could not have seen.

    prepare   writes go on: running scans end, rows are counted
      │
    catch_up  writes go on: the mirror and the read-back catch up; nothing but the fence comes behind it
      │
    (fence, drain)
      │
    check     writes are held: whatever was mirrored since is read back; nothing that grows with the tables

The proof is in `DESIGN.md`, "The pause".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from cutover import clock
from cutover.compare.counts import count_problem, uncountable
from cutover.compare.invariants import known_missing
from cutover.compare.readback import ReadBack
from cutover.compare.scan import Tools
from cutover.compare.states import States
from cutover.compare.verify import Verifier
from cutover.errors import CutoverError
from cutover.logs import counted, get_logger
from cutover.model.table import Table, Tables
from cutover.stores.pair import Pair

_log = get_logger("compare")

_NEAR = 60.0
"""Seconds for which a preparation keeps scheduled work away, if no switch comes to its end before."""
_ROUNDS = 5
_FEW = 250
"""Rows whose read-back is no matter in a pause."""
_GAIN = 0.8
"""Of the rows that waited, how many may wait after a round of the read-back, or another one is in vain."""
_PATIENCE = 10.0
"""Seconds for the mirror to catch up."""


@dataclass(frozen=True)
class _Counted:
    """What was counted with writes going on, and when that is good for."""

    reign: int
    tables: Tables
    done: dict[str, Pair]
    """Names of the tables whose rows were found to agree, each with who was who then."""


class QuickCheck:
    """Step `verify` of a switch, and what can be done of it before."""

    def __init__(self, tools: Tools, read_back: ReadBack, verifier: Verifier, tables: Callable[[], Tables]) -> None:
        self._tools = tools
        self._read_back = read_back
        self._verifier = verifier
        self._tables = tables
        self._counted: _Counted | None = None
        self._near_until = 0.0

    @property
    def near(self) -> bool:
        """Whether a switch is near; what is only scheduled waits then."""
        return clock.monotonic() < self._near_until

    # -- before the pause --------------------------------------------------------------------------------------------

    async def prepare(self) -> list[str]:
        """With writes going on, shortly before they are held: everything whose cost grows with the tables.

        What speaks against parity, one sentence each; the switch had better not begin then. Never raises for a store.
        """
        self._counted = None
        self._stay_near(inf)
        problems = ["the preparation did not come to its end"]
        try:
            self._verifier.stop("A switch began.")
            await self._verifier.wait()
            await self._scan_unread()
            problems = await self._count_all()
            problems += self._known()
        except CutoverError as error:
            problems = [f"parity could not be checked: {error}"]
        finally:
            self._stay_near(0.0 if problems else _NEAR)
        return problems

    async def catch_up(self) -> list[str]:
        """Right before writes are held: leave to the pause as little as can be, what is written during about one turn.

        What speaks against parity, one sentence each. Never raises for a store.
        """
        try:
            await self._catch_up()
        except CutoverError as error:
            return [f"parity could not be checked: {error}"]
        return self._known()

    def stand_down(self) -> None:
        """The switch is over: scheduled work may go on."""
        self._near_until = 0.0

    def _stay_near(self, seconds: float) -> None:
        self._near_until = clock.monotonic() + seconds
        self._read_back.want(seconds)

    async def _count_all(self) -> list[str]:
        problems: list[str] = []
        done: dict[str, Pair] = {}

        async def count(states: States, table: Table) -> None:
            if uncountable(states, table):
                return  # the check in the pause says so, or counts
            problem = await count_problem(states, table, known_missing(self._tools.ledger, table.name))
            if problem:
                problems.append(problem.rstrip("."))
            else:
                done[table.name] = states.pair

        reign, tables = self._tools.ledger.reign, self._tables()
        await self._tools.ground.visit(tables, count, quarantine=True)
        self._counted = _Counted(reign, tables, done)
        return problems

    async def _catch_up(self) -> None:
        if await self._tools.applying.caught_up(_PATIENCE):
            for _ in range(_ROUNDS):
                before = self._read_back.waiting
                await self._read_back.drain()
                if self._read_back.waiting <= _FEW:
                    return
                if self._read_back.waiting > before * _GAIN:
                    break  # as many come as are looked at: it does not get better
        _log.warning("The mirror hardly keeps up with the writes; the pause of the switch will be longer.")

    # -- in the pause ------------------------------------------------------------------------------------------------

    async def check(self, timeout: float, *, accept_quarantine: bool) -> list[str]:
        """Writes are held and the log is drained, so nothing moves: what speaks against parity, one sentence each.

        Rows in quarantine would be left behind by the switch; `accept_quarantine`: somebody said that they may be.
        Never raises for a store.
        """
        self._verifier.stop("A switch began.")
        began = clock.monotonic()
        try:
            async with asyncio.timeout(timeout):
                return await self._check(accept_quarantine)
        except TimeoutError:
            return [f"parity was not shown within {clock.monotonic() - began:.1f} s"]
        except CutoverError as error:
            return [f"parity could not be checked: {error}"]
        finally:
            self._counted = None

    async def _check(self, accept_quarantine: bool) -> list[str]:
        await self._verifier.wait()
        tables = self._tables()
        async with self._tools.ground.matched(tables, quarantine=True) as states:
            problems = _unsettled(states, tables)
            _, doubtful = await asyncio.gather(self._read_back.drain(states), self._verifier.outdated())
            # What was verified under another schema is verified again, here, if the pause is long enough for it.
            await self._scan_unread(doubtful=doubtful)
            for table in tables:
                if not self._is_counted(states, table) and not states.unready(table.name):
                    problem = await count_problem(states, table, known_missing(self._tools.ledger, table.name))
                    problems += [problem.rstrip(".")] if problem else []
        if self._counted is not None and self._counted.reign != self._tools.ledger.reign:
            problems.append("a table was copied again, or mapped anew, after its rows were counted")
        if not accept_quarantine:
            problems += [
                f"{counted(len(rows), 'row')} of {name} in quarantine would be left behind"
                for name, rows in sorted(states.quarantined.items())
                if rows
            ]
        return problems + self._known()

    def _is_counted(self, states: States, table: Table) -> bool:
        before = self._counted
        return before is not None and table in before.tables and before.done.get(table.name) == states.pair

    # -- in both -----------------------------------------------------------------------------------------------------

    async def _scan_unread(self, *, doubtful: bool = False) -> None:
        """In full: tables with mirrored rows that nobody looked at again, or all of them if none can be believed."""
        for table in self._tables():
            if doubtful or table.name in self._read_back.unread():
                await self._verifier.scan_now(table)

    def _known(self) -> list[str]:
        ledger = self._tools.ledger
        return [f"{counted(ledger.total(name), 'row')} of {name} drifted" for name in ledger.tables()] + [
            f"rows of {name} were mirrored and not compared" for name in self._read_back.unread()
        ]


def _unsettled(states: States, tables: Tables) -> list[str]:
    """What keeps rows from being judged."""
    problems = [f"{states.pending.count} changes are not applied"] if states.pending.count else []
    return problems + [
        f"{table.name} cannot be judged: {why}" for table in tables if (why := states.unready(table.name))
    ]
