"""last_insert_rowid(), changes() and total_changes() of a stream that is not alone: its own, as a connection's."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from cutover.errors import StatementError
from cutover.metrics import Metrics
from cutover.model.statement import Statement, StatementResult, Step
from cutover.schema.sqltext import split
from cutover.stores.base import Member
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.running import run_statement
from cutover.write_through import Stream, WriteThrough
from tests.flow.dialect_world import world
from tests.support.front import opened

_SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, n INTEGER NOT NULL DEFAULT 1);
CREATE TABLE bare (a TEXT UNIQUE, n INTEGER NOT NULL DEFAULT 1);
CREATE TABLE words (a TEXT PRIMARY KEY, n INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
CREATE TABLE theirs (id INTEGER PRIMARY KEY, n INTEGER);
"""

_PAST = "SELECT last_insert_rowid(), changes(), total_changes()"
_OF_ANOTHER = ("INSERT INTO theirs (n) VALUES (1), (2)", "UPDATE theirs SET n = n + 1")
_SCRIPT: list[str | tuple[str, ...]] = [
    "INSERT INTO t (a) VALUES ('x')",
    "INSERT INTO t (a) VALUES ('x') ON CONFLICT (a) DO UPDATE SET n = n + 1",
    "INSERT INTO t (a) VALUES ('x') ON CONFLICT (a) DO UPDATE SET n = n + 1 RETURNING n",
    "INSERT INTO words VALUES ('w', 1)",
    "INSERT OR IGNORE INTO t (a) VALUES ('x')",
    "INSERT INTO bare (a) VALUES ('x')",
    "INSERT INTO bare (a) VALUES ('x') ON CONFLICT (a) DO UPDATE SET n = 5",
    "INSERT INTO t (id, a) VALUES (0, 'zero')",
    "UPDATE t SET n = 3 WHERE a = 'zero'",
    "UPDATE t SET a = 'zero' WHERE a = 'x'",
    "UPDATE t SET n = NULL WHERE a = 'x'",
    "INSERT INTO t (id, a) VALUES (0, 'again')",
    "INSERT OR FAIL INTO t (id, a) VALUES (301, 'f'), (302, 'g'), (303, 'x'), (304, 'h')",
    "UPDATE OR FAIL t SET a = 'f' WHERE a = 'nothing'",
    "SELECT * FROM nothing",
    "INSERT INTO t (id, a) VALUES (400, 'k') RETURNING last_insert_rowid()",
    "INSERT INTO t (id, a, n) VALUES (401, 'l', last_insert_rowid()) RETURNING n, last_insert_rowid()",
    ("INSERT INTO t (a) VALUES ('x') ON CONFLICT (a) DO UPDATE SET n = 9", _PAST),
    ("INSERT INTO words VALUES ('v', 1)", _PAST, "INSERT INTO t (id, a) VALUES (500, 'm')", _PAST),
    ("DELETE FROM t WHERE a IN ('f', 'g')", _PAST, "UPDATE t SET n = n + total_changes() WHERE a = 'x' RETURNING n"),
    ("INSERT INTO t (id, a) VALUES (500, 'twice')", _PAST),
    "BEGIN",
    "INSERT INTO t (a) VALUES ('x') ON CONFLICT (a) DO UPDATE SET n = 10",
    ("INSERT INTO t (a) VALUES ('x') ON CONFLICT (a) DO UPDATE SET n = 11", _PAST),
    "INSERT INTO words VALUES ('v', 1)",
    "INSERT INTO words VALUES ('u', 1)",
    "INSERT INTO t (id, a) VALUES (600, 'n')",
    "ROLLBACK",
    ("BEGIN", "INSERT INTO t (id, a) VALUES (700, 'n')", _PAST, "COMMIT"),
    *2
    * [
        "INSERT INTO bare (a, n) VALUES (NULL, 4)",
        "INSERT INTO bare (a, n) VALUES (NULL, last_insert_rowid())",
        "UPDATE t SET n = last_insert_rowid() WHERE a = 'zero'",
        "UPDATE t SET n = changes() + 10 * total_changes() WHERE a = 'x'",
        "DELETE FROM bare WHERE n = last_insert_rowid() RETURNING n",
        "SELECT n FROM t WHERE a IN ('x', 'zero') ORDER BY a",
        "SELECT n FROM bare ORDER BY n",
    ],
    "DROP TABLE words",
    "CREATE TABLE words (a TEXT PRIMARY KEY, n INTEGER NOT NULL DEFAULT 1)",
    "INSERT INTO words VALUES ('v', 1)",
]


