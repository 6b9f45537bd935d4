"""Steps for the shadow from two schemas and the record of the last mapping: pure, so every kind of change is a line."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from cutover.model.table import Table
from cutover.schema.evolution import Evolution
from cutover.schema.evolve_postgres import evolve_postgres
from cutover.schema.evolve_sqlite import evolve_sqlite
from cutover.schema.mapping import map_tables
from cutover.schema.postgres_schema import PostgresColumn, PostgresIndex, PostgresSchema, PostgresTable
from cutover.schema.recorded import Record, Recorded, differing
from cutover.schema.sqlite_schema import SqliteSchema, read_sqlite_schema
from cutover.settings import ColumnSettings, Settings, TableSettings

ITEMS = "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, size INTEGER)"
PEOPLE = "CREATE TABLE people(id INTEGER PRIMARY KEY, mail TEXT NOT NULL)"


def sqlite_of(*statements: str) -> SqliteSchema:
    connection = sqlite3.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    return read_sqlite_schema(connection)


def made_from(table: Table, *, oid: int) -> PostgresTable:
    """The Postgres table as cutover makes it."""
    columns = tuple(
        PostgresColumn(
            column.target,
            column.target_type,
            column.not_null or column.name in table.key,
            identity="by default" if column.name == table.rowid_alias else "",
            number=number,
        )
        for number, column in enumerate(table.columns, 1)
    )
    indexes = [PostgresIndex(f"{table.target}_pkey", table.key, True, True)]
    if table.is_numbered:
        indexes.append(PostgresIndex(f"{table.target}__rowid__key", table.place, True, False))
    return PostgresTable(table.target, "me", columns, tuple(indexes), oid=oid)


def both(*statements: str) -> tuple[Record, SqliteSchema, PostgresSchema]:
    """A pair as it stands after the first mapping."""
    source = sqlite_of(*statements)
    new = map_tables(source, None, Settings()).tables
    there = tuple(made_from(table, oid=number) for number, table in enumerate(new, 1000))
    target = PostgresSchema("public", True, True, "UTF8", there)
    mapped = map_tables(source, target, Settings())
    assert not mapped.blocking
    return record_of(source, target), source, target


def record_of(source: SqliteSchema, target: PostgresSchema) -> Record:
    found = []
    for table in map_tables(source, target, Settings()).tables:
        own, there = source.table(table.name), target.table(table.target)
        assert own is not None
        assert there is not None
        found.append(Recorded(table, own, there, made=True))
    return Record(tuple(found), ("theirs",))


def sql_of(evolution: Evolution) -> list[str]:
    return [step.sql for change in evolution.changes for step in (*change.steps, *change.soft)]


def on_postgres(
    record: Record, now: SqliteSchema, target: PostgresSchema, settings: Settings | None = None
) -> list[str]:
    fresh = {table.name: table for table in map_tables(now, None, settings or Settings()).tables}
    return sql_of(evolve_postgres(record, now, target, fresh, settings or Settings()))


def test_a_table_that_loses_its_key_where_postgres_has_nothing_else_to_go_by() -> None:
    """An adopted one is not made anew: what it has there stays, and the mapping says what is lacking."""
    record, _, target = both("CREATE TABLE words(w TEXT NOT NULL PRIMARY KEY, n INTEGER) WITHOUT ROWID")
    adopted = replace(record, tables=tuple(replace(each, made=False) for each in record.tables))
    now = sqlite_of("CREATE TABLE words(w TEXT NOT NULL, n INTEGER)", "CREATE UNIQUE INDEX once ON words(n)")
    assert on_postgres(adopted, now, target) == [
        'CREATE UNIQUE INDEX "once" ON "public"."words" ("n" NULLS FIRST)',
    ]
    assert on_postgres(record, now, target) == ['DROP TABLE "public"."words"']


def test_a_table_that_was_made_and_has_no_key_left_is_made_anew() -> None:
    """Of two migrations the first may leave types open: what it drops is gone when the second comes."""
    record, _, target = both("CREATE TABLE words(w TEXT NOT NULL PRIMARY KEY, n INTEGER) WITHOUT ROWID")
    anew = ['DROP TABLE "public"."words"']
    undecided = sqlite_of("CREATE TABLE words(x INTEGER UNIQUE, y)")
    assert sql_of(evolve_postgres(record, undecided, target, {}, Settings())) == anew
    rest = replace(target.tables[0], indexes=())
    keyless = replace(target, tables=(rest,))
    again = sqlite_of("CREATE TABLE words(w TEXT NOT NULL PRIMARY KEY, n INTEGER, m TEXT) WITHOUT ROWID")
    assert on_postgres(record, again, keyless) == anew
    kept = ['ALTER TABLE "public"."words" ADD COLUMN "m" text COLLATE "C"']
    assert on_postgres(record, again, target) == kept


ON = 'ALTER TABLE "public"."items" '


@pytest.mark.parametrize(
    ("migration", "steps"),
    [
        ("ALTER TABLE items ADD COLUMN note TEXT", ['ADD COLUMN "note" text COLLATE "C"']),
        ("ALTER TABLE items ADD COLUMN n INT NOT NULL DEFAULT 7", ['ADD COLUMN "n" bigint DEFAULT 7']),
        ("ALTER TABLE items DROP COLUMN size", ['DROP COLUMN "size"']),
        ("ALTER TABLE items RENAME COLUMN name TO title", ['RENAME COLUMN "name" TO "title"']),
        (
            "CREATE TABLE new(id INTEGER PRIMARY KEY, title TEXT, size INTEGER, more REAL); "
            "DROP TABLE items; ALTER TABLE new RENAME TO items",
            ['RENAME COLUMN "name" TO "title"', 'ADD COLUMN "more" double precision'],
        ),
        (  # the place is another column's, so nothing tells that it is a rename
            "CREATE TABLE new(id INTEGER PRIMARY KEY, size INTEGER, title TEXT); "
            "DROP TABLE items; ALTER TABLE new RENAME TO items",
            ['DROP COLUMN "name"', 'ADD COLUMN "title" text COLLATE "C"'],
        ),
        (
            "CREATE TABLE new(id INTEGER PRIMARY KEY, name TEXT, size TEXT); "
            "DROP TABLE items; ALTER TABLE new RENAME TO items",
            ['ALTER COLUMN "size" TYPE text COLLATE "C" USING "size"::text::text'],
        ),
        (
            "CREATE TABLE new(id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'x', size INTEGER CHECK (size > 0)); "
            "DROP TABLE items; ALTER TABLE new RENAME TO items",
            [
                'ALTER COLUMN "name" SET NOT NULL',
                "ALTER COLUMN \"name\" SET DEFAULT 'x'",
                'ADD CHECK (("size" > 0))',
            ],
        ),
        ("CREATE TABLE other(id INTEGER PRIMARY KEY)", []),
        ("DROP TABLE items", []),
    ],
)
def test_a_change_on_sqlite_is_told_in_postgres_words(migration: str, steps: list[str]) -> None:
    record, _, target = both(ITEMS, PEOPLE)
    now = sqlite_of(ITEMS, PEOPLE, *migration.split("; "))
    assert on_postgres(record, now, target) == [ON + step for step in steps]


def test_nothing_is_done_twice_nor_where_postgres_was_migrated_first() -> None:
    record, _, target = both(ITEMS)
    now = sqlite_of(ITEMS, "ALTER TABLE items ADD COLUMN note TEXT", "ALTER TABLE items RENAME COLUMN name TO title")
    items = target.tables[0]
    ahead = replace(
        items,
        columns=(
            *(replace(column, name="title" if column.name == "name" else column.name) for column in items.columns),
            PostgresColumn("note", "text", False, number=4),
        ),
    )
    assert on_postgres(record, now, replace(target, tables=(ahead,))) == []


def test_an_index_comes_and_goes_and_one_that_is_there_is_left() -> None:
    by_name = "CREATE UNIQUE INDEX by_name ON items(name)"
    record, _, target = both(ITEMS)
    assert on_postgres(record, sqlite_of(ITEMS, by_name), target) == [
        'CREATE UNIQUE INDEX "by_name" ON "public"."items" ("name" NULLS FIRST)'
    ]
    items = target.tables[0]
    indexed = replace(items, indexes=(*items.indexes, PostgresIndex("by_name", ("name",), True, False)))
    there = replace(target, tables=(indexed,))
    assert on_postgres(record, sqlite_of(ITEMS, by_name), there) == []
    after = record_of(sqlite_of(ITEMS, by_name), there)
    assert on_postgres(after, sqlite_of(ITEMS), there) == ['DROP INDEX "public"."by_name"']
    again = sqlite_of(ITEMS, by_name.replace("by_name", "named"))
    assert on_postgres(after, again, there) == ['ALTER INDEX "public"."by_name" RENAME TO "named"']


def test_what_an_index_keeps_out_is_kept_out_while_any_such_index_is_there() -> None:
    """An index that is renamed is made under another name and dropped, in one look or in two."""
    one, two = (f"CREATE UNIQUE INDEX {name} ON items(name)" for name in ("one", "two"))
    _, _, target = both(ITEMS)
    items = target.tables[0]

    def having(*names: str) -> PostgresSchema:
        made = (PostgresIndex(name, ("name",), True, False) for name in names)
        return replace(target, tables=(replace(items, indexes=(*items.indexes, *made)),))

    renamed = ['ALTER INDEX "public"."one" RENAME TO "two"']
    alone, doubled = (
        record_of(sqlite_of(ITEMS, one), having("one")),
        record_of(sqlite_of(ITEMS, one, two), having("one")),
    )
    made = ['CREATE UNIQUE INDEX "two" ON "public"."items" ("name" NULLS FIRST)']
    assert on_postgres(alone, sqlite_of(ITEMS, one, two), having("one")) == made
    assert on_postgres(doubled, sqlite_of(ITEMS, two), having("one")) == renamed
    assert on_postgres(alone, sqlite_of(ITEMS, two), having("one")) == renamed
    assert on_postgres(alone, sqlite_of(ITEMS, two), having("one", "two")) == ['DROP INDEX "public"."one"']
    assert on_postgres(doubled, sqlite_of(ITEMS, one), having("one")) == []


def test_an_index_by_the_same_name_or_over_the_same_columns_may_be_another_one() -> None:
    _, _, target = both(ITEMS)
    items = target.tables[0]
    there = replace(
        target, tables=(replace(items, indexes=(*items.indexes, PostgresIndex("one", ("name",), True, False))),)
    )
    one = "CREATE UNIQUE INDEX one ON items(name)"
    after = record_of(sqlite_of(ITEMS, one), there)
    assert on_postgres(after, sqlite_of(ITEMS, "CREATE UNIQUE INDEX one ON items(name, size)"), there) == [
        'DROP INDEX "public"."one"',
        'CREATE UNIQUE INDEX "one" ON "public"."items" ("name" NULLS FIRST, "size" NULLS FIRST)',
    ]
    loose = "CREATE UNIQUE INDEX loose ON items(name COLLATE NOCASE)"
    (made,) = on_postgres(after, sqlite_of(ITEMS, one, loose), there)
    assert made.startswith('CREATE UNIQUE INDEX "loose"')


def test_a_column_that_gets_another_type_keeps_its_default() -> None:
    """Postgres drops it first, which cannot be cast by itself."""
    before, after = (
        f"CREATE TABLE items(id INTEGER PRIMARY KEY, size {kind} DEFAULT (7))" for kind in ("INT", "FLOAT")
    )
    record, _, target = both(before)
    items = target.tables[0]
    columns = tuple(replace(column, default="7" if column.name == "size" else None) for column in items.columns)
    there = replace(target, tables=(replace(items, columns=columns),))
    assert on_postgres(record, sqlite_of(after), there) == [
        ON + 'ALTER COLUMN "size" DROP DEFAULT, ALTER COLUMN "size" TYPE double precision '
        'USING "size"::text::double precision, ALTER COLUMN "size" SET DEFAULT 7.0'
    ]


def test_a_table_is_renamed_only_where_it_is_sure() -> None:
    record, _, target = both(ITEMS, PEOPLE)
    renamed = "ALTER TABLE items RENAME TO things"
    assert on_postgres(record, sqlite_of(ITEMS, PEOPLE, renamed), target) == [ON + 'RENAME TO "things"']
    twin = ITEMS.replace("items", "twin")
    assert on_postgres(record, sqlite_of(ITEMS, PEOPLE, renamed, twin), target) == []
    target_given = Settings(tables={"things": TableSettings(target="elsewhere")})
    assert on_postgres(record, sqlite_of(ITEMS, PEOPLE, renamed), target, target_given) == []


def test_a_table_that_was_dropped_before_is_no_other_ones_old_name() -> None:
    record, _, target = both(ITEMS, PEOPLE)
    like_it = ITEMS.replace("items", "things")
    assert on_postgres(record, sqlite_of(PEOPLE, like_it), target) == [ON + 'RENAME TO "things"']
    assert on_postgres(replace(record, gone=("items",)), sqlite_of(PEOPLE, like_it), target) == []


def test_the_interim_copy_of_a_rebuild_goes_and_a_table_that_only_looks_like_another_stays() -> None:
    interim = ITEMS.replace("items(", "new_items(").replace("size INTEGER", "size INTEGER, more TEXT")
    record, _, target = both(ITEMS, interim)
    now = sqlite_of(interim, "ALTER TABLE new_items RENAME TO items")
    assert 'DROP TABLE "public"."new_items"' in on_postgres(record, now, target)
    record, _, target = both(ITEMS, ITEMS.replace("items", "archive"))
    assert on_postgres(record, sqlite_of(ITEMS), target) == []


def test_a_name_given_in_the_configuration_is_kept() -> None:
    record, _, target = both(ITEMS)
    now = sqlite_of(ITEMS, "ALTER TABLE items RENAME COLUMN name TO title")
    given = Settings(tables={"items": TableSettings(columns={"title": ColumnSettings(target="name")})})
    assert on_postgres(record, now, target, given) == []


def altered(target: PostgresSchema, table: str, columns: tuple[PostgresColumn, ...], name: str = "") -> PostgresSchema:
    tables = [replace(t, columns=columns, name=name or t.name) if t.name == table else t for t in target.tables]
    return replace(target, tables=tuple(tables))


def test_a_change_on_postgres_is_told_in_sqlites_words() -> None:
    record, source, target = both(ITEMS, PEOPLE, "CREATE INDEX by_size ON items(size)")
    key, name, size = target.tables[0].columns

    def steps(now: PostgresSchema) -> list[str]:
        return sql_of(evolve_sqlite(record, source, now, Settings()))

    assert steps(target) == []
    more = (
        PostgresColumn("flag", "boolean", True, "true", number=4),
        PostgresColumn("at", "timestamp with time zone", True, "now()", number=5),
    )
    assert steps(altered(target, "items", (key, name, size, *more))) == [
        'ALTER TABLE "items" ADD COLUMN "flag" BOOLEAN NOT NULL DEFAULT 1',
        'ALTER TABLE "items" ADD COLUMN "at" TEXT',
    ]
    assert steps(altered(target, "items", (key, replace(name, name="title"), size))) == [
        'ALTER TABLE "items" RENAME COLUMN "name" TO "title"'
    ]
    # The numbers tell that it is another column, though it is declared like the one that is gone.
    assert steps(altered(target, "items", (key, size, replace(name, name="title", number=9)))) == [
        'ALTER TABLE "items" DROP COLUMN "name"',
        'ALTER TABLE "items" ADD COLUMN "title" TEXT',
    ]
    assert steps(altered(target, "items", (key, name))) == [
        'DROP INDEX "by_size"',
        'ALTER TABLE "items" DROP COLUMN "size"',
    ]
    assert steps(altered(target, "items", (key, name, size), "things")) == ['ALTER TABLE "items" RENAME TO "things"']
    assert steps(replace(target, tables=target.tables[1:])) == []


def test_a_rowid_that_stands_in_for_a_declared_key_stays() -> None:
    ledger = "CREATE TABLE ledger(id SERIAL PRIMARY KEY, hash TEXT NOT NULL)"
    source = sqlite_of(ledger)
    (new,) = map_tables(source, None, Settings(), born=True).tables
    assert new.key == ("_rowid_",)
    target = PostgresSchema("public", True, True, "UTF8", (made_from(new, oid=1000),))
    assert on_postgres(record_of(source, target), source, target) == []
    now = sqlite_of(ledger, "ALTER TABLE ledger DROP COLUMN hash")
    assert on_postgres(record_of(source, target), now, target) == ['ALTER TABLE "public"."ledger" DROP COLUMN "hash"']


def test_a_rowid_beside_the_key_stays_unless_the_key_becomes_it() -> None:
    words = "CREATE TABLE words(name TEXT NOT NULL PRIMARY KEY, n INTEGER, note TEXT)"
    source = sqlite_of(words)
    (new,) = map_tables(source, None, Settings()).tables
    assert new.is_numbered
    target = PostgresSchema("public", True, True, "UTF8", (made_from(new, oid=1000),))
    record = record_of(source, target)
    assert on_postgres(record, source, target) == []
    assert sql_of(evolve_sqlite(record, source, target, Settings())) == []
    now = sqlite_of(words, "ALTER TABLE words DROP COLUMN note")
    assert on_postgres(record, now, target) == ['ALTER TABLE "public"."words" DROP COLUMN "note"']
    without = sqlite_of(words + " WITHOUT ROWID")
    assert 'ALTER TABLE "public"."words" DROP COLUMN "_rowid_"' in on_postgres(record, without, target)


def test_a_place_for_the_rowid_that_natives_make_is_no_column_on_sqlite() -> None:
    source = sqlite_of("CREATE TABLE words(name TEXT NOT NULL PRIMARY KEY, n INTEGER)")
    (new,) = map_tables(source, None, Settings()).tables
    made = made_from(new, oid=1000)
    plain = replace(
        made,
        columns=tuple(column for column in made.columns if column.name != "_rowid_"),
        indexes=tuple(index for index in made.indexes if index.columns != ("_rowid_",)),
    )
    before = PostgresSchema("public", True, True, "UTF8", (plain,))
    record = record_of(source, before)
    added = replace(before, tables=(made,))
    assert sql_of(evolve_sqlite(record, source, added, Settings())) == []
    alike = replace(made, name="alike", oid=2000)
    beside = replace(before, tables=(plain, alike))
    assert sql_of(evolve_sqlite(record, source, beside, Settings())) == [
        'CREATE TABLE "alike" ("name" TEXT NOT NULL, "n" INTEGER, PRIMARY KEY ("name"))'
    ]
    other = tuple(replace(column, type="text") if column.name == "_rowid_" else column for column in made.columns)
    odd = replace(before, tables=(replace(made, columns=other),))
    assert 'ALTER TABLE "words" ADD COLUMN "_rowid_" TEXT' in sql_of(evolve_sqlite(record, source, odd, Settings()))


def test_a_record_of_postgres_s_own_migrations_does_not_come_to_sqlite() -> None:
    record, source, target = both(ITEMS)
    key = PostgresIndex("_prisma_migrations_pkey", ("id",), True, True)
    columns = (PostgresColumn("id", "character varying(36)", True, number=1),)
    ledger = PostgresTable("_prisma_migrations", "me", columns, (key,), oid=7)
    now = replace(target, tables=(*target.tables, ledger))
    assert sql_of(evolve_sqlite(record, source, now, Settings())) == []
    chosen = Settings(tables={"_prisma_migrations": TableSettings(target="_prisma_migrations")})
    assert sql_of(evolve_sqlite(record, source, now, chosen))


def test_a_table_that_is_new_on_postgres_is_made_and_one_that_was_there_before_is_not() -> None:
    record, source, target = both(ITEMS)
    columns = (
        PostgresColumn("id", "bigint", True, identity="always", number=1),
        PostgresColumn("word", "text", True, "'it''s'::text", number=2),
        PostgresColumn("x", "jsonb", False, number=3),
    )
    key = PostgresIndex("tags_pkey", ("id",), True, True)
    unique = PostgresIndex("tags_word_key", ("word",), True, False)
    tags = PostgresTable("tags", "me", columns, (key, unique), oid=7)
    now = replace(target, tables=(*target.tables, tags, replace(tags, name="theirs", oid=8)))
    assert sql_of(evolve_sqlite(record, source, now, Settings())) == [
        'CREATE TABLE "tags" ("id" INTEGER PRIMARY KEY AUTOINCREMENT, '
        "\"word\" TEXT NOT NULL DEFAULT 'it''s', \"x\" TEXT)",
        'CREATE UNIQUE INDEX "tags_word_key" ON "tags" ("word")',
    ]
    assert sql_of(evolve_sqlite(record, source, now, Settings(tables={"tags": TableSettings(ignore=True)}))) == []


def test_the_record_comes_back_from_its_text_and_tells_what_is_mapped_otherwise() -> None:
    record, source, target = both(ITEMS, PEOPLE)
    assert Record.load(record.dump()) == record
    assert differing(record, tuple(each.table for each in record.tables)) == []
    now = sqlite_of(ITEMS.replace("name TEXT", "name VARCHAR(9)"), PEOPLE)
    assert differing(record, map_tables(now, target, Settings()).tables) == ["items"]
    assert differing(None, map_tables(source, target, Settings()).tables) == []
    with pytest.raises(ValueError, match="cannot be read"):
        Record.load('{"tables": [{}]}')
