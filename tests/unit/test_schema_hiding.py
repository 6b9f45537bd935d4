"""Lists of the schema without what is cutover's: as in a file that cutover never saw, by SQLite's own verdict."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from cutover.errors import StatementError
from cutover.model.statement import Statement
from cutover.model.values import Row
from cutover.stores.sqlite.running import run_statement

SCHEMA = """
CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE);
CREATE INDEX by_name ON people (name);
CREATE TABLE listed (name TEXT, kind TEXT);
CREATE VIEW named AS SELECT name FROM people;
INSERT INTO people (name) VALUES ('sqlite_master'), ('people');
"""
OURS = """
CREATE TABLE _cutover_log (number INTEGER PRIMARY KEY AUTOINCREMENT, k TEXT UNIQUE);
CREATE TRIGGER _cutover_capture AFTER INSERT ON people BEGIN INSERT INTO _cutover_log (k) VALUES (NEW.id); END;
INSERT INTO _cutover_log (k) VALUES ('a');
"""


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """A file of the application alone, and one with capture."""
    alone, watched = (sqlite3.connect(":memory:", isolation_level=None) for _ in range(2))
    alone.executescript(SCHEMA)
    watched.executescript(SCHEMA + OURS)
    yield alone, watched
    alone.close()
    watched.close()


QUERIES = [
    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
    "SELECT type, name, tbl_name, sql FROM sqlite_master",
    "SELECT count(*) FROM main.sqlite_schema;",
    "SELECT name FROM sqlite_master ORDER BY rowid DESC",
    "SELECT m.rowid, m.name FROM sqlite_master AS m ORDER BY 1",
    "SELECT * FROM sqlite_sequence",
    "SELECT *, rowid FROM sqlite_sequence ORDER BY rowid",
    "SELECT * FROM sqlite_sequence s WHERE s.rowid > 0",
    'SELECT sqlite_master.name FROM "sqlite_master" WHERE sqlite_master.tbl_name LIKE ?',
    "SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p ORDER BY 1, 2",
    "SELECT m.name, p.id FROM sqlite_master m, people p WHERE p.name = m.name",
    "SELECT p.id, m.type FROM people p LEFT JOIN sqlite_master m ON m.name = p.name ORDER BY 1",
    "SELECT p.id FROM people p WHERE EXISTS (SELECT 1 FROM sqlite_master WHERE name = p.name)",
    "WITH t AS (SELECT name FROM sqlite_master) SELECT count(*), (SELECT count(*) FROM sqlite_schema) FROM t",
    "SELECT name FROM sqlite_master UNION ALL SELECT name FROM sqlite_sequence ORDER BY 1",
    "SELECT name FROM sqlite_master INTERSECT SELECT name FROM people",
    'SELECT "schema", name, type, ncol, wr, strict FROM pragma_table_list ORDER BY 2',
    "SELECT t.name FROM pragma_table_list() AS t ORDER BY 1",
    "SELECT name, type FROM pragma_table_list('people')",
    "SELECT exists(SELECT 1 FROM sqlite_master WHERE name = 'people')",
    "SELECT  exists (select 1 FROM sqlite_master) /* why */ , 1+1,(SELECT count(*) FROM\n main.sqlite_schema )+1 ; ",
    "SELECT DISTINCT (SELECT max(seq) FROM sqlite_sequence) IS NULL, id FROM people",
    'SELECT ALL (SELECT count(*) FROM sqlite_master) c, (SELECT name FROM sqlite_master LIMIT 1) AS "a b", '
    "(SELECT seq FROM sqlite_sequence) 's' FROM people ORDER BY c",
    "SELECT 'p' IN (SELECT name FROM sqlite_master), \"name\" = (SELECT 1 FROM sqlite_sequence) FROM people",
    "SELECT CASE WHEN (SELECT count(*) FROM sqlite_master) THEN 1 END, (SELECT 1 FROM sqlite_master) IS id FROM people",
    "SELECT (SELECT 1 FROM sqlite_master) COLLATE nocase, (SELECT 1 FROM sqlite_master) = id || 'x' FROM people",
    "SELECT id, (SELECT 1 FROM sqlite_master) IS NOT DISTINCT FROM id, 5 FROM people",
    "SELECT * FROM (SELECT id, exists(SELECT 1 FROM sqlite_master) FROM people) ORDER BY 1",
    "WITH w AS (SELECT (SELECT count(*) FROM sqlite_master) n) SELECT n, (SELECT 1 FROM sqlite_sequence) FROM w",
    "SELECT exists(SELECT 1 FROM sqlite_master) UNION SELECT (SELECT 2 FROM sqlite_sequence) ORDER BY 1",
    'SELECT count(*) + (SELECT count(*) FROM sqlite_master), "id" FROM people GROUP BY 2 HAVING 1',
    "INSERT INTO listed VALUES ('r', 's') RETURNING (SELECT count(*) FROM sqlite_master), name",
    "DELETE FROM listed WHERE name = 'r' RETURNING name, exists(SELECT 1 FROM sqlite_sequence)",
    "PRAGMA table_list",
    "PRAGMA main.table_list",
    "PRAGMA table_list(people)",
    "EXPLAIN QUERY PLAN SELECT name FROM sqlite_master",
    "SELECT 'sqlite_master', \"name\" /* FROM sqlite_master */ FROM people -- , sqlite_master",
    "SELECT main.sqlite_master.name FROM main.sqlite_master WHERE type = 'view'",
    "INSERT INTO listed SELECT name, type FROM sqlite_master RETURNING name, kind",
    "SELECT name, kind FROM listed ORDER BY rowid",
    "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'people'",
    "SELECT seq FROM sqlite_sequence",
]


def answer(db: sqlite3.Connection, sql: str) -> tuple[list[str], list[Row], int]:
    found = run_statement(db, Statement(sql, ("people",) * sql.count("?")))
    return [column.name for column in found.columns], found.rows, found.affected


@pytest.mark.parametrize("sql", QUERIES)
def test_a_list_is_that_of_the_application_alone(pair: tuple[sqlite3.Connection, sqlite3.Connection], sql: str) -> None:
    alone, watched = pair
    cursor = alone.execute(sql, ("people",) * sql.count("?"))
    expected = ([column[0] for column in cursor.description or ()], cursor.fetchall(), max(cursor.rowcount, 0))
    found = answer(watched, sql)
    if sql.startswith("PRAGMA"):  # whose order is that of a hash table
        expected, found = ((names, sorted(rows), n) for names, rows, n in (expected, found))
    assert found == expected


def test_all_columns_are_read_under_their_names() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript("CREATE TABLE _cutover_log (number INTEGER PRIMARY KEY AUTOINCREMENT, k TEXT UNIQUE)")
    assert answer(db, "SELECT * FROM sqlite_master ORDER BY rowid")[:2] == (
        ["type", "name", "tbl_name", "rootpage", "sql"],
        [],
    )
    db.execute("CREATE TABLE t (a)")
    assert [row[:3] for row in answer(db, "SELECT * FROM sqlite_master")[1]] == [("table", "t", "t")]
    db.execute("CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)")
    assert answer(db, "SELECT name FROM sqlite_master ORDER BY name")[1] == [("counted",), ("sqlite_sequence",), ("t",)]


def test_an_error_is_of_the_statement_as_it_was_sent() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    for sql in (
        "SELECT nix FROM sqlite_master",
        "SELECT name FROM sqlite_master WHERE",
        "SELECT * FROM sqlite_sequence",
    ):
        with pytest.raises(sqlite3.OperationalError) as expected:
            db.execute(sql)
        with pytest.raises(StatementError) as found:
            run_statement(db, Statement(sql))
        assert str(expected.value) in found.value.message
