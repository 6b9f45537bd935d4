"""JSON web tokens as libSQL issues them: signed with Ed25519, or with a shared secret.

The algorithm is the setting's, never the token's: a token that names another one is refused before its signature is
looked at, so a public key cannot be passed off as a secret.
"""

from __future__ import annotations

import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cutover.errors import ConfigurationError
from cutover.hrana.grants import AccessRefused, Grant, digest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Algorithm = Literal["EdDSA", "HS256"]

_LEEWAY = 5.0
"""Seconds by which clocks of two machines may differ."""
_SHORTEST_SECRET = 32
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.+?-----END [A-Z0-9 ]+-----", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


class Verifier:
    """Checks tokens against the keys of one file."""

    def __init__(self, algorithm: Algorithm, keys: Mapping[bytes, Ed25519PublicKey | str]) -> None:
        """`keys` by their digests. There may be several while one takes another's place."""
        self._algorithm = algorithm
        self._keys = keys
        self.proofs = frozenset(keys)

    def verify(self, token: str) -> Grant:
        """What the token opens. Raises `AccessRefused`."""
        import jwt

        for proof, key in self._keys.items():
            try:
                claims = jwt.decode(
                    token,
                    key,
                    algorithms=[self._algorithm],
                    leeway=_LEEWAY,
                    options={"verify_aud": False, "verify_iat": False, "verify_sub": False, "verify_jti": False},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError:
                raise AccessRefused("AUTH_JWT_EXPIRED", "The token has expired.") from None
            except jwt.ImmatureSignatureError:
                raise AccessRefused("AUTH_JWT_IMMATURE", "The token is not valid yet.") from None
            except (jwt.PyJWTError, ValueError, OverflowError):  # text that is no text, a claim of infinity
                raise _invalid("The token is not a valid JSON web token of this service.") from None
            return _grant(claims, proof)
        raise _invalid("The token's signature does not verify.")


def read_verifier(path: str, algorithm: Algorithm) -> Verifier:
    """Raises `ConfigurationError`, with nothing of the file in it."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise _bad_file(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _bad_file(path, "is not text; write a key as PEM or base64") from None
    if not text:
        raise _bad_file(path, "is empty")
    return Verifier(algorithm, _secret(path, text) if algorithm == "HS256" else _public_keys(path, text))


def _secret(path: str, text: str) -> dict[bytes, Ed25519PublicKey | str]:
    if "-----BEGIN" in text:
        raise _bad_file(path, 'holds a key in PEM; front.jwt_algorithm = "HS256" takes a shared secret')
    if len(text.encode()) < _SHORTEST_SECRET:
        raise _bad_file(path, f"holds a secret of less than {_SHORTEST_SECRET} bytes, which can be guessed")
    return {digest(text): text}


def _public_keys(path: str, text: str) -> dict[bytes, Ed25519PublicKey | str]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        if "-----BEGIN" not in text:
            raw = urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
            return {digest(text): Ed25519PublicKey.from_public_bytes(raw)}
        found = {digest(pem): load_pem_public_key(pem.encode()) for pem in _PEM.findall(text)}
    except (ValueError, UnsupportedAlgorithm):
        found = {}
    keys = {proof: key for proof, key in found.items() if isinstance(key, Ed25519PublicKey)}
    if not keys or len(keys) != len(found):
        raise _bad_file(path, "holds no Ed25519 public key, as PEM or as 32 bytes in URL-safe base64")
    return dict(keys)


def _grant(claims: Mapping[str, Any], proof: bytes) -> Grant:
    until = _seconds(claims, "exp")
    _seconds(claims, "nbf")  # the library takes a text of digits for a number
    named = next((claims[key] for key in ("sub", "id") if isinstance(claims.get(key), str)), "")
    name = f"jwt:{named}" if _NAME.fullmatch(named) else "jwt"
    return Grant(name, _reads_only(claims), None if until is None else until + _LEEWAY, proof)


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    raise _invalid(f"The token's claim `{name}` is no number of seconds.")


def _reads_only(claims: Mapping[str, Any]) -> bool:
    """Whether the token may only read: by `a`, by `p`, or by the narrower of both; with neither it may write.

    Namespaces are not compared: there is one database here. A claim that is there and cannot be read opens nothing.
    """
    scope = claims.get("a", "rw")
    if scope not in ("ro", "rw"):
        raise _invalid("The token's claim `a` is neither ro nor rw.")
    writes = _permits_writing(claims["p"]) if "p" in claims else True
    return scope == "ro" or not writes


def _permits_writing(granted: object) -> bool:
    if not isinstance(granted, dict):
        raise _invalid("The token's permissions cannot be read.")
    writes, reads = _names_something(granted.get("rw")), _names_something(granted.get("ro"))
    if not writes and not reads:
        raise _invalid("The token permits nothing.")
    return writes


def _names_something(scope: object) -> bool:
    """Whether there is a name in any of its lists, as of namespaces or tags; null is an empty one."""
    lists = [[] if names is None else names for names in scope.values()] if isinstance(scope, dict) else []
    if not (scope is None or isinstance(scope, dict)) or not all(isinstance(names, list) for names in lists):
        raise _invalid("The token's permissions cannot be read.")
    return any(lists)


def _invalid(message: str) -> AccessRefused:
    return AccessRefused("AUTH_JWT_INVALID", message)


def _bad_file(path: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"front.jwt_key_file {path!r} {why}.")
