"""A small Hrana client, for the demonstration, the simulator and the smoke flow. Applications use libSQL's clients."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import aiohttp

from cutover.model.values import Row, SqlValue

NOT_EXECUTED = frozenset(
    {
        "SQLITE_BUSY",
        "SQLITE_LOCKED",
        "SQLITE_READONLY",
        "SQLITE_CONSTRAINT",
        "SQLITE_FULL",
        "SQLITE_UNKNOWN",
        "SQL_PARSE_ERROR",
        "SQL_INPUT_ERROR",
        "STREAM_EXPIRED",
        "TRANSACTION_TIMEOUT",
        "TRANSACTION_BUSY",
    }
)
"""Codes after which nothing of the statement or transaction was done."""


class FrontDoorError(Exception):
    """The front door refused. `executed` is False when certainly nothing was done, None when nobody can say."""

    def __init__(self, message: str, code: str, executed: bool | None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.executed = executed


def encode(value: SqlValue) -> dict[str, Any]:
    """A value as Hrana writes it."""
    if value is None:
        return {"type": "null"}
    if isinstance(value, str):
        return {"type": "text", "value": value}
    if isinstance(value, int):
        return {"type": "integer", "value": str(value)}
    if isinstance(value, float):
        return {"type": "float", "value": value}
    return {"type": "blob", "base64": base64.b64encode(value).decode()}


def decode(value: dict[str, Any]) -> SqlValue:
    """A value as Python holds it."""
    kind = value["type"]
    if kind == "null":
        return None
    if kind == "integer":
        return int(value["value"])
    if kind == "blob":
        text = str(value["base64"])
        return base64.b64decode(text + "=" * (-len(text) % 4))
    plain: SqlValue = value["value"]
    return plain


def statement(sql: str, arguments: Sequence[SqlValue] = (), *, want_rows: bool = True) -> dict[str, Any]:
    """A Stmt."""
    return {"sql": sql, "args": [encode(value) for value in arguments], "want_rows": want_rows}


def transaction(statements: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Batch that runs all of them or none, as libSQL's clients write it."""
    steps: list[dict[str, Any]] = [{"stmt": statement("BEGIN IMMEDIATE")}]
    for number, stmt in enumerate(statements):
        steps.append({"stmt": stmt, "condition": {"type": "ok", "step": number}})
    last = len(steps) - 1
    steps.append({"stmt": statement("COMMIT"), "condition": {"type": "ok", "step": last}})
    steps.append(
        {"stmt": statement("ROLLBACK"), "condition": {"type": "not", "cond": {"type": "ok", "step": last + 1}}}
    )
    return {"steps": steps}


class FrontDoor:
    """One front door. All methods raise `FrontDoorError`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str = "") -> None:
        self._session = session
        self._url = url.rstrip("/") + "/v2/pipeline"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def pipeline(self, requests: list[dict[str, Any]], baton: str | None = None) -> tuple[list[Any], str | None]:
        """Send one pipeline; returns the responses and the baton. The first failed request raises."""
        body = {"baton": baton, "requests": requests}
        try:
            async with self._session.post(self._url, json=body, headers=self._headers) as answer:
                if answer.status != 200:
                    raise await _refusal(answer)
                data = await answer.json(content_type=None)
        except aiohttp.ClientConnectorError as error:
            raise FrontDoorError(str(error), "UNREACHABLE", executed=False) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FrontDoorError(f"the answer was lost: {error!r}", "NO_ANSWER", executed=None) from None
        for result in data["results"]:
            if result["type"] == "error":
                raise _failure(result["error"])
        return [result["response"] for result in data["results"]], data["baton"]

    async def execute(self, sql: str, arguments: Sequence[SqlValue] = (), *, want_rows: bool = True) -> list[Row]:
        """Run one statement on a stream of its own; returns its rows."""
        stmt = statement(sql, arguments, want_rows=want_rows)
        responses, _ = await self.pipeline([{"type": "execute", "stmt": stmt}, {"type": "close"}])
        return rows_of(responses[0])

    async def transact(self, statements: Sequence[dict[str, Any]]) -> None:
        """Run all of them in one transaction, or none."""
        request = {"type": "batch", "batch": transaction(statements)}
        responses, _ = await self.pipeline([request, {"type": "close"}])
        for error in responses[0]["result"]["step_errors"]:
            if error is not None:
                raise _failure(error)


def rows_of(response: dict[str, Any]) -> list[Row]:
    """The rows of an execute's response."""
    return [tuple(decode(value) for value in row) for row in response["result"]["rows"]]


def _failure(error: dict[str, Any]) -> FrontDoorError:
    code = str(error.get("code") or "")
    return FrontDoorError(str(error["message"]), code, executed=False if code in NOT_EXECUTED else None)


async def _refusal(answer: aiohttp.ClientResponse) -> FrontDoorError:
    """Below 500, and 503, say that nothing was executed; any other failure says nothing."""
    text = (await answer.text())[:500]
    executed = False if answer.status < 500 or answer.status == 503 else None
    return FrontDoorError(text, f"HTTP_{answer.status}", executed)
