"""What is in one schema of a Postgres database: tables, keys, indexes, foreign keys, checks, triggers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

import asyncpg

from cutover.errors import SchemaChanged
from cutover.schema.migrations import MIRRORED, UNFINISHED

_BYTEWISE = frozenset({"C", "POSIX", "C.UTF-8", "C.utf8", "ucs_basic", "pg_c_utf8"})
Identity = Literal["", "always", "by default"]
_IDENTITY: dict[str, Identity] = {"a": "always", "d": "by default"}

T = TypeVar("T")


@dataclass(frozen=True)
class PostgresColumn:
    """One column."""

    name: str
    type: str
    """As `format_type` prints it."""
    not_null: bool
    default: str | None = None
    collation: str | None = None
    """The collation in effect; None for types without one and where comparison is bytewise."""
    deterministic: bool = True
    """False where the collation takes different texts for equal."""
    identity: Identity = ""
    sequence: str | None = None
    """Qualified name of the identity's or serial's sequence, quoted where needed."""
    generated: bool = False
    base_type: str = ""
    """What `type` stands for where its name does not say it: `enum`, an extension's type, the base of a domain."""
    labels: tuple[str, ...] = ()
    """The values of an enum, in its order."""
    number: int = field(default=0, compare=False)
    """Stays with the column whatever it is called (attnum); 0: not known."""


@dataclass(frozen=True)
class PostgresIndex:
    """One index or key. `columns` holds None for expressions."""

    name: str
    columns: tuple[str | None, ...]
    unique: bool
    primary: bool
    definition: str = field(default="", repr=False)
    partial: str | None = None
    immediate: bool = True
    """False for a deferrable constraint, which ON CONFLICT cannot use."""
    valid: bool = True
    nulls_not_distinct: bool = False
    terms: tuple[str, ...] = field(default=(), repr=False)
    """SQL of each column or expression."""
    nulls_last: tuple[bool, ...] = ()
    """Whether each has its NULLs behind its values where it ascends, and before them where it descends."""
    loose: bool = False
    """Whether a collation of its own takes different texts for equal."""


@dataclass(frozen=True)
class PostgresForeignKey:
    """A foreign key from this table; `parent_schema` and `parent` name what it points to."""

    name: str
    columns: tuple[str, ...]
    parent_schema: str
    parent: str
    parent_columns: tuple[str, ...]
    definition: str
    """As `pg_get_constraintdef` prints it, with actions and deferrability."""
    validated: bool = True


@dataclass(frozen=True)
class PostgresCheck:
    """A CHECK constraint."""

    name: str
    definition: str
    columns: tuple[str, ...] = field(default=(), compare=False)
    """Those that it is about."""


@dataclass(frozen=True)
class PostgresTrigger:
    """A trigger of the application (cutover's own are left out)."""

    name: str
    definition: str
    enabled: bool


