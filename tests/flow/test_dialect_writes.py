"""Conflicts and errors of writes, as SQLite has them; and what would come out otherwise is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.settings import Settings
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE plain (k TEXT PRIMARY KEY, h TEXT, n INTEGER NOT NULL DEFAULT 7, r REAL);
CREATE UNIQUE INDEX plain_lower ON plain (lower(h));
CREATE TABLE p (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INTEGER CONSTRAINT small CHECK (b < 100),
                c TEXT DEFAULT 'dd' COLLATE NOCASE UNIQUE, pos INTEGER, CHECK (b <> pos), CHECK ( b <> 50 ));
CREATE UNIQUE INDEX p_b ON p (b) WHERE b > 10;
CREATE TABLE child (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p ON DELETE CASCADE);
CREATE TABLE kept (id INTEGER PRIMARY KEY, k TEXT REFERENCES plain);
CREATE TABLE must (id INTEGER PRIMARY KEY, n INTEGER, m TEXT NOT NULL);
CREATE TABLE one (k TEXT PRIMARY KEY COLLATE NOCASE, v INTEGER DEFAULT 3, w TEXT NOT NULL DEFAULT 'x');
"""


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, store=True) as made:
        yield made


REFERRED = """
CREATE TABLE p (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE restricting (q INTEGER REFERENCES p (id) ON DELETE RESTRICT ON UPDATE RESTRICT);
CREATE TABLE idle (q INTEGER REFERENCES p (id));
CREATE TABLE cascading (q INTEGER REFERENCES p (id) ON DELETE CASCADE);
CREATE TABLE nulled (q INTEGER REFERENCES p (id) ON DELETE SET NULL);
"""


async def test_what_foreign_keys_do_to_a_row_that_goes_or_is_replaced(postgres_url: str) -> None:
    data = (
        "INSERT INTO p VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four'), (5, 'five')",
        *("INSERT INTO restricting VALUES (1)", "INSERT INTO idle VALUES (3)", "INSERT INTO cascading VALUES (4)"),
        "INSERT INTO nulled VALUES (5)",
    )
    async with world(postgres_url, REFERRED, data=data) as both:
        for wrong in (
            *(
                "DELETE FROM p WHERE id = 1",
                "UPDATE p SET id = 9 WHERE id = 1",
                "DELETE FROM p WHERE id = 1 RETURNING *",
            ),
            *("DELETE FROM p WHERE id = 3", "UPDATE p SET id = 9 WHERE id = 3", "INSERT INTO idle VALUES (99)"),
            *(
                "REPLACE INTO p VALUES (1, 'q')",
                "REPLACE INTO p VALUES (9, 'one')",
                "REPLACE INTO p VALUES (9, 'three')",
            ),
            "INSERT INTO p VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET id = 44",
            "REPLACE INTO p VALUES (2, 'x'), (1, 'y')",
        ):
            assert (await both.same_error(wrong)).message == "FOREIGN KEY constraint failed"
        for sql in (
            *("REPLACE INTO p VALUES (3, 'z')", "REPLACE INTO p VALUES (2, 'zz')", "REPLACE INTO p VALUES (4, 'z4')"),
            *("REPLACE INTO p VALUES (5, 'x'), (3, 'y')", "SELECT * FROM p ORDER BY id"),
            *("SELECT * FROM restricting", "SELECT * FROM idle", "SELECT * FROM cascading", "SELECT * FROM nulled"),
        ):
            await both.same(sql)


