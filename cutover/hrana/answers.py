"""What clients are told: our vocabulary written as Hrana's JSON. Pure."""

from __future__ import annotations

import asyncio
import math
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from cutover.errors import StatementError
from cutover.model.statement import BatchResult, Columns, Description, ResultColumn, StatementResult
from cutover.model.values import Row

Json = dict[str, Any]


def _write_float(value: float) -> Json:
    # JSON has no infinity. A number beyond every double is valid JSON, and readers take it for what it is.
    finite: object = value if math.isfinite(value) else orjson.Fragment(b"1e999" if value > 0 else b"-1e999")
    return {"type": "float", "value": finite}


LARGE = 128 * 1024
"""Bytes of rows that take about a millisecond to write: more are written on another thread, which others' requests
interrupt."""

_RESULT = b'{"cols":%b,"rows":%b,"affected_row_count":%d,"last_insert_rowid":%b}'

_NULL: Json = {"type": "null"}
_WRITERS: dict[type, Callable[[Any], Json]] = {
    str: lambda value: {"type": "text", "value": value},
    int: lambda value: {"type": "integer", "value": str(value)},
    float: _write_float,
    bytes: lambda value: {"type": "blob", "base64": b64encode(value).rstrip(b"=").decode("ascii")},
    type(None): lambda _: _NULL,
}


def write_json(found: object) -> bytes:
    """JSON as it goes out."""
    return orjson.dumps(found)


def write_row(row: Row) -> list[Json]:
    """A row as Values."""
    return [_WRITERS[type(value)](value) for value in row]


def write_columns(columns: Sequence[ResultColumn]) -> list[Json]:
    """`cols`."""
    return [{"name": column.name, "decltype": column.decltype} for column in columns]


def written_result(result: StatementResult) -> bytes:
    """What `write_result` gives, as it goes out."""
    columns, rowid = result.columns, result.last_insert_rowid
    written = columns.written if type(columns) is Columns else None
    return _RESULT % (
        written or _written_columns(columns),
        orjson.dumps(_written_rows(result.rows)) if result.rows else b"[]",
        result.affected,
        b"null" if rowid is None else b'"%d"' % rowid,
    )


def _written_rows(rows: Sequence[Row]) -> list[list[Json]]:
    """As `write_row` for each, in as few calls as there can be."""
    written: list[list[Json]] = []
    for row in rows:
        values: list[Json] = []
        for value in row:
            kind = type(value)
            if kind is str:
                values.append({"type": "text", "value": value})
            elif kind is int:
                values.append({"type": "integer", "value": str(value)})
            else:
                values.append(_WRITERS[kind](value))
        written.append(values)
    return written


def _written_columns(columns: Sequence[ResultColumn]) -> bytes:
    written = write_json(write_columns(columns))
    if type(columns) is Columns:
        columns.written = written
    return written


def write_result(result: StatementResult) -> Json:
    """A StmtResult."""
    rowid = result.last_insert_rowid
    return {
        "cols": write_columns(result.columns),
        "rows": [write_row(row) for row in result.rows],
        "affected_row_count": result.affected,
        "last_insert_rowid": None if rowid is None else str(rowid),
    }


def write_batch(result: BatchResult) -> Json:
    """A BatchResult."""
    return {
        "step_results": [None if item is None else write_result(item) for item in result.results],
        "step_errors": [None if error is None else write_error(error) for error in result.errors],
    }


def is_large(outcome: BatchResult) -> bool:
    """Whether its rows are more than `LARGE` together."""
    size = 0
    for result in outcome.results:
        if result is not None:
            size += result.size
    return size > LARGE


async def write_outcome(outcome: StatementResult | BatchResult) -> Json:
    """A StmtResult or a BatchResult."""
    if isinstance(outcome, StatementResult):
        return await asyncio.to_thread(write_result, outcome) if outcome.size > LARGE else write_result(outcome)
    return await asyncio.to_thread(write_batch, outcome) if is_large(outcome) else write_batch(outcome)


def write_description(found: Description) -> Json:
    """A DescribeResult."""
    return {
        "params": [{"name": name} for name in found.params],
        "cols": write_columns(found.columns),
        "is_explain": found.is_explain,
        "is_readonly": found.is_readonly,
    }


def write_error(error: StatementError) -> Json:
    """An Error; it always has a code."""
    return {"message": error.message, "code": error.code}
