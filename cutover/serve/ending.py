"""The end of the process comes, whatever is in its way: every wait of a stop has a bound, and says what it waited for.

A task may swallow a cancellation, a driver's thread may hang in a system call, and Python waits for either for ever. A
stop that an operator, or a supervisor, has to end with SIGKILL tells nobody why.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any

from cutover.errors import CutoverError
from cutover.logs import get_logger

_log = get_logger("serve")
_AGAIN = 1.0
"""Seconds between two cancellations of one task: a driver that is closing a connection may swallow one."""
_DEEP = 4
"""Lines of a task's stack that are told."""
_TOLD = 5.0
"""Seconds after which it is said whom a stop waits for."""
_MARGIN = 30.0
"""Seconds for all that comes behind what the settings give statements and switches."""


class LastResort:
    """A thread that ends the process with exit code 1 where its own end takes too long. `arm` once it is asked for."""

    def __init__(self, settled: float) -> None:
        """`settled`: seconds that the settings allow for statements and switches under way."""
        self._seconds = settled + _MARGIN
        self._loop: asyncio.AbstractEventLoop | None = None
        self._armed = False

    def arm(self) -> None:
        """From now on; called on the event loop. A second call changes nothing."""
        if not self._armed:
            self._armed, self._loop = True, asyncio.get_running_loop()
            threading.Thread(target=self._watch, name="last resort", daemon=True).start()

    def _watch(self) -> None:
        threading.Event().wait(self._seconds)
        who = "; ".join([*_tasks(self._loop), *_threads()]) or "nobody knows whom"
        _log.error(f"The service did not end within {self._seconds:g} s and is ended now. It waited for {who}.")
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(1)


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


async def within(seconds: float, name: str, step: Callable[[], Awaitable[object]]) -> None:
    """Take one step of closing. What goes wrong, or takes longer, is said, and keeps nobody from the next step."""

    async def taken() -> None:
        await step()

    task = asyncio.create_task(taken(), name=f"closing {name}")
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        _log.warning(f"Closing {name} took too long; it waits for {where(task)}.")
        await ended({task}, _AGAIN)
        return
    try:
        task.result()
    except (CutoverError, OSError, TimeoutError) as error:
        _log.warning(f"Closing {name}: {error or 'it took too long'}")


async def everything_ended() -> None:
    """Have no task left: the event loop would cancel each once, and wait for ever for one that swallows that."""
    mine = asyncio.current_task()
    left = [task for task in asyncio.all_tasks() if task is not mine]
    if not await ended(left, _TOLD):
        _log.warning("Some tasks do not end.", waiting=[where(task) for task in left if not task.done()])


def where(task: asyncio.Task[Any]) -> str:
    """A task, and the innermost lines at which it waits."""
    lines = [f"{_short(each.f_code.co_filename)}:{each.f_lineno}" for each in _awaited(task.get_coro())]
    return f"task {getattr(task.get_coro(), '__qualname__', task.get_name())} at {' > '.join(lines[-_DEEP:]) or '?'}"


def _awaited(coro: Any) -> Iterator[Any]:  # noqa: ANN401  # coroutines and generators alike
    """The frames of what a coroutine waits for, outermost first."""
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None) or getattr(coro, "ag_frame", None)
        if frame is not None:
            yield frame
        following = (getattr(coro, name, None) for name in ("cr_await", "gi_yieldfrom", "ag_await"))
        coro = next((each for each in following if each is not None), None)


def _tasks(loop: asyncio.AbstractEventLoop | None) -> Iterator[str]:
    if loop is None or loop.is_closed():
        return
    try:
        left = asyncio.all_tasks(loop)
    except RuntimeError:  # they change while this thread looks
        return
    yield from map(where, left)


def _threads() -> Iterator[str]:
    """Threads that Python waits for before it ends, and where each stands."""
    frames = sys._current_frames()  # noqa: SLF001  # the only way to other threads' frames
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if thread.daemon or frame is None or thread is threading.main_thread():
            continue
        place = traceback.extract_stack(frame)[-1]
        yield f"thread {thread.name} at {_short(place.filename)}:{place.lineno} ({place.name})"


def _short(path: str) -> str:
    return "/".join(path.split("/")[-3:])