@asynccontextmanager
async def _way(primary: str, sqlite_path: str, postgres_url: str, schema: str = _SCHEMA) -> AsyncIterator[WriteThrough]:
    if primary == "sqlite":
        async with opened(sqlite_path, schema) as way:
            yield way
    else:
        async with world(postgres_url, schema) as made:
            member = Member(PostgresStore(postgres_url), made.executor)
            way = WriteThrough(member, epoch=1, metrics=Metrics("test"), hold_timeout=60)
            await way.resume(member, 1)
            yield way


def _alone(db: sqlite3.Connection, text: str) -> object:
    try:
        result = run_statement(db, Statement(text))
    except StatementError as error:
        return error.code
    return result.rows, result.affected


def _told(result: StatementResult | None, error: StatementError | None) -> object:
    return error.code if error is not None else result and (result.rows, result.affected)


async def _answers(stream: Stream, texts: Sequence[str]) -> list[object]:
    try:
        found = await stream.batch([Step(Statement(text)) for text in texts])
    except StatementError as error:
        return [error.code]
    return [_told(*each) for each in zip(found.results, found.errors, strict=True)]


@pytest.mark.parametrize("primary", ["sqlite", "postgres"])
async def test_what_a_stream_remembers_is_its_own(primary: str, sqlite_path: str, postgres_url: str) -> None:
    alone = sqlite3.connect(":memory:", isolation_level=None)
    for text in split(_SCHEMA):
        alone.execute(text)
    async with _way(primary, sqlite_path, postgres_url) as way:
        mine, other = way.stream(), way.stream()
        for step in _SCRIPT:
            texts = (step,) if isinstance(step, str) else step
            if not mine.in_transaction:
                await _answers(other, _OF_ANOTHER)
            for each in (texts, (_PAST,)):
                assert await _answers(mine, each) == [_alone(alone, text) for text in each], texts
        await mine.close()
        await other.close()
    alone.close()


_KIN = """
CREATE TABLE kin (id INTEGER PRIMARY KEY, a INTEGER UNIQUE, p INTEGER REFERENCES kin);
CREATE TABLE later (id INTEGER PRIMARY KEY, p INTEGER REFERENCES kin DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE theirs (id INTEGER PRIMARY KEY, n INTEGER);
"""
_FAIL: list[str | tuple[str, ...]] = [
    "INSERT INTO kin (a) VALUES (1), (2), (3)",
    "INSERT INTO kin (a) VALUES (7), (8), (1)",
    "INSERT INTO kin (a) VALUES (1)",
    "INSERT INTO kin (a, p) VALUES (20, 99)",
    "INSERT INTO kin (id, a) VALUES (410, 400), (411, 401), ('x', 402)",
    "INSERT INTO kin (a) VALUES (7), (1) RETURNING id",
    "UPDATE kin SET a = 1",
    "INSERT OR FAIL INTO kin (a) VALUES (30), (31), (1)",
    "INSERT INTO later (id) VALUES (50), (51)",
    "INSERT INTO later (p) VALUES (99)",
    "INSERT INTO later (p) VALUES (99), (98) RETURNING id",
    "UPDATE later SET p = 99 RETURNING id",
    ("INSERT INTO later (p) VALUES (99)", _PAST, "INSERT INTO kin (a) VALUES (7), (1)", _PAST),
    "UPDATE kin SET a = a",
    "UPDATE kin SET p = json(id || '!')",
    "INSERT INTO kin (a) VALUES (70)",
    "UPDATE kin SET p = abs(-9223372036854775807 - (a > 0))",
    "INSERT INTO kin (a) VALUES (71)",
    "UPDATE kin SET nothing = 1",
    "BEGIN",
    "INSERT INTO kin (a) VALUES (60), (61), (1)",
    "INSERT INTO kin (a, p) VALUES (60, 99) RETURNING id",
    "COMMIT",
]


