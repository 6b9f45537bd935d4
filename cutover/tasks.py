"""Tasks that end when they are told to, though something in them may swallow a cancellation.

A driver that is closing a connection does, and so does `asyncio.wait_for` where what it waits for comes at that moment.
`asyncio.TaskGroup` cancels each of its tasks once, and then waits for ever for one that goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterator
from typing import Any

from cutover.logs import get_logger

_log = get_logger("serve")
_AGAIN = 1.0
"""Seconds between two cancellations of one task."""
_TOLD = 5.0
"""Seconds after which it is said whom a stop waits for."""
_DEEP = 4
"""Lines of a task's stack that are told."""


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until one fails, which ends the others, or until cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await ended(tasks)


async def ended(tasks: Collection[asyncio.Task[Any]], most: float | None = None) -> bool:
    """Cancel tasks until they have ended, at most for so many seconds; says whom it waits for. Whether all have."""
    loop = asyncio.get_running_loop()
    began, told = loop.time(), False
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN)
        waited = loop.time() - began
        if pending and waited >= _TOLD and not told:
            told = True
            _log.warning(f"Stopping waits for {'; '.join(map(where, pending))}.")
        if most is not None and waited >= most:
            break
    return not pending


def end_if_cancelled() -> None:
    """A driver may answer a cancellation with an error of its own; the task has to end all the same."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def where(task: asyncio.Task[Any]) -> str:
    """A task, and the innermost lines at which it waits."""
    lines = [f"{short(each.f_code.co_filename)}:{each.f_lineno}" for each in _awaited(task.get_coro())]
    return f"task {getattr(task.get_coro(), '__qualname__', task.get_name())} at {' > '.join(lines[-_DEEP:]) or '?'}"


def _awaited(coro: Any) -> Iterator[Any]:  # noqa: ANN401  # coroutines and generators alike
    """The frames of what a coroutine waits for, outermost first."""
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None) or getattr(coro, "ag_frame", None)
        if frame is not None:
            yield frame
        following = (getattr(coro, name, None) for name in ("cr_await", "gi_yieldfrom", "ag_await"))
        coro = next((each for each in following if each is not None), None)


def short(path: str) -> str:
    """The end of a path, which tells enough."""
    return "/".join(path.split("/")[-3:])
