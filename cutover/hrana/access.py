"""Bearer tokens of the front door."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from cutover.errors import ConfigurationError
from cutover.settings import FrontSettings


class Tokens:
    """The tokens that open the door. None configured: it stands open, and whatever a client sends is ignored."""

    def __init__(self, settings: FrontSettings) -> None:
        """Raises `ConfigurationError` if `token_file` cannot be read or holds no token."""
        tokens = [token.get_secret_value() for token in settings.tokens]
        if settings.token_file:
            tokens += _read(settings.token_file)
        self._digests = [_digest(token.strip()) for token in tokens if token.strip()]
        if tokens and not self._digests:
            raise ConfigurationError("front.tokens holds only empty tokens; remove it, or give it a token.")

    def admit(self, header: str | None) -> bool:
        """Whether an Authorization header opens the door. Takes the same time for every wrong token."""
        if not self._digests:
            return True
        scheme, _, token = (header or "").partition(" ")
        given = _digest(token.strip())
        known = [hmac.compare_digest(digest, given) for digest in self._digests]
        return scheme.lower() == "bearer" and any(known)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _read(path: str) -> list[str]:
    try:
        tokens = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"front.token_file {path!r} cannot be read: {error}.") from None
    if not tokens:
        raise ConfigurationError(f"front.token_file {path!r} holds no token.", hint="Write one token per line.")
    return tokens
