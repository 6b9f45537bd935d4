"""Where following a schema has come to, and the record of what is mapped, which stands on Postgres."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from cutover.crashpoints import crash_point
from cutover.logs import get_logger
from cutover.model.control import StoreName
from cutover.model.table import Table
from cutover.schema.findings import Finding
from cutover.schema.mapping import Mapping
from cutover.schema.migrations import OF_ONE_STORE, UNFINISHED
from cutover.schema.objects_wanted import SchemaObject
from cutover.schema.postgres_schema import PostgresSchema
from cutover.schema.recorded import Record, Recorded, differing
from cutover.schema.sqlite_schema import SqliteSchema, SqliteTable, quoted
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.store import SqliteStore

_log = get_logger("serve")


@dataclass
class Followed:
    """Where following has come to."""

    source: SqliteSchema
    target: PostgresSchema
    mapping: Mapping
    record: Record | None
    stopped: dict[str, str] = field(default_factory=dict)
    """Tables with a change that was not carried over, and why."""
    waiting: set[str] = field(default_factory=set)
    """Tables with constraints that rows stand in the way of, for now."""
    held_up: set[str] = field(default_factory=set)
    """Those of them that wait since just now."""
    unfinished: bool = False
    """Whether the schema changed faster than it was followed: of no table are the constraints known to be there."""
    created: set[str] = field(default_factory=set)
    """Tables that Postgres has, or has otherwise, since just now: they are copied from the start."""
    noted: tuple[SchemaObject, ...] = ()
    """Of what applications said of Postgres's schema in their own SQL, all that the mapping goes by."""
    done: list[str] = field(default_factory=list)
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those that fit on both sides."""
        standing = {table.name for table in self.target.tables}
        return tuple(t for t in self.mapping.tables if t.name not in self.stopped and t.target in standing)

    def to_create(self, mapping: Mapping) -> list[str]:
        """Tables that Postgres lacks."""
        return [table.name for table in mapping.tables if self.target.table(table.target) is None]


class Records:
    """What was mapped, as it was last recorded."""

    def __init__(self, sqlite: SqliteStore, postgres: PostgresStore) -> None:
        self._sqlite = sqlite
        self._postgres = postgres
        self._loaded: tuple[str, Record] = "", Record()
        """As it was last read or written, as text and as what it says: reading it is dear."""
        self.made = set[str]()
        """Tables that cutover created and that no record says it of yet."""
        self._unplaced: Record | None = None
        """What was mapped before there was a place to record it: at the very first start."""
        self._placed = False
        self._told = set[int]()
        """Tables on Postgres, by number, that say nothing of themselves any more."""

    async def load(self) -> Record | None:
        """The record; None where there is none, or none that can be read."""
        text = await self._postgres.recorded()
        self._placed = bool(text)
        if not text:
            return self._unplaced
        try:
            if text != self._loaded[0]:
                self._loaded = text, Record.load(text)
            return self._loaded[1]
        except ValueError as error:
            _log.warning(f"What was mapped before is not known: {error}.")
            return None

    async def keep(self, state: Followed, before: Record | None, primary: StoreName) -> None:
        """Have changed tables copied again, and record what is mapped now: in this order, for a kill in between."""
        tables = state.tables
        record = state.record or Record()
        # A constraint that waits is tried again when all is copied, so that must not look done already.
        changed = {*(differing(state.record, tables) if before else ()), *state.held_up, *state.created}
        if changed and self._placed:  # else nothing was copied so far
            shadow = self._postgres if primary == "sqlite" else self._sqlite
            await shadow.forget_progress(sorted(changed))
            crash_point("follow.forgotten")
        for table in tables:
            known = record.of(table.name)
            own, there = state.source.table(table.name), state.target.table(table.target)
            assert own is not None
            assert there is not None
            made = table.name in self.made or (known is not None and known.made)
            carried = linked(own, tables) if made else own
            if known is not None and (state.unfinished or table.name in state.waiting):
                carried = known.sqlite
            record = record.having(Recorded(table, carried, there, made))
        if primary == "sqlite" or before is None:
            taken = {each.table.target for each in record.tables}
            record = replace(record, beside=tuple(t.name for t in state.target.tables if t.name not in taken))
        if primary == "sqlite" and not state.unfinished:
            names = (each.table.name for each in record.tables)
            record = replace(record, gone=tuple(name for name in names if state.source.table(name) is None))
        if record != before or not self._placed:
            await self.write(record)
            crash_point("follow.recorded")
        if self._placed:
            await self._tell_finished(state, record)

    async def take_up(self, state: Followed) -> bool:
        """Do away with what was created and never recorded, which a kill leaves behind: it is empty, and SQLite's table
        may be another one by now. Whether the schemas have to be read again."""
        known = {each.table.target for each in state.record.tables} if state.record else set()
        left = {
            place(state.target.name, table.name): table.name
            for table in state.target.tables
            if table.unfinished and table.name not in known
        }
        if not left:
            return False
        full = {left[each] for each in await self._postgres.remove_empty(list(left))}
        self.made |= {table.name for table in state.mapping.tables if table.target in full}
        gone = [name for name in left.values() if name not in full]
        if gone:
            _log.info(f"Tables that were created and not recorded before a kill are made anew: {', '.join(gone)}.")
        return bool(gone)

    async def _tell_finished(self, state: Followed, record: Record) -> None:
        """The record says it now."""
        known = {each.table.target for each in record.tables}
        now = [table for table in state.target.tables if table.name in known and table.oid not in self._told]
        marked = [place(state.target.name, table.name) for table in now if table.unfinished]
        if marked:
            await self._postgres.silence(marked)
        self._told |= {table.oid for table in now}

    async def write(self, record: Record) -> None:
        """Replace it."""
        text = record.dump()
        await self._postgres.record(text)
        self._loaded = text, record
        self._unplaced = None if self._placed else record


def linked(table: SqliteTable, mapped: Iterable[Table]) -> SqliteTable:
    """What was carried over of a table that cutover made: not yet its foreign keys to tables that Postgres lacks."""
    names = {each.name.lower() for each in mapped}
    return replace(table, foreign_keys=tuple(key for key in table.foreign_keys if key.parent.lower() in names))


def unfinished(tables: Iterable[Table], names: Collection[str]) -> list[str]:
    """What is to be said of tables that are created, until it is recorded."""
    made = [table for table in tables if table.name in names and table.name.lower() not in OF_ONE_STORE]
    return [f"COMMENT ON TABLE {place(table.target_schema, table.target)} IS '{UNFINISHED}'" for table in made]


def place(schema: str, table: str) -> str:
    """The table's name on Postgres in full."""
    return f"{quoted(schema)}.{quoted(table)}"
