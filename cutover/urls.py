"""URLs that people write: what is none is refused where it is given, without telling the password in it."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

POSTGRES = ("postgresql", "postgres")
_LAST_PORT = 65535


def split_url(url: str, schemes: Collection[str], example: str) -> SplitResult:
    """Its parts. Raises `ValueError`, which says how one is written, for what is no URL of these schemes."""
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        ports = [host.rpartition("]")[2].partition(":")[2] for host in hosts]
        well = parts.scheme in schemes and " " not in parts.netloc and all(map(_is_port, ports))
    except ValueError:
        well = False
    if not well:
        raise ValueError(f"this is no URL; write it as {example}")
    return parts


def split_postgres(url: str) -> SplitResult:
    """The parts of a URL of Postgres, which may name several hosts. Raises `ValueError`."""
    return split_url(url, POSTGRES, "postgresql://user@host:5432/database")


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and 0 < int(text) <= _LAST_PORT)
