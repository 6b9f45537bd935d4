"""What came of replays of one sort, and those that differ: kept until they match, so that a mended one is found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prometheus_client import Counter, Histogram

from cutover.dialect.looks import Look
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
    "It matches now, with other rows or values than it differed with; `cutover rehearse --forget` lets it count."
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
        self._looks: dict[Sort, Look] = {}
        """By the same, what it was replayed with when it differed."""
        self._loose: set[str] = set()
        """Texts, as `fold` calls them, that differed with rows or values that are not known any more: before the
        service was started, or besides those that are kept."""
        self._left: set[Sort] = set()
        """Those of either that matched the last time, with other rows than those that they differed with."""
        self._counter = counter
        self._sort = sort
        self._tallies = Tallies()
        self._counts: dict[Verdict, int] = {"match": 0, "mismatch": 0, "inconclusive": 0}

    def note(self, statement: Statement, found: Found) -> None:
        """One replay has come to its end."""
        sort = sort_of(statement)
        kept = self.differing.get(sort)
        found = self._looked_at(statement, sort, found)
        tally = self._tallies[_shape(statement.sql)]
        tally.add(found)
        self._counter.labels(found.verdict).inc()
        if self._seconds is not None and found.sqlite_seconds:
            self._seconds.labels("sqlite").observe(found.sqlite_seconds)
            self._seconds.labels("postgres").observe(found.postgres_seconds)
        self._counts[found.verdict] += 1
        if found.verdict == "mismatch":
            tally.differs = found.reason
            self._keep(statement, sort, found.look)
            _log.warning(f"A {self._sort} is answered differently on Postgres", statement=fingerprint(statement.sql))
        elif found.verdict == "match" and sort not in self._left and kept in (None, statement):
            self._clear(sort)

    def _keep(self, statement: Statement, sort: Sort, look: Look | None) -> None:
        """What differs, with what it met: one statement of each sort."""
        shape = _shape(sort[0])
        kept = self.differing.get(sort)
        if kept is None and len(self.differing) < _KEPT:
            kept = self.differing[sort] = statement
        if kept != statement:
            self._loose.add(shape)
        if look is not None:
            then = self._looks.get(sort)
            if then is None or not look.of_same_schema(then):
                self._tallies[shape].differs_by = look.translated_by(statement)
            if kept == statement:
                self._looks[sort] = look

    def _looked_at(self, statement: Statement, sort: Sort, found: Found) -> Found:
        """What differed is mended if it matches with the very rows that it differed with, or has another translation.

        With other rows a match says nothing of those that it differed with, which may come again.
        """
        if self.differing.get(sort) not in (None, statement):
            return found
        self._left.discard(sort)
        if found.verdict == "match" and found.look is not None and not self._is_mended(statement, sort, found.look):
            self._left.add(sort)
            return replace(found, reason=_WITH_OTHERS)
        return found

    def _is_mended(self, statement: Statement, sort: Sort, look: Look) -> bool:
        shape, then = _shape(sort[0]), self._looks.get(sort)
        if shape in self._loose and self._tallies[shape].differs_by == look.translated_by(statement):
            return False
        self._loose.discard(shape)
        return then is None or look.of_same_rows(then, statement) or not look.translates_as(then, statement)

    def _clear(self, sort: Sort) -> None:
        self.differing.pop(sort, None)
        self._looks.pop(sort, None)
        self._left.discard(sort)
        shape = _shape(sort[0])
        tally = self._tallies.get(shape)
        if tally is not None and tally.differs and not any(_shape(sql) == shape for sql, _ in self.differing):
            tally.differs = None

    def forget(self) -> int:
        """Let what differed, and matches with the rows of now, count no longer. How many texts that were."""
        left = tuple(self._left)
        for sort in left:
            self._loose.discard(_shape(sort[0]))
            self._clear(sort)
        return len(left)

    def go_on_from(self, shape: str, kept: Kept, *, replayed: bool) -> None:
        """With what had come of such texts before the service was started.

        `replayed`: they are from now on, too. So what differed does until it matches by another translation.
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
        if tally.differs and kept.differs_by:
            tally.differs_by = kept.differs_by
            self._loose.add(shape)
        for verdict, count in counts.items():
            setattr(tally, verdict, getattr(tally, verdict) + count)
            self._counts[verdict] += count

    def summary(self) -> dict[str, int]:
        """Replays by what came of them, and how many texts differ as of now."""
        return {
            **{str(verdict): count for verdict, count in self._counts.items()},
            "differing": self._tallies.differing,
        }

    def differs_by(self, shape: str) -> str:
        """What the translation was by with which such texts differ, as a digest; empty: not known, or none does."""
        tally = self._tallies.get(shape)
        return tally.differs_by if tally is not None and tally.differs is not None else ""

    def of(self, sql: str) -> dict[str, Any] | None:
        """What came of the replays of a text, and of those that differ from it in literals alone; None: of none."""
        return self.of_shape(_shape(sql))

    def of_shape(self, shape: str) -> dict[str, Any] | None:
        """As `of`, by what `schema.fingerprint.fold` calls such texts."""
        tally = self._tallies.get(shape)
        return tally.json() if tally is not None else None


def _shape(sql: str) -> str:
    return fold(sql, LONG)[0]
