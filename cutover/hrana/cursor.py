"""Cursors: a batch's results as lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator

from cutover.errors import StatementError
from cutover.hrana.answers import Json, write_columns, write_error, write_json, write_row
from cutover.model.statement import BatchResult, StatementResult

_CHUNK = 64 * 1024


def cursor_chunks(outcome: BatchResult | StatementError) -> Iterator[bytes]:
    """The lines after the first one, joined to chunks of about 64 KiB."""
    chunk = bytearray()
    for entry in _entries(outcome):
        chunk += write_json(entry)
        chunk += b"\n"
        if len(chunk) >= _CHUNK:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def _entries(outcome: BatchResult | StatementError) -> Iterator[Json]:
    if isinstance(outcome, StatementError):
        yield {"type": "error", "error": write_error(outcome)}
        return
    for step, (result, error) in enumerate(zip(outcome.results, outcome.errors, strict=True)):
        if result is not None:
            yield from _step(step, result)
        elif error is not None:
            yield {"type": "step_error", "step": step, "error": write_error(error)}


def _step(step: int, result: StatementResult) -> Iterator[Json]:
    rowid = result.last_insert_rowid
    yield {"type": "step_begin", "step": step, "cols": write_columns(result.columns)}
    for row in result.rows:
        yield {"type": "row", "row": write_row(row)}
    yield {
        "type": "step_end",
        "affected_row_count": result.affected,
        "last_insert_rowid": None if rowid is None else str(rowid),
    }