_TREES = """
CREATE TABLE nulls(id INTEGER PRIMARY KEY, up INTEGER REFERENCES nulls ON DELETE SET NULL, u TEXT UNIQUE, v);
CREATE TABLE goes(id INTEGER PRIMARY KEY, up INTEGER REFERENCES goes(id) ON DELETE CASCADE, u TEXT UNIQUE, v);
CREATE TABLE holds(id INTEGER PRIMARY KEY, up INTEGER REFERENCES holds(id) ON DELETE RESTRICT, u TEXT UNIQUE, v);
CREATE TABLE pairs(a INTEGER, b INTEGER, up INTEGER, v, PRIMARY KEY (a, b));
CREATE TABLE of_pairs(id INTEGER PRIMARY KEY, a INTEGER, b INTEGER,
                      FOREIGN KEY (a, b) REFERENCES pairs (a, b) ON UPDATE CASCADE ON DELETE CASCADE);
CREATE TABLE one(id INTEGER PRIMARY KEY, other INTEGER REFERENCES other ON DELETE SET NULL, u TEXT UNIQUE);
CREATE TABLE other(id INTEGER PRIMARY KEY, one INTEGER REFERENCES one ON DELETE CASCADE);
CREATE TABLE kept(id INTEGER PRIMARY KEY, u TEXT UNIQUE);
CREATE TABLE of_kept(id INTEGER PRIMARY KEY, kept INTEGER REFERENCES kept);
CREATE TABLE moved(id INTEGER PRIMARY KEY, u TEXT UNIQUE);
CREATE TABLE of_moved(id INTEGER PRIMARY KEY, u TEXT REFERENCES moved(u) ON UPDATE CASCADE);
"""


async def test_a_row_that_takes_the_place_of_one_and_refers_to_it(postgres_url: str) -> None:
    """What the keys do with the row that goes is done before the new one is there."""
    async with world(postgres_url, _TREES) as both:
        for tree in ("nulls", "goes", "holds"):
            await both.same(f"INSERT INTO {tree} VALUES (1,1,'a','x'),(2,1,'b','y'),(3,2,'c','z')")
            for row in ("3, 3, 'c', 'n'", "4, 4, 'c', 'n'", "5, 1, 'd', 'n'", "5, 5, 'c', 'm'"):
                await both.same(f"INSERT OR REPLACE INTO {tree} VALUES ({row})")
                await both.same(f"SELECT * FROM {tree} ORDER BY id")
        await both.same("REPLACE INTO nulls VALUES (1, 1, 'a', 'r'), (2, 5, 'q', 'n'), (5, 2, 'r', 'm')")
        await both.same("REPLACE INTO goes VALUES (1, 1, 'a', 'r')")
        await both.same_error("REPLACE INTO goes VALUES (7, 6, 'a', 'r')")
        await both.same_error("REPLACE INTO holds VALUES (1, 1, 'a', 'r')")
        await both.same("REPLACE INTO nulls SELECT id, id, u, v || '!' FROM nulls")
        for sql in (
            "INSERT INTO pairs VALUES (1, 1, 1, 'x'), (2, 2, 2, 'y')",
            "INSERT INTO of_pairs VALUES (1, 1, 1), (2, 2, 2)",
            "REPLACE INTO pairs VALUES (1, 1, 1, 'z')",
            "INSERT INTO one VALUES (1, NULL, 'a')",
            "INSERT INTO other VALUES (1, 1), (2, NULL)",
            "REPLACE INTO one VALUES (1, 2, 'a')",
            "REPLACE INTO one VALUES (3, 2, 'a')",
            "INSERT INTO kept VALUES (1, 'a'), (2, 'b')",
            "INSERT INTO of_kept VALUES (1, 1), (2, 2)",
            "UPDATE OR REPLACE kept SET id = 2 WHERE id = 1 AND (SELECT count(*) FROM of_kept) < 0",
        ):
            await both.same(sql)
        await both.same_error("UPDATE OR REPLACE kept SET id = 2 WHERE id = 1")
        await both.same("DELETE FROM of_kept WHERE id = 1")
        await both.same("UPDATE OR REPLACE kept SET id = 2 WHERE id = 1")
        await both.same("INSERT INTO moved VALUES (1, 'a')")
        await both.same("INSERT INTO of_moved VALUES (1, 'a')")
        await both.same_error("REPLACE INTO moved VALUES (1, 'b')")
        await both.same("REPLACE INTO moved VALUES (2, 'a')")
        for table in ("nulls", "goes", "holds", "pairs", "of_pairs", "one", "other", "kept", "of_kept", "of_moved"):
            await both.same(f"SELECT * FROM {table} ORDER BY 1")


