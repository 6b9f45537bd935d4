"""Section B: the change log itself, read, trimmed and trimmed again, on both stores."""

from __future__ import annotations

import sqlite3

import pytest

from cutover.stores.base import Store
from tests.contract.conftest import World, as_primary
from tests.support.postgres import native, run
from tests.support.samples import PEOPLE
from tests.support.sqlite_world import direct, make, one

ADD = "INSERT INTO people (id, handle) VALUES (?, ?)"


@pytest.fixture
async def primary(world: World) -> Store:
    """The store as primary, capturing."""
    await world.store.initialise(as_primary(world.store))
    await world.store.install_capture()
    return world.store


async def logged(store: Store, batch: int) -> dict[object, object]:
    """What one batch of the mirror would see, and then trims."""
    async with store.snapshot() as snapshot:
        pending = await snapshot.pending()
        found = {key[0]: row and row[1] async for rows in snapshot.changed(PEOPLE, 10) for key, row in rows}
    await store.trim(pending, batch)
    return found


# -- 18: one row a key -----------------------------------------------------------------------------------------------

DIRTY_SQLITE = (
    "CREATE TABLE t (k TEXT PRIMARY KEY, v)",
    "CREATE TABLE dirty (k TEXT PRIMARY KEY)",
    "CREATE TRIGGER c AFTER INSERT ON t BEGIN INSERT OR IGNORE INTO dirty VALUES (NEW.k); END",
    "CREATE TRIGGER d AFTER UPDATE ON t BEGIN INSERT OR IGNORE INTO dirty VALUES (NEW.k); END",
)
DIRTY_POSTGRES = """
CREATE TABLE t (k text PRIMARY KEY, v text);
CREATE TABLE dirty (k text PRIMARY KEY);
CREATE FUNCTION capture() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO dirty VALUES (NEW.k) ON CONFLICT DO NOTHING; RETURN NULL; END $$;
CREATE TRIGGER c AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION capture();"""


def test_hazard_18_naive_a_set_of_dirty_keys_loses_what_comes_between_on_sqlite(sqlite_path: str) -> None:
    make(sqlite_path, *DIRTY_SQLITE, "INSERT INTO t VALUES ('a', 'v1')")
    with direct(sqlite_path) as mirror:
        mirror.execute("BEGIN")
        assert mirror.execute("SELECT k, v FROM dirty JOIN t USING (k)").fetchall() == [("a", "v1")]
        make(sqlite_path, "UPDATE t SET v = 'v2'")
        mirror.execute("COMMIT")
        mirror.execute("DELETE FROM dirty WHERE k = 'a'")
    assert one(sqlite_path, "SELECT v FROM t") == "v2"
    assert one(sqlite_path, "SELECT count(*) FROM dirty") == 0  # v1 was applied, and nobody knows of v2


@pytest.mark.parametrize("clause", ["OR ABORT", "OR FAIL", "OR ROLLBACK"])
def test_hazard_18_naive_an_outer_conflict_clause_fails_the_applications_write(sqlite_path: str, clause: str) -> None:
    make(sqlite_path, *DIRTY_SQLITE, "INSERT INTO t VALUES ('a', 'v1')")
    with pytest.raises(sqlite3.IntegrityError, match=r"dirty\.k"):
        make(sqlite_path, f"UPDATE {clause} t SET v = 'v2'")


async def test_hazard_18_naive_a_set_of_dirty_keys_loses_what_comes_between_on_postgres(postgres_url: str) -> None:
    await run(postgres_url, DIRTY_POSTGRES, "INSERT INTO t VALUES ('a', 'v1')")
    async with native(postgres_url) as mirror:
        await mirror.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert await mirror.fetchval("SELECT v FROM dirty JOIN t USING (k)") == "v1"
        await run(postgres_url, "UPDATE t SET v = 'v2'")
        await mirror.execute("COMMIT")
        await mirror.execute("DELETE FROM dirty WHERE k = 'a'")
        assert await mirror.fetchrow("SELECT v, (SELECT count(*) FROM dirty) FROM t") == ("v2", 0)


async def test_hazard_18_what_comes_between_reading_and_trimming_stays(primary: Store, world: World) -> None:
    await world.write(ADD, "a", "v1")
    async with primary.snapshot() as snapshot:
        pending = await snapshot.pending()
        await world.write("UPDATE people SET handle = 'v2'")
        found = {key: row async for rows in snapshot.changed(PEOPLE, 10) for key, row in rows}
        assert found == {("a",): ("a", "v1", None)}
    await primary.trim(pending, 1)
    assert await logged(primary, 2) == {"a": "v2"}


async def test_hazard_18_no_conflict_clause_reaches_the_log(primary: Store, world: World) -> None:
    only_sqlite = ("OR ABORT", "OR FAIL", "OR ROLLBACK", "OR IGNORE", "OR REPLACE")
    clauses = ("", *only_sqlite) if primary.name == "sqlite" else ("",)
    await world.write(ADD, "a", "")
    for clause in clauses:
        for value in ("v1", "v2"):
            await world.write(f"UPDATE {clause} people SET handle = ? WHERE id = 'a'", value)
    assert (await primary.lag())[0] == 1 + 2 * len(clauses)
    assert await logged(primary, 1) == {"a": "v2"}


# -- 19: a trim that is repeated -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "between"),
    [
        ("CREATE TABLE log (seq INTEGER PRIMARY KEY, k)", ()),
        ("CREATE TABLE log (seq INTEGER PRIMARY KEY AUTOINCREMENT, k)", ("DELETE FROM sqlite_sequence",)),
    ],
    ids=["rowid", "autoincrement"],
)
def test_hazard_19_naive_a_repeated_trim_takes_a_new_entry(
    sqlite_path: str, log: str, between: tuple[str, ...]
) -> None:
    make(sqlite_path, log, "CREATE TABLE t (k TEXT)")
    make(sqlite_path, "CREATE TRIGGER c AFTER INSERT ON t BEGIN INSERT INTO log (k) VALUES (NEW.k); END")
    make(sqlite_path, "INSERT INTO t VALUES ('a'), ('b')")
    trim = "DELETE FROM log WHERE seq IN (1, 2)"
    make(sqlite_path, trim, *between, "INSERT INTO t VALUES ('c')")
    assert one(sqlite_path, "SELECT k FROM log") == "c"
    make(sqlite_path, trim)  # its first answer was lost
    assert one(sqlite_path, "SELECT count(*) FROM log") == 0


@pytest.mark.parametrize("forgetful", [False, True])
async def test_hazard_19_a_batch_is_trimmed_once(primary: Store, world: World, forgetful: bool) -> None:
    for key in ("a", "b"):
        await world.write(ADD, key, key)
    async with primary.snapshot() as snapshot:
        pending = await snapshot.pending()
    await primary.trim(pending, 1)
    if forgetful and primary.name == "sqlite":
        await world.write("DELETE FROM sqlite_sequence")
    await world.write(ADD, "c", "c")
    await primary.trim(pending, 1)
    assert await logged(primary, 2) == {"c": "c"}


async def test_hazard_19_a_number_that_restarts_under_a_snapshot_hides_nothing(primary: Store, world: World) -> None:
    """AUTOINCREMENT forgotten between a snapshot and its first trim."""
    for key in ("a", "b"):
        await world.write(ADD, key, key)
    async with primary.snapshot() as snapshot:
        pending = await snapshot.pending()
    if primary.name == "sqlite":
        await world.write("DELETE FROM sqlite_sequence")
    await world.write(ADD, "c", "c")
    await primary.trim(pending, 1)
    assert await logged(primary, 2) == {"c": "c"}
