"""Writes that SQLite carries out row after row, where that shows in what is left."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from cutover.model.statement import Statement, Step
from cutover.settings import Settings, TableSettings
from cutover.stores.sqlite.running import run_statement
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE item (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, slot INTEGER UNIQUE, n INTEGER NOT NULL DEFAULT 7,
                   CHECK (n < 100));
CREATE TABLE word (w TEXT NOT NULL PRIMARY KEY, n INTEGER CHECK (n > 0));
CREATE TABLE link (a INTEGER NOT NULL, b INTEGER NOT NULL, at TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE seat (id INTEGER PRIMARY KEY, row INTEGER, place INTEGER, UNIQUE (row, place));
CREATE TABLE kid (id INTEGER PRIMARY KEY, up INTEGER REFERENCES item ON DELETE CASCADE, tag TEXT COLLATE NOCASE UNIQUE);
CREATE TABLE part (id INTEGER PRIMARY KEY, u INTEGER UNIQUE);
CREATE TABLE of_part (id INTEGER PRIMARY KEY, u INTEGER REFERENCES part (u));
CREATE TABLE title (t TEXT NOT NULL PRIMARY KEY, x TEXT UNIQUE, u INTEGER UNIQUE);
CREATE TABLE of_title (id INTEGER PRIMARY KEY, t TEXT REFERENCES title ON UPDATE CASCADE);
CREATE TABLE counted (id INTEGER PRIMARY KEY, v TEXT UNIQUE);
"""
DATA = (
    "INSERT INTO item VALUES (1, 'a', 10, 1), (2, 'b', 20, 2), (3, 'c', 30, 3), (5, 'e', 50, 5)",
    "INSERT INTO word VALUES ('x', 1), ('y', 2), ('z', 3)",
    "INSERT INTO link VALUES (1, 1, 'p'), (1, 2, 'q'), (2, 1, 'r'), (2, 3, 's')",
    "INSERT INTO seat VALUES (1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 2, 1)",
    "INSERT INTO kid VALUES (1, 1, 'one'), (2, 2, 'two'), (3, 3, 'three')",
    "INSERT INTO part VALUES (1, 1), (2, 3), (3, 5), (4, NULL)",
    "INSERT INTO of_part VALUES (1, 1)",
)
TABLES = ("item", "word", "link", "seat", "kid", "counted", "part")


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    settings = Settings.model_validate({"tables": {"counted": {"keys": "sqlite"}}})
    async with world(postgres_url, SCHEMA, settings=settings, data=DATA) as made:
        yield made


async def _same_left(both: World) -> None:
    """All rows of all tables, and what the connection remembers."""
    for table in TABLES:
        await both.same(f"SELECT * FROM {table} ORDER BY 1, 2")
    await both.same("SELECT changes()")


async def test_or_fail_keeps_the_rows_before_the_one_that_fails(both: World) -> None:
    await both.same_error("INSERT OR FAIL INTO item (id, sku, n) VALUES (11, 'k', 1), (12, 'a', 1), (13, 'm', 1)")
    await both.same_error(
        "INSERT OR FAIL INTO item (id, sku, n) SELECT 20 + id, w, n + 97 FROM item JOIN word USING (n) ORDER BY n"
    )
    await both.same_error("INSERT OR FAIL INTO item (id, n) VALUES (?, ?), (?, ?)", 31, 1, 32, None)
    await both.same("INSERT OR FAIL INTO item (id, n) VALUES (41, 1), (42, 1) RETURNING id, n")
    await both.same_error("INSERT OR FAIL INTO item (id, sku) VALUES (51, 'new'), (52, 'a'), (53, 'z') RETURNING id")
    assert (await both.same("SELECT id FROM item WHERE id > 50")).rows == [(51,)]
    await _same_left(both)


async def test_or_fail_within_a_transaction(both: World) -> None:
    await _on_both(both, "BEGIN")
    await both.same("UPDATE word SET n = 9 WHERE w = 'x'")
    await both.same_error("INSERT OR FAIL INTO word VALUES ('q', 1), ('x', 1)")
    await both.same_error("INSERT INTO word VALUES ('r', 1), ('x', 1)")
    await both.same("INSERT INTO word VALUES ('s', 1)")
    await _on_both(both, "COMMIT")
    await _same_left(both)