async def test_replace_evicts_on_every_key(both: World) -> None:
    await both.same("INSERT INTO plain (k, h) VALUES ('a', 'x')")
    await both.same("REPLACE INTO plain (k, h) VALUES ('b', 'X')")
    await both.same("INSERT INTO kept (k) VALUES ('b')")
    await both.same("REPLACE INTO plain (k, h, n) VALUES ('b', 'Y', NULL), ('c', 'z', 2), ('d', 'Z', 3)")
    await both.same("SELECT * FROM plain")
    await both.same("INSERT INTO p (a, b, c) VALUES ('a', 11, 'q'), ('b', 5, 'r'), ('c', 5, 's')")
    await both.same("INSERT INTO child (p) VALUES (1), (2), (3)")
    await both.same("REPLACE INTO p (a, b) VALUES ('a', 11)")
    await both.same("REPLACE INTO p (id, a, b, c) VALUES (2, 'b', 5, 'R')")
    await both.same("SELECT * FROM child")
    await both.same("REPLACE INTO p (a, b) VALUES ('zz', 11) RETURNING id")
    await both.same("REPLACE INTO p DEFAULT VALUES")
    await both.same("SELECT * FROM p")


async def test_a_row_that_is_met_twice(both: World) -> None:
    await both.same("INSERT INTO one (k) VALUES ('a')")
    await both.same("REPLACE INTO one VALUES ('A', 5, NULL)")
    await both.same("REPLACE INTO one VALUES ('A', 5, 'p'), ('a', 6, 'q')")
    await both.same("SELECT * FROM one")
    for begin in ("BEGIN", "COMMIT"):
        await both.on_postgres(begin)
        upsert = "INSERT INTO one (k, v) VALUES ('a', ?), ('B', 2), ('b', 3) ON CONFLICT (k) DO UPDATE"
        await both.same(f"{upsert} SET v = v + excluded.v", 1)
        await both.same("SELECT * FROM one")
    await both.refused(
        "INSERT INTO one (k) VALUES ('a'), ('b') ON CONFLICT (k) DO UPDATE SET v = (SELECT sum(v) FROM one)",
        "subquery of the same table",
    )


async def test_a_key_that_nobody_can_meet_needs_no_target(postgres_url: str) -> None:
    async with world(postgres_url, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT UNIQUE, c INT)") as both:
        for sql in (
            "INSERT INTO t (b, c) VALUES ('x', 1), ('y', 2), ('x', 3) ON CONFLICT DO UPDATE SET c = c + 10 RETURNING a",
            "INSERT INTO t VALUES (NULL, 'x', 1) ON CONFLICT DO UPDATE SET c = c + 10 RETURNING *",
            "INSERT INTO t (b, c) SELECT b, 5 FROM t WHERE true ON CONFLICT DO UPDATE SET c = c + 100",
            "SELECT * FROM t",
        ):
            await both.same(sql)
        for sql in (
            "INSERT INTO t VALUES (1, 'x', 1) ON CONFLICT DO UPDATE SET c = -1 RETURNING a",
            "INSERT OR REPLACE INTO t VALUES (5, NULL, 1), (NULL, NULL, 2), (NULL, 'x', 3)",
            "SELECT * FROM t",
        ):
            await both.same(sql)


async def test_replace_with_automatic_keys_beside_several_others(postgres_url: str) -> None:
    async with world(postgres_url, "CREATE TABLE t (a INTEGER PRIMARY KEY, b UNIQUE, c INT UNIQUE)") as both:
        for sql in (
            "INSERT OR REPLACE INTO t VALUES (NULL, 1, 2)",
            "REPLACE INTO t VALUES (NULL, 1, 3), (7, 2, 4) RETURNING *",
            "REPLACE INTO t VALUES (NULL, NULL, 3)",
            "REPLACE INTO t VALUES (NULL, NULL, 3), (1, 2, 3)",
            "SELECT * FROM t ORDER BY a",
        ):
            await both.same(sql)


