"""The SQLite file as a store: a thin table of contents. What each part does is in the module it names."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from cutover.errors import CutoverError, FenceTimeout, StoreUnavailable
from cutover.logs import get_logger
from cutover.model.control import BackfillProgress, Control, Identity, Outcome, StoreName, SwitchState
from cutover.model.table import Tables
from cutover.model.values import Pending, Quarantined
from cutover.schema import formats
from cutover.schema.objects_wanted import SchemaObject
from cutover.schema.sqlite_schema import SqliteSchema, read_sqlite_schema
from cutover.stores.base import Applier, Snapshot
from cutover.stores.sqlite import altering, backup, capture, control, resting, switch
from cutover.stores.sqlite.applier import FenceWatch, open_applier
from cutover.stores.sqlite.capture import LogToken
from cutover.stores.sqlite.connected import Connected, tidily
from cutover.stores.sqlite.connection import settled, speaking
from cutover.stores.sqlite.fencing import write_in_turn_within, write_within
from cutover.stores.sqlite.owner import holders
from cutover.stores.sqlite.probe import free_bytes, probe
from cutover.stores.sqlite.schemawatch import SchemaWatch, begin_read
from cutover.stores.sqlite.snapshot import SqliteSnapshot

T = TypeVar("T")

_log = get_logger("sqlite")

_ANCHOR_TIMEOUT = 1.0
"""Seconds to get the write lock for the audit log's anchor, which the next record moves anyway."""

_ANCHOR_PATIENCE = 0.5
"""Seconds that it waits for transactions that have read: a switch may wait for it."""

_LITTLE_ROOM = 1 << 20
"""Free bytes from which on nothing has to be tried."""

_MOST_PASSED_OVER = 10_000
"""Entries that are mirrored and still in the log."""


