"""What operators can do and see, in JSON-ready values: the service behind the admin listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from prometheus_client import generate_latest

from cutover import clock
from cutover.audit import read_records
from cutover.compare.jsonable import json_key
from cutover.compare.verify import no_such_table
from cutover.errors import CutoverError, SwitchRefused
from cutover.model.control import Phase, SwitchState
from cutover.model.requests import Actor, StatementsRequest, SwitchRequest
from cutover.promote.facts import rehearse_now
from cutover.promote.finish import finish
from cutover.promote.force import demote_by_force
from cutover.promote.overview import Overview
from cutover.promote.parts import Parts
from cutover.promote.report import build_report
from cutover.promote.switch import Switch

Json = dict[str, Any]

_LOOK = 5.0
"""Seconds that it may take to rehearse what was just seen before it is told."""
_TURN = 3.0
"""Seconds to wait for a turn of the mirror that is under way when it is paused."""


class Operations:
    """Implements the contract of `admin/operations.py`."""

    def __init__(self, parts: Parts, switch: Switch) -> None:
        self.parts = parts
        self.switch = switch
        self.overview = Overview(parts, switch)
        self.closing = asyncio.Event()

    # -- seeing ------------------------------------------------------------------------------------------------------

    async def status(self) -> Json:
        """`GET /v1/status`."""
        return await self.overview.status()

    async def ready(self) -> tuple[bool, str]:
        """Whether writes can be taken, and if not, why."""
        return await self.overview.ready()

    async def refresh_metrics(self) -> None:
        """Compute the gauges that are computed when asked."""
        await self.overview.refresh_metrics()

    def metrics_text(self) -> bytes:
        """Prometheus exposition."""
        return generate_latest(self.parts.metrics.registry)

    async def events(self) -> AsyncIterator[Json]:
        """Status once a second and at every change of phase, until shutdown."""
        last: tuple[str, int] | None = None
        while not self.closing.is_set():
            status = await self.status()
            position = (status["phase"], status["epoch"])
            if last is not None and position != last:
                yield {"event": "phase", "data": {"phase": status["phase"], "epoch": status["epoch"]}}
            last = position
            yield {"event": "status", "data": status}
            with suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), 1.0)

    # -- switching ---------------------------------------------------------------------------------------------------

    async def promote(self, request: SwitchRequest, actor: Actor) -> Json:
        """Make the destination primary."""
        return await self._switched(self.switch.run("promote", request, actor))

    async def demote(self, request: SwitchRequest, actor: Actor) -> Json:
        """Make the origin primary again."""
        if request.force:
            return await self._switched(demote_by_force(self.parts, self.switch, request, actor))
        return await self._switched(self.switch.run("demote", request, actor))

    async def finish(self, request: SwitchRequest, actor: Actor) -> Json:
        """End the migration."""
        return await self._switched(finish(self.parts, self.switch, request, actor))

    async def _switched(self, switching: Any) -> Json:  # noqa: ANN401  # a coroutine
        """An operator who hangs up does not cut a switch off."""
        task = asyncio.ensure_future(switching)
        try:
            result: Json = await asyncio.shield(task)
        finally:
            self.overview.gates_changed()
        return result

    # -- comparing ---------------------------------------------------------------------------------------------------

    async def verify(self, tables: Sequence[str] | None, actor: Actor) -> Json:
        """Start a full verification, or return the running one."""
        self._shadowed()
        self._known(tables)
        started = self.parts.comparator.start_verify(tables)
        await self.parts.trail.write("verify", actor, id=started.id, tables=list(tables) if tables else "all")
        return {"id": started.id, "state": "running"}

    async def verification(self) -> Json:
        """Progress and result of the latest."""
        found = self.parts.comparator.verification_json()
        stopped = sorted(self.parts.situation.stopped.items())
        told = [f"{name} was not compared: it is stopped. {reason}" for name, reason in stopped]
        return {**found, "problems": [*found.get("problems", []), *told]}

    async def drift(self, table: str | None, limit: int) -> Json:
        """The differing rows that are known."""
        self._known([table] if table else None)
        return self.parts.comparator.drifts(table, limit)

    async def explain(self, table: str, key: Sequence[Any]) -> Json:
        """One row on both sides."""
        self._shadowed()
        self._known([table])
        return await self.parts.comparator.explain(table, key)

    async def repair(self, table: str | None, dry_run: bool, actor: Actor) -> Json:
        """Make the shadow equal to the primary for drifted rows."""
        self._shadowed()
        self._known([table] if table else None)
        result = await self.parts.comparator.repair(table, dry_run=dry_run)
        if not dry_run:
            await self.parts.trail.write(
                "repair", actor, table=table or "all", repaired=result["repaired"], remaining=result["remaining"]
            )
        return result

    async def quarantine(self) -> Json:
        """Rows that the shadow cannot hold."""
        rows = await self.parts.situation.pair.target.quarantined()
        return {
            "quarantined_rows": len(rows),
            "rows": [
                {"table": row.table, "key": json_key(row.key), "reason": row.reason, "since": clock.iso(row.since)}
                for row in rows
            ],
        }

    async def statements(self, wanted: StatementsRequest) -> Json:
        """Readiness of the statements that the front door has seen, and what became of each shape of them."""
        await rehearse_now(self.parts, _LOOK)
        registry = self.parts.statements
        summary: Json = registry.summary()
        summary["shadow_reads"] = registry.shadow_reads()
        summary["shadow_writes"] = registry.shadow_writes()
        summary["rows"], summary["next"] = registry.listed(wanted)
        if not wanted.after:
            summary |= {"schema_changes": registry.schema_changes(), "shapes": self.parts.door.shapes.rows()}
        return summary

    async def rehearse(self, statements: Sequence[str], behind: Sequence[str] = ()) -> Json:
        """Rehearse these, whether the front door has seen them or not. `behind`: schema changes that come before."""
        return await self.parts.statements.ask(statements, behind)

    async def forget(self, actor: Actor) -> Json:
        """Have statements of before the service was started count no longer, unless they came again.

        So are those that differed with rows that are gone.
        """
        matching = self.parts.statements.let_go()
        told = {"forgotten": await self.parts.statements.forget()} | ({"matching": matching} if matching else {})
        await self.parts.trail.write("statements.forget", actor, **told)
        return told

    def _shadowed(self) -> None:
        """Raises `SwitchRefused` once there is no shadow any more."""
        if self.parts.situation.phase is Phase.FINISHED:
            origin = self.parts.origin.store.name
            raise SwitchRefused(f"The migration is finished: {origin} stands as it was then.", "finished")

    def _known(self, tables: Sequence[str] | None) -> None:
        """Raises `NoSuchTable`."""
        mapped = self.parts.situation.tables
        names = {table.name for table in mapped}
        for name in tables or ():
            if name not in names:
                raise no_such_table(name, mapped)

    # -- doing -------------------------------------------------------------------------------------------------------

    async def mirror(self, action: Literal["pause", "resume"], actor: Actor) -> Json:
        """Pause or resume the mirror. Changes go on being captured."""
        self._shadowed()
        if action == "pause":
            self.parts.mirror.pause()
            await self.parts.mirror.at_rest(_TURN)  # so that what is written from now on waits
        else:
            self.parts.mirror.resume()
        await self.parts.trail.write(f"mirror.{action}", actor)
        return await self.overview.mirror_status()

    async def backup(self, path: str | None, actor: Actor) -> Json:
        """A consistent, checked copy of the SQLite database, and of the application's audit log if one is named."""
        stamp = clock.iso().replace(":", "").replace(".", "")
        target = Path(path) if path else self.parts.backups / f"backup-{stamp}.sqlite"
        target = target.absolute()
        if path and not await asyncio.to_thread(target.parent.is_dir):
            raise CutoverError(f"There is no folder {target.parent}.", hint="Make it, or name a file elsewhere.")
        digest = await self.parts.origin.store.backup(str(target))
        result: Json = {
            "path": str(target),
            "sha256": digest,
            "bytes": target.stat().st_size,
            "restore": f"Stop the service and the application, copy {target} over {self.parts.settings.sqlite.path}, "
            "remove its -wal and -shm files, start again. Only while SQLite is primary: the file remembers its epoch.",
        }
        if self.parts.settings.service.application_audit_log:
            from cutover.promote.applog import copy_application_log

            log = self.parts.settings.service.application_audit_log
            result["application_audit_log"] = await asyncio.to_thread(copy_application_log, log, target)
        await self.parts.trail.write("backup", actor, **{name: result[name] for name in ("path", "sha256", "bytes")})
        return result

    async def backfill(self, tables: Sequence[str] | None, actor: Actor, *, new_target: bool = False) -> Json:
        """Copy these tables again; with `new_target`, to a Postgres that was never paired, in place of a lost one."""
        if new_target:
            return await self._new_target(actor)
        self._shadowed()
        self._known(tables)
        situation = self.parts.situation
        names = list(tables) if tables else [table.name for table in situation.tables]
        if situation.returned:  # the record itself is the word: it outlasts this process
            names = [table.name for table in situation.tables]
            await self.parts.trail.write(
                "backfill", actor, tables=names, reason="asked for", returned=situation.returned
            )
            situation.changed.set()
            return {"tables": names}
        await self.parts.mirror.copy_again(names)
        await self.parts.trail.write("backfill", actor, tables=names, reason="asked for")
        return {"tables": names}

    async def _new_target(self, actor: Actor) -> Json:
        parts, origin = self.parts, self.parts.origin.store
        async with parts.switching:
            control = await origin.control()
            steady = control is not None and control.state is SwitchState.STEADY and control.primary == origin.name
            if control is None or not steady:
                raise SwitchRefused(
                    f"Only while {origin.name} is primary can another target be taken.",
                    "wrong_phase",
                    hint="If Postgres was primary and is lost, demote by force first.",
                )
            if parts.situation.attached:
                raise SwitchRefused("The paired Postgres answers.", "not_lost", hint="Use backfill without new_target.")
            peer = control.peer.system if control.peer else None
            await parts.trail.write("backfill", actor, tables=[], reason="new target", givenUp=peer)
            await origin.write_control(control.but(peer=None), expect=control)
        parts.situation.changed.set()
        return {"tables": [table.name for table in parts.situation.tables]}

    async def refused(self, action: str, actor: Actor, reason: str, approval: str) -> None:
        """Record a refusal by role, as a switch records its own."""
        await self.parts.trail.write(f"{action}.refused", actor, approval=approval, reason=reason)

    async def audit(self, limit: int) -> Json:
        """Recent records, newest last."""
        return {"records": await asyncio.to_thread(read_records, self.parts.trail.log.path, limit)}

    async def report(self) -> Json:
        """Evidence for a change ticket."""
        return await build_report(self.parts, self.switch, await self.status())
