"""One apply transaction on Postgres: state in bulk, and row by row only where a row resists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from cutover.errors import StaleApplier, Unrepresentable
from cutover.model.control import BackfillProgress, Control
from cutover.model.sizes import size_of
from cutover.model.table import Table
from cutover.model.values import Applied, Key, Row
from cutover.schema.canonical import canonical_row
from cutover.stores.postgres import catalog, indexes
from cutover.stores.postgres import control as controls
from cutover.stores.postgres.copytext import copy_slices, copy_text
from cutover.stores.postgres.errors import UNIQUE_VIOLATION, PostgresRefused
from cutover.stores.postgres.keys import Bound
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.quarantine import Quarantine
from cutover.stores.postgres.rows import Rows, arrays
from cutover.stores.postgres.suspend import MAY_REPLICATE

_CHUNK = 5000
"""Rows of one statement."""

_PIECE = 2000
_LARGE = 4 << 20
"""Rows that are written out for COPY at one time, and bytes of them."""

_NO_ARBITER = ("42P10", "55000", "21000")
"""The key has no unique index that ON CONFLICT could use, or it takes two of our keys for one."""


@dataclass(frozen=True)
class Held:
    """A row in Postgres's values, with its key as the primary has it."""

    row: Row
    key: Key
    key_there: tuple[object, ...]
    values: tuple[object, ...]


@asynccontextmanager
async def open_applier(
    link: Link, tables: Mapping[str, Rows], *, generation: int, epoch: int, batch: int | None
) -> AsyncIterator[PostgresApplier]:
    """Begin, check that we are still the ones who apply (hazard 7), lift the fence for this transaction only."""
    silenced = bool(await link.value(MAY_REPLICATE))
    async with link.transaction():
        # The stronger lock is taken first: two batches that both upgraded would wait for each other.
        standing = await controls.read(link, "FOR SHARE" if batch is None else "FOR NO KEY UPDATE")
        _check(standing, generation, epoch)
        await catalog.demand_shapes(link, [rows.table for rows in tables.values()])
        await link.execute(
            f"SET LOCAL cutover.applier = '{generation}'; SET LOCAL enable_seqscan = off"
            + ("; SET LOCAL session_replication_role = replica" if silenced else "")
        )
        applier = PostgresApplier(link, tables)
        yield applier
        await applier.finish()
        if batch is not None:
            await link.execute("UPDATE cutover.control SET applied_batch = greatest(applied_batch, $1)", batch)


def _check(standing: Control | None, generation: int, epoch: int) -> None:
    if standing is None:
        raise StaleApplier("PostgreSQL has no control row; there is nothing to apply to.")
    if (standing.generation, standing.epoch, standing.primary) != (generation, epoch, "sqlite"):
        raise StaleApplier(
            f"This applier is of generation {generation}, epoch {epoch}; PostgreSQL has generation "
            f"{standing.generation}, epoch {standing.epoch}, primary {standing.primary}.",
            hint="Another owner or a switch came in between; stop applying.",
        )


