"""How long the front door waits for its clients, and how much of theirs it holds meanwhile.

A client may be slow to send a request, and slow to take its answer; it may not be so for ever. All connections are
looked at every now and then, which costs requests nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from cutover import clock

_LOOKS = 4  # in the time that a client has


class Watched:
    """One connection: since when its client owes something."""

    __slots__ = ("left", "left_since", "overdue", "owes_since", "transport")

    def __init__(self, transport: asyncio.Transport, overdue: Callable[[], None] | None = None) -> None:
        """`overdue` is called when the rest of a request does not come; otherwise the connection is cut."""
        self.transport = transport
        self.overdue = overdue or transport.abort
        self.owes_since = clock.monotonic()
        """When the rest of a request began to be waited for; infinite: it is not."""
        self.left = 0
        self.left_since = math.inf
        """Bytes of answers that the client has not taken, and since when it takes none."""

    def look(self, now: float, patience: float) -> None:
        """End it if its client has used up its time."""
        left = self.transport.get_write_buffer_size()
        if left and left >= self.left:
            self.left_since = min(self.left_since, now)
        else:
            self.left_since = now if left else math.inf
        self.left = left
        if now - self.left_since > patience:
            self.transport.abort()
        elif now - self.owes_since > patience:
            self.overdue()


class Watch:
    """Every connection of the door."""

    def __init__(self, patience: float, most: int) -> None:
        """`patience`: seconds that a client has for each of the two; 0: no limit. `most`: connections at one time."""
        self._patience = patience or math.inf
        self._most = most
        self._connections: dict[asyncio.BaseTransport, Watched] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Number of connections that are open."""
        self._forget_closed()
        return len(self._connections)

    def add(self, watched: Watched) -> bool:
        """Watch it; False if there are too many connections."""
        if len(self._connections) >= self._most:
            self._forget_closed()
            if len(self._connections) >= self._most:
                return False
        self._connections[watched.transport] = watched
        if self._timer is None and self._patience < math.inf:
            self._timer = asyncio.get_running_loop().call_later(self._patience / _LOOKS, self._look)
        return True

    def remove(self, transport: asyncio.BaseTransport) -> None:
        """It is closed."""
        self._connections.pop(transport, None)

    def owes_nothing(self, transport: asyncio.BaseTransport | None) -> None:
        """The head of a request has come; whoever reads its body gives that its own time."""
        watched = self._connections.get(transport) if transport is not None else None
        if watched is not None:
            watched.owes_since = math.inf

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        self._forget_closed()
        now = clock.monotonic()
        for watched in list(self._connections.values()):
            watched.look(now, self._patience)
        if self._connections:
            self._timer = asyncio.get_running_loop().call_later(self._patience / _LOOKS, self._look)

    def _forget_closed(self) -> None:
        """Those that were handed to aiohttp do not tell when they end."""
        for transport in [transport for transport in self._connections if transport.is_closing()]:
            del self._connections[transport]


class Waiting:
    """Bytes of requests that have come, wholly or in part, and have no answer yet."""

    __slots__ = ("_most", "held")

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def fits(self, size: int) -> bool:
        """Whether there is room for so much more. A request that comes alone always finds room."""
        return self.held + size <= self._most or not self.held

    def take(self, size: int) -> bool:
        """Hold so much more; False if that is too much."""
        if not self.fits(size):
            return False
        self.held += size
        return True

    def grow(self, held: int, size: int, whole: int) -> bool:
        """Hold `size` in place of `held`, of a request of `whole`; False if there is no room for the whole of it."""
        if self.held + whole - held > self._most and self.held:
            return False
        self.held += size - held
        return True

    def give(self, size: int) -> None:
        """They are answered."""
        self.held -= size
