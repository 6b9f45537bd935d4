"""Goes through the steps of a switch, and out again: forward to the commit, back from anything before it.

    fence ─▶ drain ─▶ verify ─▶ announce ─▶ COMMIT ─▶ finish ─▶ settle
      └────────┴─────────┴──────────┘          │
              taken back                 lost answer: the receiver is asked, and nothing is guessed

Nothing is decided here that `plan.py` does not say, and nothing is done that `steps.py` does not do.
"""

from __future__ import annotations

import asyncio

from cutover import clock
from cutover.errors import CutoverError, StoreUnavailable, SwitchAborted
from cutover.logs import get_logger
from cutover.model.control import Outcome
from cutover.promote.parts import Parts
from cutover.promote.phases import Event, after
from cutover.promote.plan import REVERSIBLE, Step
from cutover.promote.steps import BEGINS, Attempt, Steps

_log = get_logger("switch")


class Driver:
    """One switch at a time."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.steps = Steps(parts)
        self._step = Step.FENCE
        """The one that was begun last."""

    async def run(self, attempt: Attempt) -> float:
        """Perform everything after `prepare`. Returns the pause in seconds.

        Raises `SwitchAborted` if it was taken back; its `pause` is in `attempt.seconds["pause"]` all the same. Raises
        `StoreUnavailable` if nobody can say yet whether it was committed; then the primary stays fenced, and the
        recovery goes on asking.
        """
        situation = self.parts.situation
        situation.move(after(situation.phase, BEGINS[attempt.direction]))
        began = clock.monotonic()
        attempt.deadline = began + self.parts.settings.promotion.pause_timeout
        try:
            reason = await self._until_committed(attempt)
            if reason:
                raise SwitchAborted(f"The switch was taken back: {reason}")
        finally:
            attempt.seconds["pause"] = clock.monotonic() - began
        await self._settle(attempt)
        return attempt.seconds["pause"]

    async def _until_committed(self, attempt: Attempt) -> str:
        """Forward to the commit and the end of the pause. Returns why it was taken back; "" if it was not."""
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + attempt.left):
                for step in REVERSIBLE:
                    await self._perform(step, attempt)
        except asyncio.CancelledError:
            await self._take_back(attempt)
            raise
        except Exception as error:  # noqa: BLE001  # whatever failed
            reason = self._reason(error)
            await self._take_back(attempt)
            return reason
        try:
            await self._perform(Step.COMMIT, attempt)
        except Exception as error:  # noqa: BLE001  # whatever failed
            reason = self._reason(error)
            _log.warning(f"The commit failed, or its answer was lost; the receiving store is asked. {reason}")
            if await self._outcome(attempt) is not Outcome.COMMITTED:
                await self._take_back(attempt)
                return reason
        await self._perform(Step.FINISH, attempt)
        return ""

    async def _perform(self, step: Step, attempt: Attempt) -> None:
        began = clock.monotonic()
        self._step = step
        try:
            await self.steps.perform[step](attempt)
        finally:
            attempt.seconds[str(step)] = clock.monotonic() - began

    async def _outcome(self, attempt: Attempt) -> Outcome:
        """Find out, or make sure, what became of the commit. Raises `StoreUnavailable` if nobody can say in time."""
        patience = clock.monotonic() + self.parts.settings.promotion.pause_timeout
        while True:
            try:
                async with asyncio.timeout(max(patience - clock.monotonic(), 1.0)):
                    return await self.steps.outcome(attempt)
            except (CutoverError, OSError, TimeoutError) as error:
                if clock.monotonic() >= patience:
                    receiver = attempt.receiver.store.name
                    why = f"The commit of switch {attempt.id} may have happened and {receiver} cannot say: {error}"
                    self.parts.situation.detach(problem=why)  # the recovery resolves it as it would after a kill
                    raise StoreUnavailable(
                        f"The outcome of the commit is not known yet: {error}",
                        hint="The primary stays fenced and the service keeps asking; see `cutover status`.",
                    ) from error
                await asyncio.sleep(0.2)

    async def _take_back(self, attempt: Attempt) -> None:
        """Lift the fence, which may or may not stand, and go on as before: writes first, the mirror after them."""
        parts, situation = self.parts, self.parts.situation
        try:
            await asyncio.shield(self.steps.release(attempt))
        except Exception as trouble:  # noqa: BLE001  # recovery goes on
            situation.detach(problem=f"The switch failed, and its fence could not be lifted yet: {trouble}")
            await parts.mirror.stop()  # attaching starts it under a new generation, which would refuse this one
        else:
            await parts.door.resume(attempt.giver, situation.pair.epoch)
        situation.move(after(situation.phase, Event.ABORT))
        parts.comparator.stand_down()
        if not situation.problem:
            await self._restart_mirror("The switch was taken back")

    async def _settle(self, attempt: Attempt) -> None:
        """If the giver is away now, the recovery makes it the shadow later."""
        try:
            await self.steps.settle(attempt)
        except Exception as error:  # noqa: BLE001  # recovery goes on
            self.parts.situation.detach(error=f"{attempt.giver.store.name} has yet to become the shadow: {error}")
            _log.warning(self.parts.situation.attach_error)

    async def _restart_mirror(self, why: str) -> None:
        parts, situation = self.parts, self.parts.situation
        try:
            await parts.mirror.start(situation.pair, situation.tables)
        except (CutoverError, OSError, TimeoutError) as error:
            situation.detach(error=f"{why}, and the shadow is away: {error}")
            await parts.mirror.stop()

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            limit, culprit = self.parts.settings.promotion.pause_timeout, self.parts.door.in_the_way()
            told = f"it was not done within pause_timeout ({limit:g} s), which ended in the step {self._step}"
            return f"{told}; in the way: {culprit}." if culprit and self._step is Step.FENCE else f"{told}."
        if not isinstance(error, CutoverError):
            _log.exception("A step of the switch met an error it does not know.")
        return str(error) or type(error).__name__
