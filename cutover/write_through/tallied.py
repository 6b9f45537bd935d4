"""Results that are taken piece by piece, in the tallies of their statements' shapes."""

from __future__ import annotations

from collections.abc import Sequence

from cutover import clock
from cutover.errors import StatementError
from cutover.model.statement import Piece, Step
from cutover.stores.executing import Pieces
from cutover.write_through.shapes import Shapes


class TalliedPieces:
    """Implements `Pieces`. What counts is how long the store takes, not the client."""

    def __init__(self, pieces: Pieces, steps: Sequence[Step], shapes: Shapes, client: str, seconds: float) -> None:
        """`client`: name of its token. `seconds`: that it took to come this far."""
        self._pieces = pieces
        self._steps = steps
        self._shapes = shapes
        self._client = client
        self._seconds = seconds
        self._step: int | None = None
        """The one that has begun and not ended."""
        self._rows = 0

    async def more(self) -> Sequence[Piece]:
        """The next pieces. Raises `StatementError`."""
        began = clock.monotonic()
        try:
            found = await self._pieces.more()
        except StatementError as error:
            self._seconds += clock.monotonic() - began
            self._ended(error.code)
            raise
        self._seconds += clock.monotonic() - began
        for piece in found:
            self._step = piece.step
            self._rows += len(piece.rows)
            if piece.error is not None or piece.ends is not None:
                self._ended(piece.error.code if piece.error is not None else "")
        return found

    async def close(self) -> None:
        """Give up what is left; a statement that has begun counts with what came of it."""
        self._ended("")
        await self._pieces.close()

    def _ended(self, code: str) -> None:
        if self._step is not None:
            self._shapes.one(self._steps[self._step].statement.sql, self._seconds, self._rows, code, self._client)
        self._step, self._rows = None, 0
