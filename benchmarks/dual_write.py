"""A peer: the service that many would write first. Each request commits to SQLite, then to Postgres, then is answered.

It takes the same one-shot Hrana requests. It is as quick as that design can be: a connection per store that is kept,
SQLite on a thread of its own, Postgres commits of different requests at the same time. It promises less than cutover
does: a crash between the two commits leaves the stores different, and Postgres being away fails the write.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import orjson
from aiohttp import web

from benchmarks.load import TABLE

_ANSWER = orjson.dumps(
    {
        "baton": None,
        "base_url": None,
        "results": [
            {
                "type": "ok",
                "response": {"type": "execute", "result": {"cols": [], "rows": [], "affected_row_count": 1}},
            },
            {"type": "ok", "response": {"type": "close"}},
        ],
    }
)


def make_app(path: str, url: str) -> web.Application:
    """The service on one SQLite file and one Postgres database."""
    thread = ThreadPoolExecutor(1)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(TABLE)
    pools: list[asyncpg.Pool] = []

    async def begin(_app: web.Application) -> None:
        pool = await asyncpg.create_pool(url, min_size=0, max_size=20)
        await pool.execute(TABLE)
        pools.append(pool)

    async def write(request: web.Request) -> web.Response:
        statement = orjson.loads(await request.read())["requests"][0]["stmt"]
        arguments = [argument["value"] for argument in statement["args"]]
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(thread, connection.execute, statement["sql"], arguments)
        pieces = statement["sql"].split("?")
        numbered = pieces[0] + "".join(f"${n}{piece}" for n, piece in enumerate(pieces[1:], start=1))
        await pools[0].execute(numbered, *arguments)
        return web.Response(body=_ANSWER, content_type="application/json")

    async def health(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.on_startup.append(begin)
    app.add_routes([web.post("/v2/pipeline", write), web.get("/health", health)])
    return app


if __name__ == "__main__":
    import uvloop

    uvloop.install()
    web.run_app(
        make_app(sys.argv[2], sys.argv[3]), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None
    )
