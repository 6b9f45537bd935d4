"""No snapshot shows rows of a table that is not what it was mapped as, on either store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cutover.errors import SchemaChanged
from cutover.stores.base import Store
from tests.support.postgres import PRIMARY, SHADOW, ready, run
from tests.support.samples import ITEMS
from tests.support.sqlite_world import PRIMARY as SQLITE_PRIMARY
from tests.support.sqlite_world import make, served


async def opens(store: Store) -> None:
    async with store.snapshot() as snapshot:
        await snapshot.pending()


async def refuses(store: Store) -> None:
    with pytest.raises(SchemaChanged, match="mapped anew"):
        await opens(store)


async def test_sqlite_refuses_a_table_of_another_text_and_takes_one_that_is_back(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES ('a', 'b')")
    async with served(sqlite_path, SQLITE_PRIMARY) as (store, _):
        await opens(store)
        make(sqlite_path, "CREATE INDEX t_v ON t(v)", "CREATE TABLE other(id INTEGER PRIMARY KEY)")
        await opens(store)  # neither changes what a row of `t` is
        make(sqlite_path, "ALTER TABLE t ADD COLUMN w TEXT")
        await refuses(store)
        make(sqlite_path, "DROP TABLE t", "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT)")
        await opens(store)
        make(sqlite_path, "DROP TABLE t")
        await refuses(store)


@pytest.mark.parametrize("primary", [True, False], ids=["primary", "shadow"])
async def test_postgres_refuses_columns_that_are_not_those_of_the_mapping(postgres_url: str, primary: bool) -> None:
    async with ready(postgres_url, PRIMARY if primary else SHADOW) as store:
        there = (await store.read_schema(ITEMS.target_schema)).table(ITEMS.target)
        assert there is not None
        mapped = replace(ITEMS, target_shape=tuple(f"{column.name} {column.type}" for column in there.columns))
        store.serve_tables((mapped,))
        await opens(store)
        await run(postgres_url, f'ALTER TABLE "{ITEMS.target_schema}"."{ITEMS.target}" ADD COLUMN more int')
        if primary:
            await refuses(store)  # a column that nobody mirrors
        else:
            await opens(store)  # nobody's column, which stays empty
        last = ITEMS.columns[-1].target
        await run(postgres_url, f'ALTER TABLE "{ITEMS.target_schema}"."{ITEMS.target}" RENAME COLUMN "{last}" TO other')
        await refuses(store)
        if not primary:
            with pytest.raises(SchemaChanged):
                async with store.applier(SHADOW.generation, SHADOW.epoch, None):
                    pass
