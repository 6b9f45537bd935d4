"""The steps of a switch, each performed here and nowhere else, each harmless when it is repeated.

`plan.py` says in which order; `driver.py` goes through them. A step's durable effect stands between its crash points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cutover import clock
from cutover.crashpoints import crash_point
from cutover.errors import StoreError
from cutover.model.control import Control, Outcome, SwitchState
from cutover.promote.parts import Parts
from cutover.promote.phases import Event, after
from cutover.promote.plan import Step
from cutover.stores.base import Member, Store

Direction = Literal["promote", "demote"]

BEGINS = {"promote": Event.PROMOTE, "demote": Event.DEMOTE}
_FENCED = {"promote": SwitchState.PROMOTING, "demote": SwitchState.DEMOTING}
_SHARE = 0.9
"""Of the pause that is left, what the fence may use to wait for locks."""
_LEAST = 1.0
"""Seconds that the commit has at least for its locks: to take a switch back for less would be hasty."""


@dataclass
class Attempt:
    """One switch under way: who gives, who receives, and what was found out on the way."""

    id: str
    direction: Direction
    giver: Member
    receiver: Member
    before: Control
    """The giver's control row before the switch."""
    overridden: tuple[str, ...] = ()
    """Gates that did not let the switch through, and were overridden by name."""
    deadline: float = 0.0
    """By `clock.monotonic`: when the pause must be over."""
    intended: Control | None = None
    """What the receiver is asked to commit."""
    floors: dict[str, int] = field(default_factory=dict)
    """Highest key ever given, by table."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each step took."""

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - clock.monotonic()

    @property
    def fenced(self) -> Control:
        """The giver's control row while its fence stands and nothing was sent."""
        return self.before.but(state=_FENCED[self.direction], switch_id=self.id)

    @property
    def steady(self) -> Control:
        """The giver's control row if the switch is taken back."""
        return self.before.but(state=SwitchState.STEADY, switch_id=None)


