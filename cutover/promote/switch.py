"""The switch as an operator asks for it: who may, whether the gates let it through, what is recorded and answered.

request ─▶ role ─▶ phase ─▶ gates ─▶ audit ─▶ prepare ─▶ driver ─▶ audit ─▶ answer
             └───────┴────────┴─ refused, nothing changed    └─ taken back, nothing lost
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cutover.errors import StoreUnavailable, SwitchAborted, SwitchRefused
from cutover.model.control import Gate, Phase, SwitchState
from cutover.model.requests import Actor, SwitchRequest
from cutover.promote.driver import Driver
from cutover.promote.facts import gather, since_the_gates
from cutover.promote.gates import evaluate, require
from cutover.promote.parts import Parts
from cutover.promote.phases import after
from cutover.promote.plan import EXPLAINED, SWITCH
from cutover.promote.smoke import run_smoke
from cutover.promote.steps import BEGINS, Attempt, Direction

_DONE = {"promote": "promoted", "demote": "demoted"}
_PATIENCE = 15.0
"""Seconds to wait for what brings the stores into order. Nothing is paused meanwhile, so that `pause_timeout`, which
may be short, does not bound it."""


class Switch:
    """Promotes and demotes. One at a time."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._driver = Driver(parts)

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
        async with self.alone():
            done = self._already(direction)
            if done:
                return done
            after(situation.phase, BEGINS[direction])
            gates = await self.gates(direction)
            overridden = await self._pass_gates(direction, request, actor, gates)
            attempt = await self._prepare(direction, request, actor, gates, overridden)
            result = await self._perform(attempt, request, actor)
        if direction == "promote":
            result |= await run_smoke(self.parts, actor)
        return result | await self._warnings(attempt) | {"gates": [gate_json(gate) for gate in gates]}

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """No other switch, and no recovery, runs inside. Raises `SwitchRefused`."""
        situation = self.parts.situation
        if situation.switching:
            raise SwitchRefused("Another switch is under way.", "switch_in_progress", hint="Wait for its answer.")
        situation.switching = True
        try:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._acquire()
            except TimeoutError:
                raise SwitchRefused(
                    "The stores are being brought into order, and that is not done yet.",
                    "not_attached",
                    hint="See `cutover status`, and repeat.",
                ) from None
            try:
                yield
            finally:
                self.parts.switching.release()
        finally:
            situation.switching = False

    async def _acquire(self) -> None:
        """Tables that are mapped anew may wait for an open transaction, which a switch would roll back anyway."""
        grace = max(self.parts.settings.promotion.grace, 0.1)
        while True:
            try:
                async with asyncio.timeout(grace):
                    await self.parts.switching.acquire()
            except TimeoutError:
                if self.parts.situation.attached:
                    await self.parts.door.expel()
            else:
                return

    def _already(self, direction: Direction) -> dict[str, Any] | None:
        situation = self.parts.situation
        there = {"promote": self.parts.destination, "demote": self.parts.origin}[direction]
        if situation.phase is Phase.FINISHED and direction == "demote":
            raise SwitchRefused("The migration is finished; there is no way back.", "finished")
        if situation.pair.primary is not there or situation.phase in (Phase.PROMOTING, Phase.DEMOTING):
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

    async def _prepare(
        self, direction: Direction, request: SwitchRequest, actor: Actor, gates: list[Gate], overridden: list[str]
    ) -> Attempt:
        """Everything before the pause. Raises `SwitchRefused`, or `SwitchAborted` with nothing to take back."""
        parts, pair = self.parts, self.parts.situation.pair
        control = await pair.source.control()
        if control is None or control.epoch != pair.epoch or control.state is not SwitchState.STEADY:
            raise SwitchRefused(
                f"The control row of {pair.source.name} is not what this service wrote: {control}.",
                "control_changed",
                hint="`cutover inspect` shows what stands there; restart the service, and it says what it finds.",
            )
        attempt = Attempt(str(uuid.uuid4()), direction, pair.primary, pair.shadow, control, tuple(overridden))
        await parts.trail.write(
            f"{direction}.requested",
            actor,
            switchId=attempt.id,
            approval=request.approval,
            reason=request.reason,
            epoch=pair.epoch,
            overridden=overridden,
            gates={gate.name: gate.ok for gate in gates},
        )
        try:
            path, digest = await self._driver.steps.prepare(attempt)
            await parts.trail.write("backup", actor, path=path, sha256=digest, switchId=attempt.id)
            await self._driver.steps.count(attempt)
            if problems := await since_the_gates(parts, gates):
                raise SwitchAborted("; ".join(problems))
            await self._driver.steps.catch_up(attempt)
        except Exception as error:
            await self._ended(attempt, "aborted", actor, reason=f"it could not be prepared: {error}")
            raise SwitchAborted(f"The switch could not be prepared, and nothing was changed: {error}") from error
        return attempt

    async def _perform(self, attempt: Attempt, request: SwitchRequest, actor: Actor) -> dict[str, Any]:
        try:
            pause = await self._driver.run(attempt)
        except SwitchAborted as aborted:
            await self._ended(attempt, "aborted", actor, reason=aborted.message)
            raise
        except StoreUnavailable:
            raise  # not known yet; the recovery records how it ended
        await self._ended(
            attempt,
            "committed",
            actor,
            approval=request.approval,
            reason=request.reason,
            epoch=self.parts.situation.pair.epoch,
        )
        return self.position() | {
            "result": _DONE[attempt.direction],
            "pause_seconds": round(pause, 4),
            "steps_seconds": {name: round(seconds, 4) for name, seconds in attempt.seconds.items() if name != "pause"},
            "switch_id": attempt.id,
        }

    async def _ended(self, attempt: Attempt, how: str, actor: Actor, **told: object) -> None:
        metrics, pause = self.parts.metrics, attempt.seconds.get("pause")
        metrics.switches.labels(attempt.direction, how).inc()
        if pause is not None:
            metrics.switch_pause_seconds.observe(pause)
            told |= {"pauseSeconds": pause, "stepsSeconds": attempt.seconds}
        await self.parts.trail.write(f"{attempt.direction}.{how}", actor, switchId=attempt.id, **told)

    async def _warnings(self, attempt: Attempt) -> dict[str, Any]:
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


def gate_json(gate: Gate) -> dict[str, Any]:
    """A gate as the API shows it."""
    return {"name": gate.name, "ok": gate.ok, "detail": gate.detail}


def _check_overrides(request: SwitchRequest, actor: Actor) -> None:
    if (request.override or request.force) and actor.role != "admin":
        raise SwitchRefused("Only an admin may override gates or force.", "forbidden", hint="Use the admin's token.")
