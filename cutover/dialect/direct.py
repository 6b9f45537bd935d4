"""One message to Postgres on a connection that has the statement prepared, with as little around it as there can be.

The driver's own way to a prepared statement takes five coroutines, and a task around them all takes as long as
encoding the message. A read by key is the one thing that most applications send most often; so what is wanted is driven
from the event loop's callbacks, and whatever is not ready at once takes the long way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import asyncpg
from asyncpg.exceptions import OutdatedSchemaCacheError

from cutover.dialect.metering import meter_of
from cutover.model.statement import BatchOutcome
from cutover.prompt import Prompt

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

STALE = (asyncpg.InvalidCachedStatementError, OutdatedSchemaCacheError)
"""The statement was prepared before a table, or a type, changed."""

OUTDATED = (
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.DatatypeMismatchError,
    asyncpg.InternalServerError,
)
"""What Postgres may say to a statement that was translated for another schema, since it waited for a change of it."""

T = TypeVar("T")

Answer = tuple[list[asyncpg.Record], bytes, bool]
"""Rows, what the server says of them at the end, and whether that was all."""

Outcomes = list[BatchOutcome]
LongWay = Callable[[], asyncio.Future[Outcomes]]


def message(connection: Connection, sql: str, arguments: Sequence[Any]) -> Coroutine[Any, Any, Answer] | None:
    """What sends a statement and gives its answer; None if it is not prepared on this connection."""
    driver: Any = connection
    prepared = driver._stmt_cache.get((sql, asyncpg.Record, False))  # noqa: SLF001  # no public one
    if prepared is None:
        return None
    answer: Coroutine[Any, Any, Answer] = driver._protocol.bind_execute(  # noqa: SLF001  # no public one
        prepared, arguments, "", 0, True, None
    )
    return answer


def messages(
    connection: Connection, sql: str, arguments: Sequence[Sequence[Any]]
) -> Coroutine[Any, Any, list[asyncpg.Record]] | None:
    """What sends a statement as often as there are arguments, as one transaction, and gives the rows of all."""
    driver: Any = connection
    prepared = driver._stmt_cache.get((sql, asyncpg.Record, False))  # noqa: SLF001  # no public one
    if prepared is None:
        return None
    rows: Coroutine[Any, Any, list[asyncpg.Record]] = driver._protocol.bind_execute_many(  # noqa: SLF001  # no public one
        prepared, arguments, "", None, True
    )
    return rows


async def ask_for(
    connection: Connection, sql: str, arguments: Sequence[Any], limit: int
) -> tuple[list[asyncpg.Record], str]:
    """As `ask`, for an answer of about `limit` bytes at the most. Raises `AnswerTooLarge`."""
    meter = meter_of(connection)
    meter.begin(limit)
    try:
        found = await ask(connection, sql, arguments)
    except asyncpg.QueryCanceledError:
        refused = meter.end()
        if refused is None:
            raise
    else:
        refused = meter.end()
    finally:
        meter.end()
        await meter.settled()
    if refused is not None:
        raise refused
    return found


async def ask(connection: Connection, sql: str, arguments: Sequence[Any]) -> tuple[list[asyncpg.Record], str]:
    """One statement in one message: its rows, and what the server says of it at the end."""
    driver: Any = connection
    known = message(connection, sql, arguments)
    if known is not None:
        try:
            rows, status, _ = await known
        except asyncpg.InvalidCachedStatementError:
            driver._drop_global_statement_cache()  # noqa: SLF001  # as the driver does
            if connection.is_in_transaction():
                raise
        except OutdatedSchemaCacheError:
            await connection.reload_schema_state()
            raise
        else:
            return rows, status.decode()
    rows, status, _ = await driver._execute(sql, arguments, 0, None, return_status=True)  # noqa: SLF001  # no public one
    return rows, status.decode()


class Answering(Prompt[Outcomes]):
    """What comes of a statement that is under way without a task; it may go on as another future."""

    # Of the class until they are anything else, which is rare: to make one is on the way of every statement.
    _unwanted = False
    _followed: asyncio.Future[Outcomes] | None = None

    @property
    def followed(self) -> bool:
        """Whether it has gone on as another future, which is cancelled with it."""
        return self._followed is not None

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401  # asyncio's signature
        """As asyncio has it."""
        if self._followed is not None and not self.done():
            return self._followed.cancel(msg)
        return super().cancel(msg)

    def cancel_later(self) -> bool:
        """Be cancelled in place of being settled."""
        if self.done():
            return False
        self._unwanted = True
        return True

    def settle(self, outcomes: Outcomes) -> None:
        """The result, unless nobody wants it."""
        if self._unwanted:
            super().cancel()
        else:
            self.set_result(outcomes)

    def go_on_as(self, other: asyncio.Future[Outcomes]) -> None:
        """Whatever comes of the other one, comes of this."""
        self._followed = other
        if self._unwanted:
            other.cancel()
        other.add_done_callback(self._follow)

    def _follow(self, ended: asyncio.Future[Outcomes]) -> None:
        if ended.cancelled():
            super().cancel()
        elif (failure := ended.exception()) is not None:
            self.set_exception(failure)
        else:
            self.set_result(ended.result())


class Driven(Answering, Generic[T]):
    """The result of a coroutine that begins at once, and goes on in callbacks of what it waits for: no task.

    It must not ask for its task, nor for `asyncio.timeout`, which does. `end` is called once, when it has come to its
    end in any way, with its result or its error; what it returns is this future's result. If that can be called, it
    makes the future that this one goes on as.
    """

    __slots__ = ("_awaited", "_end", "_patient", "_work")

    def __init__(
        self,
        work: Coroutine[Any, Any, T],
        end: Callable[[T | None, BaseException | None], Outcomes | LongWay],
        *,
        patient: bool,
    ) -> None:
        """`patient`: cancelled, it still lets the coroutine come to its end first."""
        super().__init__()
        self._work = work
        self._end = end
        self._patient = patient
        self._awaited: Any = None
        self._go_on(None)

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401  # asyncio's signature
        """Have the coroutine cancelled at what it waits for; this is cancelled when that has come to its end."""
        if self.done() or self.followed:
            return super().cancel(msg)
        return self.cancel_later() if self._patient else bool(self._awaited.cancel(msg))

    def _go_on(self, _: object) -> None:
        try:
            awaited = self._work.send(None)
        except StopIteration as ended:
            self._finish(ended.value, None)
        except BaseException as error:  # noqa: BLE001  # told to whoever waits
            self._finish(None, error)
        else:
            awaited._asyncio_future_blocking = False  # noqa: SLF001  # as a task does
            self._awaited = awaited
            awaited.add_done_callback(self._go_on)

    def _finish(self, result: T | None, error: BaseException | None) -> None:
        try:
            found = self._end(result, error)
        except asyncio.CancelledError:
            super(Answering, self).cancel()
        except Exception as failure:  # noqa: BLE001  # told to whoever waits
            self.set_exception(failure)
        else:
            if callable(found) and not self._unwanted:
                self.go_on_as(found())
            else:
                self.settle([] if callable(found) else found)
