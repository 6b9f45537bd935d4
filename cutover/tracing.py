"""Which request a log line tells of: by the client's own id for it, and by its place in a distributed trace.

A request that carries neither costs nothing here, until a line about it is written; then an id is made up.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Protocol

REQUEST_ID = "x-request-id"
_PARENT = "traceparent"
_STATE = "tracestate"
_LONGEST_STATE = 512

_ID = re.compile(r"[\x21-\x7e]{1,128}")
_STATES = re.compile(r"[\x20-\x7e]+")
_TRACE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


class Headers(Protocol):
    """A request's headers, by names in small letters."""

    def get(self, name: str, /) -> str | None:
        """Its value, or None."""
        ...


class _Request:
    """The request that runs in this context."""

    __slots__ = ("request_id", "trace")

    def __init__(self, request_id: str | None, trace: dict[str, str]) -> None:
        if request_id is not None and not _ID.fullmatch(request_id):
            request_id = secrets.token_hex(8)
        self.request_id = request_id
        self.trace = trace


_current: ContextVar[_Request | None] = ContextVar("request", default=None)


def carried(headers: Headers) -> bool:
    """Whether a request says anything of itself."""
    return headers.get(REQUEST_ID) is not None or headers.get(_PARENT) is not None


def begin(headers: Headers) -> None:
    """A request begins in this context, with what it says of itself. What is malformed counts as not sent."""
    if carried(headers):
        request_id, parent = headers.get(REQUEST_ID), headers.get(_PARENT)
        trace = {} if parent is None else _trace(parent, headers.get(_STATE))
        _current.set(_Request(request_id, trace))
    else:
        forget()


def forget() -> None:
    """A request begins in this context that says nothing of itself."""
    if _current.get() is not None:  # left by the last request of this connection
        _current.set(None)


def told() -> dict[str, str]:
    """What a log line about the request in this context says of it: `request_id`, and of a trace `trace_id`,
    `parent_id` (the caller's span), `span_id` (ours) and `tracestate`."""
    current = _current.get()
    if current is None:
        current = _Request(None, {})
        _current.set(current)
    if current.request_id is None:
        current.request_id = secrets.token_hex(8)
    return {"request_id": current.request_id, **current.trace}


def named() -> str | None:
    """The id that the client is to be told: its own, or one that stands in the log. None if there is none."""
    current = _current.get()
    return None if current is None else current.request_id


def _trace(parent: str, state: str | None) -> dict[str, str]:
    """W3C Trace Context, level 1: a version of the future may append to what we know, version 0 may not."""
    found = _TRACE.fullmatch(parent.strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[4] is not None):
        return {}
    if not found[2].strip("0") or not found[3].strip("0"):
        return {}
    trace = {"trace_id": found[2], "parent_id": found[3], "span_id": secrets.token_hex(8)}
    if state and len(state) <= _LONGEST_STATE and _STATES.fullmatch(state):
        trace["tracestate"] = state
    return trace
