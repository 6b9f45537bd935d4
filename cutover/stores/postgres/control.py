"""The control row and its companions: switches, backfill progress, quarantine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.resources import files

import asyncpg

from cutover.errors import StaleApplier, StoreError
from cutover.model.control import (
    BackfillProgress,
    Control,
    Identity,
    Outcome,
    SwitchState,
    columns_of,
    unreadable,
    unsealed,
)
from cutover.model.values import Quarantined
from cutover.stores.postgres.errors import LOCK_NOT_AVAILABLE, PostgresAway
from cutover.stores.postgres.keys import decode_key, encode_key
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.names import literal, switch_name

_READ = """
SELECT pair_id, primary_store, epoch, state, switch_id, generation, applied_batch, trimmed_batch,
       peer_system, peer_timeline, audit_sequence, audit_hash, seal
FROM cutover.control"""

_ATTEMPTS = 40
"""Each ends whoever is in the way and waits up to a quarter of a second."""


async def read(link: Link, lock: str = "") -> Control | None:
    """The control row (`lock`: such as FOR SHARE); None where cutover is not installed. Raises `ControlDamaged`."""
    if await link.value("SELECT to_regclass('cutover.control') IS NULL"):
        return None
    row = await link.row(f"{_READ} {lock}")
    if row is None:
        raise unreadable("PostgreSQL", "the row is missing")
    return _control(row)


def _control(row: asyncpg.Record) -> Control:
    system = row["peer_system"]
    try:
        state = SwitchState(row["state"])
    except ValueError:
        raise unreadable("PostgreSQL", f"its state is {row['state']!r}, which cutover never writes") from None
    found = Control(
        pair_id=row["pair_id"],
        primary=row["primary_store"],
        epoch=row["epoch"],
        state=state,
        switch_id=row["switch_id"],
        generation=row["generation"],
        applied_batch=row["applied_batch"],
        trimmed_batch=row["trimmed_batch"],
        peer=None if system is None else Identity(system, row["peer_timeline"]),
        audit_sequence=row["audit_sequence"],
        audit_hash=row["audit_hash"],
    )
    return unsealed(found, row["seal"], "PostgreSQL")


async def initialise(link: Link, control: Control) -> None:
    """Make cutover's own schema, tables and functions with the first control row, in the caller's transaction.

    Idempotent; concurrent callers take turns. Raises `StoreError` where another pair's row stands.
    """
    script = files("cutover.stores.postgres").joinpath("tables.sql").read_text(encoding="utf-8")
    row = columns_of(control)
    marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await link.execute("SELECT pg_advisory_xact_lock(hashtext('cutover.create'))")
    made = await link.value("SELECT to_regclass('cutover.control') IS NULL")
    await link.execute(script)
    if made:
        await link.execute(f"INSERT INTO cutover.control ({', '.join(row)}) VALUES ({marks})", *row.values())
    standing = await read(link)
    if standing is None or standing.pair_id != control.pair_id:
        raise StoreError(
            f"This PostgreSQL database belongs to the pair {standing.pair_id if standing else '?'}, "
            f"not to {control.pair_id}.",
            hint="Use another database, or drop its schema cutover if that migration is over.",
        )


async def identity(link: Link) -> Identity:
    """System identifier and timeline. A standby's own timeline is that of its last checkpoint."""
    row = await link.row(
        """
        SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
               CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
               ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline"""
    )
    assert row is not None, "a query without FROM has a row"
    return Identity(row["system"], row["timeline"])


def set_control(control: Control) -> str:
    """SQL that writes `control`. Batches and the audit's anchor only ever go forward."""

    def text(value: str | None) -> str:
        return "NULL" if value is None else literal(value)

    peer = control.peer
    anchored = f"audit_sequence < {control.audit_sequence}"
    return f"""
        UPDATE cutover.control SET
            primary_store = {text(control.primary)}, epoch = {control.epoch}, state = {text(control.state.value)},
            switch_id = {text(control.switch_id)}, generation = greatest(generation, {control.generation}),
            applied_batch = greatest(applied_batch, {control.applied_batch}),
            trimmed_batch = greatest(trimmed_batch, {control.trimmed_batch}),
            peer_system = {text(peer.system if peer else None)}, peer_timeline = {peer.timeline if peer else "NULL"},
            audit_hash = CASE WHEN {anchored} THEN {text(control.audit_hash)} ELSE audit_hash END,
            audit_sequence = greatest(audit_sequence, {control.audit_sequence}), seal = {text(control.seal)}
        WHERE pair_id = {text(control.pair_id)}"""


def same_place(left: Control, right: Control) -> bool:
    """Whether two control rows agree, anchor and batches aside."""
    aside: dict[str, object] = {"applied_batch": 0, "trimmed_batch": 0, "audit_sequence": 0, "audit_hash": ""}
    return left.but(**aside) == right.but(**aside)


async def write(link: Link, control: Control, expect: Control) -> None:
    """Compare and set. Raises `StaleApplier` if the row is not `expect`."""
    async with link.transaction():
        standing = await read(link, "FOR NO KEY UPDATE")
        if standing is None or not same_place(standing, expect):
            raise StaleApplier(
                "PostgreSQL's control row was changed by somebody else.",
                hint="Another service owns this pair now; stop this one.",
            )
        await link.execute(set_control(control))


async def anchor(link: Link, sequence: int, digest: str) -> None:
    """Record the head of the audit log."""
    await link.execute(
        "UPDATE cutover.control SET audit_sequence = $1, audit_hash = $2 WHERE audit_sequence <= $1", sequence, digest
    )


