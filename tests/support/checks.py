"""What must be true at the end of every story."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import asyncpg

from tests.support import promises
from tests.support.ledger import TOTAL
from tests.support.promises import Evidence, postgres_rows, settled, sqlite_rows
from tests.support.service import Service

__all__ = ["TOTAL", "check_all", "check_promises", "postgres_rows", "postgres_script", "settled", "sqlite_rows"]


async def postgres_script(url: str, script: str) -> None:
    """Run several statements on Postgres, past any front door."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


async def check_promises(
    service: Service, postgres: str, acknowledged: Iterable[str], maybe: Iterable[str] = ()
) -> dict[str, Any]:
    """All nine promises, as far as two sets of keys tell. Returns the verification."""
    return await check_all(Evidence(service, postgres, set(acknowledged), set(maybe)))


async def check_all(evidence: Evidence) -> dict[str, Any]:
    """All nine promises; of a finished migration those that still have two sides. Returns the verification, if any.

    Convergence comes first: from then on both stores hold still.
    """
    evidence.finished = (await evidence.service.status())["phase"] == "finished"
    if not evidence.finished:
        await promises.convergent(evidence)
    await promises.durable(evidence)
    await promises.atomic(evidence)
    await promises.complete(evidence)
    await promises.one_primary(evidence)
    await promises.lossless(evidence)
    await promises.explicit(evidence)
    verification = {} if evidence.finished else await promises.honest(evidence)
    await promises.audited(evidence)
    return verification
