"""What the plan says of the Postgres server: rights, rows that are there, and what depends on the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from cutover.schema.findings import Finding
from cutover.schema.plan import make_plan
from cutover.schema.postgres_schema import read_postgres_schema
from cutover.schema.server import ServerFacts, of_server, read_server_facts
from cutover.settings import Settings


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def _findings(postgres: asyncpg.Connection, script: str) -> tuple[Finding, ...]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    target = await read_postgres_schema(postgres, "public")
    server = await read_server_facts(postgres, "public")
    plan = make_plan(connection, target, Settings(), server=server)
    connection.close()
    return tuple(finding for finding in plan.findings if finding.code != "not_wal")


async def test_an_empty_target_of_our_own_has_nothing_to_say(postgres: asyncpg.Connection) -> None:
    await postgres.execute("CREATE TABLE t (k bigint PRIMARY KEY)")
    assert await _findings(postgres, "CREATE TABLE t (k INTEGER PRIMARY KEY)") == ()


async def test_rows_that_the_copy_would_replace_are_told(postgres: asyncpg.Connection) -> None:
    await postgres.execute("CREATE TABLE t (k bigint PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 3)")
    (finding,) = await _findings(postgres, "CREATE TABLE t (k INTEGER PRIMARY KEY)")
    assert (finding.severity, finding.code, finding.table, finding.count) == ("warns", "target_not_empty", "t", 3)
    await postgres.execute("CREATE SCHEMA cutover; CREATE TABLE cutover.control (one int)")
    assert await _findings(postgres, "CREATE TABLE t (k INTEGER PRIMARY KEY)") == (), "they are cutover's own copy"


async def test_many_rows_are_estimated_not_counted(postgres: asyncpg.Connection) -> None:
    await postgres.execute("CREATE TABLE t (k bigint PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 12000)")
    facts = await read_server_facts(postgres, "public")
    assert (facts.tables["t"].rows, facts.tables["t"].at_least) == (10_000, True)
    await postgres.execute("ANALYZE t")
    facts = await read_server_facts(postgres, "public")
    assert (facts.tables["t"].rows, facts.tables["t"].at_least) == (12_000, False)


async def test_what_depends_on_a_table_and_what_it_demands(postgres: asyncpg.Connection) -> None:
    await postgres.execute(
        "CREATE DOMAIN positive AS bigint CHECK (VALUE > 0);"
        "CREATE TABLE t (k bigint PRIMARY KEY, n positive, span int8range, EXCLUDE USING gist (span WITH &&));"
        "CREATE VIEW seen AS SELECT k FROM t; CREATE MATERIALIZED VIEW kept AS SELECT n FROM t"
    )
    found = await _findings(postgres, "CREATE TABLE t (k INTEGER PRIMARY KEY, n INT)")
    told = {(f.severity, f.code, f.column) for f in found}
    assert told >= {("warns", "exclusion", ""), ("informs", "target_view", "")}
    views = [finding.message for finding in found if finding.code == "target_view"]
    assert "seen" in views[0] + views[1]
    assert "kept. A promotion refreshes them." in views[0] + views[1]


async def test_domains_are_asked_of_the_rows_where_that_is_possible(postgres: asyncpg.Connection) -> None:
    await postgres.execute(
        "CREATE DOMAIN positive AS bigint CHECK (VALUE > 0); CREATE DOMAIN odd AS text CHECK (md5(VALUE) > 'a');"
        "CREATE TABLE t (k bigint PRIMARY KEY, n positive, o odd)"
    )
    found = await _findings(
        postgres, "CREATE TABLE t (k INTEGER PRIMARY KEY, n INT, o TEXT); INSERT INTO t (n) VALUES (0), (1), (NULL)"
    )
    assert [(f.severity, f.code, f.column, f.examples) for f in found] == [
        ("blocks", "target_check_broken", "n", ((1,),)),
        ("informs", "domain", "o", ()),
    ]


async def test_a_role_without_rights_is_blocked(postgres: asyncpg.Connection) -> None:
    await postgres.execute("CREATE TABLE t (k bigint PRIMARY KEY); REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    role = f"plan_{await postgres.fetchval('SELECT pg_backend_pid()')}"
    await postgres.execute(f"CREATE ROLE {role}")
    try:
        await postgres.execute(f"SET ROLE {role}")
        found = await _findings(
            postgres, "CREATE TABLE t (k INTEGER PRIMARY KEY); CREATE TABLE u (k INTEGER PRIMARY KEY)"
        )
        assert [(f.code, f.table) for f in found if f.severity == "blocks"] == [
            ("may_not_create", ""),
            ("may_not_create", ""),
            ("target_not_owned", "t"),
        ]
        await postgres.execute("RESET ROLE")
        await postgres.execute("ALTER TABLE t FORCE ROW LEVEL SECURITY")
        assert not (await read_server_facts(postgres, "public")).tables["t"].hidden, "a superuser sees everything"
        await postgres.execute(f"ALTER TABLE t OWNER TO {role}; SET ROLE {role}")
        facts = (await read_server_facts(postgres, "public")).tables["t"]
        assert (facts.owned, facts.hidden) == (True, True)
    finally:
        await postgres.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"major": 14, "version": "14.2"}, "server_version"),
        ({"encoding": "LATIN1"}, "server_encoding"),
        ({"standby": True}, "server_standby"),
    ],
)
def test_a_server_that_will_not_do(change: dict[str, object], code: str) -> None:
    good = ServerFacts(17, "17.0", "UTF8", "app", False, True, True, False, {})
    assert list(of_server(good, "public", [], creates=True)) == []
    (finding,) = of_server(replace(good, **change), "public", [], creates=True)  # type: ignore[arg-type]  # by name
    assert (finding.severity, finding.code) == ("blocks", code)
