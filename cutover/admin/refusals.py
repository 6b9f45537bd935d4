"""How the operators' door says no: which error becomes which status, and the one shape they all have."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from cutover.errors import (
    AuditBroken,
    CaptureBroken,
    ConfigurationError,
    ControlDamaged,
    CutoverError,
    Fenced,
    FenceTimeout,
    GatesFailed,
    NoSuchTable,
    OwnedElsewhere,
    RolesChanging,
    SchemaError,
    StaleApplier,
    StoreError,
    StoreUnavailable,
    SwitchAborted,
    SwitchRefused,
    Unrepresentable,
)

_STATUS: tuple[tuple[type[CutoverError], int], ...] = (
    (StoreUnavailable, 503),
    (RolesChanging, 503),
    (FenceTimeout, 503),
    (Fenced, 409),
    (StaleApplier, 409),
    (ControlDamaged, 409),
    (CaptureBroken, 409),
    (StoreError, 500),
    (SwitchRefused, 409),
    (SwitchAborted, 409),
    (OwnedElsewhere, 409),
    (SchemaError, 409),
    (Unrepresentable, 409),
    (AuditBroken, 409),
    (NoSuchTable, 404),
    (ConfigurationError, 400),
)
"""First match wins. What stands in no line was asked wrongly: 400."""

_REQUEST_IS_WRONG = {
    "approval_required": 400,
    "data_loss_not_accepted": 400,
    "unknown_gate": 400,
    "forbidden": 403,
}
"""Refusals of a switch that are about the request, not about the state."""


class RequestRefused(CutoverError):
    """A request that cannot be taken as it is. `status` is the HTTP status, `detail` an optional JSON value."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        detail: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def dumps(value: object) -> bytes:
    """Compact JSON. Text that is not valid Unicode (a lone surrogate in a drifted row) is escaped, not refused."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON response."""
    return web.Response(body=dumps(value), status=status, content_type="application/json", headers=headers)


def status_of(error: CutoverError) -> int:
    """The HTTP status of an error of ours."""
    if isinstance(error, RequestRefused):
        return error.status
    if isinstance(error, SwitchRefused) and error.code in _REQUEST_IS_WRONG:
        return _REQUEST_IS_WRONG[error.code]
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 400)


def refuse(error: CutoverError) -> web.Response:
    """`{"error": {"code", "message", "detail"?}}`, with `gates` beside it where gates failed."""
    status = status_of(error)
    body: dict[str, Any] = {"error": {"code": error.code, "message": str(error)}}
    headers: dict[str, str] = {}
    if isinstance(error, RequestRefused):
        headers.update(error.headers)
        if error.detail is not None:
            body["error"]["detail"] = error.detail
    if isinstance(error, GatesFailed):
        body["gates"] = gates_json(error.gates)
    if status == 503:
        headers.setdefault("Retry-After", "1")
    return answer(body, status, headers)


def gates_json(gates: Sequence[object]) -> list[Any]:
    """Gates as JSON objects, whether they come as `model.control.Gate` or as JSON already."""
    return [
        dataclasses.asdict(gate) if dataclasses.is_dataclass(gate) and not isinstance(gate, type) else gate
        for gate in gates
    ]
