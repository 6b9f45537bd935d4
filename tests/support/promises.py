"""The nine promises of correctness, each as a function that fails with what it found.

`Evidence` is what a story gathered. What a story did not gather (no writers' ledgers, no samples) is not looked at.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from cutover.audit import read_records, verify_chain
from tests.support.ledger import TOTAL, Ledger
from tests.support.sampler import Sampler, summary
from tests.support.service import Service, until

_COLUMNS = {
    "items": ("id, n, body", 'id COLLATE "C"', "id"),
    "accounts": ("id, balance", "id", "id"),
    "pairs": ("a, b, v, x", 'a COLLATE "C", b', "a, b"),
}
"""Table → (columns, order on Postgres, order on SQLite)."""

RETRYABLE = ("SQLITE_BUSY", "SQLITE_LOCKED", "OUTCOME_UNKNOWN")
"""What clients of the front door may see of a kill or a switch."""


class UnrecordedError(AssertionError):
    """Something that must stand in the audit log, and does not."""


class WithoutEndError(UnrecordedError):
    """An operator's request whose end is not in the audit log, or is there twice."""


_REFUSAL = re.compile(r"cutover: .*\b(sqlite|postgres)\b.*\bepoch (\d+)")


@dataclass
class Evidence:
    """What a story knows at its end. The service runs, and its writers have stopped."""

    service: Service
    postgres: str
    acknowledged: set[str]
    maybe: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    """Given up by an operator, in so many words."""
    ledgers: tuple[Ledger, ...] = ()
    sampler: Sampler | None = None
    epoch: int | None = None
    """What the epoch must be: the higher one of the two that stood in the stores when the process died."""
    finished: bool = False
    """The migration is over: SQLite stays as it was then, fenced, and Postgres goes on alone."""

    def records(self) -> list[dict[str, Any]]:
        """The audit log."""
        return read_records(self.service.folder / "state" / "audit.jsonl")


