"""The operators' door: every route in one table, with the least role it needs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from aiohttp import web

from cutover.admin.access import Keyring, check_exposure, load_keyring
from cutover.admin.bodies import MOST_STATEMENTS, PAGES, check_parameters
from cutover.admin.guard import Handler, admitted, answered, careful_headers, observed
from cutover.admin.handlers import Door
from cutover.admin.operations import Operations, Role
from cutover.admin.recorded import recorded
from cutover.logs import get_logger
from cutover.metrics import Metrics
from cutover.settings import AdminSettings

_log = get_logger("admin")


class Route(NamedTuple):
    """One route. `role` is the least that may use it; None: everybody."""

    method: str
    path: str
    role: Role | None
    handler: Handler
    parameters: Mapping[str, bool] = MappingProxyType({})
    """By name, whether it may be given several times."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer, once the parameters are those that there are."""
        if self.path.startswith("/v1/"):
            check_parameters(self.method, request.query, self.parameters)
        return await self.handler(request)


def routes(door: Door, *, open_metrics: bool) -> list[Route]:
    """All of them."""
    return [
        Route("GET", "/", None, door.console),
        Route("GET", "/metrics", None if open_metrics else "viewer", door.metrics),
        Route("GET", "/healthz", None, door.healthz),
        Route("GET", "/readyz", None, door.readyz),
        Route("GET", "/v1/status", "viewer", door.status),
        Route("POST", "/v1/promote", "operator", door.promote),
        Route("POST", "/v1/demote", "operator", door.demote),
        Route("POST", "/v1/finish", "operator", door.finish),
        Route("POST", "/v1/verify", "operator", door.verify),
        Route("GET", "/v1/verify", "viewer", door.verification),
        Route("GET", "/v1/drift", "viewer", door.drift, {"table": False, "limit": False}),
        Route("GET", "/v1/explain", "viewer", door.explain, {"table": False, "key": True}),
        Route("POST", "/v1/repair", "operator", door.repair),
        Route("GET", "/v1/quarantine", "viewer", door.quarantine),
        Route("GET", "/v1/statements", "viewer", door.statements, dict.fromkeys(PAGES, False)),
        Route("POST", "/v1/statements", "operator", door.rehearse),
        Route("POST", "/v1/statements/forget", "operator", door.forget),
        Route("POST", "/v1/mirror/pause", "operator", door.mirror_pause),
        Route("POST", "/v1/mirror/resume", "operator", door.mirror_resume),
        Route("POST", "/v1/backup", "operator", door.backup),
        Route("POST", "/v1/backfill", "operator", door.backfill),
        Route("GET", "/v1/events", "viewer", door.events),
        Route("GET", "/v1/audit", "viewer", door.audit, {"limit": False}),
        Route("GET", "/v1/report", "viewer", door.report),
    ]


_KEYRING = web.AppKey("keyring", Keyring)
_SETTINGS = web.AppKey("settings", AdminSettings)


def reload_keyring(app: web.Application) -> str:
    """Read the token files again; returns the roles that have a token.

    Raises `ConfigurationError`; the tokens stay as they were then.
    """
    keyring = app[_KEYRING]
    keyring.digests = load_keyring(app[_SETTINGS]).digests
    return ", ".join(role for role, _ in keyring.digests)


def make_app(operations: Operations, settings: AdminSettings, metrics: Metrics) -> web.Application:
    """The door as an aiohttp application, to be run on `settings.listen`.

    Raises `ConfigurationError` for tokens that cannot be read, and for a listener that other machines can reach
    while no token is set.
    """
    keyring = load_keyring(settings)
    check_exposure(settings, keyring)
    if keyring.empty:
        _log.warning("no admin token is set: everybody on this machine may do everything here", listen=settings.listen)
    door = Door(operations)
    table = routes(door, open_metrics=not keyring.has("viewer"))
    needed = {(route.method, route.path): route.role for route in table}
    app = web.Application(
        middlewares=[observed(metrics), answered, recorded(operations), admitted(keyring, needed)],
        client_max_size=MOST_STATEMENTS,
    )
    app[_KEYRING], app[_SETTINGS] = keyring, settings
    for route in table:
        if route.method == "GET":
            app.router.add_get(route.path, route.handle, allow_head=route.path != "/v1/events")
        else:
            app.router.add_route(route.method, route.path, route.handle)
    app.on_response_prepare.append(careful_headers)
    app.on_shutdown.append(door.close)
    return app