class PostgresApplier:
    """Implements `cutover.stores.base.Applier`."""

    def __init__(self, link: Link, tables: Mapping[str, Rows]) -> None:
        self._link = link
        self._tables = tables
        self._quarantine = Quarantine(link)
        self._waiting: dict[str, tuple[Rows, dict[Key, Held]]] = {}
        """Rows whose unique values were still taken: their holder may move later in this same transaction."""
        self._no_arbiter: set[str] = set()

    async def apply(self, table: Table, upserts: Sequence[Row], deletes: Sequence[Key]) -> Applied:
        """Make these rows so, and those keys absent."""
        rows = self._rows(table)
        deleted = 0
        for at in range(0, len(deletes), _CHUNK):
            deleted += await self._delete(rows, deletes[at : at + _CHUNK])
        total = Applied(deleted=deleted)
        for at in range(0, len(upserts), _CHUNK):
            total += await self._upsert(rows, upserts[at : at + _CHUNK])
        return total

    async def replace_range(self, table: Table, after: Key | None, upto: Key | None, rows: Sequence[Row]) -> Applied:
        """Make a range hold exactly these rows."""
        ours = self._rows(table)
        lower, upper = (None if key is None else Bound.of(table, key) for key in (after, upto))
        condition, values = ours.condition(lower, upper)
        await self._quarantine.clear_range(table, after, upto)
        empty = not await self._link.value(f"SELECT EXISTS (SELECT FROM {ours.name} t WHERE {condition})", *values)
        if empty:
            return await self._fill(ours, rows)
        keys = []
        for row in rows:
            try:
                keys.append(ours.key_there(table.key_of(row)))
            except Unrepresentable:
                continue
        sql = ours.delete_others(condition, len(values) + 1)
        deleted = await self._link.execute(sql, *values, *arrays(keys, len(table.key)))
        return Applied(deleted=deleted) + await self.apply(table, rows, ())

    async def begin_copy(self, table: Table) -> None:
        """Put indexes aside."""
        await indexes.put_aside(self._link, self._rows(table).name)

    async def end_copy(self, table: Table) -> bool:
        """Put one of them back."""
        return await indexes.put_back(self._link, self._rows(table).name)

    async def save_progress(self, progress: BackfillProgress) -> None:
        """Record how far the copy of a table is."""
        await controls.save_progress(self._link, progress)

    async def finish(self) -> None:
        """Before the commit: rows that waited for a unique value go in now, or into quarantine."""
        for rows, waiting in self._waiting.values():
            held = list(waiting.values())
            for at in range(0, len(held), _CHUNK):
                for one, error in await self._insert(rows, held[at : at + _CHUNK]):
                    await self._quarantine.put(rows.table, [(one.key, error.message)])
        self._waiting.clear()

    # -- the ways in, from fast to patient -------------------------------------------------------------------------

    async def _upsert(self, rows: Rows, upserts: Sequence[Row]) -> Applied:
        held, faults = self._hold(rows, upserts)
        self._forget_waiting(rows, [one.key for one in held])
        await self._quarantine.clear(rows.table, [one.key for one in held])
        quarantined = await self._expel(rows, faults)
        try:
            if rows.table.name in self._no_arbiter:
                return await self._one_by_one(rows, held, quarantined)
            async with self._savepoint():
                touched = await self._link.execute(rows.upsert, *_columns(rows, held)) if held else 0
        except PostgresRefused as error:
            if error.sqlstate in _NO_ARBITER:
                self._no_arbiter.add(rows.table.name)
            elif not error.of_rows:
                raise
            return await self._one_by_one(rows, held, quarantined)
        return Applied(upserted=touched, unchanged=len(held) - touched, quarantined=quarantined)

    async def _fill(self, rows: Rows, new: Sequence[Row]) -> Applied:
        """COPY into an empty range; all of it, or what is left without the rows that Postgres cannot hold."""
        if await self._copy(rows, new):
            return Applied(upserted=len(new))
        held, faults = self._hold(rows, new)
        quarantined = await self._expel(rows, faults)
        if faults and await self._copy(rows, [one.row for one in held]):
            return Applied(upserted=len(held), quarantined=quarantined)
        return await self._one_by_one(rows, held, quarantined)

    async def _copy(self, rows: Rows, new: Sequence[Row]) -> bool:
        """COPY these rows in; False, and nothing done, if one of them resists."""
        table = rows.table
        if table.name in self._waiting:
            self._forget_waiting(rows, [table.key_of(row) for row in new])
        names = [column.target for column in table.columns]
        try:
            async with self._savepoint(), aclosing(_lines(rows, new)) as lines:
                await self._link.copy(table.target_schema, table.target, names, lines)
        except PostgresRefused as error:
            if not error.of_rows:
                raise
            return False
        except Unrepresentable:
            return False
        return True

    async def _one_by_one(self, rows: Rows, held: Sequence[Held], quarantined: int) -> Applied:
        """Delete these keys, then insert; what still resists waits for the end, or goes into quarantine."""
        changed = await self._changed(rows, held)
        keys = arrays([one.key_there for one in changed], len(rows.table.key))
        await self._link.execute(rows.delete, *keys)
        resisting = await self._insert(rows, changed)
        faults = []
        for one, error in resisting:
            if error.sqlstate in UNIQUE_VIOLATION:
                self._waiting.setdefault(rows.table.name, (rows, {}))[1][one.key] = one
            else:
                faults.append((one.key, error.message))
        quarantined += await self._quarantine.put(rows.table, faults)
        return Applied(upserted=len(changed) - len(faults), unchanged=len(held) - len(changed), quarantined=quarantined)

    async def _changed(self, rows: Rows, held: Sequence[Held]) -> list[Held]:
        """Those that are not there already as they should be."""
        keys = arrays([one.key_there for one in held], len(rows.table.key))
        there = {
            canonical_row(rows.row_back(found), rows.codecs) for found in await self._link.fetch(rows.by_key, *keys)
        }
        return [one for one in held if canonical_row(one.row, rows.codecs) not in there]

    async def _insert(self, rows: Rows, held: Sequence[Held]) -> list[tuple[Held, PostgresRefused]]:
        """Insert what can be inserted; halves and halves again find the rows that cannot."""
        if not held:
            return []
        try:
            async with self._savepoint():
                await self._link.execute(rows.insert, *_columns(rows, held))
            return []
        except PostgresRefused as error:
            if not error.of_rows:
                raise
            if len(held) == 1:
                return [(held[0], error)]
        middle = len(held) // 2
        return await self._insert(rows, held[:middle]) + await self._insert(rows, held[middle:])

    # -- small things ----------------------------------------------------------------------------------------------

    async def _delete(self, rows: Rows, keys: Sequence[Key]) -> int:
        there = []
        for key in keys:
            try:
                there.append(rows.key_there(key))
            except Unrepresentable:
                continue
        self._forget_waiting(rows, keys)
        await self._quarantine.clear(rows.table, keys)
        return await self._link.execute(rows.delete, *arrays(there, len(rows.table.key))) if there else 0

    async def _expel(self, rows: Rows, faults: Sequence[tuple[Key, str]]) -> int:
        """Unrepresentable rows: their old versions must not stay on the shadow."""
        if faults:
            await self._delete(rows, [key for key, _ in faults])
        return await self._quarantine.put(rows.table, faults)

    def _hold(self, rows: Rows, given: Sequence[Row]) -> tuple[list[Held], list[tuple[Key, str]]]:
        held, faults = [], []
        indexes = rows.table.key_indexes
        for row in given:
            key = tuple(row[index] for index in indexes)
            try:
                values = rows.row_there(row)
            except Unrepresentable as fault:
                faults.append((key, fault.message))
            else:
                held.append(Held(row, key, tuple(values[index] for index in indexes), values))
        return held, faults

    def _forget_waiting(self, rows: Rows, keys: Sequence[Key]) -> None:
        if rows.table.name in self._waiting:
            for key in keys:
                self._waiting[rows.table.name][1].pop(key, None)

    @asynccontextmanager
    async def _savepoint(self) -> AsyncIterator[None]:
        await self._link.execute("SAVEPOINT chunk")
        try:
            yield
        except (PostgresRefused, Unrepresentable):
            await self._link.execute("ROLLBACK TO SAVEPOINT chunk; RELEASE SAVEPOINT chunk")
            raise
        await self._link.execute("RELEASE SAVEPOINT chunk")

    def _rows(self, table: Table) -> Rows:
        known = self._tables.get(table.name)
        return known if known is not None and known.table == table else Rows(table)