@dataclass(frozen=True)
class PostgresTable:
    """One table; partitions are named in their root and not listed themselves."""

    name: str
    owner: str
    columns: tuple[PostgresColumn, ...]
    indexes: tuple[PostgresIndex, ...] = ()
    foreign_keys: tuple[PostgresForeignKey, ...] = ()
    checks: tuple[PostgresCheck, ...] = ()
    triggers: tuple[PostgresTrigger, ...] = ()
    partitioned: bool = False
    partitions: tuple[str, ...] = ()
    oid: int = field(default=0, compare=False)
    """Stays with the table whatever it is called; 0: not known."""
    mirrored: bool = False
    """Whether it says of itself that cutover made it (`migrations.MIRRORED`)."""
    unfinished: bool = field(default=False, compare=False)
    """Whether it says that it was made and not recorded (`migrations.UNFINISHED`)."""
    place: str = ""
    """The schema that it is in, if that is another one than it is told with."""

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Key columns in key order; empty if there is none."""
        return next((tuple(filter(None, index.columns)) for index in self.indexes if index.primary), ())

    def column(self, name: str) -> PostgresColumn | None:
        """The column of exactly that name."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class PostgresSchema:
    """One schema. `exists` is False if there is no such schema, which then has no tables."""

    name: str
    exists: bool
    bytewise: bool
    """Whether the database's own collation compares text by its bytes, as SQLite does."""
    encoding: str
    tables: tuple[PostgresTable, ...]
    others: tuple[str, ...] = ()
    """Names of views, sequences and the like: they too stand in the way of a table of that name."""
    sequences: tuple[str, ...] = ()
    """Names of all sequences."""

    @property
    def free_sequences(self) -> tuple[str, ...]:
        """Those that no column is filled from."""
        columns = [column for table in self.tables for column in table.columns]
        owned = {column.sequence.replace('"', "").rpartition(".")[2] for column in columns if column.sequence}
        named = " ".join(column.default for column in columns if column.default and "nextval" in column.default)
        return tuple(name for name in self.sequences if name not in owned and name not in named)

    @cached_property
    def _by_name(self) -> dict[str, PostgresTable]:
        return {table.name: table for table in self.tables}

    @cached_property
    def _folded(self) -> dict[str, list[PostgresTable]]:
        found = defaultdict[str, list[PostgresTable]](list)
        for table in self.tables:
            found[table.name.lower()].append(table)
        return found

    def table(self, name: str) -> PostgresTable | None:
        """The table of exactly that name."""
        return self._by_name.get(name)

    def named(self, name: str) -> PostgresTable | None:
        """The table of that name, or else the only one that differs by case alone."""
        found = self._by_name.get(name)
        if found is not None:
            return found
        alike = self._folded.get(name.lower(), ())
        return alike[0] if len(alike) == 1 else None


_DATABASE = """
SELECT pg_encoding_to_char(encoding) AS encoding, datcollate AS locale,
       datlocprovider::text AS provider, to_regnamespace(quote_ident($1)) IS NOT NULL AS exists
FROM pg_database WHERE datname = current_database()
"""

_RELATIONS = """
SELECT c.oid, c.relname AS name, c.relkind::text AS kind, pg_get_userbyid(c.relowner) AS owner, c.relispartition,
       obj_description(c.oid, 'pg_class') AS comment, '' AS place,
       ARRAY(SELECT i.inhrelid::regclass::text FROM pg_inherits i WHERE i.inhparent = c.oid ORDER BY 1) AS partitions
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'i', 'I', 'c') ORDER BY c.relname COLLATE "C"
"""

_COLUMNS = """
SELECT a.attrelid, a.attnum AS number, a.attname AS name,
       format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
       pg_get_expr(d.adbin, d.adrelid) AS default, l.collname AS collation, l.collisdeterministic AS deterministic,
       l.collprovider::text AS provider, l.collcollate AS locale,
       a.attidentity::text AS identity, a.attgenerated::text <> '' AS generated,
       pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) AS sequence,
       CASE WHEN k.typtype = 'e' THEN 'enum' WHEN k.typnamespace <> 'pg_catalog'::regnamespace THEN k.typname
            WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE '' END AS base,
       k.oid <> r.oid AND k.typnamespace <> 'pg_catalog'::regnamespace AS array_of_base,
       ARRAY(SELECT enumlabel FROM pg_enum WHERE enumtypid = k.oid ORDER BY enumsortorder) AS labels
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type r ON r.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
JOIN pg_type k ON k.oid = CASE r.typcategory WHEN 'A' THEN r.typelem ELSE r.oid END
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""

_INDEXES = """
SELECT i.indrelid, c.relname AS name, i.indisunique AS unique, i.indisprimary AS primary, i.indisvalid AS valid,
       i.indimmediate AS immediate, pg_get_expr(i.indpred, i.indrelid) AS partial,
       pg_get_indexdef(i.indexrelid) AS definition, (to_jsonb(i) ->> 'indnullsnotdistinct')::boolean AS nulls,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, false) FROM generate_series(1, i.indnkeyatts) AS k) AS terms,
       ARRAY(SELECT option IN (0, 3) FROM unnest(i.indoption::int2[]) WITH ORDINALITY AS k(option, at)
             ORDER BY k.at) AS nulls_last,
       EXISTS (SELECT 1 FROM pg_collation l WHERE l.oid = ANY(i.indcollation::oid[])
               AND NOT l.collisdeterministic) AS loose,
       ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, at)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number > 0
             WHERE k.at <= i.indnkeyatts ORDER BY k.at) AS columns
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY($1::oid[]) ORDER BY c.relname COLLATE "C"
"""

_CONSTRAINTS = """
SELECT o.conrelid, o.conname AS name, o.contype::text AS kind, pg_get_constraintdef(o.oid) AS definition,
       o.convalidated AS validated, n.nspname AS parent_schema, p.relname AS parent,
       ARRAY(SELECT a.attname FROM unnest(o.conkey) WITH ORDINALITY AS k(number, at)
             JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.number ORDER BY k.at) AS columns,
       ARRAY(SELECT a.attname FROM unnest(o.confkey) WITH ORDINALITY AS k(number, at)
             JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.number ORDER BY k.at) AS parent_columns
