"""Which table is which on both stores, and what stands in the way."""

from __future__ import annotations

from collections.abc import Callable

from cutover.logs import get_logger
from cutover.model.table import Tables
from cutover.promote.parts import Situation
from cutover.schema.findings import Finding
from cutover.schema.mapping import map_tables
from cutover.schema.objects_wanted import in_order, read_objects
from cutover.schema.types import NOTHING_YET, SEVERAL_KINDS
from cutover.serve.followed import Followed
from cutover.serve.following import Follower
from cutover.serve.gone import forget_gone
from cutover.serve.spelling import Spelling
from cutover.settings import Settings
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.store import SqliteStore

_log = get_logger("serve")


class Mapper:
    """Maps both schemas as they are now, and gives the stores the result."""

    def __init__(self, settings: Settings, sqlite: SqliteStore, postgres: PostgresStore, situation: Situation) -> None:
        self.ddl: tuple[str, ...] = ()
        """The SQLite schema's CREATE statements as last read, for the copy that statements are translated with."""
        self.spelling = Spelling(sqlite)
        self.stopped = False
        """Whether a change could not be carried over, and a table waits for that."""
        self.waiting = False
        """Whether a constraint waits for rows that are being copied."""
        self.unfinished = False
        """Whether the schema changed faster than it was followed."""
        self.done: list[str] = []
        """What was last changed on the shadow, one sentence each."""
        self.empty: tuple[str, ...] = ()
        """Tables that wait for their first rows to say of what types they are."""
        self.mixed: tuple[tuple[str, str], ...] = ()
        """Columns that hold more kinds of values than one type takes, with their tables before them."""
        self._settings = settings
        self._sqlite = sqlite
        self._postgres = postgres
        self._situation = situation
        self.copied: Callable[[str], bool] = lambda _: False
        """Whether a table is copied. Set by whoever knows."""
        self.unmapped: Callable[[], None] = lambda: None
        """Called when the schema is another one and nothing of it is mapped: two such mappings are the same tuple, by
        which nobody sees that there is a new one."""
        self._follower = Follower(settings, sqlite, postgres, self._is_copied)
        self._seen: dict[str, str] = {}
        """The text of each table of SQLite's, mapped or not, as they were when they were last looked at."""

    def _is_copied(self, table: str) -> bool:
        return self.copied(table)

    async def map_sqlite(self) -> Tables:
        """The mapping from SQLite's schema alone, which serves until Postgres was asked."""
        source = await self._sqlite.read_schema()
        mapping = map_tables(source, None, self._settings)
        self.ddl = in_order(source, await self._sqlite.survey(read_objects))
        self._sqlite.serve_tables(mapping.tables)
        return mapping.tables

    async def map_tables(self, *, create: bool) -> Tables:
        """Read both schemas, with `create` carry changes over to the shadow, and give both stores the mapping."""
        primary = self._situation.pair.source.name
        state = await (self._follower.follow(primary) if create else self._follower.look())
        if create:
            await forget_gone(state, primary, self._situation.pair.target)
        self._note(state)
        self._seen = {table.name: table.sql for table in state.source.tables}
        before, self.ddl = self.ddl, in_order(state.source, await self._sqlite.survey(read_objects))
        self.stopped, self.waiting, self.done = bool(state.stopped), bool(state.waiting), state.done
        self.unfinished = state.unfinished
        for sentence in state.done:
            _log.info(f"The schema changed: {sentence}")
        tables = await self.spelling.settle(state.tables if create else state.mapping.tables)
        if not tables and self.ddl != before:
            self.unmapped()
        known = state.record.tables if state.record else ()
        held = tuple(one.table for one in known if one.table.name in self._situation.stopped)
        self._sqlite.serve_tables(tables, held)
        self._postgres.serve_tables(tables, held)
        self._follower.in_force(state)
        return tables

    async def uncarried(self) -> list[str]:
        """What applications changed in the primary's schema and the shadow lacks.

        Of SQLite's: tables that nobody has looked at yet, which a switch would leave behind without a word.
        """
        if self._situation.pair.source.name == "postgres":
            return await self._follower.uncarried()
        now = {table.name: table.sql for table in (await self._sqlite.read_schema()).tables}
        return [f"table {name}" for name in sorted({name for name, _ in now.items() ^ self._seen.items()})]

    def _note(self, state: Followed) -> None:
        """Say what stands in the way, once; the gate `target_ready` says it until it is gone."""
        mapped = {table.name for table in state.tables}
        stopped = {name: f"{name}: {reason}" for name, reason in state.stopped.items()}
        for finding in (*state.findings.values(), *state.mapping.blocking):
            if finding.table not in mapped and finding.severity == "blocks" and finding.table not in state.stopped:
                sentence = _sentence(finding)
                known = stopped.get(finding.table)
                stopped[finding.table] = f"{known} {sentence}" if known else sentence
        rest = [_sentence(finding) for finding in state.mapping.blocking if finding.table not in stopped]
        blocking = (*stopped.values(), *rest)
        if blocking != self._situation.blocking:
            for sentence in blocking:
                _log.warning(f"Cannot be mirrored: {sentence}")
        for finding in state.findings.values():
            if finding.severity == "warns":
                _log.warning(_sentence(finding))
        self.empty = tuple(name for name, reason in stopped.items() if NOTHING_YET in reason)
        told = (*state.findings.values(), *state.mapping.blocking)
        places = {(found.table, found.column) for found in told if SEVERAL_KINDS in found.message}
        self.mixed = tuple(sorted(place for place in places if all(place)))
        self._situation.blocking = blocking
        self._situation.stopped = {name: reason for name, reason in stopped.items() if name}


def _sentence(finding: Finding) -> str:
    message = finding.message if finding.message.endswith((".", "!", "?")) else f"{finding.message}."
    place = ".".join(filter(None, (finding.table, finding.column)))
    return ": ".join(filter(None, (place, f"{message} {finding.todo}".strip())))
