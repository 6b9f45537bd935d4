"""Who may come in at the front door, and whether to write: bearer tokens by name, and JSON web tokens."""

from __future__ import annotations

import hmac
from collections import OrderedDict

from cutover import clock
from cutover.errors import ConfigurationError
from cutover.hrana.grants import OPEN, AccessRefused, Grant, digest
from cutover.hrana.jwts import Verifier, read_verifier
from cutover.hrana.tokenfile import read_tokens
from cutover.settings import FrontSettings

_LONGEST = 8192
_REMEMBERED = 1024
"""Verified JSON web tokens, so that a client's signature is not checked with every request."""


class Access:
    """The door's lock. None configured: it stands open, and whatever a client sends is ignored."""

    def __init__(self, settings: FrontSettings) -> None:
        """Raises `ConfigurationError` for a file that cannot be read, is empty, or has a line that means nothing."""
        self._settings = settings
        self._known: dict[bytes, Grant] = {}
        self._verifier: Verifier | None = None
        self._verified: OrderedDict[bytes, Grant] = OrderedDict()
        self._open = not (settings.tokens or settings.token_file or settings.jwt_key_file)
        self.readings = 0
        """How often the files were read: what was let in before one of them may not be now."""
        self.reload()

    def reload(self) -> list[str]:
        """Read the files again. Returns the names of the tokens.

        Raises `ConfigurationError`; what was known stays in force then.
        """
        settings = self._settings
        known = _of_settings(settings)
        for grant in read_tokens(settings.token_file) if settings.token_file else ():
            twin = known.setdefault(grant.proof, grant)
            if twin.read_only != grant.read_only:
                raise ConfigurationError(f"front.token_file: {twin.name} and {grant.name} are one token.")
        verifier = read_verifier(settings.jwt_key_file, settings.jwt_algorithm) if settings.jwt_key_file else None
        if settings.tokens and not known and verifier is None:
            raise ConfigurationError("front.tokens holds only empty tokens; remove it, or give it a token.")
        self._known, self._verifier = known, verifier
        self.readings += 1
        self._verified.clear()
        return sorted({grant.name for grant in known.values()})

    @property
    def reloads(self) -> bool:
        """Whether there is any file to read again."""
        return bool(self._settings.token_file or self._settings.jwt_key_file)

    def admit_header(self, header: str | None) -> Grant:
        """The same as `admit` for the value of an Authorization header. Raises `AccessRefused`."""
        if self._open:
            return OPEN
        if not header:
            raise AccessRefused("AUTH_HTTP_HEADER_MISSING", "Send a token as `Authorization: Bearer TOKEN`.")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise AccessRefused(
                "AUTH_HTTP_HEADER_UNSUPPORTED_SCHEME", "Only `Authorization: Bearer TOKEN` is understood."
            )
        return self.admit(token.strip())

    def admit(self, token: str | None) -> Grant:
        """What `token` opens. Takes the same time for every token that is none. Raises `AccessRefused`."""
        if self._open:
            return OPEN
        if not token:
            raise AccessRefused("AUTH_JWT_MISSING", "A token is needed; none was sent.")
        if len(token) > _LONGEST:
            raise AccessRefused("AUTH_INVALID", f"A token can have {_LONGEST} characters.")
        given = digest(token)
        found: Grant | None = None
        for proof, grant in self._known.items():
            if hmac.compare_digest(proof, given):
                found = grant
        if found is not None:
            return found
        if self._verifier is None:
            raise AccessRefused("AUTH_INVALID", "The token is not one of this service's.")
        return self._verify(self._verifier, token, given)

    def still(self, grant: Grant) -> bool:
        """Whether a grant of before is good now: for connections that outlive a reload, or their token."""
        if grant is OPEN:
            return self._open
        if grant.until is not None and clock.wall() >= grant.until:
            return False
        today = self._known.get(grant.proof)
        if today is not None:
            return today.read_only == grant.read_only
        return self._verifier is not None and grant.proof in self._verifier.proofs

    def gone(self, grant: Grant) -> bool:
        """Whether there is no such token any more, under another secret neither, or only one that permits less."""
        return not self.still(grant) and not any(
            grant.name == known.name and grant.read_only >= known.read_only for known in self._known.values()
        )

    def _verify(self, verifier: Verifier, token: str, given: bytes) -> Grant:
        """A token with a signature; what is found is remembered as long as the token is good."""
        known = self._verified.get(given)
        if known is not None and (known.until is None or clock.wall() < known.until):
            return known
        grant = verifier.verify(token)
        self._verified[given] = grant
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return grant


def _of_settings(settings: FrontSettings) -> dict[bytes, Grant]:
    texts = [token.get_secret_value().strip() for token in settings.tokens]
    grants = [Grant(f"tokens.{at}", proof=digest(text)) for at, text in enumerate(texts) if text]
    return {grant.proof: grant for grant in grants}
