"""Who may do what at the operators' door: roles, tokens, and the rules for a door without tokens."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from cutover.admin.operations import Role
from cutover.errors import ConfigurationError
from cutover.settings import AdminSettings

ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""From the least to the most; each may do what those before it may."""


@dataclass
class Keyring:
    """The accepted tokens, as digests only: nothing here could print a secret. `digests` change with a reload."""

    digests: tuple[tuple[Role, bytes], ...] = field(repr=False)

    @property
    def empty(self) -> bool:
        """Whether no token is configured, so that everybody who can reach the door is an admin."""
        return not self.digests

    def has(self, role: Role) -> bool:
        """Whether a token for exactly this role is configured."""
        return any(found == role for found, _ in self.digests)

    def role_of(self, token: str) -> Role | None:
        """The role of `token`. Every digest is compared, so the time taken tells nothing."""
        given = _digest(token)
        matched: Role | None = None
        for role, known in self.digests:
            if hmac.compare_digest(given, known):
                matched = role
        return matched


def allows(role: Role, needed: Role) -> bool:
    """Whether `role` includes `needed`."""
    return ROLES.index(role) >= ROLES.index(needed)


def load_keyring(settings: AdminSettings) -> Keyring:
    """Read the tokens from settings and token files.

    Raises `ConfigurationError` for a file that cannot be read or is empty, a role given twice, or one token that
    stands for two roles.
    """
    found: list[tuple[Role, bytes]] = []
    for role in ROLES:
        token = _token(settings, role)
        if not token:
            continue
        twin = next((other for other, known in found if known == _digest(token)), None)
        if twin is not None:
            raise ConfigurationError(
                f"admin.{twin}_token and admin.{role}_token are the same.", hint="Give each role a token of its own."
            )
        found.append((role, _digest(token)))
    return Keyring(tuple(found))


def split_listen(listen: str, setting: str) -> tuple[str, int]:
    """Host and port of "host:port" ("[::1]:8081" for IPv6). Raises `ConfigurationError` naming `setting`."""
    host, colon, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535 or (":" in host and host == bare):
        raise ConfigurationError(
            f'{setting}: {listen!r} is no address to listen on; write "host:port", such as "127.0.0.1:8081".'
        )
    return bare, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`. An empty host means every interface."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(settings: AdminSettings, keyring: Keyring) -> None:
    """Refuse (`ConfigurationError`) to serve the door to other machines when it has no lock."""
    host, _ = split_listen(settings.listen, "admin.listen")
    if keyring.empty and not is_loopback(host):
        raise ConfigurationError(
            f"admin.listen is {settings.listen!r}, which other machines can reach, but no token is set.",
            hint="Set admin.viewer_token, admin.operator_token and admin.admin_token (or their _file), "
            'or listen on "127.0.0.1:8081".',
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _token(settings: AdminSettings, role: Role) -> str:
    token: str = getattr(settings, f"{role}_token").get_secret_value()
    file: str = getattr(settings, f"{role}_token_file")
    if not file:
        return token
    if token:
        raise ConfigurationError(f"admin.{role}_token and admin.{role}_token_file are both set.", hint="Keep one.")
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"admin.{role}_token_file: {file!r} cannot be read: {reason}.") from None
    if not text:
        raise ConfigurationError(f"admin.{role}_token_file: {file!r} is empty.", hint="Put the token on its one line.")
    if len(text.split()) != 1:
        raise ConfigurationError(f"admin.{role}_token_file: {file!r} holds more than one token.", hint="Keep one line.")
    return text
