"""Tables without any key: SQLite's hidden rowid tells their rows apart, on both sides."""

from __future__ import annotations

from cutover.settings import PostgresSettings, Settings
from tests.flow.dialect_world import world

SCHEMA = """
CREATE TABLE notes (a TEXT, b INTEGER);
CREATE TABLE loose (a TEXT UNIQUE, b INTEGER);
CREATE TABLE odd (rowid TEXT, b INTEGER);
"""


async def test_statements_see_it_by_its_names_only(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA) as both:
        await both.same("INSERT INTO notes VALUES ('x', 1), ('y', 2), ('x', 1)")
        await both.same("INSERT INTO notes SELECT a, b + 10 FROM notes")
        await both.same("SELECT * FROM notes ORDER BY rowid")
        await both.same("SELECT rowid, _rowid_, oid, a, n.* FROM notes AS n WHERE rowid > 2 ORDER BY rowid DESC")
        await both.same("SELECT count(*), max(rowid) FROM notes")
        await both.same(
            "SELECT x.*, y.rowid FROM (SELECT * FROM notes) AS x JOIN notes AS y ON x.b = y.b ORDER BY 1, 2, 3"
        )
        await both.same("INSERT INTO notes (rowid, a) VALUES (100, 'z')")
        inserted = await both.same("INSERT INTO notes VALUES ('after', 0)")
        assert inserted.last_insert_rowid == 101
        await both.same("UPDATE notes SET rowid = 7 WHERE rowid = 100")
        await both.same("DELETE FROM notes WHERE rowid = 1")
        await both.same("SELECT rowid, * FROM notes ORDER BY rowid")
        await both.same("SELECT rowid, b FROM odd")
        error = await both.same_error("INSERT INTO notes (rowid, a) VALUES (2, 'taken')")
        assert error.message == "UNIQUE constraint failed: notes.rowid"


async def test_a_query_that_names_it_has_a_column_of_it(postgres_url: str) -> None:
    views = "CREATE VIEW numbered AS SELECT rowid AS r, a FROM notes; CREATE VIEW bare AS SELECT oid AS o, b FROM notes"
    rows = "INSERT INTO notes VALUES ('x', 1), ('y', 2), ('x', 1)"
    async with world(postgres_url, SCHEMA + views, data=[rows]) as both:
        await both.all_same(
            (
                "SELECT * FROM numbered",
                "SELECT n.*, b.* FROM numbered AS n JOIN bare AS b ON b.o = n.r",
                "WITH c AS (SELECT rowid, a FROM notes) SELECT * FROM c WHERE rowid > 1 LIMIT 2",
                "SELECT * FROM (SELECT rowid, b FROM notes UNION ALL SELECT b, rowid FROM notes)",
                "SELECT * FROM (SELECT max(rowid), a FROM notes GROUP BY a)",
                "SELECT * FROM (SELECT rowid FROM notes) AS x NATURAL JOIN (SELECT rowid, a FROM notes) AS y",
            ),
            ordered=True,
        )


async def test_conflicts_in_other_keys(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA) as both:
        await both.same("INSERT INTO loose VALUES ('x', 1), (NULL, 2), (NULL, 3)")
        await both.same("INSERT OR IGNORE INTO loose VALUES ('x', 4)")
        await both.same("INSERT INTO loose VALUES ('x', 5) ON CONFLICT (a) DO UPDATE SET b = excluded.b")
        await both.same("INSERT OR REPLACE INTO loose VALUES ('x', 6)")
        await both.same("SELECT * FROM loose ORDER BY b")


