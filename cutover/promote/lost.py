"""What a primary that was given up by force had, and nobody has any more."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from cutover.compare.difference import difference
from cutover.compare.jsonable import json_key, json_row
from cutover.model.table import Table, Tables
from cutover.model.values import Key, Row
from cutover.schema.codecs import Codec, codecs_for
from cutover.stores.base import Snapshot, Store

_Lost = tuple[Key, Row | None, Row | None]
"""Key, the row that the returned store has (None: deleted there), the row that stands here."""

_AT_ONCE = 1000
_KEYS_SAID = 1000
"""Keys of a table that the audit record names; it counts them all."""


async def save_lost_writes(tables: Tables, returned: Store, standing: Store, file: Path) -> dict[str, Any]:
    """Write them to `file`, a JSON object a line: `{"table", "key", "row", "standing"}`, rows by column, null: gone.

    Returns what the audit log says of them: how many rows, their keys by table, and tables that changed as a whole
    (of those, every row that differs is in the file). Raises `StoreUnavailable`; there is no file then.
    """
    changes, named = 0, dict[str, list[list[str]]]()
    draft = file.with_suffix(".new")
    with await asyncio.to_thread(_private, draft) as out:
        async with returned.snapshot() as theirs, standing.snapshot() as ours:
            whole = sorted((await theirs.pending()).whole)
            for table in tables:
                found = _whole if table.name in whole else _logged
                async for lost in found(table, theirs, ours):
                    if not lost:
                        continue
                    await asyncio.to_thread(out.writelines, [_line(table, *one) for one in lost])
                    changes += len(lost)
                    said = named.setdefault(table.name, [])
                    said.extend(list(map(str, key)) for key, _, _ in lost[: _KEYS_SAID - len(said)])
        await asyncio.to_thread(_sync, out)
    draft.replace(file)
    return {"changes": changes, "keys": named, "whole": whole}


def _private(path: Path) -> BinaryIO:
    """A new file for nobody else's eyes: it holds the application's data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _line(table: Table, key: Key, row: Row | None, standing: Row | None) -> bytes:
    told = {
        "table": table.name,
        "key": json_key(key),
        "row": json_row(table, row),
        "standing": json_row(table, standing),
    }
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def _lost(
    table: Table, codecs: Sequence[Codec], rows: Sequence[tuple[Key, Row | None]], held: Mapping[Key, Row]
) -> list[_Lost]:
    return [(key, row, held.get(key)) for key, row in rows if difference(table, codecs, row, held.get(key)) is not None]


async def _logged(table: Table, theirs: Snapshot, ours: Snapshot) -> AsyncIterator[list[_Lost]]:
    """What the returned store's log names, and is not the same here.

    The log may still name what was applied: it is trimmed after that.
    """
    codecs = codecs_for(table)
    async for chunk in theirs.changed(table, _AT_ONCE):
        yield _lost(table, codecs, chunk, await ours.rows(table, [key for key, _ in chunk]))


async def _whole(table: Table, theirs: Snapshot, ours: Snapshot) -> AsyncIterator[list[_Lost]]:
    """Every row of the returned store that is not the same here: its log does not say which of them changed."""
    codecs, after = codecs_for(table), None
    while rows := await theirs.range(table, after, _AT_ONCE):
        keyed = [(table.key_of(row), row) for row in rows]
        after = keyed[-1][0]
        yield _lost(table, codecs, keyed, await ours.rows(table, [key for key, _ in keyed]))
