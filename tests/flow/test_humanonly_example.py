"""The HumanOnly example on a real Postgres: its schema, its invariants, its native writer, its smoke flow."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import asyncpg
import pytest

from cutover.cli.demo_data import configuration, generate, postgres_columns, postgres_schema
from cutover.cli.demo_ledger import postgres_rows, sqlite_rows
from cutover.cli.demo_smoke import SmokeFailed, application, smoke
from cutover.cli.demo_traffic import NativeWriter
from cutover.settings import load_settings


@pytest.fixture
async def humanonly_url(postgres_url: str) -> str:
    """URL of a database with the application's own schema, empty."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(postgres_schema())
    await connection.close()
    return postgres_url


async def test_invariants_have_the_same_answers_on_both_stores(humanonly_url: str, tmp_path: Path) -> None:
    path = str(tmp_path / "app.db")
    generate(path, rows=400, seed=2)
    target = await asyncpg.connect(humanonly_url)
    for table, rows in sqlite_rows(path).items():
        columns = postgres_columns(table)
        marks = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        await target.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
    (tmp_path / "cutover.toml").write_text(configuration(), encoding="utf-8")
    source = sqlite3.connect(path)
    for invariant in load_settings(tmp_path / "cutover.toml", {}).invariants:
        here = str(source.execute(invariant.sql_sqlite or invariant.sql).fetchone()[0])
        there = str(await target.fetchval(invariant.sql_postgres or invariant.sql))
        assert here == there == (invariant.expect or here), invariant.name
    source.close()
    await target.close()
    assert {t: sorted(r) for t, r in (await postgres_rows(humanonly_url)).items()} == {
        t: sorted(r) for t, r in sqlite_rows(path).items()
    }


async def test_a_native_writer_saves_and_its_ledger_agrees(humanonly_url: str) -> None:
    writers = [NativeWriter(humanonly_url, tag=f"native{n}", seed=n) for n in range(2)]
    for writer in writers:
        await writer.open()
    for _ in range(30):
        assert await asyncio.gather(*(writer.step() for writer in writers)) == ["acknowledged"] * 2
    stored = await postgres_rows(humanonly_url)
    for writer in writers:
        assert writer.ledger.check(stored, writer.tag) == []
        await writer.close()
    lost = stored["users"].pop()
    assert any(repr(lost[0]) in problem for writer in writers for problem in writer.ledger.check(stored))


async def test_a_native_writer_learns_of_a_fence_and_loads_what_it_saved(humanonly_url: str) -> None:
    writer = NativeWriter(humanonly_url, tag="native")
    await writer.open()
    for _ in range(20):
        await writer.step()
    connection = await asyncpg.connect(humanonly_url)
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    await connection.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database() AND backend_type = 'client backend'"
    )
    outcomes = [await writer.step() for _ in range(3)]
    await connection.close()
    assert "acknowledged" not in outcomes
    assert outcomes[-1] == "refused"
    assert writer.ledger.check(await postgres_rows(humanonly_url), "native") == []
    await writer.close()


async def test_the_smoke_flow_passes_and_leaves_nothing(humanonly_url: str) -> None:
    said: list[str] = []
    async with application(humanonly_url) as run:
        await smoke(run, said.append)
    assert [line.split()[0] for line in said] == ["onboarding", "post", "feed", "report", "moderation"]
    assert not any((await postgres_rows(humanonly_url)).values())


async def test_the_smoke_flow_names_the_step_that_failed(humanonly_url: str) -> None:
    connection = await asyncpg.connect(humanonly_url)
    await connection.execute("CREATE RULE no_edits AS ON UPDATE TO posts DO INSTEAD NOTHING")
    await connection.close()
    async with application(humanonly_url) as run:
        with pytest.raises(SmokeFailed, match="the post: expected"):
            await smoke(run, lambda _line: None)
