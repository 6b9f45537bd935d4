"""What came of replays of one sort, and those that differ: kept until they match, so that a mended one is found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prometheus_client import Counter, Histogram

from cutover.dialect.remembered import Kept
from cutover.dialect.replay import Found, Verdict
from cutover.dialect.tallies import Tallies
from cutover.dialect.waiting import Sort, sort_of
from cutover.logs import get_logger
from cutover.model.statement import Statement
from cutover.schema.fingerprint import fingerprint, fold
from cutover.schema.sqltext import LONG

_log = get_logger("rehearsal")

_WITH_OTHERS = (
    "It matches now, with other rows than those that it differed with; `cutover rehearse --forget` lets it count."
)
_KEPT = 1000
"""Statements that differed whose arguments are kept."""


class Verdicts:
    """Of reads, or of writes."""

    def __init__(self, counter: Counter, sort: str, seconds: Histogram | None = None) -> None:
        """`sort`: what they are called in the log. `seconds`: of those that both stores answered, by store."""
        self._seconds = seconds
        self.differing: dict[Sort, Statement] = {}
        """By text and classes of arguments, the statement with the arguments for which it is to match."""
        self._asked: dict[Sort, tuple[int, int]] = {}
        """By the same, what SQLite answered when it differed, and the schema then (`Found.asked`)."""
        self._left: set[Sort] = set()
        """Those of them that matched the last time, with other rows than those that they differed with."""
        self._counter = counter
        self._sort = sort
        self._tallies = Tallies()
        self._counts: dict[Verdict, int] = {"match": 0, "mismatch": 0, "inconclusive": 0}

    def note(self, statement: Statement, found: Found) -> None:
        """One replay has come to its end."""
        sort = sort_of(statement)
        found = self._looked_at(statement, sort, found)
        tally, kept = self._tallies[_shape(statement.sql)], self.differing.get(sort)
        tally.add(found)
        self._counter.labels(found.verdict).inc()
        if self._seconds is not None and found.sqlite_seconds:
            self._seconds.labels("sqlite").observe(found.sqlite_seconds)
            self._seconds.labels("postgres").observe(found.postgres_seconds)
        self._counts[found.verdict] += 1
        if found.verdict == "mismatch":
            tally.differs = found.reason
            if kept is None and len(self.differing) < _KEPT:
                self.differing[sort] = statement
            if self.differing.get(sort) is statement:
                self._asked[sort] = found.asked
            _log.warning(f"A {self._sort} is answered differently on Postgres", statement=fingerprint(statement.sql))
        elif found.verdict == "match" and sort not in self._left and (kept is None or kept is statement):
            self._clear(sort)

    def _looked_at(self, statement: Statement, sort: Sort, found: Found) -> Found:
        """What differed is mended if it matches where SQLite answers what it did then, or the schema is another one.

        With other rows a match says nothing of those that it differed with, which may come again.
        """
        if self.differing.get(sort) is not statement:
            return found
        then = self._asked[sort]
        if found.verdict == "match" and then[0] != found.asked[0] and then[1] == found.asked[1]:
            self._left.add(sort)
            return replace(found, reason=_WITH_OTHERS)
        self._left.discard(sort)
        return found

    def _clear(self, sort: Sort) -> None:
        self.differing.pop(sort, None)
        self._asked.pop(sort, None)
        self._left.discard(sort)
        shape = _shape(sort[0])
        tally = self._tallies.get(shape)
        if tally is not None and tally.differs and not any(_shape(sql) == shape for sql, _ in self.differing):
            tally.differs = None

    def forget(self) -> int:
        """Let what differed, and matches with the rows of now, count no longer. How many texts that were."""
        left = tuple(self._left)
        for sort in left:
            self._clear(sort)
        return len(left)

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