async def test_or_fail_of_no_stream(both: World) -> None:
    both.db.executescript("INSERT INTO word VALUES ('q', 1)")
    steps = [Step(Statement("INSERT OR FAIL INTO word VALUES ('q', 1), ('x', 1)"), None)]
    result = await both.executor.run(steps)
    assert result.errors[0] is not None
    assert result.errors[0].message == "UNIQUE constraint failed: word.w"
    await both.same("SELECT * FROM word ORDER BY w")


async def test_or_ignore_passes_over_what_a_check_forbids(both: World) -> None:
    await both.same("INSERT OR IGNORE INTO word VALUES ('q', 0), ('r', 1), ('x', 5), ('s', -1), ('t', 1)")
    await both.same("INSERT OR IGNORE INTO word VALUES ('lone', 0)")
    await both.same("INSERT OR IGNORE INTO word SELECT sku, n - 2 FROM item")
    await both.same("INSERT OR IGNORE INTO item (sku, n) VALUES ('q', 200), ('a', 1), (?, ?), ('r', ?)", "s", 3, None)
    await both.same("INSERT OR IGNORE INTO item (sku, n) SELECT w || w, n * 30 FROM word RETURNING sku, n")
    await both.same("SELECT sku, slot, n FROM item ORDER BY sku")
    await both.same("SELECT * FROM word ORDER BY w")


async def test_a_select_that_has_a_key_twice(both: World) -> None:
    await both.same(
        "INSERT INTO word SELECT 'k', n FROM item WHERE true ON CONFLICT (w) DO UPDATE SET n = n + excluded.n"
    )
    await both.same("REPLACE INTO word SELECT substr(sku, 1, 0) || 'm', id FROM item")
    await both.same("REPLACE INTO item (sku, slot, n) SELECT 'z', 10 * id, 1 FROM item WHERE id < 4")
    await both.same("INSERT OR REPLACE INTO item (id, sku, slot) SELECT id + 1, sku, slot FROM item WHERE id > 1")
    await both.same("SELECT * FROM word ORDER BY w")
    await both.same("SELECT sku, slot, n FROM item ORDER BY sku")


async def test_later_rows_of_an_upsert_see_what_became_of_earlier_ones(both: World) -> None:
    await both.same(
        "INSERT INTO word VALUES ('x', 1), ('y', 1), ('new', 3), ('new', 4)"
        " ON CONFLICT (w) DO UPDATE SET n = (SELECT sum(n) FROM word o WHERE o.w <> excluded.w)"
    )
    await both.refused(
        "INSERT INTO word VALUES ('x', 1), ('y', 1) ON CONFLICT (w) DO UPDATE SET n = (SELECT sum(n) FROM word)",
        "DO UPDATE of several rows with a subquery",
    )
    await both.same(
        "INSERT INTO word SELECT sku || 'x', n FROM item WHERE true UNION ALL SELECT 'x', id FROM seat ORDER BY 2"
        " ON CONFLICT (w) DO UPDATE SET n = (SELECT count(*) FROM word o WHERE o.n < excluded.n) + excluded.n"
    )
    await _same_left(both)


async def test_queries_in_values_see_none_of_the_new_rows(both: World) -> None:
    high = "(SELECT max(id) + 1 FROM item)"
    await both.same(f"REPLACE INTO item (id, sku, slot) VALUES ({high}, 'q', 1), ({high}, 'r', 2)")
    await both.same(
        f"INSERT INTO item (id, sku) VALUES ({high}, 'x'), ({high}, 'y') ON CONFLICT (id) DO UPDATE SET sku = 'twice'"
    )
    await _same_left(both)


async def test_conflicts_beside_keys_that_are_counted(both: World) -> None:
    await both.same("INSERT INTO counted (v) VALUES ('a'), ('b')")
    await both.same("INSERT OR IGNORE INTO counted (v) SELECT w FROM word UNION ALL SELECT 'a' UNION ALL SELECT 'end'")
    await both.same("INSERT OR REPLACE INTO counted (v) SELECT v FROM counted WHERE id < 4")
    await both.same("INSERT OR IGNORE INTO counted SELECT CASE WHEN n > 1 THEN n + 100 END, sku FROM item")
    await _same_left(both)


