"""Statements that somebody asks about: rehearsed at once, and forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.rehearsal import Rehearsed
from cutover.dialect.replay import Found
from cutover.dialect.schema_copy import SchemaCopy
from cutover.dialect.schema_trials import try_change
from cutover.dialect.shadow_reads import ShadowReads
from cutover.dialect.shadow_writes import ShadowWrites
from cutover.errors import StatementError, StoreUnavailable
from cutover.model.statement import Statement
from cutover.schema.sqltext import COUNTED, StatementKind, inspect

_SKIPPED = {
    StatementKind.EMPTY: "There is no statement.",
}
_BEHIND = "It is about what the schema changes before it make, which a rehearsal does not."
_OF_TABLES = (StatementKind.READ, StatementKind.WRITE)
_TRIED = (StatementKind.READ, StatementKind.WRITE, StatementKind.REFUSED, StatementKind.MANY)
_SKIPPED_OTHERWISE = "It begins or ends a transaction, or sets something of its connection; cutover answers it itself."


async def rehearse_texts(
    executor: PostgresExecutor,
    reads: ShadowReads,
    writes: ShadowWrites,
    texts: Sequence[str],
    behind: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """One object a statement, in their order. `behind`: schema changes that come before them.

    Raises `StoreUnavailable`, and other `CutoverError`s as `replay` does."""
    try:
        await executor.rehearsal.ready()
        tried, ddl, skipped = [], executor.dialect.ddl, dict[int, str]()
        changes: dict[int, Rehearsed] = {}
        for text in behind:
            _, ddl = await try_change(executor, ddl, text)
        for at, text in enumerate(texts):
            if inspect(text).kind is StatementKind.DDL:
                changes[at], ddl = await try_change(executor, ddl, text)
            found = await _rehearsed(executor, text)
            unknown = found is not None and found.status == "invalid" and inspect(text).kind in _OF_TABLES
            if unknown and _is_valid_in(ddl, executor.dialect.ddl, text):
                found, skipped[at] = None, _BEHIND
            tried.append(found)
    except StatementError as error:  # no connection is to be had
        raise StoreUnavailable(error.message) from None
    verdicts = await _verdicts(executor, reads, StatementKind.READ, texts, tried)
    verdicts |= await _verdicts(executor, writes, StatementKind.WRITE, texts, tried)
    return [
        _change(text, changes[at]) if at in changes else _row(text, tried[at], verdicts.get(at), skipped.get(at))
        for at, text in enumerate(texts)
    ]


async def _verdicts(
    executor: PostgresExecutor,
    shadow: ShadowReads | ShadowWrites,
    kind: StatementKind,
    texts: Sequence[str],
    tried: Sequence[Rehearsed | None],
) -> dict[int, Found | None]:
    """What came of those of one kind that are ready, by their place."""
    compared = [
        at for at, found in enumerate(tried)
        if found is not None and found.status == "ready" and inspect(texts[at]).kind is kind
    ]  # fmt: skip
    verdicts: dict[int, Found | None] = {
        at: Found("inconclusive", "It has parameters, for which no values are known.")
        for at in compared
        if inspect(texts[at]).params
    }
    plain = [at for at in compared if at not in verdicts and _is_run(texts[at])]
    return verdicts | dict(
        zip(plain, await shadow.asked(executor, [Statement(texts[at]) for at in plain]), strict=True)
    )


def _is_valid_in(ddl: tuple[str, ...], today: tuple[str, ...], text: str) -> bool:
    """Whether SQLite takes the statement behind the schema changes before it."""
    if ddl == today:
        return False
    copy = SchemaCopy(ddl)
    try:
        copy.describe(text)
    except StatementError:
        return False
    finally:
        copy.close()
    return True


def _is_run(text: str) -> bool:
    """Of what writes only what changes rows: no PRAGMA."""
    shape = inspect(text)
    return shape.kind is StatementKind.READ or (shape.verb in COUNTED and not shape.explain)


async def _rehearsed(executor: PostgresExecutor, text: str) -> Rehearsed | None:
    return await executor.rehearsal.rehearse(text) if inspect(text).kind in _TRIED else None


def _row(text: str, found: Rehearsed | None, verdict: Found | None, skipped: str | None = None) -> dict[str, Any]:
    told = {"result": verdict.verdict, "reason": verdict.reason} if verdict is not None else None
    writes = inspect(text).kind is StatementKind.WRITE
    skipped = skipped or _SKIPPED.get(inspect(text).kind, _SKIPPED_OTHERWISE)
    return {
        "sql": text,
        "status": found.status if found is not None else "skipped",
        "reason": found.reason if found is not None else skipped,
        "translation": found.translation if found is not None else None,
        "shadow_read": told if not writes else None,
        "shadow_write": told if writes else None,
    }


def _change(text: str, found: Rehearsed) -> dict[str, Any]:
    """A schema change is not made by a rehearsal, and what comes behind it is rehearsed without it."""
    reason = "It changes the schema, which a rehearsal does not."
    if found.status != "ready":
        reason = f"{reason} {'SQLite' if found.status == 'invalid' else 'Postgres'} would refuse it: {found.reason}"
    status = found.status if found.status in ("refused", "failing") else "skipped"
    return _row(text, None, None) | {"status": status, "reason": reason, "translation": found.translation}


def counted_rows(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The answer of `POST /v1/statements`."""
    statuses = [row["status"] for row in rows]
    return {
        "statements": len(rows),
        "ready": statuses.count("ready"),
        "failing": statuses.count("refused") + statuses.count("failing"),
        "invalid": statuses.count("invalid"),
        "skipped": statuses.count("skipped"),
        "differing": sum((row["shadow_read"] or row["shadow_write"] or {}).get("result") == "mismatch" for row in rows),
        "rows": list(rows),
    }
