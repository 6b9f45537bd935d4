"""What a WebSocket says, frame by frame; frames of one moment leave in one write.

A write is a call of the system and costs more than making the answer that it carries. So this makes data frames
itself, which is little for a server (RFC 6455: a length, and no mask), and leaves all else of the protocol to aiohttp.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from aiohttp.abc import AbstractStreamWriter

_SHORT, _MIDDLE = 126, 1 << 16
_TEXT, _BINARY = b"\x81", b"\x82"
_DEAD_AFTER = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between questions, questions: a host that has vanished is noticed after a minute."""


class Outbox:
    """Of one connection. Its owner flushes it before anybody else may close the connection."""

    def __init__(self, transport: asyncio.Transport, writer: AbstractStreamWriter, *, binary: bool) -> None:
        self._first = _BINARY if binary else _TEXT
        self._transport = transport
        self._writer = writer
        self._frames: list[bytes] = []
        _ask_for_signs_of_life(transport.get_extra_info("socket"))

    async def send(self, message: bytes) -> None:
        """Send a message. Returns when the client has taken enough of what was sent before."""
        if not self._frames:
            asyncio.get_running_loop().call_soon(self.flush)
        self._frames += (self._first + _length(len(message)), message)
        await self._writer.drain()

    def flush(self) -> None:
        """Let go of what is here."""
        frames, self._frames = self._frames, []
        if frames and not self._transport.is_closing():
            self._transport.write(b"".join(frames))


def _length(length: int) -> bytes:
    if length < _SHORT:
        return length.to_bytes(1, "big")
    return b"\x7e" + length.to_bytes(2, "big") if length < _MIDDLE else b"\x7f" + length.to_bytes(8, "big")


def _ask_for_signs_of_life(connection: Any) -> None:  # noqa: ANN401  # the loop's own kind of socket
    """Have the system ask; a client whose process is busy need not answer itself."""
    for name, value in _DEAD_AFTER.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
