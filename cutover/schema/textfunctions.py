"""Postgres's functions of text that SQLite does not have, for questions to SQLite's rows."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from functools import lru_cache


def register_text_functions(connection: sqlite3.Connection) -> None:
    """What SQLite has no function for. They are given text as blobs, so that any bytes arrive."""
    connection.create_function("cutover_lower", 2, _lower, deterministic=True)
    connection.create_function("cutover_upper", 2, _upper, deterministic=True)
    connection.create_function("cutover_like", 2, _like, deterministic=True)
    connection.create_function("cutover_regexp", 2, _regexp, deterministic=True)


def _text(raw: object) -> str | None:
    try:
        return raw.decode() if isinstance(raw, bytes) else None
    except UnicodeDecodeError:
        return None  # counted as broken text


def _lower(raw: object, anywhere: int) -> str | None:
    return _cased(_text(raw), str.lower, bool(anywhere))


def _upper(raw: object, anywhere: int) -> str | None:
    return _cased(_text(raw), str.upper, bool(anywhere))


def _cased(text: str | None, change: Callable[[str], str], anywhere: bool) -> str | None:
    """Locale C changes ASCII alone and C.UTF-8 all letters; not `anywhere`, nothing is said where that matters."""
    if text is None or anywhere or text.isascii():
        return text and change(text)
    return text if change(text) == text else None


def _like(raw: object, pattern: str) -> bool | None:
    text = _text(raw)
    return None if text is None else _like_pattern(pattern).fullmatch(text) is not None


@lru_cache(maxsize=64)
def _like_pattern(pattern: str) -> re.Pattern[str]:
    words = re.findall(r"\\.|.", pattern, re.DOTALL)
    made = {"%": ".*", "_": "."}
    return re.compile("".join(made.get(word) or re.escape(word[-1]) for word in words), re.DOTALL)


def _regexp(raw: object, pattern: str) -> bool | None:
    text = _text(raw)
    return None if text is None else regexp_pattern(pattern).search(text) is not None


@lru_cache(maxsize=64)
def regexp_pattern(pattern: str) -> re.Pattern[str]:
    """A plain pattern of Postgres as Python has it. Raises `re.error`."""
    ends = re.sub(r"(\\.|\[[^\]]*\])|\$", lambda found: found[1] or r"\Z", pattern)
    return re.compile(ends, re.DOTALL | re.ASCII)
