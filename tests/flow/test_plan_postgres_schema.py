"""Reading the target's schema from a real server."""

from __future__ import annotations

import asyncpg

from cutover.schema.postgres_schema import read_postgres_schema

_SCHEMA = """
CREATE TABLE users (
  id text PRIMARY KEY, handle varchar(40) NOT NULL UNIQUE DEFAULT 'x' CHECK (handle <> ''),
  signals jsonb, sorted text COLLATE "C", number serial, own bigint GENERATED ALWAYS AS IDENTITY,
  doubled bigint GENERATED ALWAYS AS (own * 2) STORED, dropped int);
ALTER TABLE users DROP COLUMN dropped;
CREATE UNIQUE INDEX ON users (lower(handle), number) WHERE number > 0;
CREATE TABLE posts (a text, b text, PRIMARY KEY (b, a) DEFERRABLE,
  FOREIGN KEY (a) REFERENCES users (handle) ON DELETE CASCADE) ;
CREATE TABLE parted (id bigint PRIMARY KEY, t text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE VIEW seen AS SELECT 1 AS one;
CREATE SEQUENCE lonely;
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER noticed BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION noop();
ALTER TABLE users DISABLE TRIGGER noticed;
"""


async def test_everything_that_mapping_needs_is_read(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(_SCHEMA)
        schema = await read_postgres_schema(connection, "public")
        absent = await read_postgres_schema(connection, "Nowhere")
    finally:
        await connection.close()
    assert (absent.exists, absent.tables) == (False, ())
    assert schema.exists
    assert [table.name for table in schema.tables] == ["parted", "posts", "users"]
    assert "seen" in schema.others
    assert schema.free_sequences == ("lonely",)

    users = schema.table("users")
    assert users is not None
    assert [column.name for column in users.columns] == [
        "id", "handle", "signals", "sorted", "number", "own", "doubled",
    ]  # fmt: skip
    handle, signals, number, own = (users.column(name) for name in ("handle", "signals", "number", "own"))
    assert handle is not None
    assert (handle.type, handle.not_null) == ("character varying(40)", True)
    assert handle.default == "'x'::character varying"
    assert signals is not None
    assert (signals.type, signals.collation) == ("jsonb", None)
    assert number is not None
    assert (number.sequence, number.identity) == ("public.users_number_seq", "")
    assert own is not None
    assert own.identity == "always"
    doubled, in_bytes = users.column("doubled"), users.column("sorted")
    assert doubled is not None
    assert doubled.generated
    assert doubled.default is None
    assert in_bytes is not None
    assert in_bytes.collation is None
    assert users.primary_key == ("id",)
    partial = next(index for index in users.indexes if index.partial)
    assert partial.unique
    assert partial.columns == (None, "number")
    assert [check.definition for check in users.checks] == ["CHECK (((handle)::text <> ''::text))"]
    assert [(trigger.name, trigger.enabled) for trigger in users.triggers] == [("noticed", False)]

    posts = schema.table("posts")
    assert posts is not None
    assert posts.primary_key == ("b", "a")
    assert not posts.indexes[0].immediate
    foreign = posts.foreign_keys[0]
    assert (foreign.columns, foreign.parent_schema, foreign.parent) == (("a",), "public", "users")
    assert foreign.parent_columns == ("handle",)
    assert foreign.definition.endswith("ON DELETE CASCADE")

    parted = schema.table("parted")
    assert parted is not None
    assert parted.partitioned
    assert parted.partitions == ("parted_1",)
