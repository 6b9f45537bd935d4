"""sqlite_sequence, which applications read, and reset when they empty tables."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.model.statement import Statement, Step
from cutover.settings import Settings
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE one (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT NOT NULL);
CREATE TABLE "Two's" (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT);
"""
READ = "SELECT name, seq FROM sqlite_sequence ORDER BY name"


@pytest.fixture(params=["sequence", "sqlite"])
async def both(postgres_url: str, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    settings = Settings.model_validate({"tables": {"one": {"keys": request.param}}})
    async with world(postgres_url, SCHEMA, settings=settings) as made:
        yield made


async def _filled(both: World) -> None:
    await both.same("INSERT INTO one (v) VALUES ('a'), ('b'), ('c')")
    await both.same("""INSERT INTO "Two's" VALUES (40, 'x')""")


async def test_it_is_read(both: World) -> None:
    await both.same(READ)
    await _filled(both)
    await both.same(READ)
    await both.same("SELECT seq FROM sqlite_sequence WHERE name = ?", "Two's")
    await both.same("SELECT s.seq + 1, v FROM sqlite_sequence s JOIN one ON one.id = s.seq WHERE s.name = 'one'")
    await both.same("SELECT name, tbl_name, seq FROM sqlite_master JOIN sqlite_sequence USING (name) ORDER BY name")


@pytest.mark.parametrize(
    "reset",
    [
        "DELETE FROM sqlite_sequence",
        "DELETE FROM sqlite_sequence WHERE name = 'one'",
        "UPDATE sqlite_sequence SET seq = 0 WHERE name IN ('one', 'Two''s')",
        "UPDATE sqlite_sequence SET seq = (SELECT coalesce(max(id), 0) FROM one) WHERE name = 'one'",
        "DELETE FROM sqlite_sequence WHERE name = 'nothing'",
    ],
)
async def test_emptied_tables_begin_anew(both: World, reset: str) -> None:
    await _filled(both)
    await both.same("DELETE FROM one")
    await both.same(reset)
    await both.same("INSERT INTO one (v) VALUES ('d') RETURNING id")
    await both.same("""INSERT INTO "Two's" (v) VALUES ('y') RETURNING id""")
    await both.same(READ)


async def test_keys_that_are_there_are_not_given_again(both: World) -> None:
    await _filled(both)
    await both.same("DELETE FROM sqlite_sequence WHERE name = ?", "one")
    await both.same("INSERT INTO one (v) VALUES ('d') RETURNING id")
    await both.same("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", 700, "one")
    await both.same("INSERT INTO one (v) VALUES ('e') RETURNING id")
    await both.same(READ)


async def test_a_rollback_takes_it_back(both: World) -> None:
    await _filled(both)
    await _on_both(both, "BEGIN", "DELETE FROM one", "DELETE FROM sqlite_sequence")
    await both.same("INSERT INTO one (v) VALUES ('q')")
    await _on_both(both, "ROLLBACK")
    await both.same(READ)
    await both.same("INSERT INTO one (v) VALUES ('d') RETURNING id")


@pytest.mark.parametrize("both", ["sequence"], indirect=True)  # the mark of others is the sequence
async def test_an_update_of_keys_raises_nothing(both: World) -> None:
    """SQLite goes past the highest key that is there with the next row, and says so only then."""
    await _filled(both)
    for sql in (
        "UPDATE one SET id = 900 WHERE id = (SELECT max(id) FROM one)",
        "INSERT INTO one (v) SELECT 'none' WHERE 0",  # which has the sequence go past that key
        "INSERT INTO one (v) VALUES ('d') RETURNING id",
        "UPDATE one SET id = 5000 WHERE v = 'd'",
        "UPDATE one SET id = 6000 WHERE v = 'd'",
        "INSERT INTO one (v) VALUES ('e') RETURNING id",
    ):
        await both.same(sql)
        await both.same(READ)
    await _on_both(both, "BEGIN", "UPDATE one SET id = 7000 WHERE v = 'e'")
    await both.same(READ)
    await both.same("INSERT INTO one (v) VALUES ('f') RETURNING id")
    await both.same(READ)
    await _on_both(both, "ROLLBACK")
    await both.same(READ)


@pytest.mark.parametrize("both", ["sequence"], indirect=True)  # the mark of others is the sequence
async def test_what_is_written_is_read_also_below_the_rows(both: World) -> None:
    await _filled(both)
    for sql in (
        "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'one'",
        "UPDATE sqlite_sequence SET seq = seq + 1",
        "UPDATE sqlite_sequence SET seq = 0",
        "DELETE FROM sqlite_sequence WHERE seq = 0 AND name <> 'one'",
        """INSERT INTO "Two's" (v) VALUES ('y') RETURNING id""",
        "INSERT INTO one (v) VALUES ('d') RETURNING id",
        "DELETE FROM one",
        "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'one'",
    ):
        await both.same(sql)
        await both.same(READ)
    await _on_both(both, "BEGIN", "UPDATE sqlite_sequence SET seq = 2", "SAVEPOINT s", "DELETE FROM sqlite_sequence")
    await both.same(READ)
    await _on_both(both, "ROLLBACK TO s")
    await both.same(READ)
    await _on_both(both, "ROLLBACK")
    await both.same(READ)


async def test_which_of_its_rows_comes_first_only_sqlite_knows(both: World) -> None:
    await _filled(both)
    await both.refused("SELECT * FROM sqlite_sequence LIMIT 1", "LIMIT between rows")
    await both.same("SELECT * FROM sqlite_sequence WHERE name = 'one' LIMIT 1")
    await both.same("SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'one')")
    await both.same("SELECT name FROM sqlite_sequence ORDER BY name LIMIT 1")


async def test_rows_of_a_dump(both: World) -> None:
    await both.same("INSERT INTO one VALUES (3, 'a')")
    await both.same("DELETE FROM sqlite_sequence")
    await both.same("INSERT INTO sqlite_sequence VALUES ('one', 9)")
    await both.same("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", "Two's", 4)
    await both.same(READ)
    await both.same("INSERT INTO one (v) VALUES ('d') RETURNING id")
    await both.refused("INSERT INTO sqlite_sequence (seq, name) VALUES (1, 'one')", "other than of")
    await both.refused("UPDATE sqlite_sequence SET name = 'x'", "other than of seq")


async def test_what_is_known_of_the_sequence_is_forgotten(both: World) -> None:
    await _filled(both)
    await both.same("DELETE FROM one")
    await both.same("DELETE FROM sqlite_sequence")
    await both.same_error("INSERT INTO one (v) VALUES (NULL)")
    await both.same("INSERT INTO one (v) VALUES ('d') RETURNING id")
    await _on_both(both, "BEGIN", "DELETE FROM one", "DELETE FROM sqlite_sequence")
    await both.same("INSERT INTO one (v) VALUES ('e') RETURNING id")
    await _on_both(both, "ROLLBACK")
    await both.same("INSERT INTO one (v) VALUES ('f') RETURNING id")
    await both.same("SELECT seq FROM sqlite_sequence WHERE name = 'one'")


async def _on_both(both: World, *statements: str) -> None:
    for sql in statements:
        both.db.execute(sql)
        await both.session.execute(Statement(sql))


async def test_what_was_given_in_vain_is_not_read(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA) as both:
        await both.same_error("INSERT INTO one (v) VALUES (NULL)")
        await both.same(READ)
        await both.same("INSERT INTO one (v) VALUES ('a')")
        await both.same_error("INSERT INTO one (v) VALUES (NULL)")
        await both.same(READ)
        found = await both.executor.run([Step(Statement(READ))])
        assert found.results[0] is not None
        assert found.results[0].rows == both.on_sqlite(READ).rows
        await _on_both(both, "BEGIN")
        await both.same("""INSERT INTO "Two's" (v) VALUES ('q'), ('r')""")
        await _on_both(both, "SAVEPOINT s")
        await both.same("INSERT INTO one (v) VALUES ('q'), ('r')")
        await both.same(READ)
        await _on_both(both, "ROLLBACK TO s")
        await both.same(READ)
        await both.same("INSERT INTO one (v) SELECT v || seq FROM one, sqlite_sequence WHERE name = 'one' RETURNING v")
        await _on_both(both, "ROLLBACK")
        await both.same(READ)
        reading = both.executor.session(read_only=True)
        for sql in ("BEGIN", READ, "COMMIT"):
            await reading.execute(Statement(sql))
        await reading.close()


async def test_keys_that_are_not_above_zero_are_a_mark_of_zero(both: World) -> None:
    await both.same("INSERT INTO one VALUES (-5, 'a')")
    await both.same("""INSERT INTO "Two's" VALUES (0, 'a')""")
    await both.same(READ)
    await both.same("INSERT INTO one (v) VALUES ('b') RETURNING id")
    await both.same(READ)


@pytest.mark.parametrize("within", [False, True])
async def test_a_mark_below_rows_counts_once_they_are_gone(both: World, within: bool) -> None:
    await _filled(both)
    await _on_both(both, *["BEGIN"] * within)
    await both.same("DELETE FROM sqlite_sequence WHERE name = ?", "one")
    await both.same("DELETE FROM one")
    await both.same("INSERT INTO one (v) VALUES ('d') RETURNING id")
    await both.same("INSERT INTO one (v) VALUES ('e'), ('f') RETURNING id")
    await both.same("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'one'")
    await both.same("DELETE FROM one WHERE id > 1")
    await _on_both(both, *["COMMIT"] * within)
    await both.same("INSERT INTO one (v) VALUES ('g') RETURNING id")
    await both.same("DELETE FROM one")
    await both.same("INSERT INTO one (v) VALUES ('h') RETURNING id")
    await both.same(READ)
    await both.same("""INSERT INTO "Two's" (v) VALUES ('y') RETURNING id""")


async def test_a_mark_below_rows_is_taken_back_with_its_transaction(both: World) -> None:
    await _filled(both)
    await _on_both(both, "BEGIN", "DELETE FROM sqlite_sequence", "DELETE FROM one", "ROLLBACK")
    await both.same("DELETE FROM one")
    await both.same("INSERT INTO one (v) VALUES ('d') RETURNING id")
    await _on_both(both, "BEGIN", "SAVEPOINT s", "DELETE FROM sqlite_sequence", "DELETE FROM one", "ROLLBACK TO s")
    await both.same("DELETE FROM one")
    await both.same("INSERT INTO one (v) VALUES ('e') RETURNING id")
    await _on_both(both, "COMMIT")
    await both.same(READ)


async def test_a_mark_below_rows_is_not_forgotten_when_it_is_read(both: World) -> None:
    await _filled(both)
    await both.same("UPDATE sqlite_sequence SET seq = 1 WHERE name = 'one'")
    await both.on_postgres(READ)
    await both.same("DELETE FROM one")
    await both.same("INSERT INTO one (v) VALUES ('d') RETURNING id")
    await both.same(READ)


@pytest.mark.parametrize("way", ["DO NOTHING", "DO UPDATE SET v = excluded.v"])
async def test_a_key_that_meets_one_that_an_update_gave_is_counted(both: World, way: str) -> None:
    await _filled(both)
    await both.same("UPDATE one SET id = 50 WHERE v = 'c'")
    await both.same(f"INSERT INTO one (id, v) VALUES (50, 'z') ON CONFLICT (id) {way}")
    await both.same(READ)
    await both.same("DELETE FROM one WHERE id = 50")
    await both.same("INSERT INTO one (v) VALUES ('q') RETURNING id")
    await both.same(READ)


async def test_behind_the_last_key_there_is_none(both: World) -> None:
    last = 2**63 - 1
    await both.same("INSERT INTO one VALUES (?, 'a')", last - 1)
    await both.same("INSERT INTO one (v) VALUES ('b') RETURNING id")
    for sql in (
        "INSERT INTO one (v) VALUES ('c')",
        "INSERT INTO one (v) SELECT 'c' UNION ALL SELECT 'd'",
        "INSERT OR IGNORE INTO one (v) VALUES ('c') RETURNING id",
    ):
        error = await both.same_error(sql)
        assert (error.code, error.message) == ("SQLITE_FULL", "database or disk is full")
    await both.same(READ)
    await both.same("DELETE FROM one")
    await both.same_error("INSERT INTO one (v) VALUES ('c')")
    await both.same("DELETE FROM sqlite_sequence")
    await both.same("INSERT INTO one (v) VALUES ('c') RETURNING id")


@pytest.mark.parametrize("both", ["sequence"], indirect=True)  # others see the row itself
async def test_no_update_gives_the_last_key(both: World) -> None:
    await _filled(both)
    for sql in (
        "UPDATE one SET id = 9223372036854775807 WHERE v = 'c'",
        "UPDATE one SET id = id + 9223372036854775806 WHERE v = 'a'",
        "INSERT INTO one (id, v) VALUES (3, 'z') ON CONFLICT (id) DO UPDATE SET id = 9223372036854775807",
    ):
        await both.refused(sql, "An UPDATE of an AUTOINCREMENT key to 9223372036854775807")
    await both.same("UPDATE one SET id = 9223372036854775806 WHERE v = 'c'")
    await both.same("INSERT INTO one (v) VALUES ('d') RETURNING id")
    await both.same_error("INSERT INTO one (v) VALUES ('e')")
