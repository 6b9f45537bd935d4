"""The conditions of a switch. Facts in, gates out: pure, so that a dry run and the real thing cannot differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cutover.errors import GatesFailed
from cutover.logs import counted
from cutover.model.control import Gate

NAMES = (
    "backfill_complete",
    "mirror_running",
    "mirror_caught_up",
    "verified",
    "no_quarantine",
    "invariants",
    "statements_ready",
    "shadow_reads_match",
    "target_ready",
    "sequences_ready",
    "reverse_ready",
    "backup",
)


@dataclass(frozen=True)
class GateFacts:
    """Everything the gates look at, gathered by the driver. Ages and lags in seconds."""

    to_copy: tuple[str, ...] = ()
    """Tables whose backfill is not complete."""
    mirror_state: str = "stopped"
    mirror_error: str | None = None
    lag_seconds: float = 0.0
    lag_changes: int = 0
    max_lag_seconds: float = 1.0
    verified_age: float | None = None
    """Age of the last full verification of this epoch and schema; None: there is none."""
    verified_problem: str = ""
    verify_max_age: float = 3600.0
    drift_rows: int = 0
    quarantined: int = 0
    invariants: tuple[tuple[str, bool, str], ...] = ()
    statements: int = 0
    statements_failing: int = 0
    statements_unseen: int = 0
    """Not rehearsed yet, or not since the schema changed."""
    statements_partly: int = 0
    """Sent with more combinations of classes of arguments than are rehearsed."""
    statements_beyond: int = 0
    """Executions of texts that were not remembered, as there were too many."""
    statements_changes: int = 0
    """Schema changes that Postgres would refuse, and that may come again."""
    statements_min: int = 0
    statements_matter: bool = True
    """False for a demotion: SQLite speaks its own dialect."""
    shadow_reads: tuple[int, int, int] = (0, 0, 0)
    """match, mismatch, inconclusive."""
    shadow_writes: tuple[int, int, int] = (0, 0, 0)
    shadow_waiting: int = 0
    """Reads and writes that are to be replayed and were not yet."""
    shadow_reads_differ: int = 0
    """Texts, of reads or writes, that are answered differently as of now."""
    target: tuple[tuple[str, bool, str], ...] = ()
    """Probes of the store that would become primary: (check, ok, detail)."""
    reverse: tuple[tuple[str, bool, str], ...] = ()
    """Probes of the way back."""
    backup: tuple[bool, str] = (False, "not probed")
    unreachable: str = ""
    """Why the shadow could not be asked; fails every gate that needs it."""
    extra: tuple[Gate, ...] = field(default=())


def _all(checks: Sequence[tuple[str, bool, str]], nothing: str) -> tuple[bool, str]:
    bad = [f"{name}: {detail}" for name, ok, detail in checks if not ok]
    if bad:
        return False, "; ".join(bad)
    return True, "; ".join(f"{name}: {detail}" for name, _, detail in checks) or nothing


def _verified(facts: GateFacts) -> tuple[bool, str]:
    if facts.drift_rows:
        return False, f"{counted(facts.drift_rows, 'row')} drifted; see `cutover drift`, mend with `cutover repair`"
    if facts.verified_problem:
        return False, facts.verified_problem
    if facts.verified_age is None:
        return False, "no full verification since the last backfill, schema change or switch; run `cutover verify`"
    detail = f"verified {facts.verified_age:.0f} s ago, limit {facts.verify_max_age:.0f} s, drift 0"
    return 0 <= facts.verified_age <= facts.verify_max_age, detail


_NONE_SEEN = "the front door has seen no statement"


def _statements(facts: GateFacts) -> tuple[bool, str]:
    if not facts.statements_matter:
        return True, "the store that would become primary speaks the applications' own dialect"
    if facts.statements < facts.statements_min:
        return False, f"{counted(facts.statements, 'statement')} seen, limit {facts.statements_min}"
    refused = f"{counted(facts.statements_changes, 'schema change')} that Postgres refuses and that may come again"
    if not facts.statements:
        return not facts.statements_changes, refused if facts.statements_changes else _NONE_SEEN
    ready = facts.statements - facts.statements_failing - facts.statements_unseen
    detail = f"{ready:,} of {counted(facts.statements, 'statement')} ready"
    if facts.statements_unseen:
        detail += f", {facts.statements_unseen:,} not rehearsed yet"
    if facts.statements_partly:
        detail += f", {facts.statements_partly:,} not with every combination of arguments"
    if facts.statements_changes:
        detail += f", {refused}"
    if facts.statements_beyond:
        detail += f"; {counted(facts.statements_beyond, 'execution')} of further statements not rehearsed"
    shut = facts.statements_failing, facts.statements_unseen, facts.statements_partly, facts.statements_changes
    return not any(shut), detail


def _shadow_reads(facts: GateFacts) -> tuple[bool, str]:
    if not facts.statements_matter:
        return True, "the store that would become primary speaks the applications' own dialect"
    if not any(facts.shadow_reads + facts.shadow_writes) and not facts.shadow_reads_differ:
        return True, "no statement was replayed on the shadow" + _waiting(facts)
    detail = _verdicts(facts.shadow_reads)
    if any(facts.shadow_writes):
        detail = f"reads: {detail}; writes: {_verdicts(facts.shadow_writes)}"
    if not facts.shadow_reads_differ:
        return True, f"{detail}; none differs now{_waiting(facts)}"
    differ = f"{counted(facts.shadow_reads_differ, 'statement')} answered differently on Postgres, limit 0"
    return False, f"{differ}, see `cutover rehearse` ({detail}{_waiting(facts)})"


def _waiting(facts: GateFacts) -> str:
    return f"; {facts.shadow_waiting:,} not replayed yet" if facts.shadow_waiting else ""


def _verdicts(counts: tuple[int, int, int]) -> str:
    match, mismatch, inconclusive = counts
    return f"{match:,} match, {mismatch:,} mismatch, {inconclusive:,} inconclusive"


def evaluate(facts: GateFacts) -> list[Gate]:
    """All gates in the order of `NAMES`."""
    running = facts.mirror_state == "running"
    lag = f"lag {facts.lag_seconds:.2f} s, limit {facts.max_lag_seconds:g} s, {counted(facts.lag_changes, 'change')}"
    hold = f"{counted(len(facts.invariants), 'invariant')} hold{'s' * (len(facts.invariants) == 1)} on both sides"
    broken = [f"{name}: {detail}" for name, ok, detail in facts.invariants if not ok]
    sequences = [check for check in facts.target if check[0].startswith("sequence")]
    rest = [check for check in facts.target if not check[0].startswith("sequence")]
    # What the source's own keys come from is of no matter to the way back, whose switch sets it.
    reverse = [check for check in facts.reverse if not check[0].startswith("sequence")]
    results: dict[str, tuple[bool, str]] = {
        "backfill_complete": (not facts.to_copy, f"to copy: {', '.join(facts.to_copy)}" if facts.to_copy else "done"),
        "mirror_running": (running, facts.mirror_error or f"mirror is {facts.mirror_state}"),
        "mirror_caught_up": (running and facts.lag_seconds <= facts.max_lag_seconds, lag),
        "verified": _verified(facts),
        "no_quarantine": (not facts.quarantined, f"{counted(facts.quarantined, 'row')} in quarantine, limit 0"),
        "invariants": (not broken, "; ".join(broken) or hold),
        "statements_ready": _statements(facts),
        "shadow_reads_match": _shadow_reads(facts),
        "target_ready": _all(rest, "ready"),
        "sequences_ready": _all(sequences, "no sequences"),
        "reverse_ready": _all(reverse, "ready"),
        "backup": facts.backup,
    }
    if facts.unreachable:
        for name in ("mirror_running", "mirror_caught_up", "invariants", "target_ready", "sequences_ready"):
            results[name] = (False, facts.unreachable)
    return [Gate(name, *results[name]) for name in NAMES]


def require(gates: Iterable[Gate], override: Sequence[str]) -> list[str]:
    """Raises `GatesFailed` if a gate fails that is not overridden. Returns the names that were in fact overridden."""
    gates = list(gates)
    failing = [gate for gate in gates if not gate.ok]
    left = [gate for gate in failing if gate.name not in override]
    if left:
        text = "; ".join(f"{gate.name} ({gate.detail})" for gate in left)
        raise GatesFailed(f"{len(left)} of {counted(len(gates), 'gate')} not passed: {text}.", list(gates))
    return [gate.name for gate in failing]
