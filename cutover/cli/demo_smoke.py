"""HumanOnly's smoke flow: onboarding → post → feed → report → moderation, on whatever answers at a URL.

`http://...` is cutover's front door, whichever store is primary; `postgresql://...` is Postgres itself, as the
application reaches it after the promotion. The rows it makes are its own, and it takes them away again.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import asyncpg

from cutover.cli.demo_data import POSTGRES_NAMES, TABLES, Maker
from cutover.cli.demo_hrana import FrontDoor
from cutover.clock import iso, monotonic
from cutover.model.values import Row, SqlValue

Run = Callable[[str, Sequence[SqlValue]], Awaitable[list[Row]]]
"""Runs one statement, written with SQLite's names and `?`; returns its rows."""


class SmokeFailed(Exception):
    """A step did not do what it should; the message says which and what came instead."""


@asynccontextmanager
async def application(url: str, *, token: str = "", schema: str = "public") -> AsyncIterator[Run]:
    """Connect as the application would. Raises what the connection raises."""
    if url.startswith(("http://", "https://")):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            yield FrontDoor(session, url, token).execute
        return
    connection: asyncpg.Connection = await asyncpg.connect(url, timeout=10, server_settings={"search_path": schema})

    async def run(sql: str, arguments: Sequence[SqlValue]) -> list[Row]:
        return [tuple(row) for row in await connection.fetch(_on_postgres(sql), *arguments)]

    try:
        yield run
    finally:
        await connection.close()


def _on_postgres(sql: str) -> str:
    for name, other in POSTGRES_NAMES.items():
        sql = sql.replace(name, other)
    pieces = sql.split("?")
    return pieces[0] + "".join(f"${number}{piece}" for number, piece in enumerate(pieces[1:], start=1))


async def smoke(run: Run, say: Callable[[str], None], *, keep: bool = False) -> None:
    """Play the flow; `say` gets one line a step. Raises `SmokeFailed`, and whatever `run` raises.

    `keep` leaves the rows there.
    """
    flow = _Flow(run, Maker(secrets.randbits(63), f"smoke-{secrets.token_hex(4)}"))
    try:
        for name, step in (
            ("onboarding", flow.onboarding),
            ("post", flow.post),
            ("feed", flow.feed),
            ("report", flow.report),
            ("moderation", flow.moderation),
        ):
            began = monotonic()
            found = await step()
            say(f"{name:<11} ok  {(monotonic() - began) * 1000:6.1f} ms  {found}")
    finally:
        if not keep:
            await flow.clean()


class _Flow:
    def __init__(self, run: Run, maker: Maker) -> None:
        self._run, self._maker = run, maker
        self._person, self._moderator = maker.user(), maker.user()
        self._post = (maker.id(), self._person[0], maker.body(), iso())
        self._report = (maker.id(), self._post[0], self._moderator[0], "Smoke flow", "open", iso())
        self._appeal = maker.id()

    async def _insert(self, table: str, row: Row) -> None:
        columns = TABLES[table]
        marks = ", ".join("?" * len(columns))
        await self._run(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", row)

    async def _expect(self, what: str, sql: str, arguments: Sequence[SqlValue], wanted: list[Row]) -> None:
        found = await self._run(sql, arguments)
        if found != wanted:
            raise SmokeFailed(f"{what}: expected {wanted!r}, found {found!r}")

    async def onboarding(self) -> str:
        """Two people join, and are found by their handles, verified and with their assurance."""
        for user in (self._person, self._moderator):
            await self._insert("users", user)
            columns = "id, governance_accepted_at, human_verified_at, assurance_level"
            query = f"SELECT {columns} FROM users WHERE handle = ?"
            await self._expect("the new user", query, [user[1]], [(user[0], user[4], user[5], user[6])])
        return "2 people, verified"

    async def post(self) -> str:
        """One of them posts, and corrects the post."""
        await self._insert("posts", self._post)
        body = f"{self._post[2]!s} (corrected)"
        await self._run("UPDATE posts SET body = ? WHERE id = ?", (body, self._post[0]))
        await self._expect("the post", "SELECT body FROM posts WHERE id = ?", [self._post[0]], [(body,)])
        return f"{len(body)} characters"

    async def feed(self) -> str:
        """The feed shows it, with its author."""
        rows = await self._run(
            "SELECT posts.id, users.handle FROM posts JOIN users ON users.id = posts.author_id"
            " ORDER BY posts.created_at DESC, posts.id DESC LIMIT 20",
            (),
        )
        if (self._post[0], self._person[1]) not in rows:
            raise SmokeFailed(f"the feed: the new post is not among its {len(rows)} latest")
        return f"{len(rows)} posts"

    async def report(self) -> str:
        """The other one reports it."""
        await self._insert("reports", self._report)
        query = "SELECT status FROM reports WHERE post_id = ? AND reporter_id = ?"
        await self._expect("the report", query, [self._post[0], self._moderator[0]], [("open",)])
        return "open"

    async def moderation(self) -> str:
        """The report is upheld, the author appeals, the appeal is decided."""
        await self._run(
            "UPDATE reports SET status = ? WHERE id = ? AND status = ?", ("upheld", self._report[0], "open")
        )
        now = iso()
        opened = (self._appeal, self._report[0], self._person[0], "Please look again", "open", None)
        await self._insert("appeals", (*opened, now, now, None, None, None))
        await self._run(
            "UPDATE appeals SET status = ?, updated_at = ?, decided_at = ?, decided_by_id = ?, decision_rationale = ?"
            " WHERE id = ?",
            ("granted", now, now, self._moderator[0], "Smoke flow", self._appeal),
        )
        query = (
            "SELECT reports.status, appeals.status, appeals.decided_by_id FROM appeals"
            " JOIN reports ON reports.id = appeals.report_id WHERE appeals.id = ?"
        )
        await self._expect("the decision", query, [self._appeal], [("upheld", "granted", self._moderator[0])])
        return "appeal granted"

    async def clean(self) -> None:
        """Take away what was made, children first."""
        await self._run("DELETE FROM appeals WHERE id = ?", [self._appeal])
        await self._run("DELETE FROM reports WHERE id = ?", [self._report[0]])
        await self._run("DELETE FROM posts WHERE id = ?", [self._post[0]])
        for user in (self._person, self._moderator):
            await self._run("DELETE FROM users WHERE id = ?", [user[0]])
