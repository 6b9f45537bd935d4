"""Section B on SQLite: what triggers overlook, and what they break."""

from __future__ import annotations

import sqlite3

import pytest

from cutover.errors import CaptureBroken
from cutover.model.control import SwitchState
from cutover.model.values import Key, Row
from tests.support.sqlite_tables import mapped
from tests.support.sqlite_world import PRIMARY, direct, make, one, served, take

# -- 20: rows that REPLACE evicts ------------------------------------------------------------------------------------

PLAIN = "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, h TEXT)"
ANON = "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, h TEXT NOT NULL DEFAULT 'anon'"
EVICTIONS = {
    "default": ((ANON + " UNIQUE)",), "anon", None),
    "expression": ((PLAIN, "CREATE UNIQUE INDEX u ON t (lower(h))"), "ANN", "ann"),
    "collation": ((PLAIN, "CREATE UNIQUE INDEX u ON t (h COLLATE NOCASE)"), "ANN", "ann"),
    "partial": ((PLAIN, "CREATE UNIQUE INDEX u ON t (h COLLATE NOCASE) WHERE h > ''"), "ANN", "ann"),
    "generated": ((ANON + ", g TEXT AS (upper(h)) VIRTUAL UNIQUE)",), "ANON", None),
}
"""Schema, the value that stands, and the value that evicts it."""
STATEMENTS = (
    "INSERT OR REPLACE INTO t (k, h) VALUES ('new', ?)",
    "UPDATE OR REPLACE t SET h = ? WHERE k = 'other'",
)


@pytest.mark.parametrize("case", EVICTIONS)
@pytest.mark.parametrize("statement", STATEMENTS, ids=["insert", "update"])
def test_hazard_20_naive_an_equal_column_is_not_a_conflict(sqlite_path: str, case: str, statement: str) -> None:
    ddl, standing, given = EVICTIONS[case]
    make(sqlite_path, *ddl, "CREATE TABLE log (k)")
    with direct(sqlite_path) as application:
        application.execute("INSERT INTO t (k, h) VALUES ('old', ?), ('other', 'other')", (standing,))
        for event in ("INSERT", "UPDATE"):
            application.execute(
                f"CREATE TRIGGER evicted_{event} BEFORE {event} ON t BEGIN "
                "INSERT INTO log SELECT k FROM t WHERE h = NEW.h AND k <> NEW.k; END"
            )
        application.execute("CREATE TRIGGER gone AFTER DELETE ON t BEGIN INSERT INTO log VALUES (OLD.k); END")
        application.execute(statement, (given,))
    assert one(sqlite_path, "SELECT count(*) FROM t WHERE k = 'old'") == 0
    assert one(sqlite_path, "SELECT count(*) FROM log WHERE k = 'old'") == 0


@pytest.mark.parametrize("case", EVICTIONS)
@pytest.mark.parametrize("statement", STATEMENTS, ids=["insert", "update"])
async def test_hazard_20_every_evicted_row_is_logged(sqlite_path: str, case: str, statement: str) -> None:
    ddl, standing, given = EVICTIONS[case]
    make(sqlite_path, *ddl)
    async with served(sqlite_path, PRIMARY) as (store, tables):
        with direct(sqlite_path) as application:
            application.execute("INSERT INTO t (k, h) VALUES ('old', ?), ('other', 'other')", (standing,))
            await take(store, tables["t"], 1)
            application.execute(statement, (given,))
        found = await take(store, tables["t"], 2)
        assert found[("old",)] is None
        assert one(sqlite_path, "SELECT count(*) FROM t WHERE k = 'old'") == 0


async def test_hazard_20_an_index_of_the_applications_own_is_captured_and_said_to_have_no_way_back(
    sqlite_path: str,
) -> None:
    """Only the application registers the collation: its connection runs our triggers, and ours cannot write."""
    with direct(sqlite_path) as application:
        application.create_collation("mine", lambda one, two: (one.lower() > two.lower()) - (one.lower() < two.lower()))
        application.execute(PLAIN)
        application.execute("INSERT INTO t VALUES ('old', 'ann')")
        async with served(sqlite_path, PRIMARY) as (store, _):
            checks = {name: (ok, detail) for name, ok, detail in await store.probe()}
            assert checks["writing"] == (True, "each table can be written by this service")
        application.execute("CREATE UNIQUE INDEX u ON t (h COLLATE mine)")
        async with served(sqlite_path, PRIMARY) as (store, tables):
            await take(store, tables["t"], 1)
            application.execute("INSERT OR REPLACE INTO t VALUES ('new', 'ANN')")
            assert (await take(store, tables["t"], 2)) == {("old",): None, ("new",): ("new", "ANN")}
            checks = {name: (ok, detail) for name, ok, detail in await store.probe()}
            assert checks["writing"] == (False, "t: no such collation sequence: mine")


