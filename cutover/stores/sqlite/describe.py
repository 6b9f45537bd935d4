"""What a statement is, without running it on the application's data.

Python's sqlite3 cannot prepare without stepping. So the real connection only sees `EXPLAIN` of the statement, which
compiles it and thereby checks every name; its result columns are found on an empty copy of the schema.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict

from cutover.model.statement import Description
from cutover.schema.sqltext import StatementKind, inspect, refusal, with_comments
from cutover.stores.defects import defect
from cutover.stores.sqlite.running import demand_sound
from cutover.stores.sqlite.schemacopy import SchemaCopies, SchemaCopy, schema_statements

_READONLY = (
    *(StatementKind.READ, StatementKind.BEGIN, StatementKind.BEGIN_READ, StatementKind.COMMIT),
    *(StatementKind.ROLLBACK, StatementKind.SAVEPOINT, StatementKind.RELEASE, StatementKind.ROLLBACK_TO),
    StatementKind.STATE,
)


class Describer:
    """Describes statements, with a bounded memory."""

    def __init__(self, copies: SchemaCopies, size: int = 2048) -> None:
        self._copies = copies
        self._size = size
        self._lock = threading.Lock()
        self._version = -1
        self._known: OrderedDict[str, Description] = OrderedDict()

    def describe(self, db: sqlite3.Connection, *, sql: str, committed: bool = True) -> Description:
        """Describe for this connection. `committed`: it has no uncommitted DDL. Raises `StatementError`."""
        refused = refusal(inspect(sql))
        if refused:
            raise refused
        if not committed:
            copy = SchemaCopy(schema_statements(db))
            try:
                return describe(db, copy, sql)
            finally:
                copy.close()
        version = db.execute("PRAGMA schema_version").fetchone()[0]
        with self._lock:
            if version != self._version:
                self._known.clear()
                self._version = version
            known = self._known.get(sql)
        if known is not None:
            return known
        found = describe(db, self._copies.of(db, version), sql)
        with self._lock:
            if self._version == version:
                self._known[sql] = found
                if len(self._known) > self._size:
                    self._known.popitem(last=False)
        return found


def describe(db: sqlite3.Connection, copy: SchemaCopy, sql: str) -> Description:
    """Check the statement on `db` and find its columns on `copy`. Raises `StatementError`."""
    shape = inspect(sql)
    demand_sound(db, sql, shape)
    has_columns = shape.kind is StatementKind.READ or shape.returning
    try:
        columns = copy.columns(with_comments(sql)) if has_columns else ()
    except Exception as error:  # noqa: BLE001  # a defect of ours
        raise defect(error) from None
    return Description(
        params=shape.params,
        columns=columns,
        is_explain=shape.explain,
        is_readonly=shape.kind in _READONLY,
    )
