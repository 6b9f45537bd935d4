"""A harness's URL as other tools write it."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlsplit


def sqlalchemy_url(url: str, sqlite: str = "sqlite", postgres: str = "postgresql+psycopg2") -> str:
    """As SQLAlchemy writes it, for the drivers named."""
    if url.startswith("sqlite:"):
        return url.replace("sqlite", sqlite, 1)
    parts = libpq(url)
    return f"{postgres}://{parts['user']}@/{parts['dbname']}?host={quote(parts['host'], safe='')}&port={parts['port']}"


def libpq(url: str) -> dict[str, str]:
    """Its parts: user, dbname, host, port."""
    parts = urlsplit(url)
    more = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return {
        "user": parts.username or "postgres",
        "dbname": parts.path.lstrip("/"),
        "host": parts.hostname or more.get("host", ""),
        "port": str(parts.port or more.get("port", "5432")),
    }
