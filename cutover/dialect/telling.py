"""What a write that failed tells: which of several constraints it was, and how far it had come.

SQLite goes row by row and says what the first row that fails breaks first; its last_insert_rowid() is then that of the
row before, though that is gone. Postgres says neither. So what failed is run once more, a row at a time, up to the row
that fails again, and all of it is undone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.connections import BEGIN, DRIVER_ERRORS, Connections, abandon
from cutover.dialect.failures import Halfway, translate_failure
from cutover.dialect.giving import Giving
from cutover.dialect.preparing import Memory, Prepared
from cutover.dialect.running import NAMED, defer, first_broken, row_by_row
from cutover.dialect.typed import Kind, Refused
from cutover.errors import CutoverError, StatementError

if TYPE_CHECKING:
    from cutover.dialect.dialect import Dialect
    from cutover.dialect.direct import Connection


_UNHELD = re.compile("datatype mismatch: (an? [^:]* in a column of (integers|reals|numbers|text|blobs) cannot .*)")
_HOLDING = {
    "integers": (Kind.INT, Kind.BOOL),
    "reals": (Kind.REAL,),
    "numbers": (Kind.WHOLE, Kind.NUM),
    "text": (Kind.TEXT,),
    "blobs": (Kind.BLOB,),
}
"""What a column holds of which our functions say so."""
_WAITS = """
SELECT condeferred FROM pg_constraint
WHERE conname = $1 AND contype = 'f' AND conrelid = format('%I.%I', $2::text, $3::text)::regclass"""


@dataclass(frozen=True, slots=True)
class Failed:
    """A write that failed with this error, and was undone."""

    connection: Connection
    prepared: Prepared
    dialect: Dialect
    memory: Memory
    error: BaseException

    async def alone(self, connections: Connections) -> StatementError | None:
        """What SQLite says of it, if it stood alone; None if that is not known."""
        if not is_unclear(self.prepared, self.error):
            return None
        giving = Giving(connections)
        try:
            if self._is_admitted():
                return _admitted()
            if isinstance(self.error, NAMED):
                told = await first_broken(self.connection, self.prepared, self.dialect)
                if told is not None:
                    return told
            await self.connection.execute(BEGIN)
            return await self._told(giving)
        except (CutoverError, *DRIVER_ERRORS):  # others have been there meanwhile, or it has no translation
            return None
        finally:
            giving.rolled_back()
            await abandon(self.connection)

    async def within(self, giving: Giving) -> StatementError | None:
        """The same in a transaction, behind a savepoint to which it is rolled back once more."""
        if self._is_admitted():
            return _admitted()
        with giving.in_vain():
            try:
                return await self._told(giving)
            except (CutoverError, *DRIVER_ERRORS):
                return None

    def _is_admitted(self) -> bool:
        """Whether it is a row without a parent that SQLite would have stored."""
        translation, table = self.prepared.translation, getattr(self.error, "table_name", None)
        if translation is None or not translation.admits or translation.table is None:
            return False
        parent = f'is not present in table "{translation.table.target}"'
        told = str(getattr(self.error, "detail", ""))
        return (
            isinstance(self.error, asyncpg.ForeignKeyViolationError)
            and table == translation.table.target
            and parent in told
        )

    async def _told(self, giving: Giving) -> StatementError | None:
        rows, translation = self.prepared.by_rows(), self.prepared.translation
        if rows is None or rows.translation is None or translation is None:
            return None
        of_key = isinstance(self.error, asyncpg.ForeignKeyViolationError)
        if of_key and not translation.stored and not await _waits(self.connection, self.error):
            return None
        await defer(self.connection, rows.translation, self.memory)
        try:
            done = await row_by_row(self.connection, rows, self.dialect, self.memory, giving, telling=True)
            told, last = None, done.last_insert_rowid
        except Halfway as found:
            told, last = StatementError(found.message, found.code), found.last_insert_rowid
        if of_key:  # which is what is told, also where OR FAIL stops before
            failure = translate_failure(self.error, self.dialect.catalog)
            told = failure if isinstance(failure, StatementError) else None
        if told is not None:
            told.last_insert_rowid = last
        return told


def placed(failure: CutoverError, filled: Mapping[str, Kind]) -> CutoverError:
    """With the column of those that were `filled` that could not hold its value; all of which any might be it."""
    told = _UNHELD.match(failure.message) if isinstance(failure, StatementError) else None
    if told is None or not filled:
        return failure
    names = [name for name, kind in filled.items() if kind in _HOLDING[told[2]]] or list(filled)
    failure.message = f"datatype mismatch: column {' or '.join(names)}: {told[1]}"
    failure.args = (failure.message,)
    return failure


def _admitted() -> StatementError:
    return Refused(
        "REPLACE of a row that refers to no row of its own table, which SQLite stores unseen where that foreign key is "
        "ON DELETE SET NULL,",
        "Store the row that it refers to first, or NULL.",
    )


def is_unclear(prepared: Prepared, error: BaseException) -> bool:
    """Whether Postgres does not say it all."""
    translation = prepared.translation
    return translation is not None and isinstance(error, translation.unclear)


async def _waits(connection: Connection, error: BaseException) -> bool:
    """Whether the foreign key that was broken is looked at with COMMIT."""
    named = [getattr(error, name) for name in ("constraint_name", "schema_name", "table_name")]
    return all(named) and bool(await connection.fetchval(_WAITS, *named))
