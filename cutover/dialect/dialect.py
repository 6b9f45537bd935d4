"""Everything that is known about statements at one state of the schema, and renewed when the schema changes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

from cutover.dialect.catalog import Catalog
from cutover.dialect.checking import Checked, Checks
from cutover.dialect.helpers import AnyConnection, install_helpers
from cutover.dialect.numbering import KeysAndNumbers, but
from cutover.dialect.owed import Owed
from cutover.dialect.schema_copy import SchemaCopy
from cutover.dialect.spelling import Learned, Spelled, with_learned
from cutover.dialect.translation import Translation
from cutover.dialect.translator import Translator
from cutover.model.statement import ResultColumn
from cutover.model.table import Table, Tables
from cutover.model.values import SqlValue
from cutover.schema.mapping import map_tables
from cutover.schema.objects_wanted import changed_by, missing, objects_of, schema_of, texts
from cutover.schema.postgres_again import Seen, read_again
from cutover.schema.postgres_schema import PostgresSchema
from cutover.schema.recorded import same_rows
from cutover.schema.sqlite_schema import SqliteSchema
from cutover.schema.sqltext import inspect
from cutover.schema.temporary import temporary_name
from cutover.settings import Settings
from cutover.stores.postgres.wanted import wanted

_STANDS = 256
"""Tables up to which it is read where their sequences stand, each of which is locked for that moment."""
_SEQUENCES = """
SELECT sequence, CASE WHEN $4 THEN pg_sequence_last_value(sequence::regclass) END
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS asked(schema, name, key, at),
    pg_get_serial_sequence(format('%I.%I', schema, name), key) AS sequence ORDER BY at"""

_DRAWN = """
WITH held AS MATERIALIZED (
    SELECT relation FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock'
        AND pid IS DISTINCT FROM pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT sequence, sequence::regclass IN (SELECT relation FROM held) FROM unnest($1::text[]) AS sequence"""
"""Sequences that others have drawn from in transactions which are still open."""


class Dialect:
    """Translations and the schema copy. One for the executor, and one for the rehearsal."""

    def __init__(
        self,
        tables: Callable[[], Tables],
        ddl: Callable[[], Sequence[str]],
        size: int = 4096,
        *,
        settings: Settings | None = None,
    ) -> None:
        """Without `settings`, which say how tables are mapped, schema changes are refused."""
        self._tables, self._ddl, self._size = tables, ddl, size
        self.settings = settings
        self.tables: Tables = ()
        self.ddl: tuple[str, ...] = ()
        """The schema that was loaded: what is mapped, and the CREATE statements."""
        self._known: Tables | None = None
        self.max_response_bytes = sys.maxsize
        self.learned: Learned = {}
        """Formats that the mapping does not know yet."""
        self.generation = 0
        """Counts the schemas that were loaded."""
        self._told = 0
        """Counts how often it was said that the schema is to be read again."""
        self.altered = 0
        """Counts the changes of the schema that transactions have committed."""
        self.committing = 0
        """Transactions that changed the schema, and whose COMMIT was sent and has no answer yet."""
        self._seen: Seen | None = None
        """What was last read of Postgres's schema, committed or not: it is asked each time whether it still holds."""
        self.temporary: frozenset[str] = frozenset()
        """Of a transaction's own dialect: its temporary tables, in small letters."""
        self.beside = ""
        """The schema that these are in; empty if there never were any."""
        self.owed: tuple[Owed, ...] = ()
        """Of a transaction's own dialect: what COMMIT is to ask for."""
        self._began: int | None = None
        """The generation that a transaction changed, where this is its own."""
        self.catalog = Catalog({})
        self.translator = Translator(self.catalog)
        self.keys = KeysAndNumbers()
        self._keys_moved = False
        self._marks: Mapping[str, tuple[int, int]] = {}
        """What a promotion has told of sequences, until they are read."""
        self.translating = asyncio.Lock()
        """Held while a long text is translated on another thread."""
        self._copy: SchemaCopy | None = None
        self._checks: Checks | None = None

    @property
    def is_current(self) -> bool:
        """Whether the mapping is still the one that was read."""
        return self._known is not None and self._known is self._tables() and not self._keys_moved

    async def renew(self, connection: AnyConnection) -> None:
        """Read the schema again if it changed: once per mapping, not per statement. Installs the helper functions."""
        while not self.is_current and not await self._read(connection):
            pass

    async def _read(self, connection: AnyConnection) -> bool:
        """Whether that holds: what is read is not taken over where a change was committed, another reader came first,
        or there is another mapping, since this began to read. It may be from before the change."""
        if self._known is self._tables():
            await self._read_keys(connection)
            return True
        began = self._told, self.generation
        self._keys_moved = False
        await install_helpers(connection)
        changes = await wanted(connection) if self.settings is not None else []
        # Behind that: what is not noted any more is in the schema that was read last, and no earlier one.
        given = tables = self._tables()
        ddl = tuple(self._ddl())
        if changes:
            objects = objects_of(ddl)
            if missing(objects, changes):
                ddl = texts(changed_by(objects, changes))
            # Also where nothing is missing: the mapping may be that of a moment when the two did not fit.
            tables = self.mapped(schema_of(ddl), (await self.look(connection)).schema)
        sequences, stands = await _sequences(connection, tables, stands=len(tables) <= _STANDS)
        drawn = await _drawn(connection, stands)
        if began != (self._told, self.generation) or self._tables() is not given:
            return False
        self.load(tables, ddl, sequences)
        self.keys = self.keys.following(stands, drawn)
        self._know_marks()
        self._known = given
        return True

    async def _read_keys(self, connection: AnyConnection) -> None:
        self._keys_moved = False  # before it is read: they may move again meanwhile
        try:
            _, stands = await _sequences(connection, self.tables, stands=len(self.tables) <= _STANDS)
            drawn = await _drawn(connection, stands)
        except BaseException:
            self._keys_moved = True
            raise
        self.keys = KeysAndNumbers(but(stands, drawn), self.keys.numbers)
        self._know_marks()

    def _know_marks(self) -> None:
        self.keys.mark(self._marks)
        self._marks = {}

    def keys_moved(
        self,
        floors: Mapping[str, int] = MappingProxyType({}),
        marks: Mapping[str, tuple[int, int]] = MappingProxyType({}),
    ) -> None:
        """Sequences were set, and rows written, by others than statements: where they stand is read again.

        `floors`: by table, how far SQLite has numbered rows. `marks`: by sequence, how far it was set, and the highest
        key that was given.
        """
        self._keys_moved, self._marks = True, marks
        self.keys = KeysAndNumbers({}, self.keys.numbers)  # nothing that was known of sequences before holds
        self.keys.mark(marks)
        self.keys.number_from({table: floors[table.name] for table in self._tables() if table.name in floors})

    def keys_given(self) -> dict[str, tuple[int, int]]:
        """By sequence, how far statements have brought it at most, and the highest key of a row that they stored.

        Also while the schema is to be read again: nobody asked since, so what was done here is known as before.
        """
        return self.keys.given()

    def unchanged(self, generation: int) -> bool:
        """Whether what was sent at that generation has met no other schema than the one that it was translated for."""
        return self.generation == generation and self.committing == 0 and self.is_current

    def as_before(self, altered: int) -> bool:
        """Whether no transaction has committed, or may have, a change of the schema since there were so many."""
        return self.altered == altered and self.committing == 0

    def forget(self) -> None:
        """The schema changed: it is read again before the next statement."""
        self._known = None
        self._told += 1

    def reopened(self) -> None:
        """Connections are to another server, or to the same one after it had gone: what was seen there may not hold."""
        self.forget()
        self._seen = None

    async def look(self, connection: AnyConnection) -> Seen:
        """Postgres's own schema as this connection sees it now. Nobody else can change what a transaction sees."""
        assert self.settings is not None
        if self._began is None or self._seen is None:
            self._seen = await self.look_again(connection, self._seen)
        return self._seen

    async def look_again(self, connection: AnyConnection, seen: Seen | None, beside: str = "") -> Seen:
        """The same behind a change; with the tables of `beside`, or those of this dialect's own schema beside."""
        assert self.settings is not None
        return await read_again(cast("Any", connection), self.settings.postgres.schema_, seen, beside or self.beside)

    def mapped(self, source: SqliteSchema, target: PostgresSchema) -> Tables:
        """The mapping of a schema that the service has not mapped yet; what it has keeps what it learned of formats."""
        assert self.settings is not None
        found = map_tables(source, target, self.settings).tables
        known = {table.name: table for table in self._tables()}
        return tuple(
            _with_formats(table, known[table.name])
            if table.name in known and same_rows(known[table.name], table)
            else table
            for table in found
        )

    async def changed(
        self, connection: AnyConnection, tables: Tables, ddl: Sequence[str], seen: Seen, beside: str = ""
    ) -> Dialect:
        """What holds in a transaction that changed the schema, for itself alone."""
        own = Dialect(lambda: tables, lambda: ddl, 256, settings=self.settings)
        own.max_response_bytes = self.max_response_bytes
        own.learned = self.learned
        sequences, _ = await _sequences(connection, tables, stands=False)
        own.load(tables, ddl, sequences)
        # By name: no statement drops a sequence and makes another one.
        kept = {*filter(None, sequences.values())} & {*self.catalog.sequences.values()}
        made = tuple(table for table in tables if sequences.get(table.name) not in kept)
        _, stands = await _sequences(connection, made, stands=True) if made else ({}, {})  # which nobody else sees
        own.keys = self.keys.within(kept, stands)
        own.generation = self.generation + 1
        own._seen = seen
        own.owed = self.owed
        own.beside = beside or self.beside
        own.temporary = frozenset(name.lower() for name in map(temporary_name, ddl) if name)
        counted = self.checks.counted
        asked = schema_of(ddl).tables if own.temporary and not counted else ()
        own.checks.counted = counted or any(
            table.autoincrement for table in asked if table.name.lower() in own.temporary
        )
        own._began = self.generation if self._began is None else self._began
        return own

    def owing(self, owed: tuple[Owed, ...]) -> Dialect:
        """The same with other debts."""
        own = copy(self)
        own.owed = owed
        return own

    def aside(self, stands: Mapping[str, int | None]) -> Dialect:
        """The same with keys of its own, to run one statement that is undone. `stands`: sequences that were set."""
        own = copy(self)
        own.keys = KeysAndNumbers(stands)
        for sequence in stands:
            own.keys.of(sequence).settled = True
        return own

    def altered_beside(self) -> None:
        """As `adopt`, where what held for the transaction holds for its stream alone: the schema is read again."""
        self.altered += 1
        self.forget()

    def adopt(self, own: Dialect) -> None:
        """A transaction that changed the schema has committed: what held for it holds for all, unless others changed
        the schema since it began to; then it is read again."""
        self.altered += 1
        if self.is_current and own._began == self.generation:
            given = self._known
            self._take(own.tables, own.ddl, own.copy, own.catalog)
            own._copy = None
            self.keys = own.keys
            self._known, self._seen = given, own._seen
        else:
            self.forget()

    def load(self, tables: Tables, ddl: Sequence[str], sequences: Mapping[str, str | None]) -> None:
        """Take over a schema that was read."""
        tables, copy = with_learned(tables, self.learned), SchemaCopy(ddl)
        any_of_ties = self.settings is not None and self.settings.front.limit_ties == "any"
        catalog = Catalog.of(
            tables,
            ddl,
            sequences,
            copy.reading,
            self.learned,
            view_columns=copy.view_columns(),
            any_of_ties=any_of_ties,
        )
        self._take(tables, ddl, copy, catalog)

    def _take(self, tables: Tables, ddl: Sequence[str], copy: SchemaCopy, catalog: Catalog) -> None:
        if self._copy is not None:
            self._copy.close()
        self._copy, self.catalog = copy, catalog
        file = self.settings.sqlite.path if self.settings is not None else ""
        counted = self._checks is not None and self._checks.counted
        self._checks = Checks(copy, ddl, tables, file, self._size, counted=counted)
        self.translator = Translator(catalog, self._size)
        self._known = self.tables = tables
        self.ddl = tuple(ddl)
        self.generation += 1

    @property
    def copy(self) -> SchemaCopy:
        """The schema copy. `renew` has been called."""
        assert self._copy is not None
        return self._copy

    @property
    def checks(self) -> Checks:
        """What SQLite says of statements. `renew` has been called."""
        assert self._checks is not None
        return self._checks

    def translate(self, sql: str, arguments: Sequence[SqlValue]) -> Translation:
        """The translation. Raises `StatementError`."""
        while True:
            try:
                return self.translator.translate(self.checks.instead(sql), arguments)
            except Spelled:
                self.learn()

    def learn(self) -> None:
        """Go by what values said of formats, for what is translated from here on."""
        known = self._known
        self.load(self.tables, self.ddl, self.catalog.sequences)
        self._known = known

    def typical(self, sql: str) -> Translation:
        """The translation for arguments of the kinds that the statement's own columns suggest."""
        return self.translator.typical(self.checks.instead(sql), len(inspect(sql).params))

    def columns(self, checked: Checked, translation: Translation) -> list[ResultColumn]:
        """Names and declared types of the result's columns, as SQLite has them."""
        described = checked.description.columns
        if len(described) == translation.width:
            return list(described)
        declared = translation.declared
        return [ResultColumn(f"column{at + 1}", declared[at]) for at in range(translation.width)]


def _with_formats(table: Table, known: Table) -> Table:
    """What was learned of formats is kept; anything else may be another: a default, a key, WITHOUT ROWID."""
    if table == known:
        return known
    columns = [
        replace(column, format=before.format, exact=before.exact, assumed=before.assumed)
        for column, before in zip(table.columns, known.columns, strict=True)
    ]
    return replace(table, columns=tuple(columns))


async def _sequences(
    connection: AnyConnection, tables: Tables, *, stands: bool
) -> tuple[dict[str, str | None], dict[str, int]]:
    """By table name, the sequence of its automatic key; and by sequence, if that is wanted, where it stands."""
    counting = [table for table in tables if table.rowid_alias is not None]
    if not counting:
        return {}, {}
    keys = [next(each.target for each in table.columns if each.name == table.rowid_alias) for table in counting]
    places = [table.target_schema for table in counting], [table.target for table in counting]
    rows = await connection.fetch(_SEQUENCES, *places, keys, stands)
    found = {table.name: row[0] for table, row in zip(counting, rows, strict=True)}
    return found, {sequence: last or 0 for sequence, last in rows if stands and sequence is not None}


async def _drawn(connection: AnyConnection, sequences: Collection[str]) -> set[str]:
    """Those that transactions which are still open have drawn from. Asked behind where they stand."""
    rows = await connection.fetch(_DRAWN, list(sequences)) if sequences else []
    return {sequence for sequence, drawn in rows if drawn}
