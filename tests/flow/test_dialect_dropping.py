"""DROP TABLE of what other rows refer to, where foreign keys wait for COMMIT: who owes what, and what COMMIT says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE parents(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE plain(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id), n INTEGER);
CREATE TABLE strict_(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id) ON DELETE RESTRICT);
CREATE TABLE late(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE going(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id) ON DELETE CASCADE);
CREATE TABLE emptied(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id) ON DELETE SET NULL);
CREATE TABLE named(id INTEGER PRIMARY KEY, name TEXT REFERENCES parents(name));
CREATE TABLE tree(id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree(id));
CREATE TABLE pairs(a INTEGER NOT NULL, b TEXT NOT NULL, v, PRIMARY KEY(a, b)) WITHOUT ROWID;
CREATE TABLE ends(id INTEGER PRIMARY KEY, a INTEGER, b TEXT, FOREIGN KEY(a, b) REFERENCES pairs);
"""
DATA = (
    "INSERT INTO parents VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    "INSERT INTO pairs VALUES (1, 'x', 1), (2, 'y', 2)",
    "INSERT INTO tree VALUES (1, NULL), (2, 1)",
)
CHILDREN = ("plain", "strict_", "late", "going", "emptied")
PARENTS = "CREATE TABLE parents(id INTEGER PRIMARY KEY, name VARCHAR(9) UNIQUE, more INTEGER)"
KEPT = "CREATE TEMPORARY TABLE kept AS SELECT * FROM parents"
BACK = "INSERT INTO parents(id, name) SELECT id, name FROM kept"


@pytest_asyncio.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA, store=True) as made:
        yield made


async def alike(both: World, *statements: str) -> list[str]:
    """The same answers and errors, one after the other. Returns what failed."""
    failed = []
    for sql in statements:
        answers: list[object] = []
        try:
            answers.append(both.on_sqlite(sql).rows)
        except StatementError as error:
            answers.append((error.code, error.message))
            failed.append(sql)
        try:
            answers.append((await both.on_postgres(sql)).rows)
        except StatementError as error:
            answers.append((error.code, error.message))
        assert answers[1] == answers[0], (sql, answers)
    return failed


async def same_rows(both: World) -> None:
    for table in ("parents", *CHILDREN, "named", "tree", "pairs", "ends"):
        await both.same(f"SELECT * FROM {table} ORDER BY 1")
    await both.same("PRAGMA foreign_key_check", ordered=False)


def rebuilt(*between: str) -> tuple[str, ...]:
    """A table is made anew under its name, as ActiveRecord does it."""
    return ("BEGIN", "PRAGMA defer_foreign_keys = ON", KEPT, "DROP TABLE parents", PARENTS, *between, "DROP TABLE kept")


@pytest.mark.parametrize("child", CHILDREN)
async def test_a_parent_is_made_anew_within_a_transaction(both: World, child: str) -> None:
    await alike(both, f"INSERT INTO {child}(id, parent) VALUES (1, 1), (2, 2), (3, NULL), (4, 2)")
    assert not await alike(both, *rebuilt(BACK), "COMMIT")
    await same_rows(both)
    after = (f"INSERT INTO {child}(parent) VALUES (99)", "DELETE FROM parents WHERE id = 2", f"SELECT * FROM {child}")
    assert after[0] in await alike(both, *after)
    await same_rows(both)


async def test_orphans_that_stay_fail_at_commit(both: World) -> None:
    await alike(both, "INSERT INTO plain VALUES (1, 1, 1), (2, 2, 2)", "INSERT INTO named VALUES (1, 'three')")
    assert await alike(both, *rebuilt(BACK, "DELETE FROM parents WHERE id = 2"), "COMMIT") == ["COMMIT"]
    assert await alike(both, "INSERT INTO parents VALUES (2, 'again', 1)", "COMMIT") == []
    await same_rows(both)
    one = "INSERT INTO parents(id, name) SELECT id, name FROM kept WHERE id = 1"
    assert await alike(both, *rebuilt(one), "COMMIT") == ["COMMIT"]
    assert await alike(both, "DELETE FROM plain WHERE id = 2", "COMMIT") == ["COMMIT"]
    assert await alike(both, "UPDATE named SET name = NULL", "COMMIT") == []
    await same_rows(both)
    assert await alike(both, *rebuilt(), "COMMIT", "DROP TABLE plain", "COMMIT") == ["COMMIT"]
    await alike(both, "SELECT * FROM parents", "INSERT INTO parents VALUES (1, 'x', 1)", "SELECT * FROM named")