def sqlite_rows(path: str, sql: str) -> list[tuple[object, ...]]:
    """Rows as the file holds them."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


async def postgres_rows(url: str, sql: str) -> list[tuple[object, ...]]:
    """Rows as Postgres holds them."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def both(evidence: Evidence, table: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """All rows of a table: (SQLite's, Postgres's)."""
    columns, theirs, ours = _COLUMNS[table]
    return (
        sqlite_rows(evidence.service.sqlite, f"SELECT {columns} FROM {table} ORDER BY {ours}"),
        await postgres_rows(evidence.postgres, f"SELECT {columns} FROM {table} ORDER BY {theirs}"),
    )


async def durable(evidence: Evidence) -> None:
    """1. Every acknowledged write is in both stores."""
    wanted = evidence.acknowledged - evidence.lost
    for name, rows in zip(("SQLite", "Postgres"), await both(evidence, "items"), strict=True):
        if evidence.finished and name == "SQLite":
            continue
        missing = wanted - {str(row[0]) for row in rows}
        assert not missing, f"acknowledged and not in {name}: {sorted(missing)[:10]} of {len(missing)}"


async def atomic(evidence: Evidence) -> None:
    """2. A transaction is in a store wholly or not at all: at the end, and in every snapshot on the way."""
    for rows in await both(evidence, "accounts"):
        total = sum(int(str(balance)) for _, balance in rows)
        assert total == TOTAL, f"the balances add up to {total}"
    sampler = evidence.sampler
    if sampler is None:
        return
    assert not sampler.torn, f"halves of transactions were seen: {summary(sampler)}"
    assert sampler.counts["primary"], "no snapshot of a primary was looked at"
    assert sampler.counts["shadow"], f"no snapshot of a shadow was looked at: {sampler.counts}"


async def complete(evidence: Evidence) -> None:
    """3. Every committed change reached the shadow: rows, keys that moved, balances; and nothing else is there."""
    if evidence.finished:
        ours, theirs = await both(evidence, "items")
        assert set(ours) <= set(theirs), f"in SQLite alone: {sorted(set(ours) - set(theirs), key=repr)[:6]}"
        return
    for table in _COLUMNS:
        ours, theirs = await both(evidence, table)
        assert ours == theirs, f"{table} differs: {sorted(set(ours) ^ set(theirs), key=repr)[:6]}"


async def convergent(evidence: Evidence) -> None:
    """4. The stores became equal by themselves: nobody asked, and nothing is left waiting or in quarantine."""
    await settled(evidence.service)
    mirror = (await evidence.service.status())["mirror"]
    _, told = await evidence.service.request("GET", evidence.service.admin + "/v1/quarantine")
    assert mirror["quarantined_rows"] == 0, told


async def settled(service: Service) -> None:
    """Wait until nothing is in flight."""

    async def look() -> bool:
        mirror = (await service.status())["mirror"]
        return mirror["lag_changes"] == 0 and mirror["state"] == "running" and not mirror["last_error"]

    await until(look, "an empty change log")


async def one_primary(evidence: Evidence) -> None:
    """5. In each epoch one store took writes, the one that its control row names; the other refuses and says why."""
    takers: dict[int, set[str]] = {}
    for ledger in evidence.ledgers:
        for epoch, primary, store in ledger.accepted:
            assert primary == store, f"{ledger.name}: {store} took a write, and knew that {primary} is primary"
            takers.setdefault(epoch, set()).add(store)
    double = {epoch: stores for epoch, stores in takers.items() if len(stores) > 1}
    assert not double, f"two stores took writes in one epoch: {double}"
    for ledger in evidence.ledgers:
        vague = [told for told in ledger.fenced if not _REFUSAL.search(told)]
        assert not vague, f"{ledger.name} was refused, and not told why: {vague[:3]}"
    status = await evidence.service.status()
    told = await refusal(evidence)
    wanted = (status["primary"], str(status["epoch"]))
    found = _REFUSAL.search(told)
    assert found is not None, told
    assert found.groups() == wanted, f"{status['shadow']} refuses with {told!r}, the primary and epoch are {wanted}"


async def refusal(evidence: Evidence) -> str:
    """What the store that is not primary says to a write that knows nothing of cutover."""
    sql = "UPDATE items SET body = 'lawless' WHERE id = 'old-1'"
    if (await evidence.service.status())["primary"] == "postgres":
        try:
            sqlite_rows(evidence.service.sqlite, sql)
        except sqlite3.IntegrityError as error:
            return str(error)
    else:
        try:
            await postgres_rows(evidence.postgres, sql)
        except asyncpg.ReadOnlySQLTransactionError as error:
            return str(error)
    raise AssertionError("The store that is not primary took a write.")


async def lossless(evidence: Evidence) -> None:
    """6. Nothing refused is there, nothing is there twice, and clients of the front door saw retryable errors only."""
    allowed = evidence.acknowledged | evidence.maybe
    for rows in await both(evidence, "items"):
        keys = [str(key) for key, *_ in rows if not str(key).startswith("old-")]
        extra = set(keys) - allowed
        assert not extra, f"refused, and there all the same: {sorted(extra)[:10]}"
        assert len(keys) == len(set(keys)), "a row is there twice"
    for ledger in evidence.ledgers:
        harsh = [told for told in ledger.errors if not told.startswith((*RETRYABLE, *_OTHER_DOORS))]
        assert not harsh, f"{ledger.name} was told: {harsh[:3]}"


_OTHER_DOORS = ("40001", "40P01", "55P03", "57014", "57P01")
"""What Postgres tells any application: serialization failure, deadlock, lock timeout, cancelled, terminated."""


_COMMITTED = ("promote.committed", "demote.committed")


async def explicit(evidence: Evidence) -> None:
    """7. Primary and epoch are what the committed switches make them, each asked for by somebody with an approval."""
    records = evidence.records()
    status = await evidence.service.status()
    stood = await switches(evidence.service.sqlite, evidence.postgres, "committed")
    # A Postgres that is finished, or an older copy, does not know of all switches any more.
    stood |= {str(record["metadata"]["switchId"]) for record in records if record["action"] in _COMMITTED}
    assert status["epoch"] == 1 + len(stood), f"epoch {status['epoch']} after {len(stood)} committed switches"
    if evidence.epoch is not None:
        assert status["epoch"] == evidence.epoch, f"a start went on to epoch {status['epoch']}, not {evidence.epoch}"
    asked = {
        record["metadata"]["switchId"]: (record["action"].partition(".")[0], record["metadata"].get("approval"))
        for record in records
        if record["action"] in ("promote.requested", "demote.requested")
    }
    unasked = stood - set(asked)
    assert not unasked, f"committed, and asked for by nobody: {unasked}"
    assert all(asked[switch][1] for switch in stood), "a switch without an approval"
    directions = Counter(asked[switch][0] for switch in stood)
    primary = "postgres" if directions["promote"] > directions["demote"] else "sqlite"
    assert status["primary"] == primary, f"{status['primary']} is primary after {dict(directions)}"


async def switches(sqlite: str, postgres: str, outcome: str) -> set[str]:
    """Switches of this outcome in the stores that were to receive the primacy."""
    sql = f"SELECT switch_id FROM {{}} WHERE outcome = '{outcome}'"
    found: set[str] = set()
    if sqlite_rows(sqlite, "SELECT 1 FROM sqlite_master WHERE name = '_cutover_switches'"):
        found |= {str(row[0]) for row in sqlite_rows(sqlite, sql.format("_cutover_switches"))}
    if await postgres_rows(postgres, "SELECT 1 WHERE to_regclass('cutover.switches') IS NOT NULL"):
        found |= {str(row[0]) for row in await postgres_rows(postgres, sql.format("cutover.switches"))}
    return found


async def highest_epoch(sqlite: str, postgres: str) -> int:
    """The higher one of both control rows: a commit writes it together with the outcome. 0 where there is none."""
    found = [0]
    if sqlite_rows(sqlite, "SELECT 1 FROM sqlite_master WHERE name = '_cutover_control'"):
        found += [int(str(row[0])) for row in sqlite_rows(sqlite, "SELECT epoch FROM _cutover_control")]
    if await postgres_rows(postgres, "SELECT 1 WHERE to_regclass('cutover.control') IS NOT NULL"):
        found += [int(str(row[0])) for row in await postgres_rows(postgres, "SELECT epoch FROM cutover.control")]
    return max(found)


async def honest(evidence: Evidence) -> dict[str, Any]:
    """8. A full verification compares every row there is, and finds none that differs."""
    verification = await evidence.service.verified()
    assert verification["state"] == "done", verification
    assert verification["drift_rows"] == 0, verification
    rows = sum([len((await both(evidence, table))[0]) for table in _COLUMNS])
    assert verification["rows"] == rows, f"{verification['rows']} rows compared, {rows} are there"
    compared = (await evidence.service.status())["compare"]
    assert compared["last_full"]["rows"] == rows, compared
    return verification


async def audited(evidence: Evidence) -> None:
    """9. The chain is whole and holds both stores' anchors; whatever was requested has exactly one end."""
    columns = "audit_sequence, audit_hash"
    anchors = [
        *sqlite_rows(evidence.service.sqlite, f"SELECT {columns} FROM _cutover_control"),
        *await postgres_rows(evidence.postgres, f"SELECT {columns} FROM cutover.control"),
    ]
    path = evidence.service.folder / "state" / "audit.jsonl"
    audit = verify_chain(path, [(int(str(sequence)), str(digest)) for sequence, digest in anchors])
    assert audit.ok, audit.problem
    requested = [record for record in evidence.records() if record["action"].endswith(".requested")]
    for record in requested:
        _has_one_end(record, evidence.records())


def _has_one_end(record: dict[str, Any], records: Iterable[dict[str, Any]]) -> None:
    verb, switch = record["action"].partition(".")[0], record["metadata"].get("switchId")
    ends = [
        other["action"]
        for other in records
        if other["action"] in (f"{verb}.committed", f"{verb}.aborted")
        and other["metadata"].get("switchId") == switch
        and other["sequence"] > record["sequence"]
    ]
    if len(ends) != 1:
        raise WithoutEndError(f"{record['action']} of {switch} (record {record['sequence']}) has the ends {ends}")
