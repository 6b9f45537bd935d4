"""The service's knowledge of how columns on SQLite are spelled."""

from __future__ import annotations

from dataclasses import replace

from cutover.model.control import SwitchState
from cutover.model.table import Column, Table
from cutover.serve.spelling import Spelling
from cutover.stores.sqlite.store import SqliteStore
from tests.support.sqlite_world import PRIMARY, make, one, served

MADE = Column("made", "DATETIME", "NUMERIC", "made", "timestamp with time zone")
T = Table("t", "public", "t", (Column("id", "INTEGER", "INTEGER", "id", "bigint"), MADE), ("id",))


async def test_what_data_say_is_learned_recorded_and_forgotten_with_the_rest(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (id INTEGER PRIMARY KEY, made DATETIME)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        spelling = Spelling(store)
        assert await spelling.settle((T,)) == (T,)
        assert await spelling.learned() == []
        make(sqlite_path, "INSERT INTO t (made) VALUES (1700000000123)")
        assert await spelling.learned() == ["t"]
        milliseconds = replace(MADE, format="epoch_milliseconds")
        (table,) = await spelling.settle((T,))
        assert table.columns[1] == milliseconds
        assert await spelling.learned() == []
        make(sqlite_path, "UPDATE t SET made = '2024-02-29 10:00:00'")
        (table,) = await Spelling(store).settle((T,))
        assert table.columns[1] == milliseconds
        configured = replace(T, columns=(T.columns[0], replace(MADE, format="YYYY-MM-DD HH:MM:SS")))
        assert await spelling.settle((configured,)) == (configured,)
        await store.dismantle(PRIMARY.but(state=SwitchState.FINISHED), helpers=False)
        await spelling.settle((T,))
        assert one(sqlite_path, "SELECT count(*) FROM sqlite_master WHERE name = '_cutover_formats'") == 0


async def test_nothing_is_left_in_a_file_that_is_not_ours_yet(sqlite_path: str) -> None:
    make(
        sqlite_path, "CREATE TABLE t (id INTEGER PRIMARY KEY, made DATETIME)", "INSERT INTO t VALUES (1, '2024-02-29')"
    )
    store = SqliteStore(sqlite_path)
    await store.open()
    try:
        (table,) = await Spelling(store).settle((T,))
        assert table.columns[1].format == "YYYY-MM-DD"
        assert one(sqlite_path, "SELECT count(*) FROM sqlite_master") == 1
    finally:
        await store.close()
