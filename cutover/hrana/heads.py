"""The head of an ordinary request: which those are, and what is read of them. Pure."""

from __future__ import annotations

import re

from cutover import tracing

_HEAD = re.compile(
    rb"POST (/v([23])/pipeline) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}:[\t\x20-\x7e]*\r\n){1,64})\r\n"
)
_LENGTH = re.compile(r"[0-9]{1,9}")
_UNUSUAL = frozenset(("transfer-encoding", "expect", "upgrade", "content-encoding", "te", "trailer"))


class Head:
    """The head of an ordinary request."""

    __slots__ = ("carries", "endpoint", "headers", "length", "raw", "version")

    def __init__(self, raw: bytes, endpoint: str, version: int, headers: dict[str, str], length: int) -> None:
        self.raw = raw
        self.endpoint = endpoint
        self.version = version
        self.headers = headers
        self.length = length
        self.carries = tracing.carried(headers)
        """Whether the request says which one it is."""


def read_head(raw: bytes, largest: int) -> Head | None:
    """The head of a request, up to and with its empty line; None if it is not an ordinary one, or its body has more
    than `largest` bytes."""
    found = _HEAD.fullmatch(raw)
    if found is None:
        return None
    headers: dict[str, str] = {}
    for line in found[3].decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name in headers or name in _UNUSUAL:
            return None
        headers[name] = value.strip(" \t")
    length = headers.get("content-length", "")
    if "host" not in headers or not _LENGTH.fullmatch(length) or int(length) > largest:
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    return Head(raw, found[1].decode("ascii"), int(found[2]), headers, int(length))
