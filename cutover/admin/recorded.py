"""What a role did not allow goes into the audit log: who tried what, with which approval."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Middleware

from cutover.admin.bodies import SWITCH_FIELDS, read_body
from cutover.admin.guard import ACTOR, Handler, endpoint_of
from cutover.admin.operations import Operations
from cutover.admin.refusals import RequestRefused
from cutover.errors import CutoverError
from cutover.logs import get_logger

_log = get_logger("admin")


def recorded(operations: Operations) -> Middleware:
    """Record each POST that is refused because of its actor's role.

    Not what comes without a valid token: anybody who reaches the door could fill the log with that.
    """

    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestRefused as refusal:
            if refusal.code == "forbidden" and request.method == "POST":
                await _record(operations, request, refusal.message)
            raise

    return record


async def _record(operations: Operations, request: web.Request, reason: str) -> None:
    """A log that cannot be written must not turn the refusal into something else."""
    action = endpoint_of(request).removeprefix("/v1/").replace("/", ".")
    try:
        await operations.refused(action, request[ACTOR], reason, await _approval(request))
    except (CutoverError, OSError) as error:
        _log.error("a refusal could not be recorded", action=action, reason=str(error))


async def _approval(request: web.Request) -> str:
    """The reference that the request names; empty where its body names none, or is not one of a switch."""
    try:
        return str(read_body(await request.read(), SWITCH_FIELDS).get("approval", "")).strip()
    except (CutoverError, web.HTTPException):
        return ""
