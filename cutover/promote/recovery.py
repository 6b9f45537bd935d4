"""Bringing the pair into order: at every start, and again whenever the two stores lost each other.

`attach` is idempotent and works from durable state alone. While it cannot decide, SQLite's fence (if it stands) stays,
the situation says why, and the loop asks again; it never guesses and never changes the primary on its own.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from cutover.crashpoints import crash_point
from cutover.errors import CutoverError, StoreError
from cutover.logs import counted, get_logger
from cutover.model.control import Control, SwitchState
from cutover.model.requests import SERVICE
from cutover.model.table import Tables
from cutover.promote.backups import ensure_backup
from cutover.promote.finish import dismantle
from cutover.promote.lost import save_lost_writes
from cutover.promote.parts import Parts
from cutover.promote.phases import at_rest
from cutover.promote.plan import Decision, Facts, Standing, compare_controls, local_is_old, plan_recovery
from cutover.promote.records import close_records, record_recovery, recorded
from cutover.promote.smoke import run_smoke
from cutover.promote.steps import settle

_log = get_logger("recovery")

_MIDDLE = (SwitchState.PROMOTING, SwitchState.DEMOTING, SwitchState.COMMITTING)


async def mend_capture(parts: Parts) -> list[str]:
    """Make capture whole on both stores; returns what was wrong on the primary.

    A store logs a table whose capture was broken as changed as a whole, in the transaction that mends it; so whatever
    was written meanwhile is copied again, also after a kill right here.
    """
    problems = await parts.situation.pair.source.check_capture()
    await parts.situation.pair.source.install_capture()
    await parts.situation.pair.target.install_capture()
    if problems:
        await parts.trail.write("capture.repaired", SERVICE, problems=problems)
    return problems


class Attachment:
    """Keeps the two stores attached: a service."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._backoff = 0.2
        self._mapped: Tables = ()
        self._promoted = False
        """A promotion was completed here, so its smoke command has yet to run."""

    async def run(self) -> None:
        """Attach, and attach again whenever the situation says that it is lost. Runs until cancelled."""
        situation = self.parts.situation
        async with asyncio.TaskGroup() as beside:
            while True:
                if not situation.attached:
                    async with self.parts.switching:
                        await self._try()
                if self._promoted:
                    self._promoted = False
                    beside.create_task(self._smoke())
                if situation.attached:
                    self._backoff = 0.2
                    situation.changed.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(situation.changed.wait(), 1.0)
                else:
                    await asyncio.sleep(self._backoff)
                    self._backoff = min(self._backoff * 2, 2.0)

    async def _smoke(self) -> None:
        """What the operator wanted run after the promotion, though nobody waits for its answer any more."""
        try:
            await run_smoke(self.parts, SERVICE)
        except Exception:  # noqa: BLE001  # loop must live
            _log.exception("The smoke command could not be run.")

    async def _try(self) -> None:
        situation = self.parts.situation
        before = situation.attach_error
        try:
            await self.attach()
        except (CutoverError, OSError, TimeoutError) as error:
            situation.attach_error = str(error) or type(error).__name__
        except Exception as error:  # noqa: BLE001  # loop must live
            _log.exception("Attaching the stores met an error it does not know; it tries again.")
            situation.attach_error = str(error) or type(error).__name__
        if situation.attach_error and situation.attach_error != before:
            _log.warning(f"The stores are not attached: {situation.attach_error}")

    async def attach(self) -> None:
        """One attempt. Raises the reason why the stores cannot be attached now."""
        parts = self.parts
        origin, destination, situation = parts.origin.store, parts.destination.store, parts.situation
        await parts.prepare_destination()
        await destination.open()
        local = await origin.control()
        assert local is not None, "open_origin wrote one"
        peer = await destination.control()
        if peer is None:
            local, peer = await self._introduce(local)
        else:
            await parts.trail.demand(peer)
            situation.tables = await parts.map_tables(create=False)
        local, peer = await self._resolve_interrupted(local, peer)
        copy_again = await self._compare(local, peer)
        local, peer = await self._controls()
        situation.pair = parts.pair_of(local)
        if SwitchState.FINISHED in (local.state, peer.state):
            await self._stand_finished(local, peer)
            return
        await self._begin(local, peer, copy_again=copy_again)

    async def lost(self, why: str) -> None:
        """A store went away: attach again, because what comes back may not be what went."""
        situation = self.parts.situation
        if situation.attached and not self.parts.switching.locked():
            async with self.parts.switching:  # an attempt that ends before the mirror stops would leave it so
                situation.attached, situation.attach_error = False, why
                await self.parts.mirror.stop()
            situation.changed.set()

    async def _controls(self) -> tuple[Control, Control]:
        local, peer = await self.parts.origin.store.control(), await self.parts.destination.store.control()
        assert local is not None
        assert peer is not None
        return local, peer

    async def _introduce(self, local: Control) -> tuple[Control, Control]:
        """A Postgres that has never met this SQLite file. Only where SQLite has never had another (hazard 3)."""
        parts = self.parts
        if local.peer is not None or local.state is not SwitchState.STEADY or local.primary != parts.origin.store.name:
            raise StoreError(
                "This Postgres holds no control row, but the SQLite file is paired with another server "
                f"({local.peer.system if local.peer else 'unknown'}).",
                hint="Point postgres.url at the paired server. If it is lost for good: demote by force if it was "
                "primary, then pair with this one by `cutover backfill --new-target`.",
            )
        origin = parts.origin.store
        broken = await origin.check_capture()
        parts.situation.tables = await parts.map_tables(create=True)
        if not broken:  # tables whose types only their data tell are new to capture, not broken
            await origin.install_capture()
        await parts.destination.store.initialise(Control(local.pair_id, local.primary, local.epoch))
        identity = await parts.destination.store.identity()
        paired = local.but(peer=identity)
        await parts.origin.store.write_control(paired, expect=local)
        return await self._controls()

    async def _resolve_interrupted(self, local: Control, peer: Control) -> tuple[Control, Control]:
        """A switch that was cut off: decide by `plan_recovery`, act, and look again, until there is nothing to do."""
        parts = self.parts
        while True:
            giver, receiver, row, other = parts.origin, parts.destination, local, peer
            if local.state not in _MIDDLE:
                giver, receiver, row, other = parts.destination, parts.origin, peer, local
            outcome = await receiver.store.outcome(row.switch_id or "")
            same = local.peer is None or local.peer == await parts.destination.store.identity()
            recovery = plan_recovery(Facts(row, True, other, outcome, same))
            match recovery.decision:
                case Decision.NOTHING | Decision.SUPERSEDED:
                    return local, peer
                case Decision.WAIT:
                    parts.situation.problem = recovery.reason
                    raise StoreError(recovery.reason)
                case Decision.RESOLVE:
                    crash_point("recovery.resolve.before")
                    await receiver.store.tombstone(row.switch_id or "")
                    crash_point("recovery.resolve.after")
                case Decision.ABORT:
                    crash_point("recovery.abort.before")
                    await giver.store.release(row.but(state=SwitchState.STEADY, switch_id=None))
                    crash_point("recovery.abort.after")
                case Decision.SETTLE:
                    crash_point("recovery.settle.before")
                    await ensure_backup(parts, row.switch_id or "")
                    await self._settle_giver(giver.store.name)
                    crash_point("recovery.settle.after")
            await record_recovery(parts, recovery.decision, row.switch_id, recovery.reason)
            local, peer = await self._controls()

    async def _settle_giver(self, giver: str) -> None:
        """The receiver's row is right about primary and epoch; the giver learns it."""
        parts = self.parts
        receiver = parts.destination if giver == parts.origin.store.name else parts.origin
        row = await receiver.store.control()
        assert row is not None
        parts.situation.pair = parts.pair_of(row)
        parts.mirror.batch = row.trimmed_batch
        await settle(parts, parts.member(giver).store)

    async def _compare(self, local: Control, peer: Control) -> bool:
        """Whether everything must be copied again. Raises `StoreError` where the two do not belong together."""
        parts = self.parts
        if SwitchState.FINISHED in (local.state, peer.state):
            return False
        same = local.peer is None or local.peer == await parts.destination.store.identity()
        standing, reason = compare_controls(local, peer, same_server=same)
        if standing is Standing.AGREE:
            return False
        if standing is Standing.REFUSE:
            if parts.situation.pair.primary is parts.destination or local_is_old(local, peer):
                await self._take_no_writes(local, peer, reason)
            raise StoreError(reason, hint="Nothing was changed; docs/reliability.md tells the ways out.")
        if standing is Standing.PEER_RETURNED:
            await self._receive_back(peer, reason)
        if peer.epoch < local.epoch:
            await self._adopt(peer)
        await record_recovery(parts, standing, None, reason)
        return True

    async def _take_no_writes(self, local: Control, peer: Control, reason: str) -> None:
        """The primary is not what it was: take no more writes through the front door, and record why, once."""
        if self.parts.situation.problem == reason:
            return
        self.parts.situation.problem = reason
        await self.parts.door.hold(0)
        await self.parts.trail.write(
            "recovery", SERVICE, decision="refuse", reason=reason, epochs=[local.epoch, peer.epoch]
        )

    async def _receive_back(self, peer: Control, reason: str) -> None:
        """A primary that was given up by force: fence it, save what only it has, and wait for an operator's word.

        Raises `StoreError` until an operator wants everything copied to it again, which overwrites what it has.
        """
        parts, store = self.parts, self.parts.destination.store
        await store.fence(peer.but(state=SwitchState.DEMOTING), parts.settings.promotion.pause_timeout)
        crash_point("recovery.returned.fenced")
        file = parts.lost_writes(peer.epoch)
        if not await asyncio.to_thread(recorded, parts, "recovery.lost_writes", file=str(file)):
            told = await save_lost_writes(parts.situation.tables, store, parts.origin.store, file)
            crash_point("recovery.returned.saved")
            await parts.trail.write("recovery.lost_writes", SERVICE, file=str(file), **told)
        situation, situation.returned = parts.situation, str(file)
        if not await asyncio.to_thread(recorded, parts, "backfill", returned=str(file)):
            situation.move(at_rest(copying=True))
            raise StoreError(
                f"{reason} It takes no writes, and nothing is mirrored to it.",
                hint=f"What only it has is saved in {file}. `cutover backfill` copies everything to it again, and "
                "overwrites what it has.",
            )

    async def _adopt(self, peer: Control) -> None:
        """A Postgres of an earlier epoch becomes the shadow of this one. Nothing that it holds is believed."""
        parts, situation = self.parts, self.parts.situation
        store = parts.destination.store
        local = await parts.origin.store.control()
        assert local is not None
        crash_point("recovery.adopt.before")
        await store.forget_progress(list(await store.progress()))
        generation = max(peer.generation, situation.generation)
        await store.settle(
            peer.but(
                primary=local.primary,
                epoch=local.epoch,
                state=SwitchState.STEADY,
                switch_id=None,
                generation=generation,
                applied_batch=max(peer.applied_batch, local.trimmed_batch),
            )
        )
        crash_point("recovery.adopt.after")

    async def _stand_finished(self, local: Control, peer: Control) -> None:
        parts, situation = self.parts, self.parts.situation
        if peer.state is not SwitchState.FINISHED:
            await dismantle(parts, resumed=True)
        if local.state is not SwitchState.FINISHED:
            await parts.origin.store.write_control(local.but(state=SwitchState.FINISHED), expect=local)
        await parts.mirror.stop()
        situation.attached, situation.attach_error, situation.problem = True, "", ""
        await parts.door.resume(situation.pair.primary, situation.pair.epoch)
        situation.move(at_rest(finished=True))
        await close_records(parts)

    async def _begin(self, local: Control, peer: Control, *, copy_again: bool) -> None:
        """Both stores agree: take over, install capture, start the mirror, open the door."""
        parts, situation = self.parts, self.parts.situation
        before, situation.tables = self._mapped, await parts.map_tables(create=True)
        if situation.generation <= max(local.generation, peer.generation):
            situation.generation = max(local.generation, peer.generation) + 1
        for store in (situation.pair.source, situation.pair.target):
            await store.take_over(situation.generation)
            crash_point("recovery.take_over.after")
        problems = await mend_capture(parts)
        crash_point("recovery.mend.after")
        if copy_again:
            await situation.pair.target.forget_progress([table.name for table in situation.tables])
            parts.comparator.forget()
        if problems or before != situation.tables:
            parts.comparator.forget()
        self._mapped = situation.tables
        parts.mirror.generation = situation.generation
        parts.mirror.batch = (local if local.primary == parts.origin.store.name else peer).trimmed_batch
        await parts.note_high_water(local, parts.mirror.batch)
        await parts.mirror.start(situation.pair, situation.tables)
        situation.attached, situation.attach_error, situation.problem = True, "", ""
        situation.returned = ""
        await parts.door.resume(situation.pair.primary, situation.pair.epoch)
        self._enter_phase()
        crash_point("recovery.begin.after")
        self._promoted = (await close_records(parts))[-1:] == ["promote"]
        _log.info(
            f"{situation.pair.source.name} is primary (epoch {situation.pair.epoch}), "
            f"{situation.pair.target.name} is its shadow of {counted(len(situation.tables), 'table')}.",
            generation=situation.generation,
        )

    def _enter_phase(self) -> None:
        situation, mirror = self.parts.situation, self.parts.mirror
        promoted = situation.pair.primary is self.parts.destination
        situation.move(at_rest(promoted=promoted, copying=mirror.catching_up))
