"""Taking strong locks on busy tables without stalling everybody behind us (hazard 11)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence

from cutover.clock import monotonic
from cutover.errors import CaptureBroken, FenceTimeout
from cutover.stores.postgres.errors import LOCK_NOT_AVAILABLE, PostgresAway, PostgresRefused
from cutover.stores.postgres.link import Link

ATTEMPT = 0.2
"""Seconds. New writers queue behind a waiting lock request, so each wait is short."""

AUTOVACUUM = 1.5
"""Seconds. An autovacuum worker gives way to those who wait longer than deadlock_timeout, one second by default."""

_READING_MS = 60
"""For a try to lock tables for reading: less than a schema change waits for one of them."""

_DEADLOCK = "40P01"

_CLEARING = 3.0
"""Seconds for `make_way` to wait for one table."""


async def locked_to_read(link: Link, names: Sequence[str], *, last: bool) -> bool:
    """Whether ACCESS SHARE on all of `names` was had, soon. In the `last` try that others have one is an error."""
    if not names:
        return True
    try:
        await link.execute(
            f"SET LOCAL lock_timeout = {_READING_MS}; LOCK TABLE {', '.join(names)} IN ACCESS SHARE MODE;"
            " SET LOCAL lock_timeout TO DEFAULT"
        )
    except PostgresRefused as error:
        raise CaptureBroken(f"A mirrored table or its change log cannot be read: {error.message}.") from None
    except PostgresAway as error:
        if last or error.sqlstate != LOCK_NOT_AVAILABLE:
            raise
        return False
    return True


async def make_way(link: Link, names: Sequence[str], deadline: float = math.inf) -> None:
    """Have autovacuum let go of these tables now: it gives way only to those who waited for a second.

    What is waited for is autovacuum's own lock, which keeps neither readers nor writers waiting meanwhile. One table
    after the other: who waits so long must hold nothing that a migration, which has what is waited for, may ask for.
    """
    for name in names:
        left = max(min(_CLEARING, deadline - monotonic()), 0.01)
        try:
            async with link.transaction():
                await link.execute(f"SET LOCAL lock_timeout = {int(left * 1000)}")
                await link.execute(f"LOCK TABLE {name} IN SHARE UPDATE EXCLUSIVE MODE")
        except PostgresAway as error:
            if error.sqlstate not in {LOCK_NOT_AVAILABLE, _DEADLOCK}:
                raise
            return


async def with_locks(link: Link, names: Sequence[str], timeout: float, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` in a transaction that holds SHARE ROW EXCLUSIVE on all of `names`; retried until `timeout` seconds.

    Locks that `work` takes itself count as well. Raises `FenceTimeout` that says who would not let go.
    """
    deadline = monotonic() + timeout
    pause = 0.02
    while True:
        try:
            async with link.transaction():
                left = max(deadline - monotonic(), 0.01)
                await link.execute(f"SET LOCAL lock_timeout = {max(int(min(ATTEMPT, left) * 1000), 1)}")
                if names:
                    await link.execute(f"LOCK TABLE {', '.join(names)} IN SHARE ROW EXCLUSIVE MODE")
                await work()
            return
        except PostgresAway as error:
            if error.sqlstate not in {LOCK_NOT_AVAILABLE, _DEADLOCK}:
                raise
        who, autovacuum = await holders(link, names)
        if monotonic() + pause >= deadline:
            raise FenceTimeout(
                f"The mirrored tables could not be locked within {timeout:g} s; in the way: {who}.",
                hint="End those transactions, or try again when they are done.",
            )
        if autovacuum:
            await make_way(link, names, deadline)
        # Those who queued behind us go first.
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.3)


async def holders(link: Link, names: Sequence[str]) -> tuple[str, bool]:
    """Who holds locks that stand in the way, in words, and whether autovacuum is among them."""
    rows = await link.fetch(
        """
        SELECT DISTINCT coalesce(a.pid, 0) AS pid, coalesce(nullif(a.application_name, ''), a.backend_type) AS name,
               coalesce(a.usename::text, '?') AS role, a.state,
               coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::int AS age,
               coalesce(a.backend_type, '') AS backend
        FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.granted AND l.locktype = 'relation' AND l.mode <> 'AccessShareLock' AND l.mode <> 'RowShareLock'
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.relation = ANY (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
          AND l.pid IS DISTINCT FROM pg_backend_pid()""",
        list(names),
    )
    said = [
        f"pid {row['pid']} ({row['name']}, role {row['role']}, {row['state'] or 'working'} since {row['age']} s)"
        if row["pid"]
        else "a prepared transaction (see pg_prepared_xacts)"
        for row in rows
    ]
    autovacuum = any(row["backend"] == "autovacuum worker" for row in rows)
    return ", ".join(said) or "somebody who has gone meanwhile", autovacuum
