"""How much of an answer has come, counted before the driver makes rows of it: one that is far too large is cancelled.

The driver gives an answer as a whole. To ask for so many rows at a time would bound it too, but forbids Postgres to
read in parallel, so every large sum would pay for it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import asyncpg

from cutover.errors import StatementError
from cutover.model.sizes import too_large

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection

_LARGER = 4
"""A value takes at most about twice as many bytes on its way from Postgres (blobs as hex) as it counts in an answer."""
_SPARE = 256 * 1024


class AnswerTooLarge(asyncpg.InterfaceError):
    """The statement was cancelled; `told` says why to its client."""

    def __init__(self, told: StatementError) -> None:
        super().__init__(told.message)
        self.told = told


class Meter(asyncio.Protocol):
    """Stands between a connection's transport and the driver."""

    def __init__(self, connection: Connection, driver: Any) -> None:  # noqa: ANN401  # it has no public type
        self._connection = connection
        self._driver = driver
        self._most = sys.maxsize
        self._limit = 0
        self.received = 0
        """Bytes of the answer that was asked for last."""
        self.cancelled: asyncio.Future[None] | None = None
        """Done when no cancellation is on its way any more."""

    def begin(self, limit: int) -> None:
        """A statement is sent whose answer may be of about `limit` bytes."""
        self.received = 0
        self._limit, self._most = limit, _LARGER * limit + _SPARE

    def end(self) -> AnswerTooLarge | None:
        """The answer has come, or an error; None if it was not too large. Otherwise await `settled` before all else."""
        self._most = sys.maxsize
        return None if self.cancelled is None else AnswerTooLarge(too_large(self._limit))

    async def settled(self) -> None:
        """What comes next on this connection will not be cancelled in place of the answer."""
        if self.cancelled is not None:
            await self.cancelled
            self.cancelled = None

    def data_received(self, data: bytes) -> None:
        """Count, and pass on."""
        self.received += len(data)
        if self.received > self._most and self.cancelled is None:
            self.cancelled = asyncio.get_running_loop().create_future()
            cancel: Any = self._connection
            cancel._cancel_current_command(self.cancelled)  # noqa: SLF001  # no public one
        self._driver.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on."""
        self._driver.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """Pass on."""
        ended: bool | None = self._driver.eof_received()
        return ended

    def pause_writing(self) -> None:
        """Pass on."""
        self._driver.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._driver.resume_writing()


def install(connection: Connection) -> None:
    """Meter what comes on this connection from now on."""
    driver: Any = connection
    transport = driver._transport  # noqa: SLF001  # no public one
    if transport is not None and not isinstance(transport.get_protocol(), Meter):
        transport.set_protocol(Meter(connection, transport.get_protocol()))


def meter_of(connection: Connection) -> Meter:
    """The meter that was installed; one that meters nothing if the connection is gone, as the driver will say."""
    driver: Any = connection
    transport = driver._transport  # noqa: SLF001  # no public one
    meter = None if transport is None else transport.get_protocol()
    return meter if isinstance(meter, Meter) else Meter(connection, None)
