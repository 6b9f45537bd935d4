"""What a token opens, and how a token that opens nothing is answered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cutover.errors import CutoverError


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client was let in for. `name` is for logs, limits and messages; it is no secret."""

    name: str
    read_only: bool = False
    until: float | None = None
    """Seconds since 1970 at which a JSON web token ends; None: never."""
    proof: bytes = field(default=b"", repr=False)
    """Digest of the token, or of the key that its signature was made with."""


OPEN = Grant("")
"""Of a door without a lock."""


@dataclass(slots=True)
class Guest:
    """Who asks: let in for what, and from where. One is made for each request, which one that is frozen would slow."""

    grant: Grant
    address: str

    @property
    def key(self) -> str:
        """Whom limits of one client are counted for: a token's clients together, else those of one address."""
        return self.grant.name or self.address

    @property
    def reader(self) -> str:
        """The token's name if it may only read, else empty."""
        return self.grant.name if self.grant.read_only else ""


class AccessRefused(CutoverError):
    """The door stays shut: HTTP 401, or a WebSocket's `hello_error`. `code` is one of AUTH_*."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"Unauthorized: {message}")
        self.code = code


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
