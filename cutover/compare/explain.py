"""One row on both sides, with the verdict and why."""

from __future__ import annotations

import asyncio
from typing import Any

from cutover.compare.difference import difference, same_value, storage_type
from cutover.compare.jsonable import json_key, json_row, jsonable
from cutover.compare.states import Ground, States
from cutover.model.drift import DriftKind
from cutover.model.table import Table
from cutover.model.values import Key, Row, SqlValue
from cutover.schema.codecs import Codec, codecs_for

_WRONG = {
    DriftKind.MISSING: "drift: the shadow does not have the row",
    DriftKind.EXTRA: "drift: the shadow has a row that the primary does not have",
    DriftKind.DIFFERENT: "drift: {columns} differ",
    DriftKind.TYPE_CHANGED: "drift: {columns} read the same but are of another storage type",
}


async def explain_row(ground: Ground, table: Table, key: Key) -> dict[str, Any]:
    """Everything known of one row, JSON-ready. Raises `StoreUnavailable`."""
    async with ground.matched([table], quarantine=True) as states:
        in_flight = bool(await states.in_flight(table, [key]))
        mine, theirs = await asyncio.gather(states.primary.rows(table, [key]), states.shadow.rows(table, [key]))
    primary, shadow = mine.get(key), theirs.get(key)
    codecs = codecs_for(table)
    reason = states.quarantined.get(table.name, {}).get(key)
    found = difference(table, codecs, primary, shadow)
    verdict, sentence = _verdict(states, table, (primary, shadow), found, reason, in_flight)
    return {
        "table": table.name,
        "target": table.target,
        "key": dict(zip(table.key, json_key(key), strict=True)),
        "primary": {"store": states.pair.source.name, "row": json_row(table, primary)},
        "shadow": {"store": states.pair.target.name, "row": json_row(table, shadow)},
        "columns": [
            _column(column.name, codecs[index], _at(primary, index), _at(shadow, index))
            for index, column in enumerate(table.columns)
        ],
        "pending": in_flight,
        "quarantined": reason,
        "kind": found[0].value if found else None,
        "verdict": verdict,
        "sentence": sentence,
    }


def _verdict(
    states: States,
    table: Table,
    rows: tuple[Row | None, Row | None],
    found: tuple[DriftKind, tuple[str, ...]] | None,
    reason: str | None,
    in_flight: bool,
) -> tuple[str, str]:
    """(word, sentence)."""
    if found is None:
        if rows[0] is None:
            return "absent", "Neither store has this row."
        more = "; a change of it is in flight all the same" if in_flight else ""
        return "equal", f"Both stores hold the same row{more}."
    if why := states.unready(table.name):
        return "pending", f"The rows differ, and {table.name} is not judged: {why}."
    if in_flight:
        return "pending", "The rows differ and a change is in flight: not drift unless this outlasts the mirror."
    if found[0] is DriftKind.MISSING and reason is not None:
        return "quarantined", f"The shadow cannot hold the row: {reason}."
    return "drift", f"This is {_WRONG[found[0]].format(columns=', '.join(found[1]))}; `cutover repair` mends it."


def _at(row: Row | None, index: int) -> tuple[SqlValue] | None:
    return None if row is None else (row[index],)


def _column(name: str, codec: Codec, primary: tuple[SqlValue] | None, shadow: tuple[SqlValue] | None) -> dict[str, Any]:
    """One column; a side without the row is None."""
    return {
        "name": name,
        "equal": primary is not None and shadow is not None and same_value(primary[0], shadow[0], codec),
        "primary": _cell(codec, primary[0]) if primary is not None else None,
        "shadow": _cell(codec, shadow[0]) if shadow is not None else None,
    }


def _cell(codec: Codec, value: SqlValue) -> dict[str, Any]:
    canonical = b"n" if value is None else codec.canonical(value)
    return {
        "value": jsonable(value),
        "type": storage_type(value),
        "canonical": canonical.decode("utf-8", "backslashreplace"),
    }
