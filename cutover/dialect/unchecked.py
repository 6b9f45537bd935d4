"""PRAGMA foreign_keys = OFF, where the role may not have Postgres put its foreign keys aside.

Postgres goes on checking then, which ends in an error, and acting, which nobody would hear of: rows that SQLite leaves
alone would be deleted or changed with the row that they refer to. So what may have a key act is refused.
"""

from __future__ import annotations

import re

from cutover.dialect.catalog import Catalog
from cutover.dialect.referring import deleting_changes, moving_changes
from cutover.dialect.translation import Translation
from cutover.dialect.typed import Refused
from cutover.errors import CutoverError, StatementError
from cutover.model.table import Table
from cutover.schema.sqltext import inspect

_INSTEAD = "GRANT SET ON PARAMETER session_replication_role to PostgreSQL's role, or leave the PRAGMA on."
_VIOLATED = "FOREIGN KEY constraint failed"
_SET = re.compile(r"\bSET\b(.*)", re.IGNORECASE | re.DOTALL)


def demand_no_action(sql: str, translation: Translation, catalog: Catalog) -> None:
    """Raises `Refused` for a write that may have a foreign key delete or change rows."""
    table, verb = translation.table, inspect(sql).verb
    if table is None:
        return
    deletes = verb == "DELETE" or translation.clears
    if (deletes and deleting_changes(table, catalog)) or (_moves(sql, table) and moving_changes(table, catalog)):
        what = f"{verb} of {table.name} under PRAGMA foreign_keys = OFF, where a foreign key acts upon it,"
        raise Refused(what, _INSTEAD)


def told(failure: CutoverError) -> CutoverError:
    """A key that Postgres checked all the same says so."""
    if not isinstance(failure, StatementError) or failure.message != _VIOLATED:
        return failure
    return StatementError(f"{_VIOLATED}: PostgreSQL goes on checking. {_INSTEAD}", failure.code)


def _moves(sql: str, table: Table) -> bool:
    """Whether it may give a row another key, of those that others can refer to."""
    found = _SET.search(sql)
    if found is None:
        return False
    unique = {name for index in table.unique for name in index.columns if name is not None}
    keys = unique | {column.name for column in table.key_columns}
    return any(re.search(rf"(?<![\w$]){re.escape(name)}[\"`\]]?\s*[,)=]", found[1], re.IGNORECASE) for name in keys)
