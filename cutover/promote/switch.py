"""The switch: performs the plan's steps, and takes them back or finds out what happened when one fails.

    prepare ─▶ fence ─▶ drain ─▶ verify ─▶ COMMIT ─▶ finish
       │         └───────┴─────────┘          │
    refused           taken back              one transaction in the receiving store decides

Writes of the front door are held from `fence` until the commit is known; nothing is ever guessed.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from cutover import clock
from cutover.crashpoints import crash_point
from cutover.errors import CutoverError, StoreError, StoreUnavailable, SwitchAborted, SwitchRefused
from cutover.logs import get_logger
from cutover.model.control import Control, Gate, Outcome, Phase, SwitchState
from cutover.model.requests import Actor, SwitchRequest
from cutover.promote.facts import gather
from cutover.promote.gates import evaluate, require
from cutover.promote.highwater import HighWater, write_high_water
from cutover.promote.parts import Parts
from cutover.promote.phases import Event, after
from cutover.promote.plan import EXPLAINED, SWITCH
from cutover.promote.smoke import run_smoke
from cutover.stores.base import Member, Store

Direction = Literal["promote", "demote"]

_log = get_logger("switch")

_DONE = {"promote": "promoted", "demote": "demoted"}
_UNDER_WAY = {"promote": Phase.PROMOTING, "demote": Phase.DEMOTING}
_SHARE = 0.9
"""Of the pause that is left, what the fence may use to wait for locks."""
_FENCED = {"promote": SwitchState.PROMOTING, "demote": SwitchState.DEMOTING}


@dataclass
class _Attempt:
    """One switch under way."""

    id: str
    direction: Direction
    giver: Member
    receiver: Member
    before: Control
    """The giver's control row before the switch."""
    paused_at: float = 0.0
    pause: float = 0.0


@dataclass(frozen=True)
class _Intent:
    """What the receiver is asked to commit."""

    control: Control
    floors: dict[str, int]
    """Highest key ever given, by table."""


