"""Synapse: the whole homeserver, started on either database and used through its client API."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

from tests.frameworks.obeying import DATABASE, Reading, obey
from tests.zoo.applications.connecting import libpq

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACE = Path.cwd() / ("one" if DATABASE.startswith("sqlite:") else "two")


class Synapse:
    """A homeserver that federates with nobody."""

    def migrate(self) -> None:
        """It makes its tables when it starts."""
        _PLACE.mkdir()
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        sqlite = DATABASE.startswith("sqlite:")
        database: dict[str, Any] = {
            "name": "sqlite3" if sqlite else "psycopg2",
            "args": {"database": DATABASE.removeprefix("sqlite:///")} if sqlite else libpq(DATABASE),
            "allow_unsafe_locale": True,
        }
        configuration = {
            "server_name": "zoo.invalid",
            "database": database,
            "listeners": [{"port": self.port, "type": "http", "bind_addresses": ["127.0.0.1"],
                           "resources": [{"names": ["client"]}]}],
            "enable_registration": True, "enable_registration_without_verification": True,
            "report_stats": False, "trusted_key_servers": [], "media_store_path": str(_PLACE / "media"),
            "signing_key_path": str(Path.cwd() / "signing.key"), "macaroon_secret_key": "of no consequence",
            "rc_message": {"per_second": 1000, "burst_count": 1000},
            "rc_registration": {"per_second": 1000, "burst_count": 1000},
        }  # fmt: skip
        (_PLACE / "homeserver.yaml").write_text(json.dumps(configuration))
        if sqlite:
            subprocess.run(
                [sys.executable, "-m", "synapse.app.homeserver", "-c", str(_PLACE / "homeserver.yaml"),
                 "--generate-keys"], check=True, stdout=sys.stderr,
            )  # fmt: skip
        else:
            while not Path("signing.key").exists():
                time.sleep(0.1)
        with self._running():
            pass

    def seed(self) -> None:
        """Users, rooms and messages."""
        self.write(0)

    def write(self, turn: int) -> None:
        """Two people register, meet in a room, talk, correct and take back what they said."""
        with self._running():
            people = [self._registered(f"user{turn}_{number}") for number in range(2)]
            room = self._ask(people[0], "POST", "createRoom", {"name": f"Room ü {turn}", "preset": "public_chat"})
            identifier = room["room_id"]
            self._ask(people[1], "POST", f"join/{identifier}", {})
            for number in range(8):
                said = {"msgtype": "m.text", "body": f"Message {number} 🐘"}
                event = self._ask(people[number % 2], "PUT", f"rooms/{identifier}/send/m.room.message/{number}", said)
            self._ask(people[1], "PUT", f"rooms/{identifier}/redact/{event['event_id']}/r", {"reason": "no"})
            self._ask(people[0], "POST", f"rooms/{identifier}/receipt/m.read/{event['event_id']}", {})
            name = {"displayname": f"Zoë {turn}"}
            self._ask(people[0], "PUT", f"profile/@user{turn}_0:zoo.invalid/displayname", name)
            self._ask(people[1], "POST", f"rooms/{identifier}/leave", {})
            self._ask(people[0], "GET", "sync", None)

    def read(self) -> Reading:
        """A second homeserver must not write to the same database, so nothing is asked."""
        return {}

    def _registered(self, name: str) -> str:
        asked = {"username": name, "password": "secret", "auth": {"type": "m.login.dummy"}}
        return str(self._ask("", "POST", "register", asked)["access_token"])

    def _ask(self, token: str, method: str, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/_matrix/client/v3/{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    @contextmanager
    def _running(self) -> Iterator[None]:
        command = [sys.executable, "-m", "synapse.app.homeserver", "-c", str(_PLACE / "homeserver.yaml")]
        process = subprocess.Popen(command, stdout=sys.stderr, cwd=_PLACE)
        try:
            self._await(process)
            yield
        finally:
            process.terminate()
            process.wait(60)

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + 90
        while time.monotonic() < end and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError("the homeserver does not answer")


obey(Synapse())
