"""Tighter types: proposed with a proof, used when asked, and able to hold every row there is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from cutover.schema.codecs import codecs_for
from cutover.schema.plan import Plan, make_plan
from cutover.schema.postgres_schema import read_postgres_schema
from cutover.schema.tighten import with_types
from cutover.settings import Settings
from cutover.stores.postgres.copytext import copy_text, encoders

_USERS = """
CREATE TABLE users (
    id TEXT PRIMARY KEY NOT NULL, email TEXT, is_active BOOL NOT NULL, score DECIMAL(8,2), joined DATETIME,
    seen TEXT, born DATE, settings TEXT, level INTEGER
);
CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id TEXT REFERENCES users (id), is_draft INTEGER);
"""
_ID = "3f2b8c1a-0000-4000-8000-00000000000{}"


@pytest.fixture
def sqlite(sqlite_path: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(sqlite_path, isolation_level=None)
    connection.executescript(_USERS)
    for n in range(4):
        connection.execute(
            "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(_ID.format(n), f"user {n}", n % 2, n / 4, f"2024-05-0{n + 1} 10:00:00"),
                *(f"2024-05-0{n + 1}T10:00:00.5Z", f"2024-05-0{n + 1}", '{"a": [1, 2]}', n),
            ),
        )
        connection.execute("INSERT INTO posts VALUES (?, ?, ?)", (n, _ID.format(n), 0))
    yield connection
    connection.close()


def _plan(connection: sqlite3.Connection, *, tighten: bool = False, **tables: Any) -> Plan:
    return make_plan(connection, None, Settings.model_validate({"tables": tables}), tighten=tighten)


def _proposed(plan: Plan) -> dict[str, str]:
    return {f"{each.table}.{each.column}": each.type for each in plan.proposals}


def test_types_are_proposed_with_their_proof(sqlite: sqlite3.Connection) -> None:
    plan = _plan(sqlite)
    assert _proposed(plan) == {
        "posts.is_draft": "boolean",
        "posts.user_id": "uuid",
        "users.born": "date",
        "users.id": "uuid",
        "users.is_active": "boolean",
        "users.joined": "timestamp without time zone",
        "users.score": "numeric(8,2)",
        "users.seen": "timestamp with time zone",
        "users.settings": "jsonb",
    }
    types = {column.name: column.target_type for column in plan.mapping.tables[1].columns}
    assert types["is_active"] == "bigint", "only when asked"
    told = {(f.table, f.column): f.message for f in plan.findings if f.code == "tighter_type"}
    assert told["users", "is_active"] == "It can be boolean on Postgres: all 4 values are 0 or 1."


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ("UPDATE users SET is_active = 2 WHERE level = 1", {"users.is_active"}),
        ("UPDATE users SET score = 0.125 WHERE level = 1", {"users.score"}),
        ("UPDATE users SET born = '2023-02-29' WHERE level = 1", {"users.born"}),
        ("UPDATE users SET seen = '2024-05-01T24:00:00Z' WHERE level = 1", {"users.seen"}),
        ('UPDATE users SET settings = \'{"a":1,"a":2}\' WHERE level = 1', {"users.settings"}),
        ("UPDATE users SET joined = 'soon' WHERE level = 1", {"users.joined"}),
        ("UPDATE posts SET user_id = 'nobody' WHERE id = 1", {"posts.user_id", "users.id"}),
        ("UPDATE users SET born = NULL", {"users.born"}),
    ],
)
def test_one_value_that_does_not_fit_takes_the_proposal_back(
    sqlite: sqlite3.Connection, change: str, gone: set[str]
) -> None:
    before = _proposed(_plan(sqlite))
    sqlite.execute(change)
    assert set(before) - set(_proposed(_plan(sqlite))) == gone


async def test_tightened_tables_hold_every_row(sqlite: sqlite3.Connection, postgres_url: str) -> None:
    plan = _plan(sqlite, tighten=True)
    assert plan.tightened
    assert not plan.blocks
    connection = await asyncpg.connect(postgres_url)
    try:
        for statement in plan.mapping.create:
            await connection.execute(statement)
        for table in plan.mapping.tables[::-1]:
            rows = sqlite.execute(f"SELECT {', '.join(c.name for c in table.columns)} FROM {table.name}").fetchall()
            await connection.copy_to_table(
                table.target, source=_lines(copy_text(rows, encoders(table.columns, codecs_for(table)))), format="text"
            )
        found = await read_postgres_schema(connection, "public")
        users = found.table("users")
        assert users is not None
        assert {c.name: c.type for c in users.columns}["seen"] == "timestamp with time zone"
        assert await connection.fetchval("SELECT count(*) FROM users JOIN posts ON users.id = user_id") == 4
    finally:
        await connection.close()
    again = make_plan(sqlite, found, Settings())
    assert not again.blocks
    assert again.proposals == (), "a table that exists is not cutover's to change"


async def _lines(text: bytes):  # type: ignore[no-untyped-def]  # one chunk
    yield text


def test_a_tightened_plan_reads_no_row_again_and_is_that_of_the_written_types(sqlite: sqlite3.Connection) -> None:
    seen: list[str] = []
    sqlite.execute("CREATE TABLE log (line)")
    loose = make_plan(sqlite, None, Settings(), lambda table, _: seen.append(table))
    once, seen[:] = len(seen), []
    tight = make_plan(sqlite, None, Settings(), lambda table, _: seen.append(table), tighten=True)
    assert len(seen) == once
    assert tight.proposals == loose.proposals
    assert not [finding for finding in tight.findings if finding.code == "tighter_type"]
    written = make_plan(sqlite, None, with_types(Settings(), loose.proposals))
    assert tight.mapping == written.mapping
    assert tight.findings == written.findings
    assert (tight.rows, tight.histograms) == (written.rows, written.histograms)


def test_a_configured_type_stays(sqlite: sqlite3.Connection) -> None:
    plan = _plan(sqlite, tighten=True, users={"columns": {"is_active": {"type": "smallint"}}})
    types = {column.name: column.target_type for column in plan.mapping.tables[1].columns}
    assert types["is_active"] == "smallint"
    assert types["settings"] == "jsonb"
