"""Postgres DDL for the tables that cutover creates: faithful to what SQLite stores, not "nice" Postgres types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from cutover.model.table import Column, Table
from cutover.schema.codecs import scalars
from cutover.schema.createsql import read_create_table
from cutover.schema.defaults import translate_default
from cutover.schema.findings import Finding
from cutover.schema.migrations import marked
from cutover.schema.naming import numbered, placed
from cutover.schema.parts import Untranslatable, kind_of
from cutover.schema.sqlite_schema import SqliteColumn, SqliteForeignKey, SqliteIndex, SqliteTable, quoted
from cutover.schema.translate import translate, translate_value
from cutover.schema.types import BY_NAME, is_blob_by_name

MOST_COLUMNS = 32
"""Of one index on Postgres. More do no harm where it need not be unique: what is left out comes from the rows."""

_TEXTUAL = ("text", "character varying")
_WITHOUT_ORDER = ("json",)
_COMPUTED = {"INTEGER": "bigint", "REAL": "double precision", "TEXT": "text"}
"""By affinity. Another one is that of the value, which only SQLite knows."""


_CREATE_EQUAL = "Create an equal of the same name on Postgres; writes that could break it are refused until then."
_CREATE_OR_ACCEPT = "Create the table on Postgres yourself with an equivalent, or accept that Postgres lacks it."


class Terms(Protocol):
    """Expressions of a schema by rules that go further than those of `translate`. Each raises `Untranslatable`."""

    def condition(self, table: Table, sql: str) -> str:
        """What is true or false, or NULL."""

    def term(self, table: Table, sql: str, collation: str) -> str:
        """What an index is over; a collation other than BINARY is told by other values."""

    def default(self, column: Column, sql: str) -> str:
        """What a column holds that is given no value."""


@dataclass
class Ddl:
    """Statements in the order in which they can be executed, and what could not be carried over."""

    tables: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    foreign_keys: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    """Names in use in the target schema, which indexes share with tables."""
    terms: Terms | None = None
    """Where the functions of schema `cutover` are there, and may be called: what has no form without them."""

    @property
    def statements(self) -> tuple[str, ...]:
        """All of them: tables, then indexes, then foreign keys."""
        return (*self.tables, *self.indexes, *self.foreign_keys)

    def add_table(self, table: Table, source: SqliteTable) -> None:
        """CREATE TABLE and its indexes."""
        columns = _named(table)
        lines, generated = list[str](), dict[str, Column]()
        for each in source.columns:
            mapped = columns.get(each.name.lower())
            if mapped is not None and mapped.target:
                lines.append(self._column(table, mapped))
            elif each.generated:
                made = list(self._generated(table, each, columns))
                lines += made
                if made:
                    generated[each.name.lower()] = _computed(each)
        columns |= generated
        lines.append(f"PRIMARY KEY ({_names(table.key, columns)})")
        lines += self._checks(table, source.checks, columns)
        body = ",\n".join(f"    {line}" for line in lines)
        self.tables.append(f"CREATE TABLE {_qualified(table)} (\n{body}\n)")
        self.tables += marked(_qualified(table), table.name)
        self.tables += [self.mark(table, each) for each in table.columns if is_blob_by_name(each)]
        for index in sorted(source.indexes, key=_made_by):  # Postgres asks the one first that was made first
            if not _is_key(index, table):
                self._index(table, index, columns)
        if table.is_numbered:
            self._index(table, _of_rowids(table), columns)

    @staticmethod
    def mark(table: Table, column: Column) -> str:
        """What says of a column that its type is cutover's to choose."""
        return f"COMMENT ON COLUMN {_qualified(table)}.{quoted(column.target)} IS '{BY_NAME}'"

    def added_column(self, table: Table, source: SqliteTable, name: str) -> str:
        """What follows ADD COLUMN, without NOT NULL, which rows that are there may not satisfy yet; empty: no equal."""
        columns = _named(table)
        mapped, own = columns.get(name.lower()), source.column(name)
        if mapped is not None and mapped.target:
            return self._column(table, replace(mapped, not_null=False))
        return next(self._generated(table, own, columns), "") if own is not None and own.generated else ""

    def added_index(self, table: Table, index: SqliteIndex) -> str:
        """CREATE INDEX; empty where it has no equal."""
        before = len(self.indexes)
        self._index(table, index, _named(table))
        return self.indexes[before] if len(self.indexes) > before else ""

    def added_check(self, table: Table, check: str) -> str:
        """CHECK (...); empty where it has no equal."""
        columns = _named(table)
        return next(self._checks(table, (check,), columns), "")

    def _column(self, table: Table, column: Column) -> str:
        parts = [quoted(column.target), column.target_type]
        if column.target_type.startswith(_TEXTUAL):
            parts.append('COLLATE "C"')
        if column.name == table.rowid_alias:
            return " ".join([*parts, "GENERATED BY DEFAULT AS IDENTITY"])
        if column.not_null or column.name in table.key:
            parts.append("NOT NULL")
        if column.default is not None and column.default.upper() != "NULL":
            try:
                parts.append(f"DEFAULT {self._default(column, column.default)}")
            except Untranslatable:
                self._left_out(table, "default", column.default, column=column.name)
        return " ".join(parts)

    def _default(self, column: Column, sql: str) -> str:
        try:
            return translate_default(sql, column)
        except Untranslatable:
            if self.terms is None:
                raise
            return self.terms.default(column, sql)

    def _condition(self, table: Table, sql: str, columns: dict[str, Column]) -> str:
        try:
            return translate(sql, columns, condition=True, helpers=self.terms is not None)
        except Untranslatable:
            if self.terms is None:
                raise
            return self.terms.condition(table, sql)

    def _generated(self, table: Table, column: SqliteColumn, columns: dict[str, Column]) -> Iterator[str]:
        try:
            expression, kind = translate_value(column.generated, columns)
        except Untranslatable:
            kind = ""
        computed = _computed(column)
        if not kind or kind_of(computed) != kind:
            self._left_out(table, "generated column", column.generated, column=column.name)
            return
        collation = ' COLLATE "C"' if kind == "text" else ""
        not_null = " NOT NULL" if column.not_null else ""
        made = f"GENERATED ALWAYS AS ({expression}) STORED{not_null}"
        yield f"{quoted(column.name)} {computed.target_type}{collation} {made}"

    def _checks(self, table: Table, checks: tuple[str, ...], columns: dict[str, Column]) -> Iterator[str]:
        for check in checks:
            try:
                yield f"CHECK ({self._condition(table, check, columns)})"
            except Untranslatable:
                self._left_out(table, "check constraint", check)

    def _index(self, table: Table, index: SqliteIndex, columns: dict[str, Column]) -> None:
        try:
            terms = [
                self._term(table, term, name, columns, unique=index.unique)
                for term, name in zip(index.terms, index.columns, strict=True)
            ]
            where = f" WHERE {self._condition(table, index.partial, columns)}" if index.partial else ""
        except Untranslatable:
            self._left_out(table, "unique index" if index.unique else "index", _index_text(index))
            return
        if len(terms) > MOST_COLUMNS and index.unique:
            self._left_out(table, "unique index", _index_text(index))
            return
        terms = terms[:MOST_COLUMNS]
        wanted = index.name if index.origin == "c" else "_".join([table.target, *filter(None, index.columns), "key"])
        name = self._free_name(wanted)
        unique = "UNIQUE " if index.unique else ""
        self.indexes.append(f"CREATE {unique}INDEX {quoted(name)} ON {_qualified(table)} ({', '.join(terms)}){where}")

    def _term(
        self, table: Table, term: tuple[str, str, bool], name: str | None, columns: dict[str, Column], *, unique: bool
    ) -> str:
        sql, collation, descending = term
        try:
            return _term(sql, collation, descending, name, columns)
        except Untranslatable:
            if self.terms is None or not unique:  # without an index Postgres is slower, and says the same
                raise
            text = f"({self.terms.term(table, sql if name is None else quoted(name), collation.upper())})"
            return text + (" DESC NULLS LAST" if descending else " NULLS FIRST")

    def _free_name(self, wanted: str) -> str:
        name, number = placed(wanted), 1
        while name in self.taken:
            number += 1
            name = numbered(wanted, number)
        self.taken.add(name)
        return name

    def add_foreign_key(self, child: Table, parent: Table, key: SqliteForeignKey) -> None:
        """ALTER TABLE ... ADD FOREIGN KEY. The caller has checked that the parent's columns are unique."""
        own = {column.name.lower(): column for column in child.columns}
        theirs = {column.name.lower(): column for column in parent.columns}
        actions = "".join(
            f" {on} {action}"
            for on, action in (("ON UPDATE", key.on_update), ("ON DELETE", key.on_delete))
            if action != "NO ACTION"
        )
        self.foreign_keys.append(
            f"ALTER TABLE {_qualified(child)} ADD FOREIGN KEY ({_names(key.columns, own)})"
            f" REFERENCES {_qualified(parent)} ({_names(key.parent_columns, theirs)}){actions}"
            + (" DEFERRABLE INITIALLY DEFERRED" if key.deferred else " DEFERRABLE")  # PRAGMA defer_foreign_keys
        )

    def _left_out(self, table: Table, what: str, text: str, *, column: str = "") -> None:
        self.findings.append(
            Finding(
                severity="warns",
                code=f"{what.replace(' ', '_')}_not_carried_over",
                message=f"The {what} {text} has no sure equivalent on Postgres and is left out.",
                todo=_CREATE_EQUAL if what == "unique index" else _CREATE_OR_ACCEPT,
                table=table.name,
                column=column,
            )
        )


