"""The primary as applications' statements see it at this moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cutover.errors import Fenced, StatementError, StoreUnavailable
from cutover.model.statement import BatchResult, Statement, Step
from cutover.stores.base import Member
from cutover.write_through.errors import ShuttingDown
from cutover.write_through.gate import Gate


class Primary:
    """Who is primary, the gate in front of it, and who wants to see what passes."""

    def __init__(self, member: Member, epoch: int, gate: Gate) -> None:
        self.member = member
        self.epoch = epoch
        self.gate = gate
        self.known = False
        """Whether `member` is the primary for certain: not at a start before both stores have spoken, nor while a
        commit that makes another one primary is under way."""
        self.on_statement: Callable[[Statement], None] | None = None
        self.on_read: Callable[[Sequence[Step], BatchResult], None] | None = None

    def observe(self, steps: Sequence[Step]) -> None:
        """Show the statements of a batch."""
        if self.on_statement is not None:
            for step in steps:
                self.on_statement(step.statement)

    async def read(self, steps: Sequence[Step]) -> BatchResult:
        """Run a self-contained batch that only reads. It waits until the primary is known, but not for a switch."""
        if not self.known:
            await self.gate.admit()
        if self.gate.draining:
            raise ShuttingDown
        try:
            result = await self.member.executor.run(steps)
        except StoreUnavailable as away:
            raise StatementError(away.message, "SQLITE_BUSY", retry=True) from None
        if self.on_read is not None:
            self.on_read(steps, result)
        return result

    async def write(self, steps: Sequence[Step]) -> BatchResult:
        """Run a self-contained batch on whichever store is primary when its turn comes.

        Raises `StatementError` if nothing of it was executed.
        """
        while True:
            await self.gate.admit()
            member = self.member
            try:
                result = await self.gate.track(_run(member, steps), writes=True)
            except Fenced as fenced:
                if not self.gate.held and member is self.member:
                    raise StatementError(fenced.message, "SQLITE_BUSY", retry=True) from None
                continue
            except StoreUnavailable as away:
                raise unknown(away) from None
            member.store.wake()
            return result


def unknown(away: StoreUnavailable) -> StatementError:
    """What a client is told when the store went away and nobody can say whether it had executed the write."""
    return StatementError(f"{away.message} Whether the statement was executed is not known.", "OUTCOME_UNKNOWN")


async def _run(member: Member, steps: Sequence[Step]) -> BatchResult:
    return await member.executor.run(steps)
