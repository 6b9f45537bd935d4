"""Each hazard twice: the naive form that loses on the real engine (`naive` in the name), and ours that does not.

The numbers are those of docs/hazards.md; `test_hazard_07_...` belongs to number 7.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cutover.stores.postgres.embedded import EmbeddedPostgres
from tests.contract.conftest import world
from tests.stories.conftest import service
from tests.support.servers import buried

__all__ = ["logical_server", "service", "world"]

_SETTINGS = {
    "log_min_messages": "fatal",
    "dynamic_shared_memory_type": "mmap",
    "max_wal_size": "256MB",
    "wal_level": "logical",
    "max_prepared_transactions": "5",
    "autovacuum": "off",
    "wal_writer_delay": "10s",  # what was committed asynchronously stays in memory for that long
}


@pytest.fixture(scope="session")
def logical_server() -> Iterator[EmbeddedPostgres]:
    """A server with logical decoding, prepared transactions and a lazy WAL writer; tests may kill it."""
    with buried("cutover-hazards-", _SETTINGS) as postgres:
        asyncio.run(postgres.start())
        yield postgres