async def test_ignored_rows(both: World) -> None:
    await both.same("INSERT INTO p (b) VALUES (1)")
    await both.same("INSERT OR IGNORE INTO one (k, v, w) VALUES ('a', 1, 'w'), ('b', 2, NULL), ('A', 3, 'w')")
    await both.same(
        "INSERT OR IGNORE INTO one (k, v, w) VALUES ('c', 1, nullif(?, 'x')), ('d', 1, nullif('y', 'x'))", "x"
    )
    await both.same("INSERT OR IGNORE INTO one (k, w) SELECT k || k, CASE WHEN v = 1 THEN w END FROM one")
    await both.same("SELECT * FROM one")
    await both.same("INSERT OR IGNORE INTO must (n) VALUES (1)")
    await both.same("INSERT OR IGNORE INTO must (n) SELECT 1")
    await both.same_error("UPDATE p SET id = NULL")
    await both.same("INSERT OR IGNORE INTO p (b) VALUES (1), (1000)")


async def test_errors_name_what_sqlite_names(both: World) -> None:
    await both.same("INSERT INTO p (a, b, c, pos) VALUES ('a', 11, 'm', 1), ('b', 5, 'n', 2)")
    for sql in (
        "UPDATE p SET b = 1000",
        "UPDATE p SET b = 50",
        "UPDATE p SET b = pos WHERE id = 1",
        "INSERT INTO p (a) VALUES ('a')",
        "INSERT INTO p (id) VALUES (1)",
        "INSERT INTO child (p) VALUES (99)",
        "INSERT INTO one VALUES (1)",
        "INSERT INTO one (nope) VALUES (1)",
        "INSERT INTO one (k, w) VALUES ('n', NULL)",
    ):
        await both.same_error(sql)


async def test_rows_that_see_each_other_change(both: World) -> None:
    await both.same("INSERT INTO p (a, c, pos) VALUES ('a', 'm', 9), ('b', 'n', 8)")
    await both.same("UPDATE p SET pos = (SELECT count(*) FROM p q WHERE q.id < p.id)")
    await both.same("UPDATE p SET pos = (SELECT max(pos) FROM p)")
    await both.same("UPDATE p SET id = id + 1 WHERE id = 2")
    await both.same("UPDATE p SET a = a || 'x' WHERE pos = 1 AND a = ?", "a")
    await both.same("SELECT * FROM p")
    await both.same("UPDATE p SET pos = (SELECT count(*) FROM p q WHERE q.pos < p.pos)")
    await both.refused(
        "UPDATE p SET pos = (SELECT pos FROM p q WHERE q.pos < p.pos) + (SELECT max(pos) FROM p)", "the first row"
    )
    await both.same("UPDATE p SET id = id + 1")


async def test_updates_with_a_conflict_clause(both: World) -> None:
    await both.same("INSERT INTO plain (k, h) VALUES ('a', 'a'), ('b', 'b')")
    await both.same("UPDATE OR IGNORE plain SET n = 5, r = 1.5 WHERE k = 'a'")
    await both.same("UPDATE OR REPLACE plain SET r = r + n RETURNING k, r")
    await both.same_error("UPDATE OR FAIL plain SET h = 'B' WHERE k = 'a'")
    await both.same("UPDATE OR IGNORE plain SET h = 'B'")
    await both.same("UPDATE OR REPLACE plain SET k = 'z'")
    await both.same("UPDATE OR IGNORE plain SET n = n")
    await both.same("SELECT rowid, * FROM plain", ordered=True)
    await both.same("UPDATE OR IGNORE p SET b = 1")


async def test_a_key_of_zero_is_remembered(both: World) -> None:
    await both.same("INSERT INTO child (id) VALUES (7)")
    await both.same("INSERT INTO child (id) VALUES (0)")
    await both.same("INSERT OR IGNORE INTO child (id) VALUES (7)")
    await both.same("INSERT INTO child (id) VALUES (7) ON CONFLICT DO UPDATE SET p = NULL")
    await both.same("SELECT last_insert_rowid(), changes(), total_changes()")


