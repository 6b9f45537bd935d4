"""The functions in schema cutover: what Postgres may assume of them, and that they are installed once."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from cutover.dialect.helpers import install_helpers

MOVING = {"advance", "advance_to_end", "pass_rows", "recount", "settle", "settle_seen"}  # a sequence
ASKING = {"mark", "unseen"}
"""Where a sequence stands, and what lies behind."""
VOLATILE = {*MOVING, *ASKING, "random", "randomblob"}
STABLE = {
    "bound",
    "date",
    "datetime",
    "moment_of",
    "moment_given",
    "modified",
    "julianday",
    "strftime",
    "time",
    "unixepoch",
}
"""They know 'now', which is the same for a whole statement; or refuse an OFFSET, which may not matter."""
REFUSING = "_strict"
"""Ends the names of those that refuse a value: stable, for they must not do so before there is a row to be given it."""
CATCHING = {"wide_sub", "wide_step", "wide_sum", "wide_total", "wide_avg"}
"""They call others that catch errors."""


@pytest.fixture
async def marks(postgres_url: str) -> dict[str, tuple[str, str, str]]:
    """Each function with its volatility, its safety in parallel workers, and its body."""
    connection = await asyncpg.connect(postgres_url)
    try:
        await install_helpers(connection)
        rows = await connection.fetch(
            "SELECT oid::regprocedure::text AS name, provolatile::text, proparallel::text, prosrc FROM pg_proc "
            "WHERE pronamespace = 'cutover'::regnamespace AND proname <> 'helpers_version'"
        )
        return {row["name"]: (row["provolatile"], row["proparallel"], row["prosrc"] or "") for row in rows}
    finally:
        await connection.close()


def _plain(name: str) -> str:
    return name.removeprefix("cutover.").split("(")[0].strip('"')


async def test_volatility_is_what_the_function_does(marks: dict[str, tuple[str, str, str]]) -> None:
    def volatility(name: str) -> str:
        if name in VOLATILE:
            return "v"
        return "s" if name in STABLE or name.endswith(REFUSING) else "i"

    wanted = {name: volatility(_plain(name)) for name in marks}
    assert {name: mark[0] for name, mark in marks.items()} == wanted


async def test_only_what_neither_writes_nor_catches_errors_is_parallel_safe(
    marks: dict[str, tuple[str, str, str]],
) -> None:
    """Catching errors needs a subtransaction, and a parallel worker cannot begin one."""
    catching = {name for name, mark in marks.items() if "EXCEPTION WHEN" in mark[2] or _plain(name) in CATCHING}
    of_sequences = {name for name in marks if _plain(name) in {*MOVING, *ASKING}}
    assert {name for name, mark in marks.items() if mark[1] != "s"} == catching | of_sequences


async def test_installing_at_once_and_again_changes_nothing(postgres_url: str) -> None:
    connections = [await asyncpg.connect(postgres_url) for _ in range(3)]
    try:
        await asyncio.gather(*map(install_helpers, connections))
        made = "SELECT max(xmin::text::bigint) FROM pg_proc WHERE pronamespace = 'cutover'::regnamespace"
        first = await connections[0].fetchval(made)
        await install_helpers(connections[1])
        assert await connections[0].fetchval(made) == first
    finally:
        for connection in connections:
            await connection.close()
