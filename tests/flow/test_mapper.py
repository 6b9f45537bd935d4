"""What is mapped, and what nobody has looked at yet."""

from __future__ import annotations

from cutover.promote.parts import Situation
from cutover.serve.tables import Mapper
from cutover.settings import Settings
from cutover.stores.base import Member
from cutover.stores.pair import Pair
from tests.flow.following_world import unfollowed
from tests.support.sqlite_world import make


async def test_a_table_that_was_made_since_the_last_look_is_told_to_a_switch(
    sqlite_path: str, postgres_url: str
) -> None:
    """Also one that was there before: a tool that commits each statement drops a table, and makes it anew."""
    create = "CREATE TABLE products(id INTEGER PRIMARY KEY)"
    make(sqlite_path, create, "CREATE VIRTUAL TABLE words USING fts5(t)")
    async with unfollowed(sqlite_path, postgres_url, placed=True) as (sqlite, postgres):
        one, two = (Member(store, None) for store in (sqlite, postgres))  # type: ignore[arg-type]  # nothing is run
        mapper = Mapper(Settings(), sqlite, postgres, Situation(Pair(one, two, 1)))
        assert [table.name for table in await mapper.map_tables(create=True)] == ["products"]
        assert await mapper.uncarried() == []
        make(sqlite_path, "DROP TABLE products")
        assert await mapper.map_tables(create=True) == ()
        make(sqlite_path, create)
        await sqlite.install_capture()  # as it does behind a look, whatever was made meanwhile
        assert await mapper.uncarried() == ["table products"]
        await mapper.map_tables(create=True)
        assert await mapper.uncarried() == []
