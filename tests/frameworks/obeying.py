"""The application's side of `tests/support/applications.py`: a process that does what it is told, line by line.

Needs nothing but Python, since it runs where the application's own packages are installed.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable
from typing import Any, Protocol

DATABASE = os.environ.get("APPLICATION_DATABASE", "")
"""`sqlite:///PATH` or `postgresql://...`, as the harness gives it."""

Reading = dict[str, dict[str, str]]
"""What the application sees, as it sees it: by kind of thing, by name or key."""


class Application(Protocol):
    """One application on one database."""

    def migrate(self) -> None:
        """Make the schema by the framework's own means."""

    def seed(self) -> None:
        """Fill it with data. Asked once, on SQLite."""

    def write(self, turn: int) -> None:
        """Add, change and remove things, as the application would. Another turn each time."""

    def read(self) -> Reading:
        """Everything there is."""


def obey(application: Application) -> None:
    """Answer the harness until it closes standard input. What the application prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked, *arguments = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            answer["result"] = getattr(application, asked)(*arguments)
        except Exception:  # noqa: BLE001  # told to harness
            answer["error"] = traceback.format_exc()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def plain(value: Any) -> Any:
    """A value as it is compared: JSON has no order of keys, and bytes are bytes."""
    if isinstance(value, memoryview):
        return bytes(value)
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def by_key(rows: Iterable[tuple[Any, ...]], key: int = 1) -> dict[str, str]:
    """Rows as `Reading` wants them; the first `key` columns are the key. Rows of one key are told apart by number."""
    found: dict[str, str] = {}
    for row in rows:
        name = repr(row[:key])
        while name in found:
            name += "+"
        found[name] = repr(row)
    return found