MOVES = (
    "UPDATE seat SET place = place + 1 WHERE row = 1",
    "UPDATE seat SET place = place - 1",
    "UPDATE seat SET id = id + 1",
    "UPDATE seat SET id = id - 1",
    "UPDATE seat SET id = -id",
    "UPDATE seat SET row = place, place = row RETURNING *",
    "UPDATE OR IGNORE seat SET place = place + 1",
    "UPDATE OR IGNORE seat SET row = 1",
    "UPDATE OR IGNORE seat SET id = id + 1 WHERE place < 3 RETURNING id",
    "UPDATE OR REPLACE seat SET id = id + 1",
    "UPDATE OR REPLACE seat SET place = place + 1 RETURNING *",
    "UPDATE OR REPLACE seat SET row = 1, place = 1",
    "UPDATE OR FAIL seat SET place = place - 1 WHERE id > 1",
    "UPDATE OR FAIL seat SET row = row + 1",
    "UPDATE seat SET row = (SELECT max(place) + 1 FROM seat o WHERE o.row <= seat.row)",
    "UPDATE OR IGNORE item SET n = n * 25 RETURNING id, n",
    "UPDATE OR IGNORE item SET n = NULL WHERE id = 1",
    "UPDATE OR REPLACE seat SET row = 2, place = NULL WHERE id > 1 RETURNING *",
    "UPDATE OR REPLACE item SET n = NULL WHERE id > 1 RETURNING *",
    "UPDATE OR FAIL link SET a = 2 RETURNING b",
    "UPDATE item SET slot = 60 - slot",
    "UPDATE part SET u = (SELECT count(*) FROM part z WHERE z.u < part.u)",
    "UPDATE part SET u = 9 - u",
    "UPDATE OR IGNORE part SET u = 2",
    "UPDATE OR REPLACE item SET n = n * 50",
    "UPDATE OR FAIL item SET n = n * 40",
    "UPDATE OR IGNORE kid SET tag = 'ONE' WHERE id > 1",
    "UPDATE OR REPLACE kid SET tag = 'ONE' WHERE id > 1",
    "UPDATE OR IGNORE kid SET up = 77",
    "UPDATE OR IGNORE link SET a = 1 WHERE a = 2",
    "UPDATE OR REPLACE link SET a = 1, at = at || '!' WHERE a = 2",
    "UPDATE link SET b = b + 1",
    "UPDATE OR REPLACE link SET b = b + 1",
    "UPDATE OR IGNORE word SET w = 'y' WHERE w = 'x'",
    "UPDATE OR IGNORE word SET n = n - 1",
    "UPDATE OR REPLACE word SET w = 'y' WHERE w = 'x'",
    "UPDATE word SET w = w || '!'",
    "WITH w AS (SELECT id FROM item WHERE n > 1) UPDATE OR IGNORE item SET sku = 'e' WHERE id IN (SELECT id FROM w)",
)


