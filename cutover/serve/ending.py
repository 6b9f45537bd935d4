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
from collections.abc import Awaitable, Callable, Iterator

from cutover.errors import CutoverError
from cutover.logs import get_logger
from cutover.tasks import ended, short, where

_log = get_logger("serve")
_LEFT = 5.0
"""Seconds for tasks that nobody waits for."""
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


async def within(seconds: float, name: str, step: Callable[[], Awaitable[object]]) -> None:
    """Take one step of closing. What goes wrong, or takes longer, is said, and keeps nobody from the next step."""

    async def taken() -> None:
        await step()

    task = asyncio.create_task(taken(), name=f"closing {name}")
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        _log.warning(f"Closing {name} took too long; it waits for {where(task)}.")
        await ended({task}, 0.0)
        return
    try:
        task.result()
    except (CutoverError, OSError, TimeoutError) as error:
        _log.warning(f"Closing {name}: {error or 'it took too long'}")


async def everything_ended() -> None:
    """Have no task left: the event loop would cancel each once, and wait for ever for one that swallows that."""
    mine = asyncio.current_task()
    left = [task for task in asyncio.all_tasks() if task is not mine]
    if not await ended(left, _LEFT):
        _log.warning("Some tasks do not end.", waiting=[where(task) for task in left if not task.done()])


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
        yield f"thread {thread.name} at {short(place.filename)}:{place.lineno} ({place.name})"
