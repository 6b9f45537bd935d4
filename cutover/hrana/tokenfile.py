"""`front.token_file`: one token a line, plain, or with a name and what it may do.

    SECRET                          may read and write; named after its line
    NAME ro|rw SECRET
    NAME ro|rw sha256:HEX           the file holds no secret then
    # a comment

A line that means nothing is told by its number and never printed: it may hold a secret all the same.
"""

from __future__ import annotations

import re
from pathlib import Path

from cutover.errors import ConfigurationError
from cutover.hrana.grants import Grant, digest

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")


def read_tokens(path: str) -> list[Grant]:
    """Every token of the file. Raises `ConfigurationError`."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigurationError(f"front.token_file {path!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"front.token_file {path!r} cannot be read: it is not UTF-8 text.") from None
    found = [
        _grant(path, number, line.split())
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("# ")
    ]
    if not found:
        raise ConfigurationError(f"front.token_file {path!r} holds no token.", hint="Write one token per line.")
    return found


def _grant(path: str, number: int, words: list[str]) -> Grant:
    if len(words) == 1:
        words = [f"line.{number}", "rw", *words]
    if len(words) != 3 or not _NAME.fullmatch(words[0]) or words[1] not in ("ro", "rw"):
        raise _unclear(path, number, "it is neither `TOKEN` nor `NAME ro|rw TOKEN`")
    name, scope, secret = words
    hashed = _DIGEST.fullmatch(secret)
    if secret.startswith("sha256:") and hashed is None:
        raise _unclear(path, number, "sha256: takes 64 hexadecimal digits")
    return Grant(name, scope == "ro", proof=bytes.fromhex(hashed[1]) if hashed else digest(secret))


def _unclear(path: str, number: int, why: str) -> ConfigurationError:
    return ConfigurationError(f"front.token_file {path!r}, line {number}: {why}.")
