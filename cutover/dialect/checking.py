"""What SQLite says of statements, on the empty copy of the schema: its own errors, and answers that need no data."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from cutover.dialect.orphans import orphans_query
from cutover.dialect.schema_copy import SchemaCopy
from cutover.dialect.schema_rows import written_out
from cutover.dialect.tokens import prepare
from cutover.dialect.typed import Refused
from cutover.errors import CutoverError, StatementError
from cutover.model.statement import Description, StatementResult
from cutover.model.table import Tables
from cutover.model.values import Row, SqlValue
from cutover.schema import pragmas
from cutover.schema.sqltext import StatementKind, inspect, refusal
from cutover.stores.defects import defect

_FUNCTIONS = re.compile(r"\bpragma_(\w+)", re.IGNORECASE)
_NO_KEY = ("foreign key mismatch", "no such table: main.")
_OF_FILE = ("journal_mode", "database_list")
"""What the copy, which is in memory, would tell otherwise than the file that is served."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A statement that SQLite would accept."""

    description: Description
    local: bool
    """Answered without Postgres."""
    instead: str = ""
    """SQLite's SQL that is run in place of the statement."""


class Checks:
    """Of one state of the schema, remembered by text."""

    def __init__(
        self, copy: SchemaCopy, ddl: Sequence[str], tables: Tables, file: str, size: int, *, counted: bool = False
    ) -> None:
        """`file`: where SQLite's is, as PRAGMA database_list tells; `size`: texts that are remembered."""
        self._copy, self._ddl, self._tables, self._file, self._size = copy, ddl, tables, file, size
        self._known: OrderedDict[str, Checked] = OrderedDict()
        self.counted = counted
        """Whether a temporary table, perhaps gone by now, had AUTOINCREMENT: SQLite then keeps a list for them, too."""

    def check(self, sql: str, *, foreign_keys: bool = True) -> Checked:
        """What SQLite says of the statement, remembered by text. Raises `StatementError` as SQLite's prepare does.

        `foreign_keys`: the PRAGMA. Without them it does not mind those that refer to what is no key, or no table.
        """
        known = self._known.get(sql)
        if known is None:
            try:
                known = self._check(sql)
            except StatementError as error:
                if foreign_keys or not error.message.startswith(_NO_KEY):
                    raise
                with self._copy.unchecked():
                    return self._check(sql)  # remembered for nobody: the others are told of it
            self._known[sql] = known
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(sql)
        return known

    def _check(self, sql: str) -> Checked:
        try:
            return self._found(sql)
        except CutoverError:
            raise
        except Exception as error:  # noqa: BLE001  # a defect of ours
            raise defect(error) from None

    def _found(self, sql: str) -> Checked:
        shape = inspect(sql)
        refused = refusal(shape)
        if refused:
            raise refused
        if shape.kind is StatementKind.DDL:
            if shape.verb in ("ANALYZE", "REINDEX"):
                self._copy.describe(sql)  # what there is nothing of is an error, though nothing is to be done
            return Checked(Description((), (), is_explain=False, is_readonly=False), local=True)
        description = self._copy.describe(sql)
        if self.counted and "sqlite_sequence" in sql.lower():
            raise Refused("sqlite_sequence behind a temporary table with AUTOINCREMENT", "Ask in another transaction.")
        if shape.pragma == "foreign_key_check":
            self._copy.answer(sql, ())  # which says where a parent has no such key
            return Checked(description, local=False, instead=orphans_query(sql, self._ddl, self._tables))
        functions = {name.lower() for name in _FUNCTIONS.findall(sql)}
        told = {shape.pragma, *functions} & pragmas.OF_STATE
        if told:
            raise Refused(f"PRAGMA {min(told)}, which tells of SQLite's file,", "Ask PostgreSQL for its own state.")
        of_stream = functions & pragmas.OF_STREAM
        if of_stream:
            named = min(of_stream)
            raise Refused(f"The function pragma_{named}, unlike the PRAGMA,", f"PRAGMA {named} answers the same.")
        if "pragma_foreign_key_check" in sql.lower():
            raise Refused(
                "The function pragma_foreign_key_check, unlike the PRAGMA,",
                "PRAGMA foreign_key_check answers the same.",
            )
        of_schema = shape.kind is StatementKind.READ and prepare(sql, frozenset()).tables_of_schema
        if of_schema and self._copy.reads_data(sql, len(shape.params)):
            instead = written_out(sql, self._of_schema)
            if instead is None:
                raise Refused(
                    "A query of the schema and of data at once", "Ask sqlite_master and the tables in two statements."
                )
            if len(self._copy.originals) >= self._size:
                self._copy.originals.clear()
            self._copy.originals[instead] = sql
            return Checked(description, local=False, instead=instead)
        local = shape.verb in ("PRAGMA", "EXPLAIN") or of_schema
        return Checked(description, local)

    def _of_schema(self, query: str) -> tuple[Sequence[str], Sequence[Row]]:
        function = _FUNCTIONS.search(query)
        named = function[1].lower() if function is not None else ""
        found = self.answer(f"PRAGMA {named}", ()) if named in _OF_FILE else self._copy.answer(query, ())
        return [column.name for column in found.columns], found.rows

    def changes(self, sql: str) -> bool:
        """Whether the statement changes the schema, or a number in the file's header."""
        shape = inspect(sql)
        if shape.kind is StatementKind.DDL:
            return not self._copy.is_done(sql, shape)
        return shape.kind is StatementKind.WRITE and shape.verb == "PRAGMA"

    def answer(self, sql: str, arguments: Sequence[SqlValue]) -> StatementResult:
        """The result of a statement that `check` called local."""
        asked, shape = sql, inspect(sql)
        if shape.kind in (StatementKind.DDL, StatementKind.STATE) or (shape.sets and shape.pragma == pragmas.ONLY_TOLD):
            return StatementResult()
        if any(name.lower() in _OF_FILE for name in _FUNCTIONS.findall(sql)):
            written = written_out(sql, self._of_schema)
            if written is None:
                raise Refused("A PRAGMA as a function in such a place", "Write it into FROM, or ask with PRAGMA.")
            sql = written
        result = self._copy.answer(sql, arguments)
        if shape.pragma == "database_list":
            file = os.path.realpath(self._file) if self._file else ""
            result.rows = [(at, name, file if name == "main" else of) for at, name, of in result.rows]
        described = self.check(asked).description.columns if shape.verb == "SELECT" else ()
        if len(described) == len(result.columns):
            result.columns = list(described)
        return result

    def instead(self, sql: str) -> str:
        """What is translated in place of a text that was checked."""
        known = self._known.get(sql)
        return known.instead if known is not None and known.instead else sql
