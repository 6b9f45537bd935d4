"""Schemas in the shapes that frameworks and people write, created on a real server and adopted again."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from cutover.model.table import Table
from cutover.schema.mapping import Mapping, map_tables
from cutover.schema.postgres_schema import PostgresSchema, read_postgres_schema
from cutover.schema.sqlite_schema import read_sqlite_schema
from cutover.settings import Settings


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


def _before_checks(adopted: Mapping) -> tuple[Table, ...]:
    """The tables as they were mapped before they were made: CHECKs have their names from Postgres."""
    return tuple(replace(table, checks=()) for table in adopted.tables)


async def _create(postgres: asyncpg.Connection, script: str) -> tuple[Mapping, Mapping, PostgresSchema]:
    """What was created, the same adopted, and what is on the server."""
    sqlite = sqlite3.connect(":memory:", isolation_level=None)
    try:
        sqlite.executescript(script)
        source = read_sqlite_schema(sqlite)
    finally:
        sqlite.close()
    created = map_tables(source, None, Settings())
    for statement in created.create:
        await postgres.execute(statement)
    target = await read_postgres_schema(postgres, "public")
    return created, map_tables(source, target, Settings()), target


_TRICKY = """
CREATE TABLE author (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    best INTEGER REFERENCES book (id) ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE book (id INTEGER PRIMARY KEY, by INTEGER NOT NULL REFERENCES author ON DELETE RESTRICT, "Größe" TEXT,
    "white space" INT, "a""q" TEXT, [brack] TEXT, `tick` TEXT, price REAL GENERATED ALWAYS AS ("white space" * 2.5),
    label TEXT AS (coalesce("Größe", '') || '!') STORED, UNIQUE ("Größe", "white space"), CHECK (label <> 'x!'));
CREATE TABLE pair (a TEXT NOT NULL, b INT NOT NULL, up_a TEXT, up_b INT, PRIMARY KEY (b, a),
    FOREIGN KEY (up_b, up_a) REFERENCES pair (b, a) ON DELETE CASCADE) WITHOUT ROWID, STRICT;
CREATE TABLE "user" ("order" INTEGER PRIMARY KEY DESC, "group" TEXT, "Group2" TEXT);
CREATE INDEX i1 ON book ("Größe" COLLATE NOCASE DESC, id);
CREATE UNIQUE INDEX "I 2" ON book (lower("a""q")) WHERE [brack] IS NOT NULL;
CREATE INDEX i3 ON book (price);
"""


async def test_circles_names_and_computed_columns(postgres: asyncpg.Connection) -> None:
    created, adopted, target = await _create(postgres, _TRICKY)
    assert {found.code for found in created.findings} <= {"rowid_carried"}
    assert adopted.create == ()
    assert not [finding for finding in adopted.findings if finding.severity != "informs"]
    assert _before_checks(adopted) == created.tables
    book = target.table("book")
    assert book is not None
    assert {index.name for index in book.indexes} >= {"i1", "I 2", "i3", "book_Größe_white space_key"}
    async with postgres.transaction():
        await postgres.execute("INSERT INTO author VALUES (1, 7)")
        await postgres.execute(
            'INSERT INTO book (id, by, "Größe", "white space") VALUES (7, 1, NULL, 3), (8, 1, NULL, 3)'
        )
        await postgres.execute("INSERT INTO pair VALUES ('x', 1, NULL, NULL), ('y', 2, 'x', 1)")
    row = await postgres.fetchrow("SELECT price, label FROM book WHERE id = 7")
    assert tuple(row or ()) == (7.5, "!")
    await postgres.execute("DELETE FROM pair WHERE a = 'x'")
    assert await postgres.fetchval("SELECT count(*) FROM pair") == 0
    with pytest.raises(asyncpg.RestrictViolationError):
        await postgres.execute("DELETE FROM author")
    with pytest.raises(asyncpg.CheckViolationError):
        await postgres.execute("INSERT INTO book (id, by, \"Größe\") VALUES (9, 1, 'x')")


_FRAMEWORKS = {
    "django": """
        CREATE TABLE "auth_user" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "password" varchar(128) NOT NULL,
            "last_login" datetime NULL, "is_superuser" bool NOT NULL, "username" varchar(150) NOT NULL UNIQUE,
            "age" smallint unsigned NOT NULL CHECK ("age" >= 0), "balance" real NOT NULL,
            CONSTRAINT "shop_only_one" CHECK ((("password" IS NULL AND "last_login" IS NOT NULL) OR ("password"
            IS NOT NULL AND "last_login" IS NULL))), CONSTRAINT "grown" CHECK (("age" % 2) = 0 AND "age" IN (2, 18)));
        CREATE TABLE "auth_user_groups" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "user_id" integer NOT NULL
            REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED);
        CREATE UNIQUE INDEX "lower_name" ON "auth_user" ((LOWER("username")));
        CREATE UNIQUE INDEX "once" ON "auth_user_groups" ("user_id") WHERE NOT ("user_id" = 0);""",
    "sqlalchemy": """
        CREATE TABLE task (id INTEGER NOT NULL, state VARCHAR(7) NOT NULL, done BOOLEAN NOT NULL, at DATETIME DEFAULT
            (CURRENT_TIMESTAMP) NOT NULL, parent_id INTEGER, n INTEGER DEFAULT '0' NOT NULL,
            CONSTRAINT pk_task PRIMARY KEY (id), CONSTRAINT state CHECK (state IN ('open', 'closed')),
            CHECK (done IN (0, 1)), CHECK (length(trim(state)) > 0), CONSTRAINT fk FOREIGN KEY(parent_id)
            REFERENCES task (id) ON DELETE CASCADE, CONSTRAINT uq UNIQUE (state, n));
        CREATE INDEX ix_task_done ON task (done) WHERE done = 0;""",
    "prisma": """
        CREATE TABLE "Post" ("id" TEXT NOT NULL PRIMARY KEY, "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
            "published" BOOLEAN NOT NULL DEFAULT false, "authorId" TEXT, "views" BIGINT NOT NULL DEFAULT 0, CONSTRAINT
            "Post_authorId_fkey" FOREIGN KEY ("authorId") REFERENCES "User" ("id") ON DELETE SET NULL
            ON UPDATE CASCADE);
        CREATE TABLE "User" ("id" TEXT NOT NULL PRIMARY KEY, "email" TEXT NOT NULL);
        CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
        CREATE TABLE "_CategoryToPost" ("A" TEXT NOT NULL, "B" TEXT NOT NULL, CONSTRAINT "ab" FOREIGN KEY ("A")
            REFERENCES "User" ("id"), FOREIGN KEY ("B") REFERENCES "Post" ("id") ON DELETE CASCADE);
        CREATE UNIQUE INDEX "_CategoryToPost_AB_unique" ON "_CategoryToPost"("A", "B");""",
    "drizzle": """
        CREATE TABLE `users` (`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL, `name` text NOT NULL COLLATE NOCASE,
            `created_at` integer DEFAULT (unixepoch()) NOT NULL, `ms` integer DEFAULT
            (cast((julianday('now') - 2440587.5)*86400000 as integer)) NOT NULL, `role` text DEFAULT 'user' NOT NULL,
            `ok` integer DEFAULT true NOT NULL, CONSTRAINT "role_check" CHECK("users"."role" in ('user', 'admin')),
            CHECK("users"."name" <> ''));
        CREATE UNIQUE INDEX `users_name_unique` ON `users` (lower("name"));
        CREATE INDEX `by_role` ON `users` (`role`, `created_at` DESC) WHERE "users"."ok" = 1;""",
    "laravel": """
        CREATE TABLE "orders" ("id" integer primary key autoincrement not null, "status" varchar check ("status" in
            ('new', 'paid')) not null default 'new', "total" float not null default '0', "created_at" datetime,
            "note" text default 'it''s', "token" varchar not null default (lower(hex(randomblob(16)))));
        CREATE UNIQUE INDEX "orders_token_unique" on "orders" ("token");""",
}


@pytest.mark.parametrize("framework", _FRAMEWORKS)
async def test_schemas_of_frameworks_are_carried_over_whole(postgres: asyncpg.Connection, framework: str) -> None:
    created, adopted, _ = await _create(postgres, _FRAMEWORKS[framework])
    assert {found.code for found in created.findings} <= {"rowid_carried"}
    assert adopted.create == ()
    assert _before_checks(adopted) == created.tables


async def test_a_check_over_a_column_that_is_not_on_postgres_is_left_out(postgres: asyncpg.Connection) -> None:
    """In double quotes, a name that is no column is a string to SQLite: it must not become one here."""
    created, _, _ = await _create(
        postgres,
        "CREATE TABLE t (k INTEGER PRIMARY KEY, g TEXT AS (hex(k)), CHECK (\"g\" <> ''));"
        "CREATE INDEX i ON t (k) WHERE \"g\" <> 'x'",
    )
    assert sorted(finding.code for finding in created.findings) == [
        "check_constraint_not_carried_over",
        "generated_column_not_carried_over",
        "index_not_carried_over",
    ]


async def test_computed_columns_whose_value_another_type_would_change_are_left_out(
    postgres: asyncpg.Connection,
) -> None:
    created, _, _ = await _create(
        postgres,
        "CREATE TABLE t (k INTEGER PRIMARY KEY, r REAL, a INT AS (r * 2.5), b TEXT AS (r), c REAL AS (k), d AS (k))",
    )
    assert {finding.column for finding in created.findings} == {"a", "b", "c", "d"}


async def test_foreign_keys_join_types_of_one_family(postgres: asyncpg.Connection) -> None:
    sqlite = sqlite3.connect(":memory:")
    sqlite.executescript(
        "CREATE TABLE p (k TEXT PRIMARY KEY NOT NULL, n INT UNIQUE);"
        "CREATE TABLE c (k INTEGER PRIMARY KEY, p TEXT REFERENCES p, n INT REFERENCES p (n))"
    )
    types = {"p": {"type": "varchar(9)"}, "n": {"type": "integer"}}
    settings = Settings.model_validate({"tables": {"c": {"columns": types}}})
    mapping = map_tables(read_sqlite_schema(sqlite), None, settings)
    sqlite.close()
    assert {found.code for found in mapping.findings} <= {"rowid_carried"}
    for statement in mapping.create:
        await postgres.execute(statement)
    assert sum("FOREIGN KEY" in statement for statement in mapping.create) == 2
