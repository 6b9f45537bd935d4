"""Batons: proof that a client holds a stream, good for one request. Unforgeable and unpredictable."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode

_BODY = struct.Struct(">QQ")
_MAC = 16


class Batons:
    """Signs with a key of this process: no baton outlives it, as no stream does."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def write(self, stream_id: int, sequence: int) -> str:
        """The baton for the request number `sequence` of a stream."""
        body = _BODY.pack(stream_id, sequence)
        return urlsafe_b64encode(body + self._sign(body)).rstrip(b"=").decode("ascii")

    def read(self, baton: str) -> tuple[int, int] | None:
        """(stream id, sequence) of a baton of ours; None for anything else."""
        try:
            raw = urlsafe_b64decode(baton.encode("ascii") + b"=" * (-len(baton) % 4))
        except ValueError:
            return None
        body, mac = raw[: _BODY.size], raw[_BODY.size :]
        if len(mac) != _MAC or not hmac.compare_digest(mac, self._sign(body)):
            return None
        stream_id, sequence = _BODY.unpack(body)
        return stream_id, sequence

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[:_MAC]
