"""The service in a process of its own that can be asked, and killed. Run as a module it forks one for each connection.

Forking a process that has everything imported costs milliseconds, starting one costs a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from cutover import crashpoints
from cutover.errors import CutoverError, StatementError
from cutover.logs import configure_logs
from cutover.model.requests import Actor, SwitchRequest
from cutover.model.statement import BatchResult, Not, Ok, Statement, Step
from cutover.serve.service import Service
from cutover.settings import Settings
from cutover.write_through import Stream
from tests.support.stateful.model import Outcome

_OPERATOR = Actor("operator", "admin")
_OVERRIDDEN = ("statements_ready",)
"""Programs hold statements that Postgres does not take, on purpose."""
_SOON = 50.0


class Desk:
    """What the process answers to. Each method is one request."""

    def __init__(self, service: Service, stop: asyncio.Event, connection: Connection) -> None:
        self._service = service
        self._stop = stop
        self._connection = connection
        self._streams: dict[str, Stream] = {}

    # -- applications ------------------------------------------------------------------------------------------------

    async def execute(self, stream: str, sql: str, arguments: tuple[Any, ...]) -> Outcome:
        """One statement at the front door."""
        if stream not in self._streams:
            self._streams[stream] = self._service.parts.door.stream()
        try:
            result = await self._streams[stream].execute(Statement(sql, arguments))
        except StatementError as error:
            return Outcome(error.code, message=error.message)
        return Outcome(affected=result.affected, keys=tuple(row[0] for row in result.rows))

    async def script(self, statements: list[tuple[str, tuple[Any, ...]]]) -> list[Outcome]:
        """BEGIN to COMMIT in one batch, as libSQL's clients send a transaction. One outcome more: the COMMIT's."""
        texts = [("BEGIN", ()), *statements, ("COMMIT", ())]
        steps = [Step(Statement(sql, args), Ok(at - 1) if at else None) for at, (sql, args) in enumerate(texts)]
        steps.append(Step(Statement("ROLLBACK"), Not(Ok(len(texts) - 1))))
        stream = self._service.parts.door.stream()
        try:
            result = await stream.batch(steps)
        except StatementError as error:
            return [Outcome(error.code, message=error.message)] * (len(statements) + 1)
        finally:
            await stream.close()
        return [_outcome(result, at) for at in range(1, len(statements) + 2)]

    async def hang_up(self, stream: str) -> None:
        """Close a stream."""
        if stream in self._streams:
            await self._streams.pop(stream).close()

    # -- operators ---------------------------------------------------------------------------------------------------

    async def standing(self) -> tuple[str, int, str, str]:
        """(primary, epoch, phase, why writes cannot be taken)."""
        situation = self._service.parts.situation
        return situation.pair.source.name, situation.pair.epoch, str(situation.phase), situation.problem

    async def settle(self) -> None:
        """Return when the stores are attached, everything is copied, and what was committed is applied."""
        situation, mirror = self._service.parts.situation, self._service.parts.mirror
        async with asyncio.timeout(_SOON):
            while not situation.attached or mirror.catching_up:
                await asyncio.sleep(0.005)
            assert await mirror.caught_up(_SOON)

    async def verify(self) -> dict[str, Any]:
        """A full verification to its end, and the drift known then; nothing is being mapped anew then."""
        parts = self._service.parts
        comparator = parts.comparator
        verification = await comparator.verify()
        while parts.switching.locked():
            await asyncio.sleep(0.005)
        return verification.as_json() | {
            "proves": verification.proves,
            "problems": verification.problems,
            "drift": comparator.drifts(limit=1000),
        }

    async def replayed(self) -> None:
        """Return when no statement of an application waits to be replayed on the shadow."""
        statements = self._service.parts.statements
        async with asyncio.timeout(_SOON):
            while statements.summary()["waiting"]:
                with contextlib.suppress(CutoverError):  # the stores could not be brought to one state
                    await statements.replay()
                await asyncio.sleep(0.005)

    async def switch(self, direction: str) -> dict[str, Any]:
        """Promote or demote."""
        operations = self._service.operations
        run = operations.promote if direction == "promote" else operations.demote
        try:
            return await run(SwitchRequest("CHANGE-1", override=_OVERRIDDEN), _OPERATOR)
        except CutoverError as error:
            gates = [gate.name for gate in getattr(error, "gates", ()) if not gate.ok]
            return {"result": error.code, "message": str(error), "gates": gates}

    async def mirror(self, action: str) -> None:
        """Pause or resume."""
        await self._service.operations.mirror(action, _OPERATOR)  # type: ignore[arg-type]  # one of two words

    async def repair(self) -> dict[str, Any]:
        """Mend known drift."""
        return await self._service.operations.repair(None, False, _OPERATOR)

    async def copy_again(self, table: str) -> None:
        """Copy a table from its start."""
        await self._service.operations.backfill([table], _OPERATOR)

    async def quarantine(self) -> list[Any]:
        """Keys in quarantine by table."""
        rows = await self._service.parts.situation.pair.target.quarantined()
        return [(row.table, row.key) for row in rows]

    async def arm(self, point: str) -> None:
        """Die at this point; an empty one disarms."""
        arm(point)

    async def stand_still_at(self, point: str) -> None:
        """At this point say so, and do nothing until the next message comes."""

        def stand_still() -> None:
            arm("")
            self._connection.send((0, True, point))
            self._connection.recv()

        arm(point, stand_still)

    async def stop(self) -> None:
        """End in order."""
        self._stop.set()


_die = crashpoints._die


def arm(point: str, act: Callable[[], None] = _die) -> None:
    """Have the process do this at this crash point."""
    crashpoints._name, crashpoints._left, crashpoints._die = point, 1, act


def _outcome(result: BatchResult, at: int) -> Outcome:
    error, found = result.errors[at], result.results[at]
    if error is not None:
        return Outcome(error.code, message=error.message)
    if found is None:
        return Outcome("SKIPPED", message="an earlier statement failed")
    return Outcome(affected=found.affected, keys=tuple(row[0] for row in found.rows))


async def _serve(settings: Settings, connection: Connection, point: str) -> None:
    service, stop = Service(settings), asyncio.Event()
    arm(point)
    try:
        await service.open()
        connection.send((0, True, None))
        _listen(connection, Desk(service, stop, connection))
        await service.run_until(stop, lambda: None)
    finally:
        await service.close()


def _listen(connection: Connection, desk: Desk) -> None:
    tasks: set[asyncio.Task[None]] = set()

    async def answer(number: int, method: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            answer = (number, True, await method(*arguments))
        except Exception as error:  # noqa: BLE001  # sent to who asked
            answer = (number, False, f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        connection.send(answer)

    def take() -> None:
        try:
            number, name, arguments = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # nobody is there to be served
        task = asyncio.create_task(answer(number, getattr(desk, name), arguments))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_reader(connection.fileno(), take)
    os.set_blocking(connection.fileno(), True)  # messages come whole


def _live(connection: Connection) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    values, log, point = connection.recv()
    connection.send(os.getpid())
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    configure_logs("json", "info")
    try:
        uvloop.run(_serve(Settings.model_validate(values), connection, point))
    except BaseException:  # noqa: BLE001  # the process ends
        traceback.print_exc()
        sys.stderr.flush()
        connection.send((0, False, traceback.format_exc()))
        os._exit(1)
    os._exit(0)


def main(path: str) -> None:
    """Fork a service for each connection to the socket at `path`, until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need no one to wait for them
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            accepted, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _live(Connection(accepted.detach()))
            accepted.close()


if __name__ == "__main__":
    main(sys.argv[1])
