"""Cursors: a batch's results as lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from cutover.errors import StatementError
from cutover.hrana.answers import Json, write_columns, write_error, write_json, write_row
from cutover.model.statement import BatchResult, StatementResult

_CHUNK = 64 * 1024
_LARGEST = 1024 * 1024


def cursor_chunks(outcome: BatchResult | StatementError) -> Iterator[bytes]:
    """The lines after the first one, joined to chunks of about 64 KiB."""
    chunk = bytearray()
    for entry in entries(outcome):
        chunk += write_json(entry)
        chunk += b"\n"
        if len(chunk) >= _CHUNK:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def some_entries(cursor: Iterator[Json], count: int) -> tuple[list[orjson.Fragment], bool]:
    """At most `count` entries, fewer if they are large, and whether there are no more."""
    found: list[orjson.Fragment] = []
    size = 0
    while len(found) < count and size < _LARGEST:
        entry = next(cursor, None)
        if entry is None:
            return found, True
        line = write_json(entry)
        size += len(line)
        found.append(orjson.Fragment(line))
    return found, False


def entries(outcome: BatchResult | StatementError) -> Iterator[Json]:
    """A batch's result, one entry after the other."""
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