def _named(table: Table) -> dict[str, Column]:
    """Columns by lower-case name. Those that are not on Postgres have no target, and no expression may name them."""
    hidden = {name: Column(name, "", "", "", "") for name in read_create_table(table.sql).columns}
    return hidden | {column.name.lower(): column for column in table.columns}


def _computed(column: SqliteColumn) -> Column:
    """A generated column as expressions of the same table see it."""
    return Column(
        name=column.name,
        declared=column.declared,
        affinity=column.affinity,
        target=column.name,
        target_type=_COMPUTED.get(column.affinity, ""),
        collation=column.collation,
    )


def _term(sql: str, collation: str, descending: bool, name: str | None, columns: dict[str, Column]) -> str:
    """One term of an index, in the order of SQLite: NULLs are the smallest."""
    column = columns.get(name.lower()) if name is not None else None
    if name is not None and (column is None or not column.target):
        raise Untranslatable(sql)
    if column is not None and column.target_type.startswith(_WITHOUT_ORDER):
        raise Untranslatable(sql)
    if column is not None and column.target_type == scalars.NAME and collation != "BINARY":
        raise Untranslatable(sql)  # it tells texts apart that SQLite takes for equal
    value, kind = translate_value(sql, columns) if column is None else ("", "")
    text = quoted(column.target) if column else f"({_typed(value, kind)})"
    is_text = column.target_type.startswith(_TEXTUAL) if column else kind == "text"
    if is_text and collation == "NOCASE":
        text = f'lower({text} COLLATE "C")'
    elif is_text and collation == "RTRIM":
        text = f"rtrim({text}, ' ')"
    elif is_text and collation != "BINARY":
        raise Untranslatable(sql)
    nulls = "" if column is not None and column.not_null else (" NULLS LAST" if descending else " NULLS FIRST")
    return text + (" DESC" if descending else "") + nulls


