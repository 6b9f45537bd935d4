"""An application whose transactions read before they write, as Django's do: SQLite refuses the write if anybody else
wrote in between, and before cutover there was nobody else."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing

from tests.support.checks import check_promises, settled
from tests.support.service import Service

_READ = "SELECT max(n) FROM items"
_WRITE = "INSERT INTO items VALUES (?, ?, NULL)"


def read_then_write(path: str, count: int) -> set[str]:
    """Transactions one after the other, each a little longer than the mirror needs for the one before."""
    written = set()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for number in range(count):
            connection.execute("BEGIN")
            (last,) = connection.execute(_READ).fetchone()
            time.sleep(0.03)  # the application's own work
            connection.execute(_WRITE, (f"deferred-{number}", last + 1))
            connection.execute("COMMIT")
            written.add(f"deferred-{number}")
    return written


async def test_the_mirror_fails_no_transaction_that_read_before_it_writes(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    written = await asyncio.to_thread(read_then_write, service.sqlite, 40)
    assert len(written) == 40
    await check_promises(service, postgres_url, written)
    await settled(service)
