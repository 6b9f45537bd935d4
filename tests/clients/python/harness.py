"""One process for each scenario: its cases run one after another, each reports a line, the exit code is the verdict.

The same as `../node/harness.mjs`, line for line, so that a test need not know which language it has started.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

URL = os.environ.get("DOOR_URL", "")
TOKEN = os.environ.get("DOOR_TOKEN", "")
KIND = os.environ.get("DOOR_KIND", "http")
PREFIX = os.environ.get("TABLE_PREFIX", "")
PLACE = URL.partition("://")[2]
ON_POSTGRES = os.environ.get("DOOR_PRIMARY") == "postgres"

TEXTS = [
    *("", " ", "a\0b", "\0", "'\"`;--", "\\n\\", "line\r\nline\u2028\u2029", "Žluťoučký kůň", "日本語"),
    *(
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "\U0010ffff\U00010000",
        "e\u0301 é",
        "\ufeffmark",
        "\u202ertl",
        "\x7f\x80\uffff\ufffd",
        "x" * 100_000,
    ),
]
if ON_POSTGRES:  # which has no such character
    TEXTS = [text for text in TEXTS if "\0" not in text]
INTEGERS = [0, 1, -1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, 0.1, -1.5, 2.0**53, 1e-7, 1e21, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308]
LARGE = bytes(at * at % 251 for at in range(1 << 20))

_cases: list[Callable[[], Any]] = []
_told: dict[str, Any] = {}


def case(run: Callable[[], Any]) -> Callable[[], Any]:
    """Add a case. Cases run in order; a failed one does not stop the next."""
    _cases.append(run)
    return run


def tell(name: str, value: Any) -> None:
    """Note something that was acknowledged."""
    _told[name] = value


def refused(kind: type[BaseException], run: Callable[..., Any], *args: Any, **more: Any) -> BaseException:
    """The error that a call raises; fails when it raises none."""
    try:
        value = run(*args, **more)
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got {value!r}")


async def refused_soon(kind: type[BaseException], awaited: Any) -> BaseException:
    """The error of something awaited; fails when it has none."""
    try:
        value = await awaited
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got {value!r}")


def main() -> None:
    """Run the cases; the last thing a scenario does."""
    failed = 0
    with asyncio.Runner() as runner:  # used by coroutines alone: Django's calls want no loop around them
        for run in _cases:
            name = run.__name__.replace("_", " ")
            began = time.perf_counter()
            try:
                result = run()
                if inspect.iscoroutine(result):
                    runner.run(asyncio.wait_for(result, 60))
            except Exception:  # noqa: BLE001  # told to test
                failed += 1
                print(f"FAIL  {name}\n{traceback.format_exc()}", flush=True)
            else:
                print(f"ok   {(time.perf_counter() - began) * 1000:5.0f} ms  {name}", flush=True)
    if not failed:
        print(f"told {json.dumps(_told)}", flush=True)
    sys.exit(int(failed > 0))