BESIDE = """
CREATE TABLE word (name TEXT NOT NULL PRIMARY KEY, n INTEGER, s TEXT);
CREATE TABLE pair (a TEXT NOT NULL, b INTEGER NOT NULL, n INTEGER, PRIMARY KEY (a, b));
CREATE TABLE fold (name TEXT NOT NULL COLLATE NOCASE PRIMARY KEY, n INTEGER, code TEXT UNIQUE);
CREATE TABLE item (id INTEGER PRIMARY KEY, sku TEXT NOT NULL UNIQUE, n INTEGER);
CREATE INDEX word_n ON word (n);
"""
ROWS = (
    "INSERT INTO word VALUES ('c', 1, 'x'), ('a', 1, 'y'), ('d', 2, 'x'), ('b', 2, 'y')",
    "INSERT INTO pair VALUES ('b', 2, 1), ('a', 9, 1), ('b', 1, 2)",
    "INSERT INTO fold VALUES ('z', 1, NULL), ('A', 1, 'k')",
    "UPDATE word SET s = s || '!' WHERE name = 'c'",
)
IN_ORDER = (
    "SELECT * FROM word",
    "SELECT rowid, oid, * FROM word WHERE n = 1",
    "SELECT * FROM word ORDER BY s LIMIT 1",
    "SELECT * FROM word LIMIT 2 OFFSET 1",
    "SELECT n, name, group_concat(name), json_group_array(s) FROM word GROUP BY n",
    "SELECT name, row_number() OVER (ORDER BY n), lag(name) OVER () FROM word",
    "SELECT (SELECT name FROM word WHERE n = p.n), a, b FROM pair AS p",
    "SELECT w.name, p.a FROM word AS w JOIN pair AS p ON p.n = w.n",
    "SELECT name, max(n) FROM fold UNION ALL SELECT name, n FROM word LIMIT 3",
    "SELECT DISTINCT n FROM pair",
    "SELECT * FROM pair WHERE rowid = 2",
    "SELECT max(rowid), min(rowid) FROM fold",
    "SELECT name, n FROM fold GROUP BY n",
    "SELECT * FROM (SELECT rowid AS z, n FROM word LIMIT 3)",
    "SELECT * FROM (SELECT rowid, name FROM word WHERE n = 2)",
    "WITH w AS (SELECT _rowid_, * FROM pair) SELECT * FROM w UNION ALL SELECT * FROM (SELECT oid, a, b, n FROM pair)",
    "SELECT x.*, y.* FROM (SELECT rowid FROM fold) AS x, (SELECT max(rowid) AS top FROM fold) AS y",
    "SELECT max(n), name FROM word WHERE n IN (1, 2)",
)
MET = (
    "INSERT INTO word VALUES ('c', 9, NULL) ON CONFLICT (name) DO UPDATE SET n = excluded.n RETURNING rowid, n",
    "INSERT INTO word VALUES ('e', 9, NULL) ON CONFLICT (name) DO UPDATE SET n = excluded.n RETURNING rowid, n",
    "INSERT INTO word VALUES ('c', 8, NULL), ('f', 8, NULL) ON CONFLICT (name) DO UPDATE SET n = 7",
    "INSERT INTO word VALUES ('f', 1, NULL) ON CONFLICT DO NOTHING",
    "INSERT OR IGNORE INTO word VALUES ('f', 1, NULL)",
    "INSERT OR IGNORE INTO word VALUES (NULL, 1, NULL)",
    "REPLACE INTO word VALUES ('f', 1, NULL)",
    "INSERT INTO pair VALUES ('a', 9, 3) ON CONFLICT (b, a) DO UPDATE SET n = 3 WHERE n = 4",
    "INSERT INTO pair VALUES ('c', 9, 3) ON CONFLICT (b, a) DO UPDATE SET n = 3 WHERE n = 4",
    "INSERT INTO fold VALUES ('Z', 3, NULL) ON CONFLICT (name) DO UPDATE SET n = 3",
    "INSERT INTO fold VALUES ('y', 3, 'k') ON CONFLICT (code) DO UPDATE SET n = 3",
    "REPLACE INTO fold VALUES ('y', 3, 'k')",
    "INSERT INTO fold VALUES ('x', 3, 'l') ON CONFLICT (code) DO UPDATE SET n = 3",
    "INSERT INTO item (sku) VALUES ('a') ON CONFLICT (sku) DO UPDATE SET n = 1",
    "INSERT INTO item (sku) VALUES ('a') ON CONFLICT (sku) DO UPDATE SET n = 2",
    "INSERT INTO item (sku) VALUES ('b') ON CONFLICT (sku) DO UPDATE SET n = 3, id = excluded.id",
    "INSERT INTO item (sku) VALUES ('a') ON CONFLICT (sku) DO UPDATE SET n = 3, id = excluded.id",
    "REPLACE INTO item (sku) VALUES ('a')",
    "INSERT INTO item (sku) VALUES ('c') RETURNING id",
    "INSERT INTO word SELECT a || b, n, NULL FROM pair",
    "INSERT INTO word (rowid, name) VALUES (100, 'h')",
    "UPDATE word SET rowid = 50 WHERE rowid = 100",
    "INSERT INTO word (name) VALUES ('i') RETURNING rowid",
    "UPDATE OR REPLACE word SET name = 'i' WHERE name = 'c'",
    "INSERT INTO word (name) VALUES ('j') RETURNING rowid",
    "UPDATE OR REPLACE item SET sku = 'c' WHERE sku = 'a'",
    "INSERT INTO item (sku) VALUES ('d')",
)
"""Rows that are there or not, and keys that are given or not."""


async def test_rows_come_by_it_though_the_key_is_another(postgres_url: str) -> None:
    async with world(postgres_url, BESIDE, data=ROWS) as both:
        await both.all_same(IN_ORDER, ordered=True)


async def test_a_row_that_is_there_keeps_it_and_a_new_one_gets_the_next(postgres_url: str) -> None:
    async with world(postgres_url, BESIDE, data=ROWS) as both:
        for sql in MET:
            await both.same(sql)
            for table in ("word", "pair", "fold", "item"):
                await both.same(f"SELECT rowid, * FROM {table}", ordered=True)
        error = await both.same_error("INSERT INTO pair (rowid, a, b) VALUES (2, 'taken', 1)")
        assert error.message == "UNIQUE constraint failed: pair.rowid"
        await both.same_error("UPDATE pair SET rowid = 1")


