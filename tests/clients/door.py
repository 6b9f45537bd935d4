"""Runs a scenario of a client as a process of its own against an open door, and says which case failed."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import node
from tests.support.service import Service

HERE = Path(__file__).parent
LONGEST = 120
"""Seconds for a whole scenario; each takes a few."""
LONGEST_ARRIVAL = 60
"""Seconds until the mirror has carried what a scenario wrote."""


class Door:
    """What a client has to know."""

    def __init__(self, service: Service, token: str, postgres: str, primary: str) -> None:
        self.service = service
        self.token = token
        self.postgres = postgres
        self.primary = primary

    @property
    def place(self) -> str:
        """host:port"""
        return self.service.front.removeprefix("http://")

    def node(self, scenario: str, kind: str = "http", **more: str) -> Told:
        """Run `node/SCENARIO.mjs` over `http` or `ws`, with `more` in its environment."""
        assert node.installed(), "The JavaScript clients are not installed: run `make setup`."
        return self._run([node.node(), str(HERE / "node" / f"{scenario}.mjs")], scenario, kind, **more)

    def python(self, scenario: str, kind: str = "http", *, path: str = "") -> Told:
        """Run `python/SCENARIO.py` over `http` or `ws`; packages in `path` come before the installed ones."""
        return self._run([sys.executable, "-m", f"tests.clients.python.{scenario}"], scenario, kind, path)

    def _run(self, command: Sequence[str], scenario: str, kind: str, path: str = "", **more: str) -> Told:
        prefix = f"{scenario}_{kind}_"
        environment = {"DOOR_URL": f"{kind}://{self.place}", "DOOR_KIND": kind, "DOOR_TOKEN": self.token}
        environment["DOOR_PRIMARY"] = self.primary
        done = subprocess.run(
            command,
            env=os.environ | environment | {"TABLE_PREFIX": prefix, "PYTHONPATH": path} | more,
            capture_output=True, text=True, timeout=LONGEST, check=False, cwd=HERE.parents[1],
        )  # fmt: skip
        if done.returncode:
            failed = re.findall(r"^FAIL  (.*)$", done.stdout, re.MULTILINE)
            raise AssertionError(f"{scenario} over {kind}: failed {failed or 'to run'}\n{done.stdout}\n{done.stderr}")
        said = done.stdout.rstrip("\n").split("\n")[-1]  # texts may hold other ends of lines
        return Told(self, prefix, json.loads(said.removeprefix("told ")))

    def is_mirrored(self) -> bool:
        """Whether all is on the other database: no change is on its way, and no table that was made is being copied,
        whose newer rows may be there already."""
        with urllib.request.urlopen(self.service.admin + "/v1/status", timeout=10) as answer:  # http, loopback
            status = json.load(answer)
        copied = all(table["backfill"]["state"] == "done" for table in status["tables"])
        return copied and status["mirror"]["lag_changes"] == 0 and not status["mirror"]["last_error"]


class Told:
    """What a client was told, and what the SQLite file itself holds."""

    def __init__(self, door: Door, prefix: str, told: dict[str, Any]) -> None:
        self._door = door
        self._prefix = prefix
        self._told = told

    def __getitem__(self, name: str) -> Any:
        return self._told[name]

    def kept(self, sql: str) -> list[list[Any]]:
        """Rows in the file; `{}` in the SQL stands for the prefix of the scenario's tables.

        With Postgres as primary they arrive there by the mirror, the tables as well.
        """
        sql = sql.replace("{}", self._prefix)
        deadline = time.monotonic() + LONGEST_ARRIVAL
        while self._door.primary == "postgres" and not self._arrived(sql):
            assert time.monotonic() < deadline, f"What was written did not arrive on SQLite: {sql}"
            time.sleep(0.05)
        return self._rows(sql)

    def _arrived(self, sql: str) -> bool:
        try:
            return self._door.is_mirrored() and bool(self._rows(sql))
        except sqlite3.OperationalError:  # the table is still to come
            return False

    def _rows(self, sql: str) -> list[list[Any]]:
        connection = sqlite3.connect(f"file:{self._door.service.sqlite}?mode=ro", uri=True)
        try:
            return [list(row) for row in connection.execute(sql)]
        finally:
            connection.close()
