"""A process that works on a store and can be frozen or killed in the middle: `python -m tests.hazards.victim`.

    apply  URL-or-file    begins to apply person `a` as `old`, says `applied`, waits for a line, and commits
    receive URL           commits the switch `s1`

It ends by saying `done`, or the name of the error.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cutover.errors import CutoverError
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.owner import owner_lock_path
from cutover.stores.sqlite.store import SqliteStore
from tests.support.postgres import PRIMARY
from tests.support.samples import PEOPLE, TABLES


async def main(what: str, where: str) -> None:
    """Do it, and say how it ended."""
    postgres = where.startswith("postgresql:")
    store = PostgresStore(where) if postgres else SqliteStore(where, owner_lock=owner_lock_path(where))
    await store.open()
    store.serve_tables(TABLES)
    try:
        if what == "receive":
            await store.receive(PRIMARY, "s1", 60)
        else:
            async with store.applier(1, 1, 1) as applier:
                await applier.apply(PEOPLE, [("a", "old", None)], [])
                print("applied", flush=True)
                await asyncio.to_thread(sys.stdin.readline)
                await applier.apply(PEOPLE, [("b", "old", None)], [])
    except CutoverError as error:
        print(type(error).__name__, flush=True)
    else:
        print("done", flush=True)
    await store.close()


@contextlib.contextmanager
def victim(what: str, where: str) -> Iterator[subprocess.Popen[str]]:
    """The process, killed when the context ends."""
    command = [sys.executable, "-m", "tests.hazards.victim", what, where]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def said(process: subprocess.Popen[str]) -> str:
    """The next line that it says."""
    assert process.stdout is not None
    return (await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 30)).strip()


def go_on(process: subprocess.Popen[str]) -> None:
    """The line that it waits for."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
