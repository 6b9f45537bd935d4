"""One method per route: read the request, ask `Operations`, answer with JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from cutover.admin.bodies import (
    MOST_STATEMENTS,
    SWITCH_FIELDS,
    bad_request,
    read_body,
    read_limit,
    statements_request,
    switch_request,
)
from cutover.admin.console import console_policy, console_text
from cutover.admin.events import EventStreams
from cutover.admin.guard import ACTOR, require
from cutover.admin.operations import Actor, Json, Operations, SwitchRequest
from cutover.admin.refusals import RequestRefused, answer
from cutover.errors import CutoverError
from cutover.logs import get_logger

_log = get_logger("admin")

Switch = Callable[[SwitchRequest, Actor], Coroutine[Any, Any, Json]]


class Door:
    """The handlers. What changes anything runs to its end even when the client goes away."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._events = EventStreams(operations)
        self._acting: set[asyncio.Task[Json]] = set()

    async def close(self, _app: web.Application) -> None:
        """End the event streams, which would otherwise hold the shutdown up."""
        await self._events.close()

    # -- reading ---------------------------------------------------------------------------------------------------

    async def console(self, _request: web.Request) -> web.Response:
        """`GET /`: the page itself holds no data, so it needs no token."""
        headers = {"Content-Security-Policy": console_policy()}
        return web.Response(text=console_text(), content_type="text/html", charset="utf-8", headers=headers)

    async def metrics(self, _request: web.Request) -> web.Response:
        """`GET /metrics`: also when a store is away, with what is known then."""
        try:
            await self._operations.refresh_metrics()
        except CutoverError as error:
            _log.warning("some metrics could not be computed", reason=error.code)
        return web.Response(body=self._operations.metrics_text(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def healthz(self, _request: web.Request) -> web.Response:
        """`GET /healthz`."""
        return answer({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.Response:
        """`GET /readyz`: 200 when writes can be taken, else 503 with the reason."""
        ready, reason = await self._operations.ready()
        if not ready:
            raise RequestRefused(503, "not_ready", reason or "The service cannot take writes yet.")
        return answer({"status": "ready"})

    async def status(self, _request: web.Request) -> web.Response:
        """`GET /v1/status`."""
        return answer(await self._operations.status())

    async def verification(self, _request: web.Request) -> web.Response:
        """`GET /v1/verify`."""
        return answer(await self._operations.verification())

    async def drift(self, request: web.Request) -> web.Response:
        """`GET /v1/drift?table=&limit=`."""
        limit = read_limit(request.query, 100, 10_000)
        return answer(await self._operations.drift(request.query.get("table") or None, limit))

    async def explain(self, request: web.Request) -> web.Response:
        """`GET /v1/explain?table=T&key=K`, with one `key` for each key column, in their order."""
        table, key = request.query.get("table", ""), request.query.getall("key", [])
        if not table or not key:
            raise bad_request("Name the row: ?table=T&key=K, with one key= for each key column, in their order.")
        return answer(await self._operations.explain(table, key))

    async def quarantine(self, _request: web.Request) -> web.Response:
        """`GET /v1/quarantine`."""
        return answer(await self._operations.quarantine())

    async def statements(self, request: web.Request) -> web.Response:
        """`GET /v1/statements?limit=&after=&status=&result=`."""
        return answer(await self._operations.statements(statements_request(request.query)))

    async def audit(self, request: web.Request) -> web.Response:
        """`GET /v1/audit?limit=`."""
        return answer(await self._operations.audit(read_limit(request.query, 50, 1000)))

    async def report(self, _request: web.Request) -> web.Response:
        """`GET /v1/report`."""
        return answer(await self._operations.report())

    async def events(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/events`: server-sent events."""
        return await self._events.serve(request)

    # -- acting ----------------------------------------------------------------------------------------------------

    async def promote(self, request: web.Request) -> web.Response:
        """`POST /v1/promote`."""
        return await self._switch(request, self._operations.promote)

    async def demote(self, request: web.Request) -> web.Response:
        """`POST /v1/demote`."""
        return await self._switch(request, self._operations.demote)

    async def finish(self, request: web.Request) -> web.Response:
        """`POST /v1/finish`."""
        return await self._switch(request, self._operations.finish)

    async def verify(self, request: web.Request) -> web.Response:
        """`POST /v1/verify`: 202, it runs on."""
        body = read_body(await request.read(), {"tables": list})
        return answer(await self._settled(self._operations.verify(body.get("tables"), request[ACTOR])), 202)

    async def repair(self, request: web.Request) -> web.Response:
        """`POST /v1/repair`."""
        body = read_body(await request.read(), {"table": str, "dry_run": bool})
        dry_run = body.get("dry_run", False)
        return answer(await self._settled(self._operations.repair(body.get("table"), dry_run, request[ACTOR])))

    async def mirror_pause(self, request: web.Request) -> web.Response:
        """`POST /v1/mirror/pause`."""
        return await self._mirror(request, "pause")

    async def mirror_resume(self, request: web.Request) -> web.Response:
        """`POST /v1/mirror/resume`."""
        return await self._mirror(request, "resume")

    async def rehearse(self, request: web.Request) -> web.Response:
        """`POST /v1/statements`."""
        fields = {"statements": list, "behind": list}
        body = read_body(await request.read(), fields, prose=False, most=MOST_STATEMENTS)
        if not body.get("statements"):
            raise bad_request('Name the statements: {"statements": ["SELECT ..."]}.')
        return answer(await self._operations.rehearse(body["statements"], body.get("behind", ())))

    async def forget(self, request: web.Request) -> web.Response:
        """`POST /v1/statements/forget`."""
        read_body(await request.read(), {})
        return answer(await self._operations.forget(request[ACTOR]))

    async def backup(self, request: web.Request) -> web.Response:
        """`POST /v1/backup`."""
        path = read_body(await request.read(), {"path": str}).get("path")
        if path is not None and not path.startswith("/"):
            raise bad_request("path must be absolute: it is a place on the service's machine.")
        return answer(await self._settled(self._operations.backup(path, request[ACTOR])))

    async def backfill(self, request: web.Request) -> web.Response:
        """`POST /v1/backfill`."""
        body = read_body(await request.read(), {"tables": list, "new_target": bool})
        fresh = bool(body.get("new_target", False))
        if fresh:
            require(request, "admin", "giving up the paired Postgres")
        work = self._operations.backfill(body.get("tables"), request[ACTOR], new_target=fresh)
        return answer(await self._settled(work))

    async def _mirror(self, request: web.Request, action: Literal["pause", "resume"]) -> web.Response:
        read_body(await request.read(), {})
        return answer(await self._settled(self._operations.mirror(action, request[ACTOR])))

    async def _switch(self, request: web.Request, switch: Switch) -> web.Response:
        wanted = switch_request(read_body(await request.read(), SWITCH_FIELDS))
        if wanted.override:
            require(request, "admin", "overriding a gate")
        if wanted.force or wanted.accept_data_loss:
            require(request, "admin", "forcing a switch")
        return answer(await self._settled(switch(wanted, request[ACTOR])))

    async def _settled(self, work: Coroutine[Any, Any, Json]) -> Json:
        """Run `work` to its end whatever becomes of the request: half a switch helps nobody."""
        task = asyncio.create_task(work)
        self._acting.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Json]) -> None:
        self._acting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.debug("an action failed", kind=type(error).__name__)