def _fails(db: sqlite3.Connection, sql: str) -> bool:
    """Whether SQLite has an error for it, without doing it here."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    try:
        db.backup(copy)
        copy.execute("PRAGMA foreign_keys = ON")
        run_statement(copy, Statement(sql))
    except StatementError:
        return True
    finally:
        copy.close()
    return False


async def test_updates(both: World) -> None:
    """Each from the same rows."""
    for sql in MOVES:
        fails = _fails(both.db, sql)
        await _on_both(both, "BEGIN")
        await (both.same_error(sql) if fails else both.same(sql))
        await _same_left(both)
        await _on_both(both, "ROLLBACK")


async def _on_both(both: World, sql: str) -> None:
    both.db.execute(sql)
    await both.session.execute(Statement(sql))


LIMITS = (
    "DELETE FROM seat WHERE place < 3 LIMIT 2",
    "DELETE FROM seat ORDER BY place DESC, id LIMIT 2",
    "DELETE FROM seat WHERE row = 1 LIMIT 1",
    "DELETE FROM seat WHERE row = 1 RETURNING id ORDER BY place DESC LIMIT 1",
    "DELETE FROM link LIMIT 1",
    "DELETE FROM link WHERE a = 1 ORDER BY at DESC LIMIT 1",
    "UPDATE seat AS s SET row = 9 WHERE s.place > 0 RETURNING id, row ORDER BY id DESC LIMIT 2",
    "UPDATE seat SET place = place + 1 WHERE row = 1 ORDER BY place DESC LIMIT 1",
    "UPDATE OR IGNORE seat SET place = 2 WHERE row = 1 LIMIT 2",
    "WITH w(p) AS (VALUES (1), (2)) DELETE FROM seat WHERE place IN (SELECT p FROM w) ORDER BY id LIMIT 1",
    "DELETE FROM seat WHERE id IN (SELECT id FROM seat ORDER BY id LIMIT 1)",
    "DELETE FROM word ORDER BY n DESC LIMIT 1",
    "UPDATE part SET id = id + 100 LIMIT 2",
    "DELETE FROM part WHERE u IS NOT 1 LIMIT 1",
)
_CAN = (
    sqlite3.connect(":memory:").execute("SELECT sqlite_compileoption_used('ENABLE_UPDATE_DELETE_LIMIT')").fetchone()[0]
)


@pytest.mark.skipif(not _CAN, reason="SQLite is built without it, and says so of such statements")
async def test_changes_of_so_many_rows(both: World) -> None:
    for sql in LIMITS:
        await _on_both(both, "BEGIN")
        await both.same(sql)
        await _same_left(both)
        await _on_both(both, "ROLLBACK")
    await both.same("DELETE FROM word LIMIT 1")
    await _same_left(both)


async def test_updates_or_replace_that_are_refused(both: World) -> None:
    await both.refused("UPDATE OR REPLACE item SET sku = 'c' WHERE id = 1", "rows that refer")
    await both.same("INSERT INTO title VALUES ('a', 'a', 1), ('b', 'b', 2)")
    await both.refused("UPDATE OR REPLACE title SET t = 'a' WHERE t = 'b'", "rows that refer")
    await both.refused("UPDATE OR REPLACE title SET x = 'a', u = 1 WHERE t = 'b'", "rows that refer")
    await both.same("UPDATE OR REPLACE title SET x = 'a' WHERE t = 'b'")
    await both.same("SELECT * FROM title")
    count = "(SELECT count(*) FROM seat z WHERE z.place < seat.place)"
    await both.refused(f"UPDATE OR REPLACE seat SET place = {count}", "a subquery of the same table")


async def test_foreign_keys_are_checked_behind_the_last_row(both: World) -> None:
    await both.same("UPDATE part SET u = CASE id WHEN 1 THEN 7 WHEN 2 THEN 1 ELSE u END")
    await both.same_error("UPDATE part SET u = CASE id WHEN 2 THEN 8 ELSE u END")
    await both.same("SELECT * FROM part ORDER BY id")


async def test_an_outer_join_to_the_right_of_what_is_changed(both: World) -> None:
    join = "kid RIGHT JOIN item ON kid.up = item.id"
    await both.same(f"UPDATE word SET n = item.id + 1 FROM {join} WHERE w = item.sku")
    await _same_left(both)


async def test_ignored_rows_whose_generated_column_would_be_null(postgres_url: str) -> None:
    schema = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, g TEXT AS (nullif(b, 'x')) STORED NOT NULL)"
    async with world(postgres_url, schema) as made:
        await made.same_error("INSERT INTO t (b) VALUES ('x')")
        await made.same("INSERT OR IGNORE INTO t (b) VALUES ('x')")
        await made.same("INSERT OR IGNORE INTO t (b) VALUES ('x'), ('y'), (NULL), ('z') RETURNING a, g")
        await made.same("INSERT OR IGNORE INTO t (b) SELECT b || 'x' FROM t UNION ALL SELECT 'x'")
        await made.same_error("UPDATE t SET b = 'x' WHERE a = 1")
        await made.same("UPDATE OR IGNORE t SET b = iif(a = 1, 'x', 'w')")
        await made.same("SELECT * FROM t ORDER BY a")
        await made.same("BEGIN")
        await made.same("INSERT OR IGNORE INTO t (b) VALUES ('v'), ('x')")
        await made.same("COMMIT")
        await made.same("SELECT * FROM t ORDER BY a")


OWN_KEYS = """
CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree ON DELETE CASCADE, v TEXT);
CREATE TABLE chain (id INTEGER PRIMARY KEY, up INTEGER REFERENCES chain ON DELETE SET NULL);
CREATE TABLE held (id INTEGER PRIMARY KEY, up INTEGER REFERENCES held ON DELETE RESTRICT);
CREATE TABLE grid (a INTEGER, b INTEGER, c INTEGER, d INTEGER, PRIMARY KEY (a DESC, b),
                   FOREIGN KEY (c, d) REFERENCES grid (a, b) ON DELETE CASCADE) WITHOUT ROWID;
