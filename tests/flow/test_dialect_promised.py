"""What the rehearsal calls ready is never refused later: every shape here, with arguments of every class."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence

import pytest

from cutover.dialect.folds import blank
from cutover.errors import StatementError
from cutover.model.statement import Statement, StatementResult
from cutover.model.values import SqlValue
from tests.flow.dialect_world import World, typed_rows, world

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, handle TEXT NOT NULL UNIQUE, n INTEGER, r REAL, b BLOB, d DECIMAL(8, 2));
CREATE TABLE named (name TEXT PRIMARY KEY, n INTEGER CHECK (n > 0));
CREATE TABLE pairs (a TEXT, b INTEGER, n INTEGER, PRIMARY KEY (a, b));
CREATE TABLE strict_key (name TEXT NOT NULL PRIMARY KEY, n INTEGER) WITHOUT ROWID;
CREATE TABLE plain (a, b);
CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES users ON DELETE CASCADE);
"""
DATA = (
    "INSERT INTO users VALUES (1, 'ann', 1, 1.5, x'00ff', 2.5), (2, 'bo', NULL, NULL, NULL, NULL)",
    "INSERT INTO named VALUES ('a', 1), ('b', 2)",
    "INSERT INTO pairs VALUES ('a', 1, 1), ('a', 2, 2)",
    "INSERT INTO strict_key VALUES ('a', 1)",
    "INSERT INTO plain VALUES (1, 'x'), ('y', 2.5)",
    "INSERT INTO children VALUES (1, 1)",
)
VALUES: tuple[SqlValue, ...] = (None, 1, 2.5, "a", "2", b"a")
ARGUMENTS = sorted({pair for one in VALUES for pair in ((one, 1), (one, "b"), ("a", one), (one, one))}, key=repr)
SHAPES = (
    "SELECT id FROM users WHERE n = ? OR handle = ?",
    "SELECT n + ?, handle || ? FROM users",
    "SELECT id FROM users WHERE handle LIKE ? AND n IN (?, 2)",
    "SELECT coalesce(n, ?), max(r, ?) FROM users",
    "SELECT substr(handle, ?, ?) FROM users",
    "SELECT sum(n + ?), group_concat(handle, ?) FROM users",
    "SELECT round(r, ?), abs(?) FROM users",
    "SELECT date(?), strftime('%Y', ?)",
    "SELECT json_extract(?, '$.a'), typeof(?)",
    "SELECT id FROM users ORDER BY id LIMIT ? OFFSET ?",
    "SELECT CASE ? WHEN 1 THEN 'x' ELSE ? END FROM users",
    "SELECT instr(handle, ?), replace(handle, ?, 'z') FROM users",
    "SELECT a FROM plain WHERE a = ? OR b > ?",
    "SELECT id FROM users WHERE r BETWEEN ? AND ?",
    "SELECT ?, count(*) FROM users GROUP BY ?",
    "SELECT printf('%d %s', ?, ?)",
    "SELECT ? FROM users UNION SELECT ?",
    "INSERT INTO users (handle, n) VALUES (?, ?)",
    "INSERT INTO users (id, handle) VALUES (?, ?)",
    "INSERT INTO users (handle, r, b, d) VALUES ('new', ?, ?, 1)",
    "INSERT OR IGNORE INTO users (handle, d) VALUES (?, ?)",
    "INSERT OR REPLACE INTO users (id, handle) VALUES (?, ?)",
    "INSERT INTO users (id, handle) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET handle = excluded.handle",
    "INSERT INTO named VALUES (?, ?)",
    "INSERT OR IGNORE INTO named VALUES (?, ?)",
    "INSERT OR REPLACE INTO named VALUES (?, ?)",
    "INSERT INTO named VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n",
    "INSERT INTO named SELECT handle, ? FROM users WHERE handle <> ?",
    "INSERT OR IGNORE INTO named SELECT ?, n FROM users WHERE n IS NOT ?",
    "INSERT INTO pairs VALUES (?, ?, 1)",
    "INSERT OR REPLACE INTO pairs VALUES (?, ?, 1)",
    "INSERT INTO pairs SELECT handle, ?, ? FROM users",
    "INSERT INTO strict_key VALUES (?, ?)",
    "INSERT INTO plain VALUES (?, ?)",
    "UPDATE users SET n = ? WHERE id = ?",
    "UPDATE users SET id = ? WHERE handle = ?",
    "UPDATE users SET handle = handle || ?, r = ?",
    "UPDATE named SET name = ? WHERE n = ?",
    "UPDATE named SET name = CASE WHEN n = 1 THEN ? ELSE name END WHERE n < ?",
    "UPDATE OR IGNORE named SET name = ? WHERE n = ?",
    "UPDATE OR REPLACE users SET n = ? WHERE id = ?",
    "UPDATE pairs SET a = ?, b = ? WHERE n = 1",
    "UPDATE plain SET a = ? WHERE b = ?",
    "DELETE FROM users WHERE id = ? OR handle = ?",
    "DELETE FROM named WHERE name = ? RETURNING name, ?",
    "INSERT INTO children (id, parent) VALUES (?, ?)",
)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