FROM pg_constraint o LEFT JOIN pg_class p ON p.oid = o.confrelid LEFT JOIN pg_namespace n ON n.oid = p.relnamespace
WHERE o.conrelid = ANY($1::oid[]) AND o.contype IN ('f', 'c') AND o.conparentid = 0
ORDER BY CASE o.contype WHEN 'f' THEN o.conname COLLATE "C" END, o.oid
"""

_TRIGGERS = """
SELECT t.tgrelid, t.tgname AS name, pg_get_triggerdef(t.oid) AS definition, t.tgenabled::text <> 'D' AS enabled
FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace n ON n.oid = f.pronamespace
WHERE t.tgrelid = ANY($1::oid[]) AND NOT t.tgisinternal AND n.nspname <> 'cutover' ORDER BY t.tgname COLLATE "C"
"""


async def read_postgres_schema(connection: asyncpg.Connection, schema: str) -> PostgresSchema:
    """Read the tables of `schema` in one snapshot. Raises what asyncpg raises.

    Within a transaction that is already open, that transaction's isolation is what there is.
    """
    if connection.is_in_transaction():
        return await _read(connection, schema)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await _read(connection, schema)


async def _read(connection: asyncpg.Connection, schema: str) -> PostgresSchema:
    relations = await connection.fetch(_RELATIONS, schema)
    database = await read_database(connection, schema)
    return schema_of(schema, database, relations, await read_tables(connection, roots(relations), database))


async def read_database(connection: asyncpg.Connection, schema: str) -> asyncpg.Record:
    """What is true of all tables."""
    database = await connection.fetchrow(_DATABASE, schema)
    assert database is not None
    return database


def roots(relations: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    """Those that are tables, and no partitions of others."""
    return [row for row in relations if row["kind"] in {"r", "p", "f"} and not row["relispartition"]]


def schema_of(
    name: str, database: asyncpg.Record, relations: Sequence[asyncpg.Record], tables: tuple[PostgresTable, ...]
) -> PostgresSchema:
    """The schema from what was read of it."""
    own = {table.name for table in tables}
    return PostgresSchema(
        name=name,
        exists=database["exists"],
        bytewise=_bytewise(database["provider"], database["locale"]),
        encoding=database["encoding"],
        tables=tables,
        others=tuple(row["name"] for row in relations if row["name"] not in own),
        sequences=tuple(row["name"] for row in relations if row["kind"] == "S"),
    )


async def read_tables(
    connection: asyncpg.Connection, wanted: Sequence[asyncpg.Record], database: asyncpg.Record
) -> tuple[PostgresTable, ...]:
    """These tables, in the caller's transaction."""
    if not wanted:
        return ()
    oids = [row["oid"] for row in wanted]
    columns = _grouped(await connection.fetch(_COLUMNS, oids), "attrelid", lambda row: _column(row, database))
    indexed = await connection.fetch(_INDEXES, oids)
    _demand_whole(text for row in indexed for text in (row["definition"], *row["terms"]))
    indexes = _grouped(indexed, "indrelid", _index)
    constraints = await connection.fetch(_CONSTRAINTS, oids)
    _demand_whole([row["definition"] for row in constraints])
    foreign = _grouped([row for row in constraints if row["kind"] == "f"], "conrelid", _foreign_key)
    checks = _grouped(
        [row for row in constraints if row["kind"] == "c"],
        "conrelid",
        lambda row: PostgresCheck(row["name"], row["definition"], tuple(row["columns"])),
    )
    acting = await connection.fetch(_TRIGGERS, oids)
    _demand_whole(row["definition"] for row in acting)
    triggers = _grouped(
        acting,
        "tgrelid",
        lambda row: PostgresTrigger(row["name"], row["definition"], row["enabled"]),
    )
    return tuple(
        PostgresTable(
            name=row["name"],
            owner=row["owner"],
            columns=columns[row["oid"]],
            indexes=indexes[row["oid"]],
            foreign_keys=foreign[row["oid"]],
            checks=checks[row["oid"]],
            triggers=triggers[row["oid"]],
            partitioned=row["kind"] == "p",
            partitions=tuple(row["partitions"]) if row["kind"] == "p" else (),
            oid=row["oid"],
            mirrored=row["comment"] == MIRRORED,
            unfinished=row["comment"] == UNFINISHED,
            place=row["place"],
        )
        for row in wanted
    )