async def take_over(link: Link, generation: int) -> None:
    """Record the owner's generation, ending the sessions of older ones that stand in the way (hazard 7)."""
    standing = await read(link)
    if standing is None:
        raise StoreError("PostgreSQL has no control row to take over.")
    if standing.generation > generation:
        raise StaleApplier(f"A newer owner (generation {standing.generation}) serves this pair.")
    for attempt in range(_ATTEMPTS):
        await link.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name ~ '^cutover applier [0-9]+$'
              AND substring(application_name FROM '[0-9]+$')::bigint < $1""",
            generation,
        )
        try:
            async with link.transaction():
                await link.execute("SET LOCAL lock_timeout = '250ms'")
                await link.execute("UPDATE cutover.control SET generation = $1 WHERE generation < $1", generation)
            return
        except PostgresAway as error:
            if error.sqlstate != LOCK_NOT_AVAILABLE or attempt == _ATTEMPTS - 1:
                raise


async def prepare(link: Link, switch_id: str) -> None:
    """Record a switch as prepared. Raises `StoreError` if it already has an outcome."""
    await link.execute(
        "INSERT INTO cutover.switches (switch_id, outcome) VALUES ($1, 'prepared') ON CONFLICT DO NOTHING", switch_id
    )
    standing = await outcome(link, switch_id)
    if standing is not Outcome.PREPARED:
        raise StoreError(f"The switch {switch_id} is {standing} on PostgreSQL and cannot be prepared again.")


async def outcome(link: Link, switch_id: str) -> Outcome | None:
    """What is recorded of a switch."""
    if await link.value("SELECT to_regclass('cutover.switches') IS NULL"):
        return None
    found = await link.value("SELECT outcome FROM cutover.switches WHERE switch_id = $1", switch_id)
    return None if found is None else Outcome(found)


async def tombstone(link: Link, switch_id: str) -> Outcome:
    """Make the switch's commit impossible: end the sessions that carry its name, then record it as aborted."""
    for attempt in range(_ATTEMPTS):
        await link.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()""",
            switch_name(switch_id),
        )
        try:
            async with link.transaction():
                await link.execute("SET LOCAL lock_timeout = '250ms'")
                await link.execute(
                    """
                    INSERT INTO cutover.switches AS s (switch_id, outcome) VALUES ($1, 'aborted')
                    ON CONFLICT (switch_id) DO UPDATE SET outcome = 'aborted', at = clock_timestamp()
                    WHERE s.outcome = 'prepared'""",
                    switch_id,
                )
            break
        except PostgresAway as error:
            if error.sqlstate != LOCK_NOT_AVAILABLE or attempt == _ATTEMPTS - 1:
                raise
        await asyncio.sleep(0)
    standing = await outcome(link, switch_id)
    assert standing is not None, "it was just written"
    return standing


async def progress(link: Link) -> dict[str, BackfillProgress]:
    """Backfill progress by table name."""
    rows = await link.fetch("SELECT table_name, state, after, copied, total FROM cutover.backfill")
    return {
        row["table_name"]: BackfillProgress(
            row["table_name"],
            row["state"],
            None if row["after"] is None else decode_key(row["after"]),
            row["copied"],
            row["total"],
        )
        for row in rows
    }


async def save_progress(link: Link, it: BackfillProgress) -> None:
    """Record one table's progress."""
    await link.execute(
        """
        INSERT INTO cutover.backfill VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (table_name) DO UPDATE SET (state, after, copied, total) = ($2, $3, $4, $5)""",
        it.table,
        it.state,
        None if it.after is None else encode_key(it.after),
        it.rows,
        it.total,
    )


async def forget_progress(link: Link, tables: Sequence[str]) -> None:
    """Have these tables copied from the start."""
    await link.execute("DELETE FROM cutover.backfill WHERE table_name = ANY($1::text[])", list(tables))


async def forget_quarantine(link: Link, tables: Sequence[str]) -> None:
    """Take everything of these tables out of quarantine."""
    await link.execute("DELETE FROM cutover.quarantine WHERE table_name = ANY($1::text[])", list(tables))


async def quarantined(link: Link) -> list[Quarantined]:
    """All rows in quarantine; none where nothing was installed yet."""
    if await link.value("SELECT to_regclass('cutover.quarantine') IS NULL"):
        return []
    rows = await link.fetch(
        """
        SELECT table_name, key, reason, extract(epoch FROM since)::float8 AS since
        FROM cutover.quarantine ORDER BY since, table_name"""
    )
    return [Quarantined(row["table_name"], decode_key(row["key"]), row["reason"], row["since"]) for row in rows]


async def recorded(link: Link) -> str:
    """The record of the last mapping; empty where there is none."""
    if await link.value("SELECT to_regclass('cutover.mapping') IS NULL"):
        return ""
    return str(await link.value("SELECT record FROM cutover.mapping") or "")


async def record(link: Link, text: str) -> None:
    """Keep it. Where cutover was installed by a version that kept none, room for it is made first."""
    if await link.value("SELECT to_regclass('cutover.control') IS NULL"):
        return
    if await link.value("SELECT to_regclass('cutover.mapping') IS NULL"):
        script = files("cutover.stores.postgres").joinpath("tables.sql").read_text(encoding="utf-8")
        await link.execute(script[script.index("CREATE TABLE IF NOT EXISTS cutover.mapping") :])
    await link.execute(
        "INSERT INTO cutover.mapping (record) VALUES ($1) ON CONFLICT (one) DO UPDATE SET record = excluded.record",
        text,
    )