async def test_negative_zero_is_no_value_of_a_column(both: World) -> None:
    await both.same("INSERT INTO plain (k, h, r) VALUES ('a', 'a', ?), ('b', 'b', -0.0), ('c', 'c', 1.5)", -0.0)
    await both.same("UPDATE plain SET r = r * -1")
    rows = (await both.on_postgres("SELECT r FROM plain ORDER BY k")).rows
    assert [str(row[0]) for row in rows] == ["0.0", "0.0", "-1.5"]


async def test_a_number_as_text_every_time(both: World) -> None:
    for number in range(8):
        await both.same("INSERT INTO p (b, c) VALUES (?, ?)", str(number), str(number))


KEYS = """
CREATE TABLE a (id INTEGER PRIMARY KEY, u TEXT UNIQUE, v INTEGER DEFAULT 5);
CREATE TABLE b (id INTEGER PRIMARY KEY AUTOINCREMENT, u TEXT UNIQUE);
"""


async def test_keys_as_sqlite_gives_them(postgres_url: str) -> None:
    settings = Settings.model_validate({"tables": {name: {"keys": "sqlite"} for name in ("a", "b")}})
    async with world(postgres_url, KEYS, settings=settings, store=True) as both:
        for sql in (
            "INSERT INTO a (u) VALUES ('a'), ('b'), ('c')",
            "DELETE FROM a WHERE id = 3",
            "INSERT INTO a (u) VALUES ('d') RETURNING id",
            "INSERT INTO a (id, u) VALUES (NULL, 'e'), (100, 'f'), (NULL, 'g') RETURNING id",
            "INSERT OR IGNORE INTO a (u) VALUES ('a'), ('h'), ('b'), ('i') RETURNING id, u",
            "INSERT INTO a (u) SELECT u || '2' FROM a ORDER BY u DESC",
            "INSERT INTO a DEFAULT VALUES",
            "REPLACE INTO a (u) VALUES ('a'), ('zz')",
            "INSERT INTO a (u) VALUES ('k') ON CONFLICT DO NOTHING",
            "SELECT * FROM a",
            "INSERT INTO b (u) VALUES ('a'), ('b'), ('c')",
            "DELETE FROM b WHERE id > 1",
            "INSERT INTO b (u) VALUES ('d') RETURNING id",
            "DELETE FROM b",
            "INSERT INTO b (u) VALUES ('z')",
            "INSERT INTO b (id, u) VALUES (50, 'y'), (NULL, 'x')",
            "SELECT * FROM b",
            "SELECT last_insert_rowid(), changes()",
        ):
            await both.same(sql)


async def test_or_rollback_ends_the_transaction(both: World) -> None:
    await both.same("INSERT OR FAIL INTO one (k) VALUES ('a')")
    for sql in ("INSERT OR ROLLBACK INTO one (k) VALUES ('a')", "UPDATE OR ROLLBACK one SET w = NULL"):
        await both.same("BEGIN")
        await both.same("INSERT INTO one (k) VALUES ('b')")
        await both.same_error(sql)
        await both.same_error("COMMIT")
        await both.same("SELECT * FROM one")


HELD = """
CREATE TABLE parent (id INTEGER PRIMARY KEY, x INTEGER UNIQUE, y TEXT);
CREATE TABLE follows (k TEXT PRIMARY KEY, p INTEGER REFERENCES parent (id) ON UPDATE CASCADE);
CREATE TABLE bare (id INTEGER PRIMARY KEY, x INTEGER UNIQUE);
CREATE TABLE forgets (k TEXT PRIMARY KEY, p INTEGER REFERENCES bare (id) ON UPDATE SET NULL);
CREATE TABLE kept (id INTEGER PRIMARY KEY);
CREATE TABLE keeps (k TEXT PRIMARY KEY, p INTEGER REFERENCES kept (id) ON DELETE RESTRICT);
"""
HOLDING = (
    "INSERT INTO parent VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')",
    "INSERT INTO follows VALUES ('a', 1), ('b', 2)",
    "INSERT INTO bare VALUES (1, 1), (2, 2)",
    "INSERT INTO forgets VALUES ('a', 1)",
    "INSERT INTO kept VALUES (1)",
    "INSERT INTO keeps VALUES ('a', 1)",
)


