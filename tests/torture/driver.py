"""Performs the plan: switches, verifications and faults, until the time is over; then lets everything heal."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from typing import Any

import aiohttp

from tests.torture.account import Account
from tests.torture.faults import Faults
from tests.torture.place import Place
from tests.torture.plan import Step

_HEALED_WITHIN = 120.0
_AWAY = (aiohttp.ClientError, OSError, TimeoutError)


class Driver:
    """One step after the other."""

    def __init__(self, place: Place, account: Account, faults: Faults) -> None:
        self.place, self.account, self.faults = place, account, faults
        self.switches: dict[str, int] = {}
        self.approvals: set[str] = set()
        self._blows: set[asyncio.Task[None]] = set()

    async def run(self, steps: Iterable[Step], seconds: float) -> None:
        """Steps until `seconds` have passed."""
        until = time.monotonic() + seconds
        for number, step in enumerate(steps, 1):
            await asyncio.sleep(step.gap)
            if time.monotonic() > until:
                return
            await self._perform(number, step)

    async def _perform(self, number: int, step: Step) -> None:
        self.account.event(f"step {number}: {step}")
        self.place.clear_backups()
        plain = not step.blows and not self._blows and self.account.is_calm
        if step.verify:
            await self._verify(plain=plain)
        self.faults.switch_over.clear()
        for blow in step.blows:
            task = asyncio.create_task(self.faults.strike(blow))
            self._blows.add(task)
            task.add_done_callback(self._landed)
        if step.switch:
            await self._switch(plain=plain)
        self.faults.switch_over.set()
        if step.calm:
            await self.heal()

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._blows.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.account.problem("the torture itself failed", repr(error))

    async def heal(self) -> None:
        """Wait until the faults are over and all is well again, which must need nobody."""
        while self._blows:
            await asyncio.wait(set(self._blows))
        began = time.monotonic()
        last: Any = None
        while time.monotonic() - began < _HEALED_WITHIN:
            await self._supervise()
            try:
                last = await asyncio.wait_for(self.place.service.status(), 20)
            except _AWAY as error:
                last = repr(error)
            except AssertionError as error:
                last = str(error)
            else:
                well = last["attached"] and not last["problem"] and last["mirror"]["state"] == "running"
                if well and last["phase"] in ("shadowing", "promoted"):
                    self.account.calm()
                    if time.monotonic() - began > 1:
                        self.account.event(f"  all is well after {time.monotonic() - began:.1f} s")
                    return
            await asyncio.sleep(0.1)
        self.account.problem("the pair did not come back by itself", f"after {_HEALED_WITHIN:.0f} s: {last}")
        raise Broken

    async def _supervise(self) -> None:
        """A service that ended by itself is started again, as a supervisor would. None should, whatever is amiss."""
        process = self.place.service.process
        if process is None or process.returncode is None:
            return
        log = [line for line in self.place.service.log.read_text().splitlines() if '"event":"request"' not in line]
        said = log[-1] if log else "nothing"
        self.account.problem("the service ended by itself", f"exit code {process.returncode}: ... {said[-700:]}")
        self.account.disturb()
        await self.place.start_service()

    async def _verify(self, *, plain: bool) -> None:
        try:
            result = await self.place.service.verified()
        except (*_AWAY, AssertionError) as error:
            found = re.search("'error': '([^']*)'", str(error))
            self.account.event(f"  verification: {found[1] if found else repr(error)[:300]}")
            if plain:
                self.account.problem("a verification failed where no fault acted", str(error)[:1000])
            return
        self.account.event(f"  verified: {result['rows']} rows, {result['drift_rows']} differ")
        if result["drift_rows"]:
            _, drift = await self.place.service.request("GET", self.place.service.admin + "/v1/drift")
            self.account.problem("a verification found drift, and nobody tampered", str(drift)[:2000])

    async def _switch(self, *, plain: bool) -> None:
        """To whichever side it is not. A plain one must go through; gates may refuse it after a fault.

        On a busy machine the mirror may be more than a second behind just when it is asked for, many times in a row.
        """
        said, until = "", time.monotonic() + (_HEALED_WITHIN if plain else 0)
        while not said or time.monotonic() < until:
            self.place.switching = True
            said = await self._ask()
            self.place.switching = False
            if said in ("promoted", "demoted"):
                return
            await self._verify(plain=False)
        if plain:
            self.account.problem("a switch did not go through where no fault acted", said)

    async def _ask(self) -> str:
        service = self.place.service
        try:
            status = await asyncio.wait_for(service.status(), 10)
            direction = "demote" if status["primary"] == "postgres" else "promote"
            approval = f"TORTURE-{len(self.approvals) + 1}"
            self.approvals.add(approval)
            code, body = await service.post(f"/v1/{direction}", approval=approval)
        except (*_AWAY, AssertionError) as error:
            self._count("without an answer")
            self.account.event(f"  switch: {error!r}")
            return repr(error)
        if code == 200:
            self._count(body["result"])
            pause = body.get("pause_seconds", 0)
            self.account.event(f"  {body['result']}: epoch {body['epoch']}, pause {pause * 1000:.0f} ms")
            return str(body["result"])
        error_code = body["error"]["code"] if isinstance(body, dict) else str(body)[:200]
        self._count(error_code)
        detail = [gate["name"] for gate in body.get("gates", []) if not gate["ok"]] if isinstance(body, dict) else []
        message = body["error"]["message"] if isinstance(body, dict) and not detail else ""
        self.account.event(f"  {direction}: {error_code} {detail or ''} {message}")
        return f"{error_code} {detail or message}"

    def _count(self, result: str) -> None:
        self.switches[result] = self.switches.get(result, 0) + 1


class Broken(Exception):
    """There is no sense in going on."""
