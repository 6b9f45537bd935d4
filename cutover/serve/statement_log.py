"""Log lines about applications' statements: slow ones with their plan, and all of them if that is wanted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any

from cutover import clock, tracing
from cutover.errors import CutoverError
from cutover.logs import get_logger
from cutover.model.table import Tables
from cutover.schema.sqltext import inspect
from cutover.write_through import Ended, WriteThrough

_log = get_logger("statements")
_PLAN_SECONDS = 2.0
_APART = 1.0
"""Seconds between two plans of one shape."""
_PLANS = 10
"""Plans in any second."""


class Names:
    """Names of the tables and columns that are mapped today."""

    def __init__(self, tables: Callable[[], Tables]) -> None:
        self._tables = tables
        self._of: Tables = ()
        self._names: frozenset[str] = frozenset()

    def known(self, word: str) -> bool:
        """Whether a word is one of them, in whatever letters."""
        tables = self._tables()
        if tables is not self._of:
            self._of = tables
            words = (word for table in tables for word in (table.name, *(column.name for column in table.columns)))
            self._names = frozenset(word.lower() for word in words)
        return word.lower() in self._names


class StatementLog:
    """A line says the shape of a statement, in which no value is left; its text only if the operator asked for that."""

    def __init__(self, way: WriteThrough, *, slow: float, verbatim: bool) -> None:
        """`slow`: seconds from which on a statement is slow; 0: none is. `verbatim`: log each one, with its text."""
        self._way = way
        self._slow = slow or inf
        self._verbatim = verbatim
        self._last: dict[str, float] = {}
        self._recent: deque[float] = deque(maxlen=_PLANS)
        self._tasks: set[asyncio.Task[None]] = set()
        way.shapes.slow = 0.0 if verbatim else self._slow
        way.shapes.on_slow = self.show

    def show(self, ended: Ended) -> None:
        """Log a statement; its plan is asked for afterwards. In the context of its request."""
        told: dict[str, Any] = {
            "shape": ended.shape,
            "kind": ended.kind,
            "ms": round(ended.seconds * 1000, 2),
            "rows": ended.rows,
            "code": ended.code or None,
            "token": ended.client or None,
            **tracing.told(),
        }
        if self._verbatim:
            told["sql"] = ended.sql
        if ended.seconds < self._slow:
            _log.info("statement", **told)
        elif self._plannable(ended):
            task = asyncio.create_task(self._with_plan(ended.sql, told))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            _log.warning("slow statement", **told)

    async def close(self) -> None:
        """Have what is waiting for a plan logged without."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _plannable(self, ended: Ended) -> bool:
        """Whether to ask: not for each of very many, or what is slow would be made slower."""
        if ended.kind not in ("read", "write") or inspect(ended.sql).explain:
            return False
        now = clock.monotonic()
        if now - self._last.get(ended.shape, -inf) < _APART:
            return False
        if len(self._recent) == _PLANS and now - self._recent[0] < 1.0:
            return False
        self._last[ended.shape] = now
        self._recent.append(now)
        return True

    async def _with_plan(self, sql: str, told: dict[str, Any]) -> None:
        plan: list[str] | None = None
        try:
            async with asyncio.timeout(_PLAN_SECONDS):
                plan = await self._way.member.executor.plan(sql)
        except (CutoverError, TimeoutError) as error:
            told["no_plan"] = getattr(error, "code", "") or "timeout"
        finally:
            _log.warning("slow statement", plan=plan, **told)
