"""Constraints with an ON CONFLICT clause of their own: what a statement without such a word goes by.

To SQLite each constraint that a row breaks has its own resolution. Where all that a statement may break say the same,
it is what INSERT OR ... of that word would be; what would be resolved in several ways is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

from sqlglot import exp

from cutover.dialect.catalog import meant_by
from cutover.dialect.halfway import is_in
from cutover.dialect.typed import ByKeys, Refused
from cutover.model.table import Column, Table, UniqueIndex
from cutover.schema.createsql import OwnClause, read_create_table

_TODO = "Say in the statement what becomes of a conflict: INSERT OR ..., UPDATE OR ..."


@lru_cache(maxsize=4096)
def own_clauses(sql: str) -> tuple[OwnClause, ...]:
    """Those of a CREATE TABLE text, other than ABORT."""
    return tuple(read_create_table(sql).clauses) if "conflict" in sql.lower() else ()


def of_key(table: Table, index: UniqueIndex) -> str:
    """The word of a unique key."""
    names = tuple((name or "").lower() for name in index.columns)
    for clause in own_clauses(table.sql):
        if clause.kind == "key" and clause.columns == names and index.partial is None:
            return clause.action
    return "ABORT"


def of_null(table: Table, column: Column) -> str:
    """The word of a column's NOT NULL; empty where it may be NULL."""
    for clause in own_clauses(table.sql):
        if clause.kind == "null" and clause.columns == (column.name.lower(),):
            return clause.action
    return "ABORT" if column.not_null else ""


def by_default(table: Table) -> list[str]:
    """The columns that become their default where they would be NULL."""
    return [column.name for column in table.columns if of_null(table, column) == "REPLACE"]


def has_replacing(table: Table) -> bool:
    """Whether a row may go for another that has a key of it."""
    return any(clause.kind == "key" and clause.action == "REPLACE" for clause in own_clauses(table.sql))


def of_insert(
    table: Table, indexes: Iterable[UniqueIndex], columns: Collection[Column], *, several: bool
) -> str | None:
    """The word for the unique keys that an INSERT may meet; None where it fails as a whole. Raises `Refused`."""
    words = {of_key(table, index) for index in indexes}
    nulls = {of_null(table, one) for one in columns if not one.hidden and one.name != table.rowid_alias} - {""}
    if several and "FAIL" in words | nulls:
        if words == {"FAIL"} and nulls <= {"FAIL"} and word_of_rows(table) == "FAIL":
            return "FAIL"
        raise _several(table)
    if len(words) > 1 and {"IGNORE", "REPLACE"} & words:
        raise ByKeys(f"A write by the ON CONFLICT clauses of constraints of the table {table.name}, which differ,")
    return _one(table, words)


def word_of_rows(table: Table) -> str | None:
    """FAIL, where an INSERT of several rows keeps those before the one that fails, whatever it is that fails."""
    keys = {of_key(table, index) for index in table.unique if index.columns != (table.rowid_alias,)}
    nulls = {of_null(table, one) for one in table.columns if not one.hidden and one.name != table.rowid_alias} - {""}
    return "FAIL" if keys == {"FAIL"} and nulls <= {"FAIL"} and not read_create_table(table.sql).checks else None


def of_update(node: exp.Update, table: Table) -> str | None:
    """The word for an UPDATE that has none. Raises `Refused`."""
    if not own_clauses(table.sql):
        return None
    assigned: dict[str, exp.Expr] = {}
    for setting in node.expressions:
        for target in setting.this.expressions if isinstance(setting.this, exp.Tuple) else [setting.this]:
            assigned[meant_by(target.name, table)] = setting.expression
    changed = [one for one in table.columns if one.name.lower() in assigned]
    nulls = {of_null(table, one) for one in changed if not isinstance(assigned[one.name.lower()], exp.Literal)} - {""}
    keys = {of_key(table, index) for index in table.unique if any(is_in(index, one.name, table) for one in changed)}
    word = _one(table, keys | nulls, failing=True)
    if word in ("IGNORE", "FAIL") and read_create_table(table.sql).checks:
        raise _several(table)
    return word


def rolls_back(word: str | None, message: str, tables: Iterable[Table]) -> bool:
    """Whether the transaction ends with what SQLite says of a constraint.

    `word`: the statement's own, before which those of constraints count for nothing. None of them is of foreign keys.
    """
    if word is not None:
        return word == "ROLLBACK" and not message.startswith("FOREIGN KEY")
    what, _, names = message.partition(" constraint failed: ")
    kind = {"UNIQUE": "key", "NOT NULL": "null"}.get(what)
    for table in tables if kind else ():
        for clause in own_clauses(table.sql):
            own = ", ".join(f"{table.name}.{name}" for name in clause.columns)
            if clause.kind == kind and clause.action == "ROLLBACK" and own.lower() == names.lower():
                return True
    return False


def _one(table: Table, words: Collection[str], *, failing: bool = False) -> str | None:
    """What all of them say. ROLLBACK fails, and the session does the rest."""
    if not {"IGNORE", "REPLACE", *(["FAIL"] if failing else [])} & set(words):
        return None
    if len(words) > 1:
        raise _several(table)
    return next(iter(words))


def _several(table: Table) -> Refused:
    return Refused(f"A write by the ON CONFLICT clauses of constraints of the table {table.name}, which differ,", _TODO)
