"""What a request is answered with, whichever way it came in; and what each failure becomes. Pure.

Content types are written without a charset: clients compare them as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from cutover.errors import StatementError
from cutover.hrana.answers import write_error, write_json
from cutover.hrana.failures import outcome_unknown
from cutover.hrana.fields import ProtocolError
from cutover.hrana.grants import AccessRefused
from cutover.hrana.stream import Busy, TooManyStreams
from cutover.write_through import HeldTooLong, ShuttingDown

JSON = "application/json"
PLAIN = "text/plain"
ORIGIN = {"access-control-allow-origin": "*"}
_RETRY = {"retry-after": "1"}
_CHALLENGE = {"www-authenticate": "Bearer"}


@dataclass(slots=True)
class Reply:
    """A whole answer. `headers` come on top of the content type and what CORS needs."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    """How many stream requests it answers."""
    last: bool = False
    """Whether the connection is closed after it: the request was not read to its end."""


class NotRead(Exception):
    """A request was not read to its end, and is answered with this."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def full(what: str) -> Reply:
    """There is no room for another request, or connection, whose body is not even read."""
    text = f"There is no room for another {what} now; nothing was executed. Repeat it."
    return Reply(write_json({"message": text, "code": "SQLITE_BUSY"}), 503, headers=_RETRY, last=True)


def late() -> Reply:
    """The rest of a request did not come."""
    text = "The request did not come within front.request_timeout; nothing was executed."
    return Reply(write_json({"message": text, "code": "REQUEST_TIMEOUT"}), 408, last=True)


def garbled() -> Reply:
    """The body is not what its head says: not compressed as it says, or not in chunks."""
    text = "The request's body cannot be decoded by its content-encoding or transfer-encoding; nothing was executed."
    return Reply(text.encode(), 400, PLAIN, last=True)


def refusal(error: Exception) -> Reply:
    """The answer to a request that failed as a whole. Raises `error` if it is an answer of aiohttp's own."""
    match error:
        case ProtocolError(code=""):
            return Reply(error.message.encode(), error.status, PLAIN)
        case ProtocolError():
            return Reply(write_json({"message": error.message, "code": error.code}), error.status)
        case NotRead(reply=reply):
            return reply
        case AccessRefused():
            told = {"error": error.message, "message": error.message, "code": error.code}
            return Reply(write_json(told), 401, headers=_CHALLENGE)
        case TooManyStreams(error=reason):
            return Reply(write_json(write_error(reason)), 429, headers=_RETRY)
        case Busy(error=reason) | (HeldTooLong() | ShuttingDown() as reason):
            return Reply(write_json(write_error(reason)), 503, headers=_RETRY)
        case StatementError():
            return Reply(write_json(write_error(error)), 400)
        case web.HTTPRequestEntityTooLarge():
            text = "The request is larger than front.max_request_bytes."
            return Reply(write_json({"message": text, "code": "REQUEST_TOO_LARGE"}), 413, last=True)
        case web.HTTPException():
            raise error
        case _:
            return Reply(write_json(write_error(outcome_unknown(error))), 500)
