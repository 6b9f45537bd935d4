"""Installs the SQL functions that translated statements call."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

AnyConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
HELPERS = "cutover."
"""What their names begin with."""
_LOCK = 0x637574
_FILES = (
    "helpers.sql",
    "keys.sql",
    "strict.sql",
    "texts.sql",
    "dynamic.sql",
    "mathematics.sql",
    "extended.sql",
    "wide.sql",
    "formats.sql",
    "dates.sql",
    "json.sql",
    "json_table.sql",
    "json_edit.sql",
    "queue.sql",
)


@cache
def helpers_sql() -> str:
    """The text of all files, each after what it builds on."""
    folder = files("cutover.dialect")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in _FILES)


async def install_helpers(connection: AnyConnection) -> None:
    """Install or renew the functions in schema `cutover`, if this version is not there yet. One transaction.

    Raises what asyncpg raises: the role must own schema `cutover`, or be allowed to create it.
    """
    version = hashlib.sha256(helpers_sql().encode()).hexdigest()[:16]
    async with connection.transaction(isolation="read_committed"):
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        if await _installed(connection) == version:
            return
        await connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        if not await connection.fetchval("SELECT to_regnamespace('cutover') IS NOT NULL"):
            await connection.execute("CREATE SCHEMA cutover")
        await connection.execute(helpers_sql())
        await connection.execute(
            "CREATE OR REPLACE FUNCTION cutover.helpers_version() RETURNS text LANGUAGE sql IMMUTABLE "
            f"RETURN '{version}'"
        )


async def _installed(connection: AnyConnection) -> str | None:
    if not await connection.fetchval("SELECT to_regprocedure('cutover.helpers_version()') IS NOT NULL"):
        return None
    return str(await connection.fetchval("SELECT cutover.helpers_version()"))
