"""The admin API as the commands call it: small, synchronous, one connection a request."""

from __future__ import annotations

import getpass
import http.client
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from cutover import __version__
from cutover.cli.exits import Refused, Unreachable
from cutover.errors import ConfigurationError
from cutover.urls import split_url

Json = dict[str, Any]

QUICK = 30.0
"""Seconds to wait for an answer that costs the service little."""

LONG = 3600.0
"""Seconds to wait for a switch, a backup or a repair, which answer when they are done."""


class AdminClient:
    """Talks to one admin listener.

    Every call raises `Unreachable` when there is no answer, or none of a cutover service, and `Refused` when the
    answer is an error.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        try:
            parts = split_url(url if "//" in url else f"http://{url}", ("http", "https"), "http://127.0.0.1:8081")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host:
            raise ConfigurationError(f"The admin URL {url!r} is no URL.", hint="Write http://127.0.0.1:8081.")
        self._secure, self._host, self._port = parts.scheme == "https", host, port
        self._prefix = parts.path.rstrip("/")
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{self._prefix}"
        self._headers = {"Accept": "application/json", "User-Agent": f"cutover/{__version__}"}
        if name := _user():
            self._headers["X-Cutover-Actor"] = name
        if token:
            if not re.fullmatch(r"[\x21-\x7e]+", token):
                raise ConfigurationError("The admin token holds a character that no token can have.")
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, query: Mapping[str, str | Sequence[str]] | None = None) -> Json:
        """The JSON object at `path`."""
        full = f"{path}?{urlencode(query, doseq=True, errors='surrogatepass')}" if query else path
        return self._ask("GET", full, None, QUICK)

    def post(self, path: str, body: Mapping[str, object] | None = None, *, timeout: float = QUICK) -> Json:
        """The answer to a POST; fields of `body` that are None, empty or false are left out. `timeout` in seconds."""
        sent = {name: value for name, value in (body or {}).items() if value not in (None, "", (), [], False)}
        return self._ask("POST", path, json.dumps(sent).encode(), timeout)

    def _ask(self, method: str, path: str, data: bytes | None, timeout: float) -> Json:
        make = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = make(self._host, self._port, timeout=timeout)
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        sent = False
        try:
            connection.connect()
            sent = True
            connection.request(method, self._prefix + path, data, headers)
            response = connection.getresponse()
            return self._read(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise self._no_answer(error, timeout, acting=sent and method == "POST") from None
        finally:
            connection.close()

    def _no_answer(self, error: Exception, timeout: float, *, acting: bool) -> Unreachable:
        reason = f"no answer within {timeout:.0f} s" if isinstance(error, TimeoutError) else _reason(error)
        if acting:
            return Unreachable(
                f"The service at {self.url} did not answer: {reason}.",
                hint="What was asked may have been done, or still be under way: look with `cutover status`.",
            )
        return Unreachable(
            f"The service cannot be reached at {self.url}: {reason}.",
            hint="Start it with `cutover serve`, or name its address with --admin-url.",
        )

    def _read(self, status: int, data: bytes) -> Json:
        try:
            body = json.loads(data)
        except ValueError:
            body = None
        if not isinstance(body, dict) or (status >= 400 and not isinstance(body.get("error"), dict)):
            raise Unreachable(
                f"What answers at {self.url} (HTTP {status}) is not a cutover service's admin door.",
                hint="Check --admin-url; the front door of the applications is another address.",
            )
        if status >= 400:
            told = body["error"]
            hint = _ASK_FOR_TOKEN if status == 401 else ""
            raise Refused(status, str(told.get("code")), f"{told.get('message')}{hint}", body)
        return body


_ASK_FOR_TOKEN = " For this command, set CUTOVER_ADMIN_TOKEN or --token."  # noqa: S105  # not one


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _user() -> str:
    try:
        return re.sub(r"[^\w .@+-]", "_", getpass.getuser(), flags=re.ASCII)[:100].strip()
    except (OSError, KeyError):
        return ""