class Switch:
    """Promotes and demotes. One at a time."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.last_pauses: list[dict[str, Any]] = []

    async def gates(self, direction: Direction, *, max_age: float = 0.0) -> list[Gate]:
        """The gates of a switch in this direction; expensive facts may be `max_age` seconds old."""
        gates = evaluate(await gather(self.parts, direction, max_age=max_age))
        for gate in gates:
            self.parts.metrics.gate.labels(gate.name).set(gate.ok)
        return gates

    async def run(self, direction: Direction, request: SwitchRequest, actor: Actor) -> dict[str, Any]:
        """Perform a switch. Returns the body of the API's answer.

        Raises `GatesFailed` and `SwitchRefused` (nothing changed), `SwitchAborted` (taken back, nothing lost), or
        `StoreUnavailable` (the commit's outcome is not known yet: fenced, and asked for until it is).
        """
        situation = self.parts.situation
        _check_overrides(request, actor)
        done = self._already(direction)
        if done and not request.dry_run:
            return done
        if request.dry_run:
            return await self._dry_run(direction, request)
        async with self._alone():
            done = self._already(direction)
            if done:
                return done
            after(situation.phase, Event.PROMOTE if direction == "promote" else Event.DEMOTE)
            gates = await self.gates(direction)
            overridden = await self._pass_gates(direction, request, actor, gates)
            attempt = await self._prepare(direction, request, actor, gates, overridden)
            result = await self._perform(attempt, request, actor)
        return result | {"gates": [gate_json(gate) for gate in gates]}

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        if self.parts.switching.locked():
            raise SwitchRefused("Another switch is under way.", "switch_in_progress", hint="Wait for its answer.")
        async with self.parts.switching:
            yield

    def _already(self, direction: Direction) -> dict[str, Any] | None:
        situation = self.parts.situation
        there = {"promote": self.parts.destination, "demote": self.parts.origin}[direction]
        if situation.phase is Phase.FINISHED and direction == "demote":
            raise SwitchRefused("The migration is finished; there is no way back.", "finished")
        if situation.pair.primary is not there or self.parts.switching.locked():
            return None
        if direction == "demote" and situation.phase is Phase.IDLE:
            return None
        return self.position() | {"result": f"already_{_DONE[direction]}", "pause_seconds": 0.0, "gates": []}

    def position(self) -> dict[str, Any]:
        """Phase, primary and epoch, as every answer has them."""
        situation = self.parts.situation
        return {
            "phase": str(situation.phase),
            "primary": situation.pair.source.name,
            "epoch": situation.pair.epoch,
        }

    async def _dry_run(self, direction: Direction, request: SwitchRequest) -> dict[str, Any]:
        gates = await self.gates(direction)
        proceed = all(gate.ok or gate.name in request.override for gate in gates) and not self._already(direction)
        return self.position() | {
            "result": "dry_run",
            "would_proceed": proceed,
            "gates": [gate_json(gate) for gate in gates],
            "steps": [{"name": str(step), "does": EXPLAINED[step]} for step in SWITCH],
        }

    async def _pass_gates(
        self, direction: Direction, request: SwitchRequest, actor: Actor, gates: list[Gate]
    ) -> list[str]:
        try:
            overridden = require(gates, request.override)
        except SwitchRefused as refusal:
            failing = [gate.name for gate in gates if not gate.ok]
            await self.parts.trail.write(
                f"{direction}.refused", actor, approval=request.approval, reason=str(refusal), gates=failing
            )
            self.parts.metrics.switches.labels(direction, "refused").inc()
            raise
        for name in overridden:
            detail = next(gate.detail for gate in gates if gate.name == name)
            await self.parts.trail.write("override", actor, gate=name, detail=detail, approval=request.approval)
        return overridden

    # -- the steps ---------------------------------------------------------------------------------------------------

    async def _prepare(
        self, direction: Direction, request: SwitchRequest, actor: Actor, gates: list[Gate], overridden: list[str]
    ) -> _Attempt:
        pair = self.parts.situation.pair
        control = await pair.source.control()
        if control is None or control.epoch != pair.epoch or control.state is not SwitchState.STEADY:
            raise SwitchRefused(
                f"The control row of {pair.source.name} is not what this service wrote: {control}.",
                "control_changed",
                hint="Restart the service; it says on start what it finds.",
            )
        attempt = _Attempt(str(uuid.uuid4()), direction, pair.primary, pair.shadow, control)
        await self.parts.trail.write(
            f"{direction}.requested",
            actor,
            switchId=attempt.id,
            approval=request.approval,
            reason=request.reason,
            epoch=pair.epoch,
            overridden=overridden,
            gates={gate.name: gate.ok for gate in gates},
        )
        crash_point("switch.prepare.before")
        backup = self.parts.backups / f"before-{direction}-{pair.epoch}-{attempt.id[:8]}.sqlite"
        digest = await self.parts.origin.store.backup(str(backup))
        await self.parts.trail.write("backup", actor, path=str(backup), sha256=digest, switchId=attempt.id)
        await attempt.receiver.store.prepare(attempt.id)
        crash_point("switch.prepare.after")
        return attempt

    async def _perform(self, attempt: _Attempt, request: SwitchRequest, actor: Actor) -> dict[str, Any]:
        parts = self.parts
        parts.situation.move(_UNDER_WAY[attempt.direction])
        attempt.paused_at = clock.monotonic()
        try:
            async with asyncio.timeout(parts.settings.promotion.pause_timeout):
                fenced = await self._fence_drain_verify(attempt)
                intent = await self._intend(attempt, fenced)
        except (CutoverError, TimeoutError, OSError, asyncio.CancelledError) as error:
            await self._take_back(attempt, actor, error)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise SwitchAborted(f"The switch was taken back: {_why(error, parts)}") from error
        if not await self._commit(attempt, intent):
            await self._take_back(attempt, actor, None)
            raise SwitchAborted("The switch was taken back: the receiving store could not get its locks in time.")
        await self._finish(attempt, request, actor)
        result = self.position() | {
            "result": _DONE[attempt.direction],
            "pause_seconds": round(attempt.pause, 4),
            "switch_id": attempt.id,
        }
        if attempt.direction == "promote":
            result |= await run_smoke(parts, actor)
        return result | await self._warnings(attempt)

    async def _fence_drain_verify(self, attempt: _Attempt) -> Control:
        """Steps fence, drain and verify. Returns the giver's control row as it stands then."""
        parts = self.parts
        left = _deadline(parts.settings.promotion.pause_timeout)
        await parts.door.hold(parts.settings.promotion.grace)
        fenced = attempt.before.but(state=_FENCED[attempt.direction], switch_id=attempt.id)
        crash_point("switch.fence.before")
        await attempt.giver.store.fence(fenced, left() * _SHARE)  # its own error names who holds the locks
        crash_point("switch.fence.after")
        await parts.mirror.drain(left())
        crash_point("switch.drain.after")
        problems = await parts.comparator.quick_check(left())
        if problems:
            raise StoreError(f"The stores are not equal: {'; '.join(problems)}.")
        crash_point("switch.verify.after")
        return fenced

    async def _intend(self, attempt: _Attempt, fenced: Control) -> _Intent:
        """The last step that is taken back without asking: what will be committed, and the note that it may be sent."""
        parts, receiver = self.parts, attempt.receiver.store
        current = await receiver.control()
        control = (current or attempt.before).but(
            primary=receiver.name,
            epoch=attempt.before.epoch + 1,
            state=SwitchState.STEADY,
            switch_id=attempt.id,
            generation=parts.situation.generation,
            applied_batch=parts.mirror.batch,
            trimmed_batch=parts.mirror.batch,
        )
        floors = await attempt.giver.store.highest_keys()
        await attempt.giver.store.write_control(fenced.but(state=SwitchState.COMMITTING), expect=fenced)
        return _Intent(control, floors)

    async def _commit(self, attempt: _Attempt, intent: _Intent) -> bool:
        """Step commit. True if committed, False if certainly not.

        Raises `StoreUnavailable` when the receiver cannot say; the caller's recovery goes on asking.
        """
        crash_point("switch.commit.before")
        timeout = self.parts.settings.promotion.pause_timeout
        try:
            await attempt.receiver.store.receive(intent.control, attempt.id, timeout, floors=intent.floors)
            outcome = Outcome.COMMITTED
        except (CutoverError, OSError, TimeoutError) as error:
            _log.warning(f"The commit failed, or its answer was lost ({error}); the receiving store is asked.")
            outcome = await self._resolve(attempt)
        crash_point("switch.commit.after")
        return outcome is Outcome.COMMITTED

    async def _resolve(self, attempt: _Attempt) -> Outcome:
        """Find out, or make sure, what became of the commit. Raises `StoreUnavailable` if nobody can say yet."""
        left = _deadline(self.parts.settings.promotion.pause_timeout)
        while True:
            try:
                async with asyncio.timeout(max(left(), 1.0)):
                    return await attempt.receiver.store.tombstone(attempt.id)
            except (CutoverError, OSError, TimeoutError) as error:
                if left() <= 0:
                    self._unknown(attempt, error)
                    raise StoreUnavailable(
                        f"The outcome of the commit is not known yet: {error}",
                        hint="The primary stays fenced and the service keeps asking; see `cutover status`.",
                    ) from error
                await asyncio.sleep(0.2)

    def _unknown(self, attempt: _Attempt, error: Exception) -> None:
        situation = self.parts.situation
        situation.problem = (
            f"The commit of switch {attempt.id} may have happened and {attempt.receiver.store.name} cannot say: {error}"
        )
        situation.attached = False  # the recovery resolves it as it would after a kill
        situation.changed.set()

    async def _finish(self, attempt: _Attempt, request: SwitchRequest, actor: Actor) -> None:
        """Step finish: from here on the receiver is primary, whatever fails."""
        parts, situation = self.parts, self.parts.situation
        situation.pair = situation.pair.swapped()
        await parts.door.resume(attempt.receiver, situation.pair.epoch)
        attempt.pause = clock.monotonic() - attempt.paused_at
        situation.move(after(situation.phase, Event.COMMIT))
        parts.comparator.forget()
        await self._settle(attempt.giver.store)
        high = HighWater(attempt.before.pair_id, situation.pair.epoch, parts.mirror.batch)
        await asyncio.to_thread(write_high_water, parts.high_water, high)
        crash_point("switch.finish.after")
        parts.metrics.switches.labels(attempt.direction, "committed").inc()
        parts.metrics.switch_pause_seconds.observe(attempt.pause)
        record = await parts.trail.write(
            f"{attempt.direction}.committed",
            actor,
            switchId=attempt.id,
            approval=request.approval,
            reason=request.reason,
            epoch=situation.pair.epoch,
            pauseSeconds=attempt.pause,
        )
        self.last_pauses.append(
            {"direction": attempt.direction, "pause_seconds": attempt.pause, "at": record["createdAt"]}
        )

    async def _settle(self, giver: Store) -> None:
        """Make the giver the shadow and turn the mirror round. If the giver is away now, the recovery does it later."""
        parts, situation = self.parts, self.parts.situation
        try:
            await settle(parts, giver)
            await parts.mirror.start(situation.pair, situation.tables)
        except (CutoverError, OSError, TimeoutError) as error:
            situation.attached = False
            situation.attach_error = f"{giver.name} has yet to become the shadow: {error}"
            _log.warning(situation.attach_error)

    async def _take_back(self, attempt: _Attempt, actor: Actor, error: BaseException | None) -> None:
        """Abort: lift the fence and go on as before. For a fence that may or may not stand."""
        parts, situation = self.parts, self.parts.situation
        steady = attempt.before.but(state=SwitchState.STEADY, switch_id=None)
        try:
            await asyncio.shield(attempt.giver.store.release(steady))
        except (CutoverError, OSError, TimeoutError) as trouble:
            situation.problem = f"The switch failed, and its fence could not be lifted yet: {trouble}"
            situation.attached = False
            await parts.mirror.stop()  # attaching starts it under a new generation, which would refuse this one
            situation.changed.set()
        else:
            await parts.mirror.start(situation.pair, situation.tables)
        situation.move(after(situation.phase, Event.ABORT))
        if not situation.problem:
            await parts.door.resume(attempt.giver, situation.pair.epoch)
        attempt.pause = clock.monotonic() - attempt.paused_at
        reason = _why(error, parts) if error else "the receiving store could not get its locks in time"
        parts.metrics.switches.labels(attempt.direction, "aborted").inc()
        parts.metrics.switch_pause_seconds.observe(attempt.pause)
        await parts.trail.write(
            f"{attempt.direction}.aborted", actor, switchId=attempt.id, reason=reason, pauseSeconds=attempt.pause
        )

    async def _warnings(self, attempt: _Attempt) -> dict[str, Any]:
        """What the operator should look at after a switch."""
        found = []
        expected = self.parts.settings.service.expect_primary
        primary = self.parts.situation.pair.source.name
        if expected and expected != primary:
            found.append(
                f"The setting service.expect_primary is {expected}: the next start will be refused. "
                f"Set it (or HUMANONLY_STORAGE_BACKEND) to {primary}."
            )
        holders = await asyncio.to_thread(attempt.giver.store.holders)
        if holders:
            named = ", ".join(f"{name} ({pid})" for pid, name in holders)
            found.append(
                f"Still open in other processes: {named}. What they kept in memory they may write back after a way "
                "back; restart them."
            )
        return {"warnings": found} if found else {}


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
    await parts.mirror.inherit(situation.pair, situation.tables, generation)


def gate_json(gate: Gate) -> dict[str, Any]:
    """A gate as the API shows it."""
    return {"name": gate.name, "ok": gate.ok, "detail": gate.detail}


def _check_overrides(request: SwitchRequest, actor: Actor) -> None:
    if (request.override or request.force) and actor.role != "admin":
        raise SwitchRefused("Only an admin may override gates or force.", "forbidden", hint="Use the admin's token.")


def _deadline(seconds: float) -> Any:  # noqa: ANN401  # callable
    end = clock.monotonic() + seconds
    return lambda: end - clock.monotonic()


def _why(error: BaseException, parts: Parts) -> str:
    if isinstance(error, TimeoutError):
        return f"it was not done within pause_timeout ({parts.settings.promotion.pause_timeout:g} s)"
    return str(error) or type(error).__name__
