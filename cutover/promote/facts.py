"""Gathering what the gates look at."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterable

from cutover import clock
from cutover.errors import CutoverError
from cutover.model.control import Gate
from cutover.promote.gates import GateFacts
from cutover.promote.parts import Parts

_PROBE_TIMEOUT = 10.0
_REHEARSAL_SECONDS = 2.0

Checks = tuple[tuple[str, bool, str], ...]


async def lag_of(parts: Parts) -> tuple[int, float]:
    """Changes logged and not applied, and the age in seconds of the oldest: computed now, from the log itself."""
    changes, oldest = await parts.situation.pair.source.lag()
    return changes, max(0.0, clock.wall() - oldest) if oldest is not None else 0.0


async def gather(parts: Parts, direction: str, *, max_age: float) -> GateFacts:
    """Facts for the gates of `promote` or `demote`. Never raises: what cannot be asked is said in `unreachable`.

    `max_age`: how old, in seconds, answers may be that cost a read of whole tables.
    """
    situation, settings, mirror = parts.situation, parts.settings, parts.mirror
    unreachable = "" if situation.attached else situation.attach_error or "the stores are not attached to each other"
    changes, lag, quarantined = 0, 0.0, 0
    invariants: Checks = ()
    target: Checks = ()
    reverse: Checks = ()
    if not unreachable:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                changes, lag = await lag_of(parts)
                quarantined = len(await situation.pair.target.quarantined())
                lacking = _lacking(parts) if direction == "promote" else ()
                target = (*_unmapped(parts), *await _uncarried(parts), *await situation.pair.target.probe(), *lacking)
                reverse = tuple(await situation.pair.source.probe())
                invariants = await _invariants(parts, max_age)
        except (CutoverError, OSError, TimeoutError) as error:
            unreachable = str(error) or "the shadow did not answer in time"
    try:
        age, problem = await _verified(parts)
    except (CutoverError, OSError, TimeoutError) as error:
        age, problem = None, str(error)
    if direction == "promote" and not unreachable:
        await rehearse_now(parts)
    statements = parts.statements
    summary, reads, writes = statements.summary(), statements.shadow_reads(), statements.shadow_writes()
    return GateFacts(
        to_copy=tuple(table.name for table in situation.tables if situation.returned or not mirror.copied(table.name)),
        mirror_state=mirror.state,
        mirror_error=mirror.last_error,
        lag_seconds=lag,
        lag_changes=changes,
        max_lag_seconds=settings.promotion.max_lag_seconds,
        verified_age=age,
        verified_problem=problem,
        verify_max_age=settings.promotion.verify_max_age,
        drift_rows=parts.comparator.drift_rows,
        quarantined=quarantined,
        invariants=invariants,
        statements=summary["statements"],
        statements_failing=summary["failing"],
        statements_unseen=summary["unseen"],
        statements_partly=summary["partly"],
        statements_changes=summary["changes_refused"],
        statements_beyond=summary["beyond_limit"],
        shadow_reads=(reads["match"], reads["mismatch"], reads["inconclusive"]),
        shadow_writes=(writes["match"], writes["mismatch"], writes["inconclusive"]),
        shadow_waiting=summary["waiting"],
        shadow_reads_differ=reads["differing"] + writes["differing"],
        statements_min=settings.promotion.rehearsal_min_statements,
        statements_matter=direction == "promote",
        target=target,
        reverse=reverse,
        backup=await asyncio.to_thread(_backup_possible, parts),
        unreachable=unreachable,
    )


async def rehearse_now(parts: Parts, seconds: float = _REHEARSAL_SECONDS) -> None:
    """Have what was just seen, or what a schema change left open, rehearsed and replayed. What takes longer, or meets a
    store that is away, stays open."""
    with contextlib.suppress(TimeoutError, CutoverError):
        async with asyncio.timeout(seconds):
            await parts.statements.rehearse()
            await parts.statements.replay()


def _unmapped(parts: Parts) -> Checks:
    """What the mapping had to leave out would be left behind by a promotion."""
    return tuple(("mapping", False, sentence) for sentence in parts.situation.blocking)


def _lacking(parts: Parts) -> Checks:
    """What is told and shuts nothing: writes that could break these are refused, and are not ready."""
    tables = parts.situation.tables
    names = [f"{table.name}.{index.name}" for table in tables for index in table.unique if index.lacks]
    others = [f"{each.what} ({table.name})" for table in tables for each in table.unkept]
    told = "writes of these are refused, since Postgres lacks them: "
    found = (("unique indexes", names), ("constraints", others))
    return tuple((what, True, f"{told}{', '.join(lacking)}") for what, lacking in found if lacking)


async def _uncarried(parts: Parts) -> Checks:
    """What applications changed is asked of the stores now: the next look of the service may not have come yet."""
    late = await parts.uncarried()
    return (("schema", False, f"not there yet, as applications changed it: {', '.join(late)}"),) if late else ()


async def _invariants(parts: Parts, max_age: float) -> Checks:
    return tuple(
        (found.name, found.ok, found.detail) for found in await parts.comparator.check_invariants(max_age=max_age)
    )


async def since_the_gates(parts: Parts, gates: Iterable[Gate]) -> list[str]:
    """What shut the door on a switch since its gates were looked at, seen before the pause: the schema changed.

    An operator who overrode the gate of the verification is not asked again.
    """
    passed = any(gate.name == "verified" and gate.ok for gate in gates)
    problem = (await _verified(parts))[1] if passed else ""
    return [found for found in (problem, *(told for _, _, told in await _uncarried(parts))) if found]


async def _verified(parts: Parts) -> tuple[float | None, str]:
    """Age in seconds of the last full verification that still counts (None: none does), and what speaks against it."""
    full = parts.comparator.last_full
    if full is None or full.finished_monotonic is None:
        return None, ""
    age = clock.monotonic() - full.finished_monotonic
    if full.problems:
        return age, "; ".join(full.problems)
    pair = parts.situation.pair
    now = (await pair.source.schema_fingerprint(), await pair.target.schema_fingerprint())
    if now != full.fingerprints:
        return age, "a schema changed since the last full verification; verify again"
    return age, ""


def _backup_possible(parts: Parts) -> tuple[bool, str]:
    """Whether a copy of the SQLite file fits beside the others. Looks at sizes only, never opens the file."""
    parts.backups.mkdir(parents=True, exist_ok=True)
    path = parts.settings.sqlite.path
    size = sum(os.stat(path + suffix).st_size for suffix in ("", "-wal") if os.path.exists(path + suffix))
    need = size * 1.2  # it grows until then
    free = shutil.disk_usage(parts.backups).free
    writable = os.access(parts.backups, os.W_OK)
    detail = f"needs {need / 1e6:.1f} MB, {free / 1e6:.1f} MB free in {parts.backups}"
    return writable and free > need, detail if writable else f"{parts.backups} is not writable"