def _demand_whole(definitions: Iterable[str | None]) -> None:
    """Postgres prints definitions of what is there now, and nothing of what is only in the snapshot."""
    if None in definitions:
        raise SchemaChanged("PostgreSQL's schema changed while it was read.")


def _grouped(
    rows: Sequence[asyncpg.Record], by: str, make: Callable[[asyncpg.Record], T]
) -> defaultdict[int, tuple[T, ...]]:
    found: defaultdict[int, tuple[T, ...]] = defaultdict(tuple)
    for row in rows:
        found[row[by]] += (make(row),)
    return found


def _column(row: asyncpg.Record, database: asyncpg.Record) -> PostgresColumn:
    return PostgresColumn(
        name=row["name"],
        type=row["type"],
        not_null=row["not_null"],
        default=None if row["generated"] else row["default"],
        collation=_collation(row, database),
        deterministic=row["deterministic"] is not False,
        identity=_IDENTITY.get(row["identity"], ""),
        sequence=row["sequence"],
        generated=row["generated"],
        base_type=row["base"] + ("[]" if row["array_of_base"] else ""),
        labels=tuple(row["labels"]),
        number=row["number"],
    )


def _bytewise(provider: str, locale: str | None) -> bool:
    """The built-in provider always compares bytes; ICU never quite does."""
    return provider == "b" or (provider == "c" and locale in _BYTEWISE)


def _collation(row: asyncpg.Record, database: asyncpg.Record) -> str | None:
    name: str | None = row["collation"]
    if name is None:
        return None
    if name == "default":
        return None if _bytewise(database["provider"], database["locale"]) else f"default ({database['locale']})"
    return None if _bytewise(row["provider"], row["locale"]) else name


def _index(row: asyncpg.Record) -> PostgresIndex:
    return PostgresIndex(
        name=row["name"],
        columns=tuple(row["columns"]),
        unique=row["unique"],
        primary=row["primary"],
        definition=row["definition"],
        partial=row["partial"],
        immediate=row["immediate"],
        valid=row["valid"],
        nulls_not_distinct=bool(row["nulls"]),
        terms=tuple(row["terms"]),
        nulls_last=tuple(row["nulls_last"]),
        loose=row["loose"],
    )


def _foreign_key(row: asyncpg.Record) -> PostgresForeignKey:
    return PostgresForeignKey(
        name=row["name"],
        columns=tuple(row["columns"]),
        parent_schema=row["parent_schema"],
        parent=row["parent"],
        parent_columns=tuple(row["parent_columns"]),
        definition=row["definition"],
        validated=row["validated"],
    )