# -- 21: changes that IS does not see --------------------------------------------------------------------------------

UNSEEN = [("n TEXT COLLATE NOCASE", "'abc'", "'ABC'"), ("n", "1", "1.0"), ("n", "'1'", "x'31'"), ("n", "NULL", "''")]


@pytest.mark.parametrize(("column", "before", "after"), UNSEEN[:2])
def test_hazard_21_naive_is_not_takes_them_for_equal(sqlite_path: str, column: str, before: str, after: str) -> None:
    make(sqlite_path, f"CREATE TABLE t (k TEXT PRIMARY KEY, {column})", "CREATE TABLE log (k)")
    make(
        sqlite_path,
        "CREATE TRIGGER c AFTER UPDATE ON t WHEN NEW.n IS NOT OLD.n BEGIN INSERT INTO log VALUES (NEW.k); END",
        f"INSERT INTO t VALUES ('a', {before})",
        f"UPDATE t SET n = {after}",
    )
    assert one(sqlite_path, "SELECT quote(n) FROM t") == after
    assert one(sqlite_path, "SELECT count(*) FROM log") == 0


@pytest.mark.parametrize(("column", "before", "after"), UNSEEN)
@pytest.mark.parametrize("saved", ["UPDATE t SET n = {}", "INSERT OR REPLACE INTO t VALUES ('a', {})"])
async def test_hazard_21_types_and_bytes_count(
    sqlite_path: str, column: str, before: str, after: str, saved: str
) -> None:
    make(
        sqlite_path, f"CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, {column})", f"INSERT INTO t VALUES ('a', {before})"
    )
    async with served(sqlite_path, PRIMARY) as (store, tables):
        make(sqlite_path, saved.format(before))
        assert await take(store, tables["t"], 1) == {}  # a whole-store save of what did not change
        make(sqlite_path, saved.format(after))
        assert set(await take(store, tables["t"], 2)) == {("a",)}


# -- 22, 23: keys as they are ----------------------------------------------------------------------------------------


def test_hazard_22_naive_a_join_finds_the_row_under_another_key(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT PRIMARY KEY COLLATE NOCASE)", "CREATE TABLE log (k)")
    make(sqlite_path, "INSERT INTO t VALUES ('ABC')", "INSERT INTO log VALUES ('abc'), ('ABC')")
    with direct(sqlite_path) as mirror:
        found = mirror.execute("SELECT log.k, t.k FROM log LEFT JOIN t ON t.k = log.k ORDER BY 1").fetchall()
    assert found == [("ABC", "ABC"), ("abc", "ABC")]  # so 'abc' is never deleted from a shadow that compares bytes


async def test_hazard_22_a_key_without_an_identical_row_is_a_delete(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY COLLATE NOCASE)", "INSERT INTO t VALUES ('abc')")
    async with served(sqlite_path, PRIMARY) as (store, tables):
        make(sqlite_path, "UPDATE t SET k = 'ABC'")
        assert await take(store, tables["t"], 1) == {("abc",): None, ("ABC",): ("ABC",)}


JSON_TRIGGER = "CREATE TRIGGER c AFTER INSERT ON t BEGIN INSERT INTO log VALUES ({}); END"


def test_hazard_23_naive_functions_in_trigger_text_fail_or_falsify(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k)", "CREATE TABLE log (k)", JSON_TRIGGER.format("json_array(NEW.k)"))
    with direct(sqlite_path) as application:
        with pytest.raises(sqlite3.OperationalError, match="BLOB"):
            application.execute("INSERT INTO t VALUES (x'00')")
        application.execute("INSERT INTO t VALUES (0.1 + 0.2)")
        assert application.execute("SELECT k FROM log").fetchone() == ("[0.3]",)  # another key
        assert application.execute("SELECT json_extract(log.k, '$[0]') = t.k FROM log, t").fetchone() == (0,)
        application.execute("PRAGMA trusted_schema = OFF")
        with pytest.raises(sqlite3.OperationalError, match="unsafe use"):
            application.execute("INSERT INTO t VALUES ('a')")
        application.execute("DROP TRIGGER c")
        application.execute(JSON_TRIGGER.format("quote(NEW.k)"))
        application.execute("INSERT INTO t VALUES (?)", ("a\0b",))
        assert application.execute("SELECT k FROM log ORDER BY rowid DESC").fetchone() == ("'a'",)