async def test_an_upsert_of_a_row_that_is_there_draws_no_number(postgres_url: str) -> None:
    async with world(postgres_url, BESIDE, data=ROWS) as both:
        for value in (1, 2, 3):
            upsert = "INSERT INTO word VALUES (?, ?, 'x') ON CONFLICT (name) DO UPDATE SET n = excluded.n"
            await both.same(upsert, "a", value)
            await both.same("INSERT OR IGNORE INTO pair VALUES (?, ?, 5)", "a", 9)
        drawn = "SELECT pg_sequence_last_value(pg_get_serial_sequence($1, '_rowid_'))"
        assert await both.pool.fetchval(drawn, "word") == 4
        assert await both.pool.fetchval(drawn, "pair") == 3


async def test_tables_are_made_without_it_where_the_settings_say_so(postgres_url: str) -> None:
    settings = Settings(postgres=PostgresSettings(rowid="drop"))
    async with world(postgres_url, BESIDE, data=ROWS, settings=settings) as both:
        assert not any(column.hidden for table in both.tables for column in table.columns)
        await both.refused("SELECT rowid FROM word", "hidden rowid of table word")
        await both.same("SELECT * FROM word ORDER BY name LIMIT 2")


async def test_an_update_that_moves_it_by_another_name_meets_the_next_row(postgres_url: str) -> None:
    schema = BESIDE + "CREATE TABLE oided (k TEXT NOT NULL PRIMARY KEY, oid INTEGER);"
    async with world(postgres_url, schema) as both:
        for key in (20, 19):  # on Postgres the row that has to give way stands first
            await both.same("INSERT INTO word (rowid, name) VALUES (?, 'n' || ?)", key, key)
            await both.same("INSERT INTO item (id, sku) VALUES (?, 'n' || ?)", key, key)
            await both.same("INSERT INTO oided (rowid, k, oid) VALUES (?, ?, 5)", key, str(key))
        for sql in (
            "UPDATE word SET rowid = rowid + 1",
            "UPDATE word SET (n, oid) = (SELECT 1, word.oid + 1)",
            "UPDATE item SET rowid = id + 1",
            "UPDATE item SET oid = rowid + 1 WHERE id > 1",
            "UPDATE oided SET rowid = rowid + 1 WHERE oid = 5",
            "UPDATE oided SET k = k + 1 WHERE oid = 5",
        ):
            assert "UNIQUE" in (await both.same_error(sql)).message
        await both.same("UPDATE word SET rowid = rowid - 1")
        await both.same("UPDATE oided SET k = k - 1 WHERE oid = 5")
        await both.same("UPDATE oided SET oid = oid + 1")
        await both.same("SELECT rowid, name FROM word")
        await both.same("SELECT rowid, * FROM oided")


MOVED = """
CREATE TABLE old (id TEXT PRIMARY KEY, b INTEGER NOT NULL); CREATE TABLE new (id TEXT PRIMARY KEY, b INTEGER NOT NULL);
CREATE TABLE other (id TEXT PRIMARY KEY, b INTEGER); CREATE TABLE bare (a TEXT, b INTEGER);
CREATE TABLE "in dexed" (a TEXT, b INTEGER); CREATE INDEX by_b ON "in dexed" (b);
CREATE TABLE plain (a TEXT, b INTEGER); CREATE TABLE named (rowid TEXT UNIQUE, b INTEGER);
"""


async def test_records_that_sqlite_takes_over_as_they_are_keep_it(postgres_url: str) -> None:
    """INSERT ... SELECT * between tables of one shape, into an empty one that has an index: as knex alters a table."""
    async with world(postgres_url, MOVED) as both:
        for table in ("old", "bare"):
            await both.same(f"INSERT INTO {table} VALUES ('x', 1), ('y', 2), ('z', 3), ('w', 4)")
            await both.same(f"DELETE FROM {table} WHERE b IN (1, 3)")
        for into, origin in (
            ("new", "old"),
            ("other", "old"),
            ('"in dexed"', "main.bare b"),
            ("plain", "bare AS b"),
            ("named", "bare"),
        ):
            moved = await both.same(f"INSERT INTO {into} SELECT * FROM {origin}")
            assert moved.last_insert_rowid == both.on_sqlite("SELECT last_insert_rowid()").rows[0][0]
            await both.same(f"INSERT INTO {into} VALUES ('after', 9)")
            await both.same(f"SELECT _rowid_, * FROM {into} ORDER BY _rowid_")
        await both.same("UPDATE old SET id = 'again ' || id")
        await both.same("INSERT INTO new SELECT * FROM old")
        await both.same("INSERT OR IGNORE INTO new SELECT * FROM old")
        await both.same("SELECT rowid, * FROM new ORDER BY rowid")
        await both.same_error("INSERT INTO new SELECT * FROM old")
