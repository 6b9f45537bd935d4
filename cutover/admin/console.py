"""The operators' console: one page with everything in it, so that it works where nothing else can be reached."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files


@cache
def console_text() -> str:
    """The page."""
    return (files("cutover.admin") / "console.html").read_text(encoding="utf-8")


@cache
def console_policy() -> str:
    """Its Content-Security-Policy: only the script and the style that are in the page, and only this service."""
    return (
        f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hashes(tag: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", console_text(), re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in found)