class SqliteStore(Connected):
    """Implements `stores.base.Store` on a SQLite file in WAL mode."""

    name: StoreName = "sqlite"

    def __init__(
        self,
        path: str,
        *,
        busy_timeout: float = 5.0,
        readers: int = 4,
        poll_interval: float = 0.05,
        owner_lock: Path | None = None,
    ) -> None:
        """`busy_timeout` and `poll_interval` in seconds; `owner_lock` as `owner.owner_lock_path` gives it, or none."""
        super().__init__(path, busy_timeout, readers, poll_interval, owner_lock)
        self._tables: Tables = ()
        self._held: Tables = ()
        self._fence_watch = FenceWatch()
        self._rebuilding: asyncio.Task[None] | None = None
        self._schema_watch = SchemaWatch()
        self._passed = LogToken(0)
        """What the log still holds up to here is mirrored."""
        self._passed_over = 0

    async def close(self) -> None:
        """Close every connection, then let go of the owner's lock."""
        if self._rebuilding is not None:
            self._rebuilding.cancel()
            await asyncio.wait({self._rebuilding})
        await super().close()

    # -- control -------------------------------------------------------------------------------------------------

    def serve_tables(self, tables: Tables, held: Tables = ()) -> None:
        """What is mapped, and what is fenced all the same."""
        self._tables, self._held = tables, held

    async def read_schema(self) -> SqliteSchema:
        """The schema of the file."""
        return await self._look(read_sqlite_schema, "reading the schema")

    async def alter(self, statements: Sequence[str]) -> None:
        """Run DDL, all of it or nothing."""

        def work(connection: sqlite3.Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        await self._keep(work, "altering the schema")

    async def take_schema_over(self, changes: Sequence[SchemaObject]) -> list[str]:
        """Make schema changes that are missing, all or none. Returns the tables that were made anew, empty."""
        async with speaking("taking schema changes over"), self.courtesy.write(self.writer_turn):
            return await settled(self._writer.run(partial(tidily, partial(altering.take_over, changes=changes))))

    async def control(self) -> Control | None:
        """The control row."""
        return await self._look(control.read_control, "reading the control row")

    async def demand_room(self) -> None:
        """Where hardly anything is free, a small write tells: the WAL may have room of its own. Whoever has the turn or
        the lock has it for a write, and is told by that."""
        if await asyncio.to_thread(free_bytes, self.path) >= _LITTLE_ROOM:
            return
        async with speaking("writing to see whether there is room"), self.courtesy.at_once(self.writer_turn) as free:
            if free:
                with suppress(FenceTimeout):
                    await write_in_turn_within(
                        self._writer, self.path, (_ANCHOR_TIMEOUT, self._busy_timeout), control.touch
                    )

    async def initialise(self, control: Control) -> None:
        """Own tables and a first control row."""
        await self._change(lambda c: switch.initialise(c, self._tables, control), "installing cutover")

    async def write_control(self, control_: Control, *, expect: Control) -> None:
        """Replace the control row if it is `expect`."""

        def work(connection: sqlite3.Connection) -> None:
            control.expect_control(connection, expect)
            control.put_control(connection, control_)

        await self._change(work, "writing the control row")

    async def anchor(self, sequence: int, digest: str) -> None:
        """Head of the audit log. Gives up soon: a fence that is about to be raised must not queue behind it."""
        timeouts = (_ANCHOR_TIMEOUT, self._busy_timeout)
        async with speaking("anchoring the audit log"), self.courtesy.write(self.writer_turn, _ANCHOR_PATIENCE):
            await write_in_turn_within(
                self._writer, self.path, timeouts, lambda c: control.put_anchor(c, sequence, digest)
            )

    async def identity(self) -> Identity | None:
        """A file is no server."""
        return None

    # -- capture -------------------------------------------------------------------------------------------------

    async def install_capture(self) -> None:
        """Install or repair capture, or the fence where the control row says shadow; broken tables are copied again."""
        await self._keep(lambda c: switch.install(c, self._tables, self._held), "installing capture")
        self.wake()
        self._rebuild_later()

    async def check_capture(self) -> list[str]:
        """Problems with capture, or with the fence where there must be one, and with the schema."""
        return await self._look(lambda c: _in_one_read(c, capture.problems, self._tables), "checking capture")

    async def record_formats(self, found: Mapping[tuple[str, str], tuple[str, str]]) -> None:
        """Remember how columns spell their values. Where cutover is not installed, nothing is kept."""

        def keep(connection: sqlite3.Connection) -> None:
            standing = control.read_control(connection)
            if standing is not None and standing.state is not SwitchState.FINISHED:
                formats.record(connection, found)

        await self._keep(keep, "recording formats")

    async def schema_fingerprint(self) -> str:
        """Of the mapped tables and the set of application tables."""
        return await self._look(
            lambda c: _in_one_read(c, capture.schema_fingerprint, self._tables), "reading the schema"
        )

    async def wait_for_change(self, timeout: float) -> bool:
        """Wait for a commit."""
        return await self._watch.wait(timeout)

    def wake(self) -> None:
        """Something was committed here."""
        self._watch.wake()

    # -- as primary ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """A read snapshot, fixed on entry."""
        tables = self._tables
        async with self._snapshots.one() as reader:
            try:  # from the first step on: a cancelled begin has begun all the same
                async with speaking("opening a snapshot"):
                    await settled(reader.run(partial(self._schema_watch.begin, tables=tables)))
                turn = partial(self.courtesy.at_once, self.writer_turn)
                yield SqliteSnapshot(reader, tables, self._passed, turn)
            finally:
                await settled(reader.run(_end_read))

    async def lag(self) -> tuple[int, float | None]:
        """Length and age of the change log."""
        passed = self._passed
        return await self._look(
            lambda c: _in_one_read(c, lambda d, _: capture.read_lag(d, passed), ()), "reading the lag"
        )

    async def sync(self) -> None:
        """Sync the WAL file: a direct writer may not have (`synchronous = NORMAL`)."""
        try:
            await asyncio.to_thread(_sync_wal, self.path)
        except OSError as error:
            raise StoreUnavailable(f"The WAL file cannot be synced: {error.strerror}.") from error

    def pass_over(self, pending: Pending) -> bool:
        """Any write of ours fails a transaction that has read and is about to write, so trims are few."""
        token = pending.token
        assert isinstance(token, LogToken)
        self._passed_over += pending.count
        if self._passed_over >= _MOST_PASSED_OVER:
            return False
        self._passed = token
        return True

    async def trim(self, pending: Pending, batch: int) -> None:
        """Remove these entries, once."""
        token = pending.token
        assert isinstance(token, LogToken)
        await self._keep(lambda c: capture.trim(c, token, batch), "trimming the change log")
        self._passed, self._passed_over = LogToken(0), 0  # numbers count only as long as their entries are there

    # -- as shadow -----------------------------------------------------------------------------------------------

    def applier(self, generation: int, epoch: int, batch: int | None) -> AbstractAsyncContextManager[Applier]:
        """Begin to apply. Raises `CaptureBroken` as well, if the fence was breached."""
        belief = (generation, epoch, batch)
        return open_applier(self._writer, self.writer_turn, self._tables, self._fence_watch, belief)

    async def take_over(self, generation: int) -> None:
        """Record a new owner; waiting for the write lock is waiting for older appliers to end."""
        await self._change(lambda c: control.raise_generation(c, generation), "taking over")

    async def quarantined(self) -> list[Quarantined]:
        """Rows in quarantine."""
        return await self._look(control.read_quarantine, "reading the quarantine")

    async def progress(self) -> dict[str, BackfillProgress]:
        """Backfill progress."""
        return await self._look(control.read_progress, "reading progress")

    async def forget_quarantine(self, tables: Sequence[str]) -> None:
        """Nothing is left of these tables."""
        await self._keep(lambda c: control.drop_quarantine(c, tables), "forgetting what was in quarantine")

    async def forget_progress(self, tables: Sequence[str]) -> None:
        """Have these copied again."""
        await self._keep(lambda c: control.drop_progress(c, tables), "forgetting progress")

    # -- the switch ----------------------------------------------------------------------------------------------

    async def make_way(self) -> None:
        """Nobody maintains a file behind our back."""

    async def fence(self, control: Control, timeout: float) -> None:
        """Giver: fence."""
        await self._within(timeout, lambda c: switch.fence(c, self._tables, control), "fencing")

    async def highest_keys(self) -> dict[str, int]:
        """What AUTOINCREMENT remembers."""
        return await self._look(lambda c: switch.highest_keys(c, self._tables), "reading the highest keys")

    async def release(self, control: Control) -> None:
        """Giver, abort: lift the fence. One that was never raised needs no lock, which the writer in the way has."""
        if not await self._look(
            lambda c: _in_one_read(c, lambda d, _: switch.released(d, control), ()), "reading the fence"
        ):
            await self._change(lambda c: switch.release(c, control), "lifting the fence")

    async def prepare(self, switch_id: str) -> None:
        """Receiver: prepared."""
        await self._change(lambda c: switch.prepare(c, self._tables, switch_id), "preparing a switch")

    async def receive(
        self, control: Control, switch_id: str, timeout: float, *, floors: Mapping[str, int] | None = None
    ) -> None:
        """Receiver: commit."""
        await self._within(
            timeout, lambda c: switch.receive(c, self._tables, control, switch_id, floors or {}), "committing"
        )
        self._rebuild_later()

    async def _within(self, timeout: float, work: Callable[[sqlite3.Connection], None], doing: str) -> None:
        async with speaking(doing):
            await write_within(self._writer, self.writer_turn, self.path, (timeout, self._busy_timeout), work)

    async def settle(self, control: Control) -> None:
        """Giver, after the commit."""
        await self._change(lambda c: switch.settle(c, self._tables, control), "settling as shadow")

    async def outcome(self, switch_id: str) -> Outcome | None:
        """What is recorded here."""
        return await self._look(lambda c: control.read_outcome(c, switch_id), "reading a switch")

    async def tombstone(self, switch_id: str) -> Outcome:
        """Receiver: never to be committed."""
        return await self._change(lambda c: switch.tombstone(c, self._tables, switch_id), "ending a switch")

    async def validate(self) -> list[str]:
        """SQLite's foreign keys never rest; full-text tables are built again that nothing kept right."""
        for name in await self._look(resting.stale, "looking for stale full-text tables"):
            await self._keep(partial(resting.rebuild, name=name), f"building {name} again")
            _log.info("a full-text table was built again", table=name)
        return []

    def _rebuild_later(self) -> None:
        """Outside the pause; a failure is said, and tried again at the next start."""
        if self._rebuilding is None or self._rebuilding.done():
            self._rebuilding = asyncio.create_task(self._rebuild())

    async def _rebuild(self) -> None:
        try:
            await self.validate()
        except CutoverError as error:
            _log.warning("a full-text table is stale and could not be built again", error=error.message)

    async def dismantle(self, control: Control, *, helpers: bool) -> list[str]:  # noqa: ARG002  # no helpers here
        """Remove everything but the control row and the outcomes of switches."""
        await self._change(lambda c: switch.dismantle(c, control), "dismantling")
        return []

    async def probe(self) -> list[tuple[str, bool, str]]:
        """Readiness to be primary."""
        return await self._look(lambda c: probe(c, self.path, self._tables), "probing")

    # -- for people ----------------------------------------------------------------------------------------------

    async def backup(self, path: str) -> str:
        """A checked copy, on a connection of its own."""
        async with speaking("backing up"):
            connection = await self.connect(readonly=True)
            try:
                return await settled(connection.run(lambda c: backup.backup(c, path, self.path)))
            finally:
                await connection.close()

    def holders(self) -> list[tuple[int, str]]:
        """(pid, name) of other processes that have the file open."""
        return holders(self.path)

    def describe(self) -> str:
        """Version and place."""
        return f"SQLite {sqlite3.sqlite_version} at {self.path}"


def _end_read(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _in_one_read(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection, Tables], T], tables: Tables) -> T:
    """Several queries that must agree with each other; `tidily` ends the transaction."""
    begin_read(connection)
    return work(connection, tables)


def _sync_wal(database: str) -> None:
    try:
        descriptor = os.open(os.path.realpath(database) + "-wal", os.O_RDONLY)
    except FileNotFoundError:
        return  # everything is in the database, synced by the checkpoint that removed it
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
