"""Futures whose listener is called by whoever settles them.

A future of asyncio has its listeners called in a turn of the event loop each. Where many are settled at one moment, as
those of statements that went to the database together, the turns cost more than reading the answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")
Listener = Callable[["asyncio.Future[Any]"], object]

_set_result = asyncio.Future.set_result


class Prompt(asyncio.Future[T]):
    """One listener hears of its result at once, in a context of its own; of an error, and of its being cancelled, in a
    turn of the event loop, as anybody else does."""

    # Of the class until it is anything else: to make one is on the way of every statement.
    _listener: tuple[Listener, Context] | None = None

    def when_done(self, listener: Listener, context: Context) -> None:
        """Have it called once. Nobody may be running in `context` when this is settled."""
        if self._listener is not None or self.done():
            self.add_done_callback(listener, context=context)
        else:
            self._listener = (listener, context)

    def set_result(self, result: T, /) -> None:
        """As asyncio has it."""
        _set_result(self, result)
        if self._listener is not None:
            (listener, context), self._listener = self._listener, None
            try:
                context.run(listener, self)
            except Exception as error:  # noqa: BLE001  # whoever settles goes on, as the event loop does
                told = {"message": "Exception in a listener", "exception": error, "future": self}
                self.get_loop().call_exception_handler(told)

    def set_exception(self, exception: type | BaseException, /) -> None:
        """As asyncio has it."""
        super().set_exception(exception)
        self._tell_later()

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401  # asyncio's signature
        """As asyncio has it."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._tell_later()
        return cancelled

    def _tell_later(self) -> None:
        if self._listener is not None:
            (listener, context), self._listener = self._listener, None
            self.add_done_callback(listener, context=context)  # done as it is, it is called soon


def when_done(future: asyncio.Future[Any], listener: Listener, context: Context) -> None:
    """Have a listener called once the future is done, at once if it can."""
    if isinstance(future, Prompt):
        future.when_done(listener, context)
    else:
        future.add_done_callback(listener, context=context)