def _typed(sql: str, kind: str) -> str:
    """A value of which Postgres knows the type, which it does not of "a" that is no column and so a string."""
    return f"{sql}::text" if kind == "text" and sql.startswith("'") and sql.endswith("'") else sql


def _of_rowids(table: Table) -> SqliteIndex:
    """What finds rows by SQLite's rowid, which no index of SQLite's says."""
    name = table.rowid_alias or ""
    return SqliteIndex("", True, "u", ((quoted(name), "BINARY", False),), (name,), None, "")  # unique


def _made_by(index: SqliteIndex) -> int:
    """Sorts by the order in which SQLite asks the unique constraints of a new row: those of a table backwards."""
    number = index.name.rpartition("_")[2]
    return -int(number) if index.origin != "c" and number.isdigit() else 0


def _is_key(index: SqliteIndex, table: Table) -> bool:
    """Whether the primary key on Postgres already is this index. A NOCASE one says more than its bytes."""
    bytewise = all(collation == "BINARY" for _, collation, _ in index.terms)
    return index.unique and bytewise and index.partial is None and set(index.columns) == set(table.key)


def _index_text(index: SqliteIndex) -> str:
    terms = ", ".join(
        sql + ("" if collation == "BINARY" else f" COLLATE {collation}") for sql, collation, _ in index.terms
    )
    return f"{index.name} ({terms})" + (f" WHERE {index.partial}" if index.partial else "")


def _qualified(table: Table) -> str:
    return f"{quoted(table.target_schema)}.{quoted(table.target)}"


def _names(names: tuple[str, ...], columns: dict[str, Column]) -> str:
    return ", ".join(quoted(columns[name.lower()].target) for name in names)