@pytest.mark.parametrize("primary", ["sqlite", "postgres"])
async def test_what_failed_is_remembered_as_well(primary: str, sqlite_path: str, postgres_url: str) -> None:
    alone = sqlite3.connect(":memory:", isolation_level=None)
    for text in ("PRAGMA foreign_keys = ON", *split(_KIN)):
        alone.execute(text)
    async with _way(primary, sqlite_path, postgres_url, _KIN) as way:
        mine, other = way.stream(), way.stream()
        for step in _FAIL:
            if not mine.in_transaction:
                await _answers(other, _OF_ANOTHER)
            for each in ((step,) if isinstance(step, str) else step, (_PAST,)):
                found = [_rows(answer) for answer in await _answers(mine, each)]
                assert found == [_raw(alone, text) for text in each], step
        await mine.close()
        await other.close()
    alone.close()


_FAMILY = """
CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parents);
"""
_DEFERRING = "PRAGMA defer_foreign_keys"
_ORPHAN = "INSERT INTO children VALUES (7, 7)"
_DEFERRED: list[str | tuple[str, ...]] = [
    f"{_DEFERRING} = ON",
    _DEFERRING,
    "INSERT INTO parents VALUES (1)",
    _DEFERRING,
    f"{_DEFERRING} = ON",
    "SELECT count(*) FROM parents",
    _DEFERRING,
    f"{_DEFERRING} = ON",
    _ORPHAN,
    _DEFERRING,
    ("BEGIN", _ORPHAN, "ROLLBACK"),
    f"{_DEFERRING} = ON",
    "BEGIN",
    _ORPHAN,
    "INSERT INTO parents VALUES (7)",
    _DEFERRING,
    "COMMIT",
    _DEFERRING,
    f"{_DEFERRING} = ON",
    f"{_DEFERRING} = OFF",
    "BEGIN",
    "DELETE FROM parents WHERE id = 7",
    f"{_DEFERRING} = ON",
    "DELETE FROM parents WHERE id = 7",
    "COMMIT",
    "ROLLBACK",
    _DEFERRING,
    "SELECT * FROM children",
    *(
        step
        for text in (
            "SELECT 1", "SELECT 1 WHERE 0", "SELECT nothing", "EXPLAIN SELECT * FROM parents", "PRAGMA foreign_keys",
            "PRAGMA foreign_keys = ON", "PRAGMA table_info(parents)", "PRAGMA user_version", "COMMIT", "ROLLBACK",
            "RELEASE a", "ROLLBACK TO a", "INSERT INTO parents VALUES (1)", "ANALYZE",
        )
        for step in (f"{_DEFERRING} = ON", text, _DEFERRING, f"{_DEFERRING} = OFF")
    ),
    *(f"{_DEFERRING} = ON", "SELECT 1", "BEGIN", "SELECT 1", "COMMIT", _DEFERRING),
    *(f"{_DEFERRING} = ON", "SELECT 1", "BEGIN", "INSERT INTO children VALUES (8, 8)", "ROLLBACK", _DEFERRING),
]  # fmt: skip


def _raw(db: sqlite3.Connection, text: str) -> object:
    """Rows, or a code: by SQLite alone, for whatever else is asked of the connection ends the deferring."""
    try:
        return db.execute(text).fetchall()
    except sqlite3.IntegrityError as error:
        return error.sqlite_errorname if error.sqlite_errorname == "SQLITE_MISMATCH" else "SQLITE_CONSTRAINT"
    except sqlite3.OperationalError as error:
        told = str(error)
        return (
            "SQL_INPUT_ERROR"
            if "no such column" in told
            else "SQL_PARSE_ERROR"
            if "syntax" in told
            else "SQLITE_UNKNOWN"
        )


def _rows(answer: object) -> object:
    return answer[0] if isinstance(answer, tuple) else answer


@pytest.mark.parametrize("primary", ["sqlite", "postgres"])
async def test_deferring_foreign_keys_is_a_streams_own_and_has_an_end(
    primary: str, sqlite_path: str, postgres_url: str
) -> None:
    alone = sqlite3.connect(":memory:", isolation_level=None)
    for text in ("PRAGMA foreign_keys = ON", *split(_FAMILY)):
        alone.execute(text)
    async with _way(primary, sqlite_path, postgres_url, _FAMILY) as way:
        mine = way.stream()
        for at, step in enumerate(_DEFERRED):
            texts = (step,) if isinstance(step, str) else step
            assert list(map(_rows, await _answers(mine, texts))) == [_raw(alone, text) for text in texts], (step, at)
            if not mine.in_transaction:
                other = way.stream()
                assert await _answers(other, ("BEGIN", "INSERT INTO children VALUES (9, 9)")) == [
                    ([], 0),
                    "SQLITE_CONSTRAINT",
                ]
                await other.close()
        await mine.close()
    alone.close()