async def test_hazard_23_keys_are_logged_raw_under_any_setting(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k NOT NULL PRIMARY KEY)")
    keys: list[Key] = [(b"\0",), (0.1 + 0.2,), ("a\0b",), ("quo\"te'",), (2**63 - 1,), ("[]",)]
    async with served(sqlite_path, PRIMARY) as (store, tables):
        with direct(sqlite_path) as application:
            application.execute("PRAGMA trusted_schema = OFF")
            application.executemany("INSERT INTO t VALUES (?)", keys)
        expected: dict[Key, Row | None] = {key: key for key in keys}
        assert await take(store, tables["t"], 1) == expected


# -- 24: the application's migrations --------------------------------------------------------------------------------


def test_hazard_24_naive_a_log_removed_before_its_triggers_fails_every_write(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k)", "CREATE TABLE log (k)", JSON_TRIGGER.format("NEW.k"), "DROP TABLE log")
    for sql in ("INSERT INTO t VALUES (1)", "ALTER TABLE t RENAME TO u"):
        with pytest.raises(sqlite3.OperationalError, match="log"):
            make(sqlite_path, sql)


def test_hazard_24_naive_a_name_in_the_log_is_not_renamed(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k)", "CREATE TABLE log (t, k)", JSON_TRIGGER.format("'t', NEW.k"))
    make(sqlite_path, "ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (1)")
    assert one(sqlite_path, "SELECT t FROM log") == "t"


async def test_hazard_24_capture_leaves_triggers_first(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        await store.dismantle(PRIMARY.but(state=SwitchState.FINISHED), helpers=False)
        make(
            sqlite_path,
            "INSERT INTO t VALUES ('a', 1)",
            "ALTER TABLE t DROP COLUMN v",
            "ALTER TABLE t RENAME TO u",
            "INSERT INTO u VALUES ('b')",
        )


async def test_hazard_24_a_dropped_column_is_refused_whole_and_there_is_a_way(sqlite_path: str) -> None:
    """SQLite refuses it because of our trigger; without the triggers it goes, and the table is copied again."""
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v, w)", "INSERT INTO t VALUES ('a', 1, 2)")
    async with served(sqlite_path, PRIMARY) as (store, tables):
        with pytest.raises(sqlite3.OperationalError, match="error in trigger _cutover_capture"):
            make(sqlite_path, "ALTER TABLE t DROP COLUMN w")
        make(sqlite_path, "UPDATE t SET w = 3")
        assert await take(store, tables["t"], 1) == {("a",): ("a", 1, 3)}
        names = _capture(sqlite_path)
        make(sqlite_path, "BEGIN", *(f"DROP TRIGGER {name}" for name in names), "ALTER TABLE t DROP COLUMN w", "COMMIT")
        with direct(sqlite_path) as application:
            store.serve_tables(mapped(application))
        assert await store.check_capture()
        await store.install_capture()
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).whole == {"t"}


def _capture(path: str) -> list[str]:
    with direct(path) as application:
        rows = application.execute("SELECT name FROM sqlite_master WHERE name LIKE '\\_cutover\\_capture%' ESCAPE '\\'")
        return [name for (name,) in rows]


async def test_hazard_24_a_renamed_column_never_meets_a_trigger_of_before(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)", "INSERT INTO t VALUES ('a', 1)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        make(sqlite_path, "ALTER TABLE t RENAME COLUMN v TO w", "UPDATE t SET w = 2")
        with pytest.raises(CaptureBroken, match="v"):  # mended with a mapping from before the migration
            await store.install_capture()
        make(sqlite_path, "UPDATE t SET w = 3")
        assert (await store.lag())[0] == 2
        with direct(sqlite_path) as application:
            store.serve_tables(mapped(application))
        await store.install_capture()
        make(sqlite_path, "UPDATE t SET w = 4")


async def test_hazard_24_a_renamed_table_is_logged_by_its_number(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        make(sqlite_path, "ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES ('a', 1)")
        assert (await store.lag())[0] == 1
        assert "Table t is gone." in await store.check_capture()
        with pytest.raises(CaptureBroken, match="Table t is gone"):
            await store.fence(PRIMARY.but(state=SwitchState.PROMOTING, switch_id="s1"), 60)
