"""A process that is asked to end does, and says what it waited for, though its tasks and threads do not."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys

import pytest

from cutover.serve.ending import within
from cutover.tasks import ended, together

STUBBORN = """
import asyncio, threading
from cutover.serve import ending

async def never_ends():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def main():
    ending._MARGIN = 0.2
    last = ending.LastResort(0.3)
    last.arm()
    last.arm()
    {body}

threading.Thread(target=threading.Event().wait, name="the driver").start()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("await never_ends()", ("task main at <string>:", "<string>:8 > ", "thread the driver at")),
        ("task = asyncio.create_task(never_ends())\n    await asyncio.sleep(0)", ("task never_ends at",)),
        ("pass", ("thread the driver at", "(wait)")),
    ],
    ids=["its own wait", "a task that swallows its cancellation", "a thread that Python waits for"],
)
def test_the_process_ends_and_says_what_it_waited_for(body: str, told: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", STUBBORN.format(body=body)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    said = done.stdout + done.stderr
    assert "did not end within 0.5 s and is ended now" in said
    for each in told:
        assert each in said


async def test_a_task_that_swallows_some_cancellations_is_ended_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 2:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            swallowed += 1
        await asyncio.sleep(3600)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    assert not await ended([task], 0.5), "it is waited for no longer than it may take"
    assert await ended([task])
    assert task.cancelled()


async def test_tasks_together_end_though_one_swallows_a_cancellation() -> None:
    swallowed = []

    async def goes_on() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed.append(1)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise OSError("no")

    running = asyncio.create_task(together(goes_on(), asyncio.sleep(3600)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=60)
    assert done
    assert running.cancelled()
    assert swallowed
    with pytest.raises(OSError, match="no"):
        await together(fails(), asyncio.sleep(3600))


async def test_a_step_that_hangs_keeps_nobody_from_the_next() -> None:
    let_go = asyncio.Event()
    steps = []

    async def hangs() -> None:
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()

    async def fails() -> None:
        steps.append("fails")
        raise OSError("no")

    await within(0.1, "what hangs", hangs)
    await within(0.1, "what fails", fails)
    assert steps == ["fails"]
    let_go.set()