async def test_a_parent_that_another_takes_the_name_of_leaves_its_debt(both: World) -> None:
    """SQLite does not look at the rows of a table that gets another name, so it counts those that it dropped."""
    start = ("BEGIN", "PRAGMA defer_foreign_keys = ON", "CREATE TABLE n(id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
    rename = ("INSERT INTO n SELECT * FROM parents", "DROP TABLE parents", "ALTER TABLE n RENAME TO parents")
    acting = ("INSERT INTO going VALUES (1, 1)", "INSERT INTO emptied VALUES (1, 1), (2, 2)")
    assert not await alike(both, *acting, *start, *rename, "COMMIT")
    await same_rows(both)
    await alike(both, "INSERT INTO plain VALUES (1, 1, 1), (2, 2, 2)", *start, *rename)
    anew = "INSERT INTO parents VALUES (1, 'a'), (2, 'b')"
    failed = await alike(both, "COMMIT", "DELETE FROM parents", anew, "COMMIT")
    assert failed == ["COMMIT", "COMMIT"]
    assert await alike(both, "DROP TABLE plain", "COMMIT", "ROLLBACK") == ["COMMIT"]
    await same_rows(both)


async def test_debts_follow_savepoints_and_names(both: World) -> None:
    await alike(both, "INSERT INTO plain VALUES (1, 1, 1)", "INSERT INTO late VALUES (1, 2)")
    failed = await alike(
        both, "BEGIN", "PRAGMA defer_foreign_keys = ON", "SAVEPOINT a", "DROP TABLE parents",
        "INSERT INTO plain VALUES (2, 2, 2)", "UPDATE plain SET n = 5", "ROLLBACK TO a", "SELECT * FROM parents",
        "COMMIT",
    )  # fmt: skip
    assert failed == ["INSERT INTO plain VALUES (2, 2, 2)"]
    await same_rows(both)
    failed = await alike(
        both, *rebuilt(BACK, "DELETE FROM parents WHERE id = 1"), "ALTER TABLE plain RENAME TO other",
        "ALTER TABLE other RENAME COLUMN parent TO p", "ALTER TABLE parents RENAME TO elders", "COMMIT",
        "SAVEPOINT b", "INSERT INTO elders VALUES (1, 'one', 1)", "ROLLBACK TO b", "COMMIT", "RELEASE b", "COMMIT",
        "INSERT INTO elders VALUES (1, 'one', 1)", "ALTER TABLE other RENAME TO plain", "COMMIT",
    )  # fmt: skip
    assert failed == ["COMMIT", "COMMIT", "COMMIT"]
    await alike(both, "SELECT * FROM plain", "SELECT * FROM elders", "PRAGMA foreign_key_check")
    assert await alike(both, "INSERT INTO plain VALUES (7, 77, 7)", "DELETE FROM elders WHERE id = 1")


async def test_keys_that_are_checked_at_once_forbid_it(both: World) -> None:
    await alike(both, "INSERT INTO plain VALUES (1, 1, 1)", "INSERT INTO late VALUES (1, 2)")
    failed = await alike(
        both, "DROP TABLE parents", "BEGIN", "DROP TABLE parents", "DELETE FROM plain", "DROP TABLE parents", "COMMIT",
        "DELETE FROM late", PARENTS, "COMMIT", "INSERT INTO parents VALUES (2, 'zwei', 2)", "COMMIT",
    )  # fmt: skip
    assert failed == ["DROP TABLE parents", "DROP TABLE parents", "COMMIT", "DELETE FROM late", "COMMIT"]
    await same_rows(both)
    assert await alike(both, "DROP TABLE parents") == ["DROP TABLE parents"]
    failed = await alike(both, "BEGIN", "DROP TABLE going", "UPDATE late SET parent = 99", "COMMIT", "ROLLBACK")
    assert failed == ["COMMIT"]
    await alike(both, "DELETE FROM late", "DROP TABLE parents", PARENTS, "SELECT * FROM late")


async def test_rows_that_would_go_with_it_may_refer_to_a_missing_table(both: World) -> None:
    for sql in (
        "CREATE TABLE going_on(id INTEGER PRIMARY KEY, up INT REFERENCES top ON DELETE CASCADE, n INT REFERENCES no)",
        "CREATE TABLE staying(id INTEGER PRIMARY KEY, up INT REFERENCES side ON DELETE SET NULL, n INT REFERENCES no)",
        "CREATE TABLE top(id INTEGER PRIMARY KEY)",
        "CREATE TABLE side(id INTEGER PRIMARY KEY)",
    ):
        await both.same(sql)
    await both.same_error("DROP TABLE top")
    await both.same("SELECT * FROM top")
    await both.same("DROP TABLE side")
    await both.same("PRAGMA foreign_keys = OFF")
    await both.same("DROP TABLE top")


async def test_keys_of_several_columns_and_of_the_table_itself(both: World) -> None:
    await alike(both, "INSERT INTO ends VALUES (1, 1, 'x'), (2, 2, NULL), (3, 2, 'y')")
    failed = await alike(
        both, "BEGIN", "PRAGMA defer_foreign_keys = ON", "CREATE TEMP TABLE kept AS SELECT * FROM pairs",
        "DROP TABLE pairs",
        "CREATE TABLE pairs(b TEXT NOT NULL, a INTEGER NOT NULL, v, PRIMARY KEY(a, b)) WITHOUT ROWID",
        "INSERT INTO pairs(a, b, v) SELECT a, b, v FROM kept WHERE a = 1", "DROP TABLE kept", "COMMIT",
        "INSERT INTO pairs VALUES ('y', 2, 0)", "CREATE TEMP TABLE kept AS SELECT * FROM tree", "DROP TABLE tree",
        "CREATE TABLE tree(id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree(id), x)",
        "INSERT INTO tree SELECT *, 1 FROM kept", "DROP TABLE kept", "COMMIT",
    )  # fmt: skip
    assert failed == ["COMMIT"]
    await same_rows(both)
    assert await alike(both, "INSERT INTO ends VALUES (9, 9, 'z')", "INSERT INTO tree VALUES (7, 77, 1)")


ON, OFF = "PRAGMA defer_foreign_keys = ON", "PRAGMA defer_foreign_keys = OFF"


async def test_keys_are_checked_at_once_again_within_a_transaction(both: World) -> None:
    await alike(both, "INSERT INTO plain VALUES (1, 1, 1)")
    failed = await alike(
        both, "BEGIN", ON, "INSERT INTO plain VALUES (9, 9, 9)", "INSERT INTO parents VALUES (9, 'nine')",
        "INSERT INTO late VALUES (1, 77)", OFF, "INSERT INTO plain VALUES (10, 10, 10)",
        "DELETE FROM parents WHERE id = 1", "UPDATE plain SET n = 4 WHERE id = 9", "INSERT INTO late VALUES (2, 78)",
        "COMMIT", "UPDATE late SET parent = 9 WHERE id = 2", "COMMIT",
    )  # fmt: skip
    assert failed == ["INSERT INTO plain VALUES (10, 10, 10)", "DELETE FROM parents WHERE id = 1", "COMMIT"]
    failed = await alike(
        both, "BEGIN", "INSERT INTO late VALUES (3, 79)", ON, "INSERT INTO plain VALUES (12, 12, 12)", OFF,
        "COMMIT", OFF, "DELETE FROM late WHERE id = 3", "COMMIT",
    )  # fmt: skip
    assert failed == ["COMMIT"]
    failed = await alike(
        both, "BEGIN", ON, "SAVEPOINT a", OFF, "ROLLBACK TO a", "INSERT INTO plain VALUES (11, 11, 11)", ON,
        "INSERT INTO plain VALUES (11, 11, 11)", "INSERT INTO parents VALUES (11, 'x')", "COMMIT",
    )  # fmt: skip
    assert failed == ["INSERT INTO plain VALUES (11, 11, 11)"]
    await same_rows(both)


async def test_orphans_are_forgotten_where_keys_are_checked_at_once_again(both: World) -> None:
    """SQLite lets them be then; so does ActiveRecord, which says so before its COMMIT."""
    await alike(both, "INSERT INTO plain VALUES (1, 1, 1), (2, 2, 2)", "INSERT INTO emptied VALUES (1, 2)")
    failed = await alike(both, "BEGIN", ON, "INSERT INTO plain VALUES (9, 9, 9), (10, NULL, 1)", OFF, "COMMIT")
    assert not failed
    await same_rows(both)
    one = "INSERT INTO parents(id, name) SELECT id, name FROM kept WHERE id = 1"
    assert await alike(both, *rebuilt(one), "SAVEPOINT a", OFF, "ROLLBACK TO a", "COMMIT", OFF, "COMMIT") == ["COMMIT"]
    await same_rows(both)
    failed = await alike(
        both, *rebuilt(one), "INSERT INTO late VALUES (1, 77)", OFF, "COMMIT", "DELETE FROM late", "COMMIT"
    )
    assert failed == ["COMMIT"]
    await same_rows(both)
    assert await alike(both, "INSERT INTO plain VALUES (11, 11, 11)", "DELETE FROM parents WHERE id = 1")
    await alike(both, "BEGIN", ON, "DELETE FROM parents WHERE id = 1")
    await both.refused(OFF, "beside rows that violate a foreign key")
    assert not await alike(both, "INSERT INTO parents VALUES (1, 'again', 1)", OFF, "COMMIT")
    await same_rows(both)


async def test_when_keys_are_checked_outlasts_a_failure_behind_a_change_of_the_schema(both: World) -> None:
    failed = await alike(
        both, "BEGIN", "ALTER TABLE late ADD COLUMN n", "INSERT INTO plain(parent) VALUES (88)",
        "INSERT INTO late(id, parent) VALUES (1, 77)", "INSERT INTO parents VALUES (77, 'x')",
        "CREATE TABLE anew(id INTEGER PRIMARY KEY, p INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO plain(parent) VALUES (88)", "INSERT INTO anew VALUES (1, 78)", "CREATE TABLE more(x)",
        "INSERT INTO plain(parent) VALUES (88)", "INSERT INTO parents VALUES (78, 'y')", "COMMIT",
    )  # fmt: skip
    assert failed == ["INSERT INTO plain(parent) VALUES (88)"] * 3
    await same_rows(both)


async def test_what_is_dropped_beside_a_violation_is_refused_and_not_told_as_one(both: World) -> None:
    await alike(both, "INSERT INTO strict_ VALUES (1, NULL)", "BEGIN", "INSERT INTO late VALUES (1, 77)")
    await both.refused("DROP TABLE parents", "beside rows that violate a foreign key until COMMIT")
    assert await alike(both, "COMMIT", "DELETE FROM late", "COMMIT") == ["COMMIT"]
    await same_rows(both)


@pytest.mark.parametrize("opens", ["SAVEPOINT s", "BEGIN"])
async def test_keys_that_wait_for_commit_do_so_behind_a_savepoint_that_their_table_was_dropped_in(
    both: World, opens: str
) -> None:
    statements = [*(["BEGIN"] if opens == "BEGIN" else []), "SAVEPOINT s", "DROP TABLE late"]
    statements += ["UPDATE tree SET up = NULL", "INSERT INTO tree VALUES (1, NULL)", "ROLLBACK TO s"]
    failed = await alike(both, *statements, "INSERT INTO late VALUES (1, 9)", "INSERT INTO plain VALUES (1, 9, 0)")
    assert failed == ["INSERT INTO tree VALUES (1, NULL)", "INSERT INTO plain VALUES (1, 9, 0)"]
    assert await alike(both, "COMMIT", "UPDATE late SET parent = 1", "COMMIT") == ["COMMIT"]
    await same_rows(both)
