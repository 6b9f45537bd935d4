"""The head of an ordinary request: which those are, and what is read of them. Pure."""

from __future__ import annotations

import re

from cutover import tracing

_HEAD = re.compile(
    rb"POST (/v([23])/pipeline) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}:[\t\x20-\x7e]*\r\n){1,64})\r\n"
)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,9}")
_UNUSUAL = frozenset(("transfer-encoding", "expect", "upgrade", "content-encoding", "te", "trailer"))


class Head:
    """The head of an ordinary request."""

    __slots__ = ("_after", "_before", "carries", "endpoint", "headers", "length", "raw", "version")

    def __init__(
        self, raw: bytes, endpoint: str, version: int, headers: dict[str, str], length: int, at: tuple[int, int]
    ) -> None:
        """`at`: where the digits of its length stand."""
        self.raw = raw
        self.endpoint = endpoint
        self.version = version
        self.headers = headers
        self.length = length
        self._before, self._after = raw[: at[0]], raw[at[1] :]
        self.carries = tracing.carried(headers)
        """Whether the request says which one it is."""

    def length_in(self, raw: bytes, largest: int) -> int | None:
        """The length of the body behind a head that differs from this one in the digits of that length alone; None if
        it differs in more, or the body has more than `largest` bytes."""
        if not raw.startswith(self._before) or not raw.endswith(self._after):
            return None
        digits = raw[len(self._before) : len(raw) - len(self._after)]
        if not _DIGITS.fullmatch(digits):
            return None
        length = int(digits)
        return length if length <= largest else None


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
    length = _LENGTH.search(raw)
    if length is None or int(length[1]) > largest or "host" not in headers:
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    return Head(raw, found[1].decode("ascii"), int(found[2]), headers, int(length[1]), length.span(1))
