"""Rehearsing what a fold stands for: a sample of each kind of arguments, under the schema of now."""

from __future__ import annotations

import structlog

from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.folds import Fold, Group, Sample, key_of
from cutover.dialect.rehearsal import Rehearsed
from cutover.errors import CutoverError

_log = structlog.get_logger(__name__)


async def rehearse_fold(executor: PostgresExecutor, fold: Fold) -> None:
    """What has come with others meanwhile has its turn again."""
    generation = executor.dialect.generation
    for sample in fold.samples():
        if sample.generation != generation:
            sample.found = await _tried(executor, sample)
            sample.generation = generation
    fold.judge(generation)


async def look_at(executor: PostgresExecutor, spot: Group) -> None:
    """A text whose fold is known. If it is not ready, it is rehearsed with the fold from now on."""
    for sample in spot.samples.values():
        found = await _tried(executor, sample)
        if found.status in ("refused", "failing") and spot.fold.status not in ("refused", "failing"):
            spot.fold.groups[key_of(sample.sql)] = spot
            await rehearse_fold(executor, spot.fold)


async def _tried(executor: PostgresExecutor, sample: Sample) -> Rehearsed:
    """Raises `StoreUnavailable`, or `StatementError` if Postgres is away."""
    try:
        return await executor.rehearsal.rehearse(sample.sql, sample.statement)
    except CutoverError:
        raise
    except Exception:  # noqa: BLE001  # a defect of ours
        _log.exception("A statement could not be rehearsed")
        return Rehearsed("failing", reason="its translation met a defect; see the log")
