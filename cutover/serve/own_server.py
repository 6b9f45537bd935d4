"""The Postgres server that a service has for itself where none is given."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cutover.errors import CutoverError, StoreUnavailable
from cutover.stores.postgres.embedded import EmbeddedPostgres


class OwnServer:
    """Started when Postgres is first needed."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder)
        self._starting = asyncio.Lock()
        self.started = False
        """Whether it is ours to stop: a second owner is refused, and must not stop the first one's."""

    @property
    def url(self) -> str:
        """Known before it runs."""
        return self._server.url

    async def start(self) -> None:
        """Idempotent. Raises `StoreUnavailable`."""
        async with self._starting:
            try:
                await self._server.start()
                self.started = True
            except (OSError, CutoverError) as error:
                raise StoreUnavailable(f"The embedded Postgres did not start: {error}") from error

    async def stop(self) -> None:
        """Everything is on disk then."""
        await self._server.stop()
