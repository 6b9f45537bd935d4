"""How often each shape of statement ran, for how long, and how it ended; and which statements were slow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from cutover import clock
from cutover.errors import StatementError
from cutover.metrics import Metrics, ShapeTally
from cutover.model.statement import BatchResult, StatementResult, Step
from cutover.schema.fingerprint import fingerprint, nothing_known
from cutover.schema.sqltext import LONG, StatementKind, classify

SHAPES = 500
_TEXTS = 4096
_BEYOND = "(other statements)"
"""Shape of all that came when there were `SHAPES` of them."""

_KINDS = {
    StatementKind.READ: "read",
    StatementKind.WRITE: "write",
    StatementKind.DDL: "ddl",
    StatementKind.STATE: "other",
    StatementKind.REFUSED: "other",
    StatementKind.EMPTY: "other",
    StatementKind.MANY: "other",
}
"""All others begin or end transactions."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A statement of which more is to be known."""

    sql: str
    shape: str
    kind: str
    client: str
    """Name of its token, if it had one."""
    seconds: float
    rows: int
    code: str
    """Of its error; empty: none."""


class Shapes:
    """Keeps the tallies, by text and so by shape. It belongs to the event loop's thread, and has no locks."""

    def __init__(self, metrics: Metrics) -> None:
        self.known: Callable[[str], bool] = nothing_known
        """Whether a word in double quotes is a name of the schema."""
        self.slow = inf
        """Seconds from which on a statement is shown to `on_slow`."""
        self.on_slow: Callable[[Ended], None] = lambda _: None
        """Called in the way of the request, in its context: it must return at once."""
        self._tallies = metrics.statement_shapes.shapes
        self._shapes: dict[str, ShapeTally] = {}
        self._texts: dict[str, ShapeTally] = {}

    def ended(self, steps: Sequence[Step], result: BatchResult, began: float, client: str) -> None:
        """A batch has come to its end. Each of its statements has taken as long as the batch; skipped ones are none."""
        now = clock.monotonic()
        seconds = now - began
        for step, outcome, error in zip(steps, result.results, result.errors):  # noqa: B905  # on every request's way
            self.note(step.statement.sql, outcome, error, seconds, now, client)

    def note(
        self,
        sql: str,
        outcome: StatementResult | None,
        error: StatementError | None,
        seconds: float,
        now: float,
        client: str,
    ) -> None:
        """One statement has come to its end `now`; with neither outcome nor error it was skipped, and is none."""
        if outcome is not None:
            tally = self._texts.get(sql) or self._find(sql, now)
            rows = len(outcome.rows) or outcome.affected
            tally.note(seconds, rows, now)
            if seconds >= self.slow:
                self._show(sql, tally, client, seconds, rows)
        elif error is not None:
            self.one(sql, seconds, 0, error.code, client)

    def one(self, sql: str, seconds: float, rows: int, code: str, client: str) -> None:
        """One statement has come to its end. `code`: of its error, or empty."""
        now = clock.monotonic()
        tally = self._texts.get(sql) or self._find(sql, now)
        tally.note(seconds, rows, now)
        if code:
            tally.errors[code] = tally.errors.get(code, 0) + 1
        if seconds >= self.slow:
            self._show(sql, tally, client, seconds, rows, code)

    def refused(self, steps: Sequence[Step], error: StatementError, began: float, client: str) -> None:
        """Nothing of a batch was executed."""
        seconds = clock.monotonic() - began
        for step in steps:
            self.one(step.statement.sql, seconds, 0, error.code, client)

    def _show(self, sql: str, tally: ShapeTally, client: str, seconds: float, rows: int, code: str = "") -> None:
        self.on_slow(Ended(sql, tally.text, tally.kind, client, seconds, rows, code))

    def _find(self, sql: str, now: float) -> ShapeTally:
        """The tally of a text that is not remembered."""
        text = fingerprint(sql, self.known)
        tally = self._shapes.get(text)
        if tally is None:
            kind = _KINDS.get(classify(sql), "transaction")
            if len(self._shapes) >= SHAPES:
                text = f"{_BEYOND} {kind}"
                tally = self._shapes.get(text)
            if tally is None:
                tally = self._shapes[text] = ShapeTally(text, kind, now)
                self._tallies.append(tally)
        if len(sql) <= LONG:
            if len(self._texts) >= _TEXTS:
                self._texts.clear()
            self._texts[sql] = tally
        return tally

    def rows(self) -> list[dict[str, Any]]:
        """One object a shape, what took most time first."""
        since = clock.wall() - clock.monotonic()
        return [_row(tally, since) for tally in sorted(self._tallies, key=lambda tally: -tally.seconds)]


def _row(tally: ShapeTally, since: float) -> dict[str, Any]:
    executions = sum(tally.counts)
    return {
        "shape": tally.text,
        "kind": tally.kind,
        "executions": executions,
        "errors": dict(tally.errors),
        "rows": tally.rows,
        "seconds": {
            "total": round(tally.seconds, 6),
            "mean": round(tally.seconds / executions, 6) if executions else 0.0,
            "max": round(tally.slowest, 6),
            "p50": round(tally.quantile(0.5), 6),
            "p95": round(tally.quantile(0.95), 6),
            "p99": round(tally.quantile(0.99), 6),
        },
        "first_seen": clock.iso(since + tally.first),
        "last_seen": clock.iso(since + tally.last),
    }