CREATE TABLE named (id TEXT NOT NULL PRIMARY KEY, up TEXT REFERENCES named ON DELETE CASCADE);
"""
OF_A_TREE = "INSERT INTO tree VALUES (1, NULL, 'a'), (2, 1, 'b'), (3, 2, 'c'), (4, NULL, 'd'), (6, 4, 'e'), (5, 6, 'f')"


async def test_rows_that_went_with_others_are_not_deleted_again(postgres_url: str) -> None:
    deleting = (
        "DELETE FROM tree WHERE id IN (1, 2, 4)",
        "DELETE FROM tree",
        "DELETE FROM tree WHERE id >= 2 RETURNING id, v",
        "DELETE FROM tree AS t WHERE t.v > 'b' AND EXISTS (SELECT 1 FROM tree WHERE up = t.id) RETURNING *",
        "WITH some AS (SELECT id FROM tree WHERE v <> 'd') DELETE FROM tree WHERE id IN (SELECT id FROM some)",
        "DELETE FROM tree WHERE id = 1 RETURNING id",
    )
    async with world(postgres_url, OWN_KEYS) as both:
        for sql in deleting:
            await both.same(OF_A_TREE)
            await both.same(sql, ordered=True)
            await both.same("SELECT changes()")
            await both.same("SELECT * FROM tree")
            await both.same("DELETE FROM tree WHERE id > ?", 0)
        await both.same("INSERT INTO chain VALUES (1, NULL), (2, 1), (3, 2), (4, 1)")
        await both.same("DELETE FROM chain WHERE id < 4 RETURNING id, up", ordered=True)
        await both.same("SELECT * FROM chain")
        await both.same("INSERT INTO grid VALUES (1, 1, NULL, NULL), (1, 2, 1, 1), (2, 1, 1, 2), (3, 1, 2, 1)")
        await both.same("DELETE FROM grid RETURNING a, b", ordered=True)


async def test_a_row_that_may_not_be_left_behind_forbids_its_turn(postgres_url: str) -> None:
    async with world(postgres_url, OWN_KEYS) as both:
        await both.same("INSERT INTO held VALUES (1, NULL), (2, 1)")
        await both.same_error("DELETE FROM held")
        await both.same("INSERT INTO held VALUES (9, 1), (8, 9)")
        await both.same("DELETE FROM held WHERE id > 7")
        await both.same("SELECT * FROM held")


async def test_rows_of_a_key_that_is_no_integer_go_by_their_rowid(postgres_url: str) -> None:
    async with world(postgres_url, OWN_KEYS) as both:
        await both.same("INSERT INTO named VALUES ('c', NULL), ('b', 'c'), ('a', 'b'), ('z', 'a')")
        await both.same("DELETE FROM named WHERE id <> 'z'")
        await both.same("SELECT rowid, * FROM named")


async def test_an_order_of_deletion_that_is_not_known_is_refused_where_it_matters(postgres_url: str) -> None:
    without = Settings(tables={"named": TableSettings(rowid="drop")})
    async with world(postgres_url, OWN_KEYS, settings=without) as both:
        await both.same("INSERT INTO named VALUES ('a', NULL), ('b', 'a'), ('c', 'b')")
        await both.same("DELETE FROM named WHERE id > 'b'")
        await both.refused("DELETE FROM named", "order of rows that only SQLite knows")


TASKS = """
CREATE TABLE task (id INTEGER PRIMARY KEY, project TEXT, num INTEGER, title TEXT, state TEXT, UNIQUE (project, num));
CREATE UNIQUE INDEX task_open ON task (project, title COLLATE NOCASE) WHERE state <> 'done';
"""


async def test_an_index_of_some_rows_whose_keys_no_other_row_gets(postgres_url: str) -> None:
    """SQLite reads by (project, num), so nobody else knows the order; it makes no difference."""
    rows = "(1, 'a', 9, 'One', 'open'), (2, 'a', 8, 'Two', 'open'), (3, 'a', 7, 'one', 'done'), (4, 'b', 1, 'one', 'x')"
    async with world(
        postgres_url, TASKS, data=[f"INSERT INTO task VALUES {rows}", "DELETE FROM task WHERE id = 3"]
    ) as w:
        for sql in (
            "UPDATE task SET title = upper(title) WHERE project = 'a'",
            "UPDATE task SET title = title || '!', state = state || '?' WHERE project = 'a' RETURNING id, title",
            "UPDATE task SET state = CASE state WHEN 'open?' THEN 'doing' ELSE state END WHERE project = 'a'",
            "UPDATE OR IGNORE task SET title = title || '.' WHERE project = 'a'",
            "SELECT * FROM task",
        ):
            await w.same(sql)
        await w.same("INSERT INTO task VALUES (5, 'a', 1, 'five', 'open')")
        swap = "UPDATE task SET title = CASE id WHEN 1 THEN 'five' ELSE 'ONE!.' END WHERE project = 'a' AND id <> 2"
        await w.refused(swap, "order of rows")
        await w.refused("UPDATE OR REPLACE task SET title = 'x' WHERE project = 'a'", "part of the rows")