def _columns(rows: Rows, held: Sequence[Held]) -> list[list[object]]:
    return arrays([one.values for one in held], len(rows.table.columns))


async def _lines(rows: Rows, new: Sequence[Row]) -> AsyncGenerator[bytes, None]:
    """These rows as COPY reads them, some at a time: the next are written while the last ones are on their way.

    Raises `Unrepresentable` when it comes to a row that cannot be held.
    """
    pieces = _pieces(new)
    ahead: asyncio.Task[bytes] | None = None
    try:
        for number, piece in enumerate(pieces):
            if _is_large(piece):
                for slice_ in copy_slices(piece[0], rows.codecs):
                    yield slice_
                continue
            text = await (ahead or _written(rows, piece))
            following = pieces[number + 1] if number + 1 < len(pieces) else []
            ahead = _written(rows, following) if following and not _is_large(following) else None
            yield text
    finally:
        if ahead is not None:
            ahead.cancel()


def _is_large(piece: Sequence[Row]) -> bool:
    """Only a row that is by itself can be."""
    return len(piece) == 1 and size_of(piece) > _LARGE


def _pieces(new: Sequence[Row]) -> list[Sequence[Row]]:
    """Rows to be written out at one time; a large one is by itself."""
    if size_of(new) <= _LARGE:
        return [new[at : at + _PIECE] for at in range(0, len(new), _PIECE)]
    pieces: list[list[Row]] = []
    held = _LARGE
    for row in new:
        size = size_of([row])
        if held + size > _LARGE or len(pieces[-1]) == _PIECE:
            pieces.append([])
            held = 0
        pieces[-1].append(row)
        held += size
    return list(pieces)


def _written(rows: Rows, piece: Sequence[Row]) -> asyncio.Task[bytes]:
    """On a thread, because a second's worth of rows would keep everybody else waiting for long."""
    return asyncio.create_task(asyncio.to_thread(copy_text, piece, rows.encoders))
