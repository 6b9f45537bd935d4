"""How columns spell their values, learned while the service runs: of columns that had none when they were mapped."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress

from cutover import clock
from cutover.dialect.executor import PostgresExecutor
from cutover.errors import CutoverError
from cutover.logs import get_logger
from cutover.promote.parts import Parts
from cutover.schema.sqlite_schema import quoted
from cutover.schema.types import is_guessed
from cutover.serve.tables import Mapper
from cutover.stores.sqlite.store import SqliteStore

_log = get_logger("serve")
_KINDS = ("integer", "real", "text", "blob")
_SECONDS = 5.0
"""Between two looks at columns that have no value yet."""
_SECONDS_MOST = 300.0
_SHARE = 20
"""Of the time that it takes to look at columns with several kinds of values: for so long the next look waits."""


class Learning:
    """While SQLite is primary its rows tell; while Postgres is, what the front door writes to it."""

    def __init__(
        self,
        parts: Parts,
        mapper: Mapper,
        sqlite: SqliteStore,
        translating: PostgresExecutor,
        mend: Callable[[], Awaitable[None]],
    ) -> None:
        """`mend`: map anew, and make capture whole."""
        self._parts, self._mapper, self._sqlite, self._translating = parts, mapper, sqlite, translating
        self._mend = mend
        self._told = asyncio.Event()
        self._next, self._rest = 0.0, _SECONDS
        self._next_kinds = 0.0
        self._held: set[str] = set()
        self._next_held, self._rest_held = 0.0, _SECONDS
        self._seen: dict[tuple[str, str], set[str]] = {}
        self._kept: set[tuple[str, str]] = set()

    def hurry(self) -> None:
        """Look at once."""
        self._told.set()

    def has_learned(self) -> bool:
        """Whether the mapping does not know yet what the front door's writes to Postgres said. Nothing is carried to
        SQLite until it does: what was carried before would be spelled in another way for good."""
        primary = self._parts.situation.pair.primary
        return primary is not self._parts.origin and self._translating.learned_otherwise

    async def run(self, ready: Callable[[], object]) -> None:
        """Learn until cancelled, while `ready` says something."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _SECONDS)
            self._told.clear()
            if ready() is None:
                continue
            try:
                await self._look()
            except (CutoverError, OSError, TimeoutError) as error:
                _log.debug(f"Formats could not be learned: {error}")
            except Exception:  # noqa: BLE001  # loop must live
                _log.exception("Learning formats met an error it does not know; it tries again.")

    async def _look(self) -> None:
        """Rows that were held back may fit in now."""
        pair = self._parts.situation.pair
        if pair.primary is not self._parts.origin:
            learned = self._translating.learned()
            if learned.keys() - self._kept:
                await self._sqlite.record_formats(learned)
                self._kept |= learned.keys()
            if self._translating.learned_otherwise:
                await self._mend()
            return
        names = await self._mapper.spelling.learned()
        if names:
            await pair.target.forget_progress(names)
        if names or await self._first_rows() or await self._other_kinds() or await self._held_back():
            await self._mend()

    async def _first_rows(self) -> bool:
        """Whether it is time to ask tables again that were empty and have rows now. NULLs say nothing, so it may be in
        vain: then the next time is later."""
        if not self._mapper.empty:
            self._rest = _SECONDS
            return False
        if clock.monotonic() < self._next or not await self._sqlite.survey(self._has_first_rows):
            return False
        self._next = clock.monotonic() + self._rest
        self._rest = min(2 * self._rest, _SECONDS_MOST)
        return True

    def _has_first_rows(self, connection: sqlite3.Connection) -> bool:
        return any(
            connection.execute(f"SELECT 1 FROM {quoted(name)} LIMIT 1").fetchone() for name in self._mapper.empty
        )

    async def _held_back(self) -> bool:
        """Whether it is time to ask the data of tables with rows in quarantine: a column of theirs may have got its
        type by its name, while it held nothing."""
        situation = self._parts.situation
        guessed = {table.name for table in situation.tables if any(map(is_guessed, table.columns))}
        held = guessed & {each.table for each in await situation.pair.target.quarantined()} if guessed else set()
        fresh, self._held = held - self._held, held
        if fresh:
            self._rest_held, self._next_held = _SECONDS, 0.0
        if not held or clock.monotonic() < self._next_held:
            return False
        self._next_held = clock.monotonic() + self._rest_held
        self._rest_held = min(2 * self._rest_held, _SECONDS_MOST)
        return True

    async def _other_kinds(self) -> bool:
        """Whether a column that had several kinds of values has others now, or fewer."""
        if not self._mapper.mixed or clock.monotonic() < self._next_kinds:
            return False
        began = clock.monotonic()
        seen = await self._sqlite.survey(self._kinds)
        ended = clock.monotonic()
        self._next_kinds = ended + _SHARE * (ended - began)
        differs, self._seen = seen != self._seen, seen
        return differs

    def _kinds(self, connection: sqlite3.Connection) -> dict[tuple[str, str], set[str]]:
        found = {}
        for table, column in self._mapper.mixed:
            has = f"SELECT 1 FROM {quoted(table)} WHERE typeof({quoted(column)}) = ? LIMIT 1"
            found[table, column] = {kind for kind in _KINDS if connection.execute(has, (kind,)).fetchone()}
        return found
