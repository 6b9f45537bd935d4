"""Cursors: what a batch comes to as entries, each encoded when it is taken."""

from __future__ import annotations

from collections.abc import Iterator

from cutover.errors import StatementError
from cutover.hrana.answers import Json, write_columns, write_error, write_json, write_row
from cutover.model.statement import Piece
from cutover.stores.executing import Pieces


class Cursor:
    """The entries of one batch. Calls come one after the other."""

    def __init__(self, pieces: Pieces) -> None:
        self.done = False
        """Whether all entries were given."""
        self._pieces = pieces
        self._failed = False
        self._entries: Iterator[Json] = iter(())

    async def take(self, *, size: int, count: int | None = None) -> list[bytes]:
        """The next entries, of about `size` bytes together and at most `count`; none only at the end, or for none."""
        found: list[bytes] = []
        while size > 0 and not self.done and (count is None or len(found) < count):
            entry = next(self._entries, None)
            if entry is None:
                await self._go_on()
            else:
                found.append(write_json(entry))
                size -= len(found[-1])
        return found

    async def close(self) -> None:
        """Give up what is left."""
        self.done = True
        await self._pieces.close()

    async def _go_on(self) -> None:
        if self._failed:
            self.done = True
            return
        try:
            pieces = await self._pieces.more()
        except StatementError as error:
            self._failed = True
            self._entries = iter((error_entry(error),))
            return
        self._entries = (entry for piece in pieces for entry in _entries(piece))
        self.done = not pieces


def error_entry(error: StatementError, steps: int = 0) -> Json:
    """Why there are no more entries. Of a lone step it is told as that step's, which the Rust clients can read."""
    if steps == 1:
        return {"type": "step_error", "step": 0, "error": write_error(error)}
    return {"type": "error", "error": write_error(error)}


def _entries(piece: Piece) -> Iterator[Json]:
    if piece.begins is not None:
        yield {"type": "step_begin", "step": piece.step, "cols": write_columns(piece.begins)}
    for row in piece.rows:
        yield {"type": "row", "row": write_row(row)}
    if piece.error is not None:
        yield {"type": "step_error", "step": piece.step, "error": write_error(piece.error)}
    if piece.ends is not None:
        rowid = piece.ends.last_insert_rowid
        yield {
            "type": "step_end",
            "affected_row_count": piece.ends.affected,
            "last_insert_rowid": None if rowid is None else str(rowid),
        }
