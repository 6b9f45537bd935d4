"""HumanOnly's traffic, for a while, and then the proof that nothing acknowledged was lost or doubled."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sqlite3
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import asyncpg

from cutover.cli.demo_data import TABLES
from cutover.cli.demo_front import FrontDoorWriter
from cutover.cli.demo_hrana import FrontDoor, FrontDoorError
from cutover.cli.demo_ledger import Ledger, postgres_rows, sqlite_rows
from cutover.cli.demo_traffic import DirectWriter, NativeWriter
from cutover.model.values import Row

EXAMPLE = """examples:
  python simulate.py direct humanonly.db --seconds 30
  python simulate.py front http://127.0.0.1:8080 --clients 8 --seconds 30
  python simulate.py native postgresql://localhost/humanonly --seconds 30
"""


def main() -> int:
    """Exit code 0 when the store holds what was acknowledged, 4 when it does not, 5 when nothing could be reached."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE, formatter_class=formatter)
    parser.add_argument(
        "way", choices=("direct", "front", "native"), help="the file, the front door, or Postgres itself"
    )
    parser.add_argument("where", help="path of the file, URL of the front door, or URL of Postgres")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument(
        "--every", type=float, default=0.05, help="seconds between writes; 0: none (default: %(default)s)"
    )
    parser.add_argument("--clients", type=int, default=4, help="clients of the front door (default: %(default)s)")
    parser.add_argument("--token", default="", help="bearer token of the front door")
    parser.add_argument("--schema", default="public", help="schema on Postgres (default: %(default)s)")
    parser.add_argument(
        "--whole-store",
        action="store_true",
        help="direct only: own every row, as the application does; deletes what others add meanwhile",
    )
    options = parser.parse_args()
    try:
        problems = asyncio.run(_play(options))
    except (sqlite3.Error, asyncpg.PostgresError, FrontDoorError, OSError) as error:
        print(f"{options.way}: {error}", file=sys.stderr)
        return 5
    for problem in problems[:20]:
        print(f"PROBLEM  {problem}")
    print("nothing acknowledged was lost or doubled" if not problems else f"{len(problems)} problems")
    return 4 if problems else 0


async def _play(options: argparse.Namespace) -> list[str]:
    tag = f"{options.way}{secrets.token_hex(3)}"
    if options.way == "direct":
        direct = DirectWriter(options.where, tag=tag, whole_store=options.whole_store)
        await _for(options.seconds, lambda stop: direct.run(stop, options.every))
        _say(direct.ledger, direct.last_error)
        return direct.ledger.check(sqlite_rows(options.where), tag)
    if options.way == "native":
        native = NativeWriter(options.where, tag=tag, schema=options.schema)
        await _for(options.seconds, lambda stop: native.run(stop, options.every))
        _say(native.ledger, native.last_error)
        return native.ledger.check(await postgres_rows(options.where, options.schema), tag)
    front = FrontDoorWriter(options.where, token=options.token, clients=options.clients, tag=tag)
    await _for(options.seconds, lambda stop: front.run(stop, options.every))
    stats = front.stats
    _say(front.ledger, ", ".join(f"{code} x{count}" for code, count in stats.errors.items()))
    median, tail = stats.quantile(0.5) * 1000, stats.quantile(0.99) * 1000
    print(f"p50 {median:.1f} ms, p99 {tail:.1f} ms, slowest {stats.slowest:.3f} s")
    return front.ledger.check(await _front_rows(options.where, options.token), tag) + stats.stale_reads


async def _for(seconds: float, run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(run(stop))
        await asyncio.wait({writer}, timeout=seconds)
        stop.set()


def _say(ledger: Ledger, error: str) -> None:
    print(", ".join(f"{count} {outcome}" for outcome, count in ledger.outcomes.items()), f"({error})" if error else "")


async def _front_rows(url: str, token: str) -> dict[str, list[Row]]:
    async with aiohttp.ClientSession() as session:
        door = FrontDoor(session, url, token)
        return {t: await door.execute(f"SELECT {', '.join(columns)} FROM {t}") for t, columns in TABLES.items()}


if __name__ == "__main__":
    sys.exit(main())
