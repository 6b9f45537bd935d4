"""What a primary that was given up by force had, and nobody has any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from cutover.compare.difference import difference
from cutover.model.table import Table, Tables
from cutover.model.values import Key
from cutover.schema.codecs import codecs_for
from cutover.stores.base import Snapshot, Store

_AT_ONCE = 1000
_KEYS_SAID = 1000
"""Keys of a table that the audit record names; it counts them all."""


async def lost_writes(tables: Tables, returned: Store, standing: Store) -> dict[str, Any]:
    """What the audit log says of them: how many rows, their keys by table, and tables that changed as a whole.

    Raises `StoreUnavailable`.
    """
    changes, named = 0, dict[str, list[list[str]]]()
    async with returned.snapshot() as theirs, standing.snapshot() as ours:
        whole = sorted((await theirs.pending()).whole)
        for table in tables:
            async for keys in _lost_rows(table, theirs, ours):
                changes += len(keys)
                said = named.setdefault(table.name, [])
                said.extend(list(map(str, key)) for key in keys[: _KEYS_SAID - len(said)])
    return {"changes": changes, "keys": named, "whole": whole}


async def _lost_rows(table: Table, theirs: Snapshot, ours: Snapshot) -> AsyncIterator[list[Key]]:
    """Keys that the returned store's log names, and whose rows are not the same here.

    The log may still name what was applied: it is trimmed after that.
    """
    codecs = codecs_for(table)
    async for chunk in theirs.changed(table, _AT_ONCE):
        held = await ours.rows(table, [key for key, _ in chunk])
        keys = [key for key, row in chunk if difference(table, codecs, row, held.get(key)) is not None]
        if keys:
            yield keys
