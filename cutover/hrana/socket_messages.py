"""What clients say on a WebSocket. Pure; all that is not as the protocol says is refused."""

from __future__ import annotations

from dataclasses import dataclass

from cutover.hrana.fields import Json, ProtocolError, read_json
from cutover.hrana.messages import Batch, CloseSql, Request, StoreSql, read_batch, read_id, read_part, read_request

_ON_STREAMS = ("execute", "batch", "sequence", "describe", "get_autocommit")
_FIRST_VERSION = ("execute", "batch")


@dataclass(frozen=True, slots=True)
class Hello:
    """`hello`."""

    jwt: str | None


@dataclass(frozen=True, slots=True)
class OpenStream:
    """`open_stream`."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class CloseStream:
    """`close_stream`."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class OnStream:
    """A request that a stream performs; what it asks for is as over HTTP."""

    stream_id: int
    request: Request


@dataclass(frozen=True, slots=True)
class OpenCursor:
    """`open_cursor` (Hrana 3)."""

    stream_id: int
    cursor_id: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class FetchCursor:
    """`fetch_cursor` (Hrana 3)."""

    cursor_id: int
    max_count: int


@dataclass(frozen=True, slots=True)
class CloseCursor:
    """`close_cursor` (Hrana 3)."""

    cursor_id: int


SocketRequest = OpenStream | CloseStream | OnStream | StoreSql | CloseSql | OpenCursor | FetchCursor | CloseCursor


@dataclass(frozen=True, slots=True)
class Call:
    """`request`."""

    request_id: int
    request: SocketRequest


def read_message(text: bytes, version: int) -> Hello | Call:
    """One message. Raises `ProtocolError`; `NotJson` if it is not even JSON."""
    found = read_json(text, "The message")
    match found.get("type"):
        case "request":
            return Call(read_id(found, "request_id"), _request(read_part(found, "request"), version))
        case "hello":
            jwt = found.get("jwt")
            if jwt is not None and not isinstance(jwt, str):
                raise ProtocolError("jwt must be a JSON string or null.")
            return Hello(jwt)
        case kind:
            raise ProtocolError(f"A message has the unknown type {str(kind)[:40]!r}.")


def _request(found: Json, version: int) -> SocketRequest:
    match found.get("type"):
        case str(kind) if kind in _FIRST_VERSION or (version >= 2 and kind in _ON_STREAMS):
            return OnStream(read_id(found, "stream_id"), read_request(found, version))
        case "open_stream":
            return OpenStream(read_id(found, "stream_id"))
        case "close_stream":
            return CloseStream(read_id(found, "stream_id"))
        case "store_sql" | "close_sql" if version >= 2:
            request = read_request(found, version)
            assert isinstance(request, StoreSql | CloseSql)
            return request
        case "open_cursor" if version >= 3:
            batch = read_batch(found.get("batch"), version)
            return OpenCursor(read_id(found, "stream_id"), read_id(found, "cursor_id"), batch)
        case "fetch_cursor" if version >= 3:
            return FetchCursor(read_id(found, "cursor_id"), _count(found.get("max_count")))
        case "close_cursor" if version >= 3:
            return CloseCursor(read_id(found, "cursor_id"))
        case kind:
            raise ProtocolError(f"A request has the type {str(kind)[:40]!r}, which is not in Hrana {version}.")


def _count(found: object) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 32:
        raise ProtocolError("max_count must be an unsigned 32-bit integer.")
    return found
