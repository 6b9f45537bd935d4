"""Runs `cutover` in this process, as the shell would, and keeps what it printed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import structlog

from cutover.cli.main import main


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def cutover(*args: str, typed: str | None = None) -> Ran:
    """Run a command beside the test's event loop. With `typed`, standard input and error are a terminal."""
    return await asyncio.to_thread(_run, args, typed)


def _run(args: tuple[str, ...], typed: str | None) -> Ran:
    out = io.StringIO()
    err = _Terminal() if typed is not None else io.StringIO()
    given = _Terminal(typed) if typed is not None else io.StringIO()
    code: Any = None
    with (
        structlog.testing.capture_logs(),  # the service in this process logs to standard output
        patch.object(sys, "argv", ["cutover", *args]),
        patch.object(sys, "stdin", given),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return Ran(int(code or 0), out.getvalue(), err.getvalue())
