"""Through the front door: self-contained batches, and transactions of several requests."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import aiohttp

from tests.support.service import hrana_value, plain
from tests.torture.doors.base import Door, Expected, Statement, Told

_CLIENT_TIMEOUT = 40.0
"""Seconds. Longer than the front door holds a write, so that whoever waits so long waits for a frozen service."""


class FrontDoor(Door):
    """Hrana over HTTP: one self-contained batch."""

    name = "front"

    def __init__(self, url: str, rng: random.Random, *, hasty: bool = False) -> None:
        """`hasty`: now and then it does not wait for the answer."""
        self.url, self.rng, self.hasty = url, rng, hasty
        self.session = aiohttp.ClientSession()

    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        plain_ones = [(each.sql, each.args) for each in statements]
        steps = [("BEGIN IMMEDIATE", ()), *plain_ones, ("COMMIT", ())] if len(plain_ones) > 1 else plain_ones
        body = {"requests": [{"type": "batch", "batch": _batch(steps)}, {"type": "close"}]}
        status, answer = await self.post(body)
        if not isinstance(answer, dict) or "results" not in answer:
            return answer if isinstance(answer, Told) else told_of_status(status, answer)
        return _read_batch(answer["results"][0], len(steps))

    async def post(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON; status 0 and a `Told` where there was no answer."""
        timeout = self._patience()
        try:
            async with self.session.post(self.url + "/v3/pipeline", json=body, timeout=timeout) as answer:
                return answer.status, await answer.json(content_type=None)
        except aiohttp.ClientConnectorError as error:
            return 0, Told("refused", "NOT_CONNECTED", str(error))
        except TimeoutError:
            hasty = timeout.total != _CLIENT_TIMEOUT
            return 0, Told("unknown", "GAVE_UP" if hasty else "NO_ANSWER", f"no answer within {timeout.total:.3f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return 0, Told("unknown", "CONNECTION_LOST", repr(error))

    def _patience(self) -> aiohttp.ClientTimeout:
        hasty = self.hasty and self.rng.random() < 0.02
        return aiohttp.ClientTimeout(total=self.rng.uniform(0.005, 0.5) if hasty else _CLIENT_TIMEOUT)

    async def close(self) -> None:
        await self.session.close()


def told_of_status(status: int, answer: Any) -> Told:
    """An answer that refuses a request as a whole."""
    error = answer if isinstance(answer, dict) else {"code": f"HTTP_{status}", "message": str(answer)}
    code = str(error.get("code") or f"HTTP_{status}")
    certain = status in (400, 503) and code != "OUTCOME_UNKNOWN"
    return Told("refused" if certain else "unknown", code, str(error.get("message")))


def told_of_error(error: dict[str, Any]) -> Told:
    """An error of a statement: docs/errors.md says that only one code leaves the outcome open."""
    code = str(error.get("code"))
    return Told("unknown" if code == "OUTCOME_UNKNOWN" else "refused", code, str(error.get("message")))


def _batch(steps: list[tuple[str, tuple[Any, ...]]]) -> dict[str, Any]:
    last = len(steps) - 1
    made = [
        {
            "stmt": {"sql": sql, "args": [hrana_value(arg) for arg in args]},
            "condition": {"type": "ok", "step": at - 1} if at else None,
        }
        for at, (sql, args) in enumerate(steps)
    ]
    if last:  # the shape in which libSQL's clients send a transaction
        made.append({"stmt": {"sql": "ROLLBACK"}, "condition": {"type": "not", "cond": {"type": "ok", "step": last}}})
    return {"steps": made}


def _read_batch(entry: dict[str, Any], count: int) -> Told:
    if entry["type"] != "ok":
        return told_of_error(entry["error"])
    result = entry["response"]["result"]
    if result["step_results"][count - 1] is None:
        errors = [error for error in result["step_errors"] if error]
        if not errors:
            return Told("unknown", "NO_REASON", str(result))
        doubtful = [error for error in errors if error["code"] == "OUTCOME_UNKNOWN"]
        return told_of_error((doubtful or errors)[0])
    inner = result["step_results"][1 : count - 1] if count > 1 else result["step_results"][:1]
    told = Told("acknowledged")
    for each in inner:
        told.affected.append(each["affected_row_count"])
        told.rows.append([tuple(plain(value) for value in row) for row in each["rows"]])
    return told


class InteractiveDoor(FrontDoor):
    """Hrana over HTTP: a transaction of several requests on one stream."""

    name = "interactive"

    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        told = Told("acknowledged")
        baton: str | None = None
        begin = self.rng.choice(["BEGIN", "BEGIN IMMEDIATE"])
        pauses = [self.rng.choice([0.0, 0.0, self.rng.uniform(0, 0.05)]) for _ in statements]
        steps = [Statement(begin), *statements, Statement("COMMIT")]
        for at, statement in enumerate(steps):
            last = at == len(steps) - 1
            args = [hrana_value(arg) for arg in statement.values(told.rows)]
            requests: list[dict[str, Any]] = [{"type": "execute", "stmt": {"sql": statement.sql, "args": args}}]
            status, answer = await self.post({"baton": baton, "requests": requests + [{"type": "close"}] * last})
            failure = _no_result(status, answer)
            if failure is not None:
                if not last and failure.outcome == "unknown":
                    failure.outcome = "refused"  # COMMIT was not sent
                if baton is not None and not last:
                    await self._give_up(baton, answer)
                return failure
            baton = answer["baton"]
            if 0 < at < len(steps) - 1:
                result = answer["results"][0]["response"]["result"]
                told.affected.append(result["affected_row_count"])
                told.rows.append([tuple(plain(value) for value in row) for row in result["rows"]])
                await asyncio.sleep(pauses[at - 1])
        return told

    async def _give_up(self, baton: str, answer: Any) -> None:
        """Close the stream, as clients do when a statement fails."""
        baton = answer.get("baton") or baton if isinstance(answer, dict) else baton
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            await self.post({"baton": baton, "requests": [{"type": "close"}]})


def _no_result(status: int, answer: Any) -> Told | None:
    """What a pipeline of one statement says when that was not executed."""
    if isinstance(answer, Told):
        return answer
    if not isinstance(answer, dict) or "results" not in answer:
        return told_of_status(status, answer)
    entry = answer["results"][0]
    return told_of_error(entry["error"]) if entry["type"] != "ok" else None