async def test_replace_deletes_what_others_refer_to_and_moves_no_key(postgres_url: str) -> None:
    async with world(postgres_url, HELD, data=HOLDING) as both:
        for sql in ("REPLACE INTO parent (x, y) VALUES (1, 'n')", "REPLACE INTO bare (x) VALUES (1)"):
            await both.same_error(sql)
        for sql in (
            "INSERT OR REPLACE INTO parent (id, x, y) VALUES (2, 2, 'same')",
            "REPLACE INTO parent (x, y) VALUES (3, 'new'), (7, 'z')",
            "REPLACE INTO bare (x) VALUES (2) RETURNING id",
            *(f"SELECT * FROM {table}" for table in ("parent", "follows", "bare", "forgets")),
        ):
            await both.same(sql)


async def test_or_fail_without_foreign_keys_keeps_the_rows_before(postgres_url: str) -> None:
    async with world(postgres_url, HELD, data=HOLDING) as both:
        await both.same("PRAGMA foreign_keys = OFF")
        for sql in (
            "INSERT OR FAIL INTO bare VALUES (5, 5), (6, 1), (7, 7)",
            "INSERT OR FAIL INTO follows VALUES ('q', 99), ('a', 1)",
            "UPDATE OR FAIL bare SET x = 9 WHERE id > 1",
        ):
            await both.same_error(sql)
            await both.same("SELECT changes(), last_insert_rowid()")
            await both.same("SELECT * FROM bare")
            await both.same("SELECT * FROM follows")


async def test_or_rollback_is_not_of_foreign_keys(postgres_url: str) -> None:
    async with world(postgres_url, HELD, data=HOLDING) as both:
        for number, sql in enumerate(
            (
                "INSERT OR ROLLBACK INTO follows VALUES ('q', 1), ('r', 99)",
                "UPDATE OR ROLLBACK follows SET p = 77",
                "UPDATE OR ROLLBACK kept SET id = id + 50 WHERE id = 1",
            ),
            start=40,
        ):
            await both.same("BEGIN")
            await both.same(f"INSERT INTO parent (id) VALUES ({number})")
            await both.same_error(sql)
            await both.same("COMMIT")
            await both.same("SELECT * FROM parent")


async def test_a_column_that_is_named_twice(both: World) -> None:
    for sql in (
        "INSERT INTO plain (k, h, k, h) VALUES ('a', 'x', 'b', 'y'), ('c', 'z', 'd', 'w') RETURNING *",
        "INSERT INTO must (m, id, m, id) SELECT k || 'm', 9, h, NULL FROM plain ORDER BY k",
        "INSERT INTO must (id, id, m) VALUES (NULL, 50, 'q') RETURNING id",
        "SELECT * FROM must",
    ):
        await both.same(sql)


DEFAULTS = """
CREATE TABLE made (id INTEGER PRIMARY KEY, a INT DEFAULT (1 + 2), b DEFAULT -'hello', c DEFAULT bare,
  d TEXT DEFAULT (1.50), e TEXT DEFAULT (lower('ABC') || 'd'), f DEFAULT (json('[1]')),
  g REAL DEFAULT ('2' + 1), h NUMERIC DEFAULT '3.0', i DEFAULT (NULL),
  j INT DEFAULT (CASE WHEN 1 THEN 7 / 2 END), k BLOB DEFAULT (CAST('x' AS BLOB)));
CREATE TABLE lacks (id INTEGER PRIMARY KEY, b BLOB DEFAULT (x'41' || x'42'));
"""
ODD = """
CREATE TABLE d (id INTEGER PRIMARY KEY, n INT DEFAULT 7.89, w DATETIME);
CREATE TABLE t (id INTEGER PRIMARY KEY, b INTEGER, c TEXT);
CREATE TABLE o (k TEXT, v INTEGER);
"""


