"""What came of replays of one sort, and those that differ: kept until they match, so that a mended one is found out."""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter, Histogram

from cutover.dialect.remembered import Kept
from cutover.dialect.replay import Found, Verdict
from cutover.dialect.tallies import Tallies
from cutover.logs import get_logger
from cutover.model.statement import Statement
from cutover.schema.fingerprint import fingerprint, fold
from cutover.schema.sqltext import LONG

_log = get_logger("rehearsal")

_KEPT = 1000
"""Statements that differed whose arguments are kept."""


class Verdicts:
    """Of reads, or of writes."""

    def __init__(self, counter: Counter, sort: str, seconds: Histogram | None = None) -> None:
        """`sort`: what they are called in the log. `seconds`: of those that both stores answered, by store."""
        self._seconds = seconds
        self.differing: dict[str, Statement] = {}
        """By text, the statement with the arguments for which it is to match."""
        self._counter = counter
        self._sort = sort
        self._tallies = Tallies()
        self._counts: dict[Verdict, int] = {"match": 0, "mismatch": 0, "inconclusive": 0}

    def note(self, statement: Statement, found: Found) -> None:
        """One replay has come to its end."""
        shape = _shape(statement.sql)
        tally, kept = self._tallies[shape], self.differing.get(statement.sql)
        tally.add(found)
        self._counter.labels(found.verdict).inc()
        if self._seconds is not None and found.sqlite_seconds:
            self._seconds.labels("sqlite").observe(found.sqlite_seconds)
            self._seconds.labels("postgres").observe(found.postgres_seconds)
        self._counts[found.verdict] += 1
        if found.verdict == "mismatch":
            tally.differs = found.reason
            if kept is None and len(self.differing) < _KEPT:
                self.differing[statement.sql] = statement
            _log.warning(f"A {self._sort} is answered differently on Postgres", statement=fingerprint(statement.sql))
        elif found.verdict == "match" and (kept is None or kept is statement):
            self.differing.pop(statement.sql, None)
            if tally.differs is not None and not any(_shape(sql) == shape for sql in self.differing):
                tally.differs = None

    def go_on_from(self, shape: str, kept: Kept, *, replayed: bool) -> None:
        """With what had come of such texts before the service was started.

        `replayed`: they are from now on, too. So what differed does until it matches.
        """
        counts: dict[Verdict, int] = {
            "match": kept.match,
            "mismatch": kept.mismatch,
            "inconclusive": kept.inconclusive,
        }
        if not replayed and not any(counts.values()):
            return
        tally = self._tallies[shape]
        tally.differs = kept.differs if replayed else None
        for verdict, count in counts.items():
            setattr(tally, verdict, getattr(tally, verdict) + count)
            self._counts[verdict] += count

    def summary(self) -> dict[str, int]:
        """Replays by what came of them, and how many texts differ as of now."""
        return {
            **{str(verdict): count for verdict, count in self._counts.items()},
            "differing": self._tallies.differing,
        }

    def of(self, sql: str) -> dict[str, Any] | None:
        """What came of the replays of a text, and of those that differ from it in literals alone; None: of none."""
        return self.of_shape(_shape(sql))

    def of_shape(self, shape: str) -> dict[str, Any] | None:
        """As `of`, by what `schema.fingerprint.fold` calls such texts."""
        tally = self._tallies.get(shape)
        return tally.json() if tally is not None else None


def _shape(sql: str) -> str:
    return fold(sql, LONG)[0]