def _told(result: StatementResult | StatementError) -> object:
    if isinstance(result, StatementError):
        return result.code
    return typed_rows(result, in_order=False), result.affected


async def _kept(both: World, sql: str) -> list[str]:
    """What comes out otherwise than on SQLite, or not at all, though it is ready for arguments of these classes.

    SQLITE_MISMATCH is a value that the column on Postgres has no place for: the mirror has none for it either.
    """
    broken = []
    for args in ARGUMENTS:
        found = await both.executor.rehearsal.rehearse(sql, blank(Statement(sql, args)))
        if found.status != "ready":
            continue
        both.db.execute("SAVEPOINT undone")
        await both.session.execute(Statement("SAVEPOINT undone"))
        here, there = await _answers(both, sql, args)
        both.db.execute("ROLLBACK TO undone")
        await both.session.execute(Statement("ROLLBACK TO undone"))
        told = there == "SQL_NOT_TRANSLATABLE" and found.reason
        if here != there and there != "SQLITE_MISMATCH" and not told:
            broken.append(f"{sql} {args}: SQLite {here}, Postgres {there}")
    return broken


async def _answers(both: World, sql: str, args: Sequence[SqlValue]) -> list[object]:
    """What both answer to one execution."""
    answers: list[object] = []
    try:
        answers.append(_told(both.on_sqlite(sql, *args)))
    except StatementError as error:
        answers.append(_told(error))
    try:
        answers.append(_told(await both.on_postgres(sql, *args)))
    except StatementError as error:
        answers.append(_told(error))
    return answers


@pytest.mark.parametrize("part", [0, 1])
async def test_what_is_ready_is_answered_as_sqlite_does(both: World, part: int) -> None:
    assert [one for sql in SHAPES[part::2] for one in await _kept(both, sql)] == []


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO named VALUES (?, ?)",
        "INSERT OR IGNORE INTO named (n, name) SELECT ?, ?",
        "UPDATE named SET name = ?2 WHERE n = ?1",
        "INSERT INTO pairs (n, a, b) VALUES (?1, 'a', 5), (?1, ?2, 6)",
    ],
)
async def test_null_for_a_key_is_not_ready_and_refused(both: World, sql: str) -> None:
    at = 0 if "named VALUES" in sql else 1
    rehearse = both.executor.rehearsal.rehearse
    for value, status in ((None, "refused"), ("x", "ready")):
        args: list[SqlValue] = [1, 1]
        args[at] = value
        found = await rehearse(sql, blank(Statement(sql, tuple(args))))
        assert found.status == status
        assert "in the key" in str(found.reason) if value is None else found.reason is None
    told = await rehearse(sql)
    assert (told.status, "would be NULL" in str(told.reason)) == ("ready", True)
    args = [1, 1]
    args[at] = None
    with pytest.raises(StatementError) as refused:
        await both.on_postgres(sql, *args)
    assert refused.value.code == "SQL_NOT_TRANSLATABLE"


@pytest.mark.parametrize(
    ("on", "status"), [("u.n < c.id AND u.r > ?", "failing"), ("u.id = c.parent AND u.n > ?", "ready")]
)
async def test_what_only_the_planner_refuses_is_not_ready(both: World, on: str, status: str) -> None:
    sql = f"SELECT u.id, c.id FROM users AS u FULL JOIN children AS c ON {on}"
    await both.executor.rehearsal.ready()
    if sqlite3.sqlite_version_info >= (3, 39):
        assert (await both.executor.rehearsal.rehearse(sql)).status == status
