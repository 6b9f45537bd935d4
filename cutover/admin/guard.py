"""Around every request: who asks, what went wrong, one log line, one count, and careful headers."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware
from aiohttp.web_protocol import RequestPayloadError

from cutover import tracing
from cutover.admin.access import Keyring, allows, is_loopback
from cutover.admin.operations import Actor, Role
from cutover.admin.refusals import RequestRefused, refuse
from cutover.clock import monotonic
from cutover.errors import CutoverError
from cutover.logs import get_logger
from cutover.metrics import Metrics

ACTOR = web.RequestKey("actor", Actor)

_log = get_logger("admin")

_ACTOR_NAME = re.compile(r"[\w .@+-]{1,100}", re.ASCII)

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def careful_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Set what every answer must carry; a handler's own value wins."""
    response.headers["Server"] = "cutover"
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def observed(metrics: Metrics) -> Middleware:
    """One log line and one count per request. Query strings are left out: they may hold keys of rows."""

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        began, status = monotonic(), 499
        tracing.begin(request.headers)
        try:
            response = await handler(request)
            status = response.status
            if request_id := tracing.named():
                response.headers.setdefault(tracing.REQUEST_ID, request_id)
            return response
        finally:
            took = monotonic() - began
            endpoint = endpoint_of(request)
            metrics.requests.note(endpoint, str(status), took)
            actor = request.get(ACTOR)
            write = _level(request, status)
            write(
                "request",
                method=request.method if request.method.isalpha() else "?",
                path=endpoint,
                status=status,
                ms=round(took * 1000, 2),
                actor=actor.name if actor else None,
                **tracing.told(),
            )

    return observe


def _level(request: web.Request, status: int) -> Callable[..., object]:
    """Consoles and scrapers ask every second; what they are given is not worth a line each."""
    if status >= 500 and status != 503:
        return _log.error
    return _log.debug if _method(request) == "GET" and status < 400 else _log.info


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure becomes the one error shape."""
    try:
        return await handler(request)
    except CutoverError as error:
        return refuse(error)
    except web.HTTPNotFound:
        message = f"There is nothing at {request.path[:200]}. docs/api.md lists what is."
        return refuse(RequestRefused(404, "not_found", message))
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{request.path} does not take {request.method[:20]}; it takes {allowed}."
        return refuse(RequestRefused(405, "method_not_allowed", message, headers={"Allow": allowed}))
    except web.HTTPRequestEntityTooLarge:
        return refuse(RequestRefused(413, "too_large", "The body is larger than any request here needs to be."))
    except RequestPayloadError:
        return refuse(RequestRefused(400, "bad_request", "The body cannot be decoded as its head says."))
    except web.HTTPException as error:
        return refuse(RequestRefused(error.status, "bad_request", error.reason))
    except Exception as error:  # noqa: BLE001  # last line of defence
        if isinstance(error, OSError) and not isinstance(error, TimeoutError | ConnectionError):
            _log.error("the state directory cannot be used", path=endpoint_of(request), reason=str(error))
            message = (
                f"The disk of service.state_dir cannot be used: {error.strerror or error}. Mend that, and ask again."
            )
            return refuse(RequestRefused(503, "disk", message))
        reference = secrets.token_hex(4)
        told = {"path": endpoint_of(request), "kind": type(error).__name__, **tracing.told()}
        _log.exception("unexpected error", reference=reference, **told)
        message = f"Something unexpected went wrong. The service's log has it under reference {reference}."
        return refuse(RequestRefused(500, "internal", message))


def admitted(keyring: Keyring, needed: Mapping[tuple[str, str], Role | None]) -> Middleware:
    """Let in who may do this: `needed` gives the least role of each (method, path), None for everybody."""

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.http_exception is not None:
            return await handler(request)
        role = needed[_method(request), endpoint_of(request)]
        if role is not None:
            _refuse_other_sites(request, keyring)
            request[ACTOR] = _actor(request, keyring)
            require(request, role)
        return await handler(request)

    return admit


def require(request: web.Request, needed: Role, doing: str = "this") -> Actor:
    """The actor, who must have at least this role. Raises `RequestRefused` (403)."""
    actor = request[ACTOR]
    if not allows(actor.role, needed):
        message = f"The {actor.role}'s token does not allow {doing}; it needs the {needed}'s."
        raise RequestRefused(403, "forbidden", message)
    return actor


def endpoint_of(request: web.Request) -> str:
    """The route's path as declared: bounded, and free of what clients write into URLs."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "other"


def _method(request: web.Request) -> str:
    return "GET" if request.method == "HEAD" else request.method


def _actor(request: web.Request, keyring: Keyring) -> Actor:
    role: Role | None = "admin"
    if not keyring.empty:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        role = keyring.role_of(token.strip()) if scheme.lower() == "bearer" else None
        if role is None:
            raise _unknown(token != "")
    assert role is not None
    claimed = request.headers.get("X-Cutover-Actor", "").strip()
    if claimed and not _ACTOR_NAME.fullmatch(claimed):
        message = "X-Cutover-Actor must be a short plain name: letters, digits, space and .@+_- only."
        raise RequestRefused(400, "bad_request", message)
    return Actor(f"{role}:{claimed}" if claimed else role, role)


def _unknown(given: bool) -> RequestRefused:
    if given:
        challenge = 'Bearer realm="cutover", error="invalid_token"'
        message = "The token is not one of this service's. Send a valid one as Authorization: Bearer TOKEN."
    else:
        challenge = 'Bearer realm="cutover"'
        message = "This needs a token. Send it as Authorization: Bearer TOKEN."
    return RequestRefused(401, "unauthorized", message, headers={"WWW-Authenticate": challenge})


def _refuse_other_sites(request: web.Request, keyring: Keyring) -> None:
    """A web page that an operator happens to visit must not be able to promote.

    Without tokens the browser is all it takes, so the request must come from a page of this door (Origin), and must
    be addressed to this machine (Host), or a rebound DNS name would pass for it.
    """
    host = request.headers.get("Host", "")
    origin = request.headers.get("Origin")
    if origin is not None and _method(request) != "GET" and urlsplit(origin).netloc.lower() != host.lower():
        message = "The request comes from another web site's page. Use this service's own console."
        raise RequestRefused(403, "cross_origin", message)
    if keyring.empty and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        message = (
            "Without tokens this door answers to 127.0.0.1, ::1 and localhost only. Set tokens to use other names."
        )
        raise RequestRefused(403, "host_not_allowed", message)