async def test_defaults_that_are_computed(postgres_url: str) -> None:
    async with world(postgres_url, DEFAULTS) as both:
        await both.same("INSERT INTO made (id) VALUES (1) RETURNING *")
        await both.same("INSERT INTO made DEFAULT VALUES")
        await both.same("SELECT * FROM made ORDER BY id")
        await both.refused("INSERT INTO lacks (id) VALUES (1)", "default of column b, which Postgres has not")
        await both.same("INSERT INTO lacks VALUES (1, x'00')")


async def test_what_would_be_silently_different(postgres_url: str) -> None:
    data = ("INSERT INTO t VALUES (5, 1, 'x'), (2, 2, 'y')", "INSERT INTO o VALUES ('b', 1), ('c', 2), ('a', 2)")
    async with world(postgres_url, ODD, data=data) as both:
        for sql in (
            "INSERT INTO d (n, w) VALUES (1, '2024-01-01')",
            "UPDATE t SET (b, c) = (SELECT v, k FROM o WHERE o.v = t.b ORDER BY k)",
            "UPDATE t SET (b, c) = (SELECT sum(v), max(k) FROM o) WHERE id = 2",
            "UPDATE t SET (b) = (7), (c) = (SELECT max(k) FROM o) WHERE id = 2",
            "UPDATE t SET (b, c) = (SELECT sum(v), 7 FROM o WHERE v > 1000) WHERE id = 1",
            "INSERT INTO t SELECT NULL, v, k FROM o WHERE v = 2 RETURNING b, c",
            "INSERT INTO t VALUES (9, 9, 'z') RETURNING (SELECT count(*) FROM o)",
            "SELECT * FROM t",
            "SELECT * FROM d",
        ):
            await both.same(sql)
        await both.refused("INSERT INTO d (id) VALUES (1)", "default of column n")
        await both.refused("INSERT INTO d DEFAULT VALUES", "default of column n")
        await both.same("INSERT INTO d (n, w) VALUES (1, ' 12 ')")
        await both.same("INSERT INTO d (n, w) VALUES (1, ?)", "1e3")
        await both.same("SELECT n, w, typeof(w) FROM d ORDER BY id")
        await both.refused("UPDATE t SET (b, c) = (SELECT max(v), k FROM o)", "SET")
        await both.refused("DELETE FROM t WHERE id = 9 RETURNING (SELECT count(*) FROM t)", "RETURNING")
        await both.same("SELECT min(b), max(b), c FROM t")
        await both.refused("SELECT min(b), max(b) FILTER (WHERE b > 0), c FROM t", "several calls")
        await both.same("WITH x(a, b) AS (SELECT 1) SELECT 10")
        await both.same_error("SELECT c LIKE 'x' ESCAPE 'ab' FROM t")


async def test_returning_names_its_columns_beside_a_cte_that_is_called_as_the_table(postgres_url: str) -> None:
    async with world(
        postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, a)", data=["INSERT INTO t VALUES (1, 2)"]
    ) as both:
        for sql in (
            "WITH t AS (SELECT 1 AS id) UPDATE t SET a = 3 WHERE id IN (SELECT id FROM t) RETURNING id, a + 1, a AS x",
            "WITH t AS (SELECT 19 AS id) INSERT INTO t (id) SELECT id FROM t RETURNING *",
            "WITH T AS (SELECT 99 AS id) DELETE FROM t WHERE id IN (SELECT id FROM t) RETURNING id, t.a",
            "WITH x AS (SELECT 19 AS id) DELETE FROM main.t WHERE id IN x RETURNING id, (SELECT count(*) FROM x)",
        ):
            await both.same(sql)
