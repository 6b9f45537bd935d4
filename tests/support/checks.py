"""What must be true at the end of every story."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import asyncpg

from cutover.audit import verify_chain
from tests.support.service import Service, until

TOTAL = 1000
"""Sum of all balances: ten accounts with 100 each."""


def sqlite_rows(path: str, sql: str) -> list[tuple[object, ...]]:
    """Rows as the file holds them."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


async def postgres_rows(url: str, sql: str) -> list[tuple[object, ...]]:
    """Rows as Postgres holds them."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def postgres_script(url: str, script: str) -> None:
    """Run several statements on Postgres, past any front door."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


async def settled(service: Service) -> None:
    """Wait until nothing is in flight."""

    async def look() -> bool:
        mirror = (await service.status())["mirror"]
        return mirror["lag_changes"] == 0 and mirror["state"] == "running"

    await until(look, "an empty change log")


async def check_promises(
    service: Service, postgres: str, acknowledged: Iterable[str], maybe: Iterable[str] = ()
) -> dict[str, object]:
    """Nothing acknowledged is lost or doubled, the stores are equal, totals hold, the audit chain is whole."""
    await settled(service)
    verification = await service.verified()
    assert verification["state"] == "done", verification
    assert verification["drift_rows"] == 0, verification
    local = sqlite_rows(service.sqlite, "SELECT id, n, body FROM items ORDER BY id")
    remote = await postgres_rows(postgres, 'SELECT id, n, body FROM items ORDER BY id COLLATE "C"')
    assert local == remote
    there = {row[0] for row in local}
    wanted = set(acknowledged)
    assert wanted <= there, f"lost: {sorted(wanted - there)[:10]}"
    extra = {key for key in there if not str(key).startswith("old-")} - wanted - set(maybe)
    assert not extra, f"refused, and there all the same: {sorted(map(str, extra))[:10]}"
    for rows in (
        sqlite_rows(service.sqlite, "SELECT sum(balance) FROM accounts"),
        await postgres_rows(postgres, "SELECT sum(balance)::bigint FROM accounts"),
    ):
        assert rows == [(TOTAL,)]
    audit = verify_chain(service.folder / "state" / "audit.jsonl")
    assert audit.ok, audit.problem
    return verification
