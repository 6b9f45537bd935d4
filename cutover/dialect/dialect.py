"""Everything that is known about statements at one state of the schema, and renewed when the schema changes."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cutover.dialect.catalog import Catalog
from cutover.dialect.helpers import AnyConnection, install_helpers
from cutover.dialect.schema_copy import SchemaCopy
from cutover.dialect.tokens import prepare
from cutover.dialect.translator import Translation, Translator
from cutover.dialect.typed import Refused
from cutover.errors import StatementError
from cutover.model.statement import Description, ResultColumn, StatementResult
from cutover.model.table import Tables
from cutover.model.values import SqlValue
from cutover.schema.sqltext import StatementKind, inspect, refusal

_SEQUENCE = "SELECT pg_get_serial_sequence(format('%I.%I', $1::text, $2::text), $3)"


@dataclass(frozen=True, slots=True)
class Checked:
    """A statement that SQLite would accept."""

    description: Description
    local: bool
    """Answered without Postgres."""


class Dialect:
    """Translations and the schema copy. One for the executor, and one for the rehearsal."""

    def __init__(self, tables: Callable[[], Tables], ddl: Callable[[], Sequence[str]], size: int = 4096) -> None:
        self._tables, self._ddl, self._size = tables, ddl, size
        self._known: Tables | None = None
        self._checked: OrderedDict[str, Checked] = OrderedDict()
        self.max_response_bytes = sys.maxsize
        self.generation = 0
        """Counts the schemas that were loaded."""
        self.catalog = Catalog({})
        self._translator = Translator(self.catalog)
        self._copy: SchemaCopy | None = None

    @property
    def is_current(self) -> bool:
        """Whether the mapping is still the one that was read."""
        return self._known is not None and self._known is self._tables()

    async def renew(self, connection: AnyConnection) -> None:
        """Read the schema again if it changed: once per mapping, not per statement. Installs the helper functions."""
        if self.is_current:
            return
        tables, ddl = self._tables(), tuple(self._ddl())
        await install_helpers(connection)
        sequences: dict[str, str | None] = {}
        for table in tables:
            if table.rowid_alias is not None:
                target = next(column.target for column in table.columns if column.name == table.rowid_alias)
                sequences[table.name] = await connection.fetchval(_SEQUENCE, table.target_schema, table.target, target)
        self.load(tables, ddl, sequences)

    def load(self, tables: Tables, ddl: Sequence[str], sequences: dict[str, str | None]) -> None:
        """Take over a schema that was read."""
        self.catalog = Catalog.of(tables, ddl, sequences)
        self._translator = Translator(self.catalog, self._size)
        self._checked.clear()
        if self._copy is not None:
            self._copy.close()
        self._copy = SchemaCopy(ddl)
        self._known = tables
        self.generation += 1

    @property
    def copy(self) -> SchemaCopy:
        """The schema copy. `renew` has been called."""
        assert self._copy is not None
        return self._copy

    def check(self, sql: str) -> Checked:
        """What SQLite says of the statement, remembered by text. Raises `StatementError` as SQLite's prepare does."""
        known = self._checked.get(sql)
        if known is None:
            known = self._checked[sql] = self._check(sql)
            if len(self._checked) > self._size:
                self._checked.popitem(last=False)
        return known

    def _check(self, sql: str) -> Checked:
        shape = inspect(sql)
        refused = refusal(shape)
        if refused:
            raise refused
        if shape.kind is StatementKind.DDL:
            if not self.copy.is_done(sql, shape):
                raise StatementError(
                    "Schema changes do not pass through cutover while PostgreSQL is primary: "
                    "run them on both stores with your own migration, then restart.",
                    "SQL_PARSE_ERROR",
                )
            return Checked(Description((), (), is_explain=False, is_readonly=False), local=True)
        description = self.copy.describe(sql)
        of_schema = shape.kind is StatementKind.READ and prepare(sql, frozenset()).tables_of_schema
        if of_schema and self.copy.reads_data(sql, len(shape.params)):
            raise Refused("A query of the schema and of data at once")
        local = shape.verb in ("PRAGMA", "EXPLAIN") or of_schema
        if shape.verb == "PRAGMA" and shape.kind is StatementKind.WRITE:
            raise Refused(f"PRAGMA {shape.pragma} = ...")
        if shape.kind is StatementKind.STATE and shape.pragma == "foreign_keys" and not shape.default:
            raise Refused("PRAGMA foreign_keys = OFF")
        return Checked(description, local)

    def answer(self, sql: str, arguments: Sequence[SqlValue]) -> StatementResult:
        """The result of a statement that `check` called local."""
        shape = inspect(sql)
        if shape.kind in (StatementKind.DDL, StatementKind.STATE):
            return StatementResult()
        return self.copy.answer(sql, arguments)

    def translate(self, sql: str, arguments: Sequence[SqlValue]) -> Translation:
        """The translation. Raises `StatementError`."""
        return self._translator.translate(sql, arguments)

    def typical(self, sql: str) -> Translation:
        """The translation for arguments of the kinds that the statement's own columns suggest."""
        return self._translator.typical(sql, len(inspect(sql).params))

    def columns(self, checked: Checked, translation: Translation) -> list[ResultColumn]:
        """Names and declared types of the result's columns, as SQLite has them."""
        described = checked.description.columns
        if len(described) == translation.width:
            return list(described)
        declared = translation.declared
        return [ResultColumn(f"column{at + 1}", declared[at]) for at in range(translation.width)]
