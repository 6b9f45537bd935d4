"""Tables of SQLite that have a hidden rowid: what becomes of it on Postgres. Pure.

Where no declared key tells the rows apart for Postgres, the rowid is the key. SQLite takes NULL in every primary key
but that of an integer, and any kind of value in one of no firm type: `id SERIAL PRIMARY KEY`, as some migrators write
it, is numeric and holds nothing but NULL. Elsewhere it goes beside the key: SQLite reads rows by it, whatever that is.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace

from cutover.errors import SchemaError
from cutover.model.table import Column
from cutover.schema.codecs import codec_for
from cutover.schema.findings import Finding
from cutover.schema.matching import tells_apart
from cutover.schema.postgres_schema import PostgresTable
from cutover.schema.sqlite_schema import ROWID, SqliteColumn, SqliteTable
from cutover.schema.types import choose_type, normal_type
from cutover.settings import ColumnSettings, TableSettings

_MOST_NAMED = 10
_CARRIED = (
    f"SQLite's hidden rowid goes along in one more column, {ROWID}, so that rows come in SQLite's order and statements "
    "may name it"
)
_WITHOUT = 'If nothing reads these tables through the front door, set rowid = "drop" for them, or in [postgres].'


def carried(tables: Iterable[SqliteTable]) -> list[Finding]:
    """Told of tables to be created: whoever reads a plan finds a column there that no table of theirs has.

    Where it is the key that is told already.
    """
    names = sorted(table.name for table in tables if table.primary_key != (ROWID,))
    if not names:
        return []
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    message = f"{_CARRIED}: {', '.join(names[:_MOST_NAMED])}{more}."
    return [Finding("informs", "rowid_carried", message, _WITHOUT)]


def keyed_by_rowid(
    source: SqliteTable,
    target: PostgresTable | None,
    chosen: TableSettings,
    nulls: Container[str],
    *,
    born: bool,
    loose: bool,
) -> bool:
    """Whether the rowid is the key: the table was made so on Postgres, or has to be.

    It has to be if there is no other, or if the column of the declared key is one of `nulls`, where all rows there are
    have NULL, or has no type for a key if the table is `born`; and wherever SQLite takes NULL in the key, if such keys
    are to be `loose`.
    """
    if chosen.key or not _has_hidden(source):
        return False
    if source.is_keyless:
        # An index that tells the rows apart goes before, but not in a table that was just born: it may go again.
        apart = any(tells_apart(source, index) for index in source.unique)
        made_so = born if target is None else target.primary_key == (ROWID,)
        return (target is None or target.column(ROWID) is not None) and (made_so or not apart)
    key = [column for name in source.primary_key if (column := source.column(name))]
    if not key or all(column.not_null for column in key):
        return False
    if target is not None:
        return target.primary_key == (ROWID,)
    given = {name.lower(): each for name, each in chosen.columns.items()}
    asked = [column for column in key if born or column.name in nulls]
    return loose or any(not _fit(column, given.get(column.name.lower(), ColumnSettings())) for column in asked)


def carries_rowid(source: SqliteTable, target: PostgresTable | None, *, wanted: bool) -> bool:
    """Whether the rowid goes beside a key of other columns: the table on Postgres has a place for it, or is made so."""
    if not _has_hidden(source):
        return False
    return wanted if target is None else has_place(target)


def has_place(target: PostgresTable) -> bool:
    """Whether a table on Postgres has a column that is as those which cutover makes for the rowid."""
    found = target.column(ROWID)
    return (
        found is not None
        and (found.type, found.not_null) == ("bigint", True)
        and any(index.unique and index.columns == (ROWID,) and index.partial is None for index in target.indexes)
    )


def without_place(target: PostgresTable) -> PostgresTable:
    """The table as SQLite gets it: the rowid's place is none of its columns there, but what every row has anyway."""
    if not has_place(target) or ROWID in target.primary_key:
        return target
    return replace(
        target,
        columns=tuple(column for column in target.columns if column.name != ROWID),
        indexes=tuple(index for index in target.indexes if index.columns != (ROWID,)),
    )


def may_have_rowid(source: SqliteTable, column: Column) -> bool:
    """Whether a column of Postgres is for the rowid that SQLite's columns do not name."""
    return column.hidden and _has_hidden(source)


def with_rowid(source: SqliteTable, *, as_key: bool) -> SqliteTable:
    """The table with its hidden rowid. A declared key stays as the unique index that it is in SQLite."""
    plain = without_rowid(source)
    rowid = SqliteColumn(ROWID, "INTEGER", "INTEGER", True, None, "BINARY", hidden=True)  # not null
    key = (ROWID,) if as_key else plain.primary_key
    return replace(plain, columns=(*plain.columns, rowid), primary_key=key, rowid_alias=ROWID)


def without_rowid(source: SqliteTable) -> SqliteTable:
    """The table without it, where it is not to be on Postgres."""
    if all(not column.hidden for column in source.columns):
        return source
    key = () if source.is_keyless else source.primary_key
    columns = tuple(column for column in source.columns if not column.hidden)
    return replace(source, columns=columns, primary_key=key, rowid_alias=None)


def _has_hidden(source: SqliteTable) -> bool:
    """Whether rows have a number that no column shows, and that can be asked for."""
    if any(column.hidden for column in source.columns):
        return True
    return not (source.without_rowid or source.rowid_alias or source.column(ROWID) is not None)


def _fit(column: SqliteColumn, chosen: ColumnSettings) -> bool:
    """Whether Postgres can have it in a key."""
    try:
        kind = normal_type(chosen.type) if chosen.type else choose_type(column, None, born=True)
        made = Column(column.name, column.declared, column.affinity, column.name, kind, exact=True)
        return not codec_for(made).key
    except SchemaError:
        return True  # what is wrong is said where the column is mapped