class Steps:
    """Performs single steps on the parts of the service."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.perform = {
            Step.FENCE: self.fence,
            Step.DRAIN: self.drain,
            Step.VERIFY: self.verify,
            Step.ANNOUNCE: self.announce,
            Step.COMMIT: self.commit,
            Step.FINISH: self.finish,
        }
        """Every step but `prepare`, which comes before the pause and has an answer of its own."""

    async def prepare(self, attempt: Attempt) -> tuple[str, str]:
        """Back SQLite up, and record the switch where it will be committed. Returns (path, SHA-256) of the backup."""
        crash_point("switch.prepare.before")
        name = f"before-{attempt.direction}-{attempt.before.epoch}-{attempt.id[:8]}.sqlite"
        path = str(self.parts.backups / name)
        digest = await self.parts.origin.store.backup(path)
        crash_point("switch.backup.after")
        await attempt.receiver.store.prepare(attempt.id)
        crash_point("switch.prepare.after")
        return path, digest

    async def count(self, attempt: Attempt) -> None:
        """With writes going on: everything about parity whose cost grows with the tables. Raises `StoreError`."""
        began = clock.monotonic()
        problems = await self.parts.comparator.prepare_quick()
        attempt.seconds["count"] = clock.monotonic() - began
        _demand_equal(problems)
        crash_point("switch.count.after")

    async def catch_up(self, attempt: Attempt) -> None:
        """With writes going on, and the last thing before they are held: what came since then, the pause has to look
        at. Raises `StoreError`."""
        began = clock.monotonic()
        problems = await self.parts.comparator.catch_up()
        for member in (attempt.giver, attempt.receiver):
            await member.store.make_way()
        attempt.seconds["count"] += clock.monotonic() - began
        _demand_equal(problems)

    async def fence(self, attempt: Attempt) -> None:
        """Hold the front door's writes, then fence the giver. The store's own error names who holds its locks."""
        await self.parts.door.hold(self.parts.settings.promotion.grace)
        crash_point("switch.fence.before")
        await attempt.giver.store.fence(attempt.fenced, attempt.left * _SHARE)
        crash_point("switch.fence.after")

    async def drain(self, attempt: Attempt) -> None:
        """Apply what is left. Raises `StoreError` if the schema changed after the gates were looked at."""
        await self.parts.mirror.drain(attempt.left)
        late = await self.parts.uncarried()
        if late:
            raise StoreError(f"The schema changed just now, and that is not carried over yet: {', '.join(late)}.")
        crash_point("switch.drain.after")

    async def verify(self, attempt: Attempt) -> None:
        """Raises `StoreError` if the stores are not equal."""
        accepted = "no_quarantine" in attempt.overridden
        problems = await self.parts.comparator.quick_check(attempt.left, accept_quarantine=accepted)
        _demand_equal(problems)
        crash_point("switch.verify.after")

    async def announce(self, attempt: Attempt) -> None:
        """Note durably that the commit may be sent from now on: the last step that is taken back without asking."""
        parts, receiver = self.parts, attempt.receiver.store
        current = await receiver.control()
        attempt.intended = (current or attempt.before).but(
            primary=receiver.name,
            epoch=attempt.before.epoch + 1,
            state=SwitchState.STEADY,
            switch_id=attempt.id,
            generation=parts.situation.generation,
            applied_batch=parts.mirror.batch,
            trimmed_batch=parts.mirror.batch,
        )
        attempt.floors = await attempt.giver.store.highest_keys()
        committing = attempt.fenced.but(state=SwitchState.COMMITTING)
        await attempt.giver.store.write_control(committing, expect=attempt.fenced)
        crash_point("switch.announce.after")

    async def commit(self, attempt: Attempt) -> None:
        """THE commit point. Any error leaves open whether it happened; `outcome` knows."""
        assert attempt.intended is not None, "announce said what"
        self.parts.door.doubt()  # others may write to the receiver before its answer is here
        await attempt.receiver.store.receive(
            attempt.intended, attempt.id, max(attempt.left, _LEAST), floors=attempt.floors
        )
        crash_point("switch.commit.after")

    async def outcome(self, attempt: Attempt) -> Outcome:
        """What became of the commit; makes sure that it cannot happen any more if it has not."""
        return await attempt.receiver.store.tombstone(attempt.id)

    async def finish(self, attempt: Attempt) -> None:
        """From here on the receiver is primary, whatever fails. Held writes go first; the giver settles behind them."""
        parts, situation = self.parts, self.parts.situation
        situation.pair = situation.pair.swapped()
        await parts.door.resume(attempt.receiver, situation.pair.epoch)
        situation.move(after(situation.phase, Event.COMMIT))
        parts.comparator.forget()
        crash_point("switch.resume.after")

    async def settle(self, attempt: Attempt) -> None:
        """Outside the pause: the giver becomes the shadow, and the mirror turns round."""
        parts, situation = self.parts, self.parts.situation
        await settle(parts, attempt.giver.store)
        await parts.note_high_water(attempt.before.but(epoch=situation.pair.epoch), parts.mirror.batch)
        crash_point("switch.highwater.after")
        await parts.mirror.start(situation.pair, situation.tables)
        crash_point("switch.finish.after")

    async def release(self, attempt: Attempt) -> None:
        """The way back out of every step before the commit, also where the fence may not stand at all."""
        crash_point("switch.take_back.before")
        await attempt.giver.store.release(attempt.steady)
        crash_point("switch.take_back.after")


async def settle(parts: Parts, giver: Store) -> None:
    """Write the giver's control row as a shadow's and have its store settle. Idempotent."""
    situation = parts.situation
    current = await giver.control()
    assert current is not None, "a giver has a control row"
    generation = max(current.generation, situation.generation)
    await giver.settle(
        current.but(
            primary=situation.pair.source.name,
            epoch=situation.pair.epoch,
            state=SwitchState.STEADY,
            switch_id=None,
            generation=generation,
            applied_batch=parts.mirror.batch,
        )
    )
    crash_point("switch.settle.after")
    await parts.mirror.inherit(situation.pair, situation.tables, generation)


def _demand_equal(problems: list[str]) -> None:
    if problems:
        raise StoreError(f"The stores are not equal: {'; '.join(problems)}.")
