"""Schema changes in SQLite's SQL on Postgres: what they leave behind is what SQLite has, and missing if undone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio

from cutover.dialect.ahead import LONG
from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.typed import Refused
from cutover.errors import StatementError
from cutover.metrics import Metrics
from cutover.model.statement import Statement
from cutover.settings import Settings
from tests.flow.dialect_world import Pool, World, world

SCHEMA = """
CREATE TABLE parents(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE children(id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER REFERENCES parents(id) ON DELETE CASCADE);
INSERT INTO parents VALUES (1, 'one'), (2, 'two');
"""


@pytest_asyncio.fixture
async def ddl(postgres_url: str) -> AsyncIterator[World]:
    """Two tables with a foreign key between them."""
    schema, _, rows = SCHEMA.rpartition("INSERT")
    async with world(postgres_url, schema, data=[f"INSERT{rows.rstrip().rstrip(';')}"], store=True) as made:
        yield made


async def same_schema(one: World) -> None:
    """What SQLite says of its schema, in its own words."""
    await one.same("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")


async def test_the_schema_is_listed_in_the_order_in_which_it_was_made(ddl: World) -> None:
    for sql in (
        "CREATE TABLE z (a INTEGER, b TEXT CHECK (`b` IN ('x', 'y')), c)",
        "CREATE UNIQUE INDEX z_z ON z (b)",
        "CREATE INDEX z_a ON z (a)",
        "CREATE VIEW v AS SELECT a FROM z",
        "CREATE TABLE y (a INTEGER)",
        "CREATE INDEX a_z ON z (b, a)",
    ):
        await ddl.same(sql)
    for sql in (
        "SELECT type, name FROM sqlite_master",
        "PRAGMA index_list(z)",
        "SELECT name FROM pragma_index_list('z')",
        "SELECT sql FROM sqlite_master WHERE tbl_name = 'z'",
    ):
        await ddl.same(sql, ordered=True)
    found = await ddl.on_postgres("SELECT * FROM sqlite_master")
    assert [column.decltype for column in found.columns] == ["TEXT", "TEXT", "TEXT", "INT", "TEXT"]
    await ddl.same_error("INSERT INTO z VALUES (1, 'z', 2)")


async def test_tables_come_change_and_go(ddl: World) -> None:
    for sql in (
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT DEFAULT 'x' COLLATE NOCASE, c REAL CHECK (c > 0))",
        "INSERT INTO t(c) VALUES (1), (2.5)",
        "CREATE TABLE IF NOT EXISTS t (a)",
        "ALTER TABLE t ADD COLUMN d INTEGER NOT NULL DEFAULT 7",
        "CREATE UNIQUE INDEX t_b ON t(b, a) WHERE c > 1",
        "CREATE INDEX t_l ON t(lower(b))",
        "ALTER TABLE t RENAME COLUMN b TO e",
        "INSERT INTO t(e, c) VALUES ('y', 3)",
        "SELECT * FROM t ORDER BY a",
        "ALTER TABLE t RENAME TO u",
        "CREATE VIEW v AS SELECT a, c FROM u WHERE c > 1",
        "SELECT * FROM v ORDER BY a",
        "DROP INDEX t_l",
        "ALTER TABLE u DROP COLUMN d",
        "SELECT * FROM u ORDER BY a",
        "CREATE TABLE copied AS SELECT a, e AS f FROM u",
        "SELECT f, a FROM copied ORDER BY a",
    ):
        await ddl.same(sql)
    await same_schema(ddl)
    with pytest.raises(StatementError, match="CHECK constraint failed"):
        await ddl.on_postgres("INSERT INTO u(c) VALUES (-1)")
    for sql in ("DROP VIEW v", "DROP TABLE u", "DROP TABLE IF EXISTS u"):
        await ddl.same(sql)
    await same_schema(ddl)


async def test_generated_columns_that_postgres_has_not_are_renamed_and_dropped(ddl: World) -> None:
    for sql in (
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b INT, c AS (b * 2), d INT AS (b + 1) STORED)",
        "INSERT INTO t(b) VALUES (1), (NULL)",
        "ALTER TABLE t ADD COLUMN e AS (b * 3)",
        "ALTER TABLE t RENAME COLUMN e TO f",
        "ALTER TABLE t RENAME COLUMN c TO g",
        "ALTER TABLE t RENAME COLUMN d TO h",
        "SELECT * FROM t",
        "ALTER TABLE t DROP COLUMN f",
        "ALTER TABLE t DROP COLUMN g",
        "ALTER TABLE t DROP COLUMN h",
        "SELECT * FROM t",
    ):
        await ddl.same(sql)
    await same_schema(ddl)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE parents (x)",
        "DROP TABLE missing",
        "DROP TABLE IF EXISTS sqlite_master",
        "DROP INDEX missing",
        "ALTER TABLE missing ADD COLUMN x",
        "ALTER TABLE parents ADD COLUMN name TEXT",
        "ALTER TABLE parents DROP COLUMN id",
        "ALTER TABLE parents RENAME COLUMN missing TO x",
        "ALTER TABLE parents ADD COLUMN n INTEGER DEFAULT -1 CHECK (n > 0)",
        "ALTER TABLE parents ADD COLUMN n TEXT AS (nullif(name, 'one')) NOT NULL",
        "ALTER TABLE parents RENAME TO children",
        "CREATE INDEX i ON missing(x)",
        "CREATE TABLE t (a INTEGER, A TEXT)",
    ],
)
async def test_errors_are_those_of_sqlite(ddl: World, sql: str) -> None:
    await ddl.same_error(sql)
    await same_schema(ddl)


async def test_columns_are_added_without_a_type_but_not_with_a_default_that_has_to_be_computed(ddl: World) -> None:
    await ddl.same("ALTER TABLE parents ADD COLUMN anything")
    await ddl.same("UPDATE parents SET anything = id || 'x'")
    await ddl.same("SELECT * FROM parents")
    await ddl.same_error("ALTER TABLE parents ADD COLUMN n INTEGER DEFAULT (1 + 1)")
    ddl.on_sqlite("ALTER TABLE children ADD COLUMN n INTEGER DEFAULT (1 + 1)")
    await ddl.on_postgres("ALTER TABLE children ADD COLUMN n INTEGER DEFAULT (1 + 1)")
    await ddl.same("INSERT INTO children (parent) VALUES (1) RETURNING n")


async def test_the_check_of_a_new_column_holds_beside_those_of_the_table(ddl: World) -> None:
    await ddl.same(
        "CREATE TABLE spans (a INT CHECK (a < 10), b INT, CHECK (a + b <> 5), CONSTRAINT apart CHECK (a <> b))"
    )
    ddl.on_sqlite("ALTER TABLE spans ADD COLUMN c INT CHECK (c > 0)")  # whose columns are those of a check of its own
    await ddl.on_postgres("ALTER TABLE spans ADD COLUMN c INT CHECK (c > 0)")
    for values in ("1, 2, -1", "2, 3, 1", "4, 4, 1", "10, 1, 1"):
        await ddl.same_error(f"INSERT INTO spans VALUES ({values})")
    await ddl.same("INSERT INTO spans VALUES (1, 2, 3)")


async def test_what_is_rolled_back_leaves_missing(ddl: World) -> None:
    for sql in (
        "BEGIN",
        "CREATE TABLE a (x INTEGER PRIMARY KEY)",
        "SAVEPOINT s",
        "CREATE TABLE b (x INTEGER PRIMARY KEY)",
        "INSERT INTO b VALUES (1)",
        "ALTER TABLE parents ADD COLUMN y TEXT",
        "ROLLBACK TO s",
    ):
        await ddl.same(sql)
    await same_schema(ddl)
    await ddl.same_error("INSERT INTO b VALUES (1)")
    for sql in ("INSERT INTO a VALUES (3)", "SELECT * FROM parents", "ROLLBACK"):
        await ddl.same(sql)
    await same_schema(ddl)
    await ddl.same_error("SELECT * FROM a")


async def test_another_stream_sees_it_once_it_is_committed(ddl: World) -> None:
    for sql in ("SELECT * FROM parents", "BEGIN", "CREATE TABLE a (x INTEGER PRIMARY KEY)", "INSERT INTO a VALUES (1)"):
        await ddl.same(sql)
    first, ddl.session = ddl.session, ddl.executor.session()
    with pytest.raises(Exception, match="no such table: a"):
        await ddl.on_postgres("SELECT * FROM a")
    second, ddl.session = ddl.session, first
    await ddl.same("COMMIT")
    ddl.session = second
    await ddl.same("SELECT * FROM a")
    await first.close()


REBUILD = """
PRAGMA foreign_keys = OFF
BEGIN
CREATE TABLE "new__parents" ("id" integer NOT NULL PRIMARY KEY, "name" varchar(40) NOT NULL, "seen" bool NOT NULL)
INSERT INTO "new__parents" ("id", "name", "seen") SELECT "id", "name", 1 FROM "parents"
DROP TABLE "parents"
ALTER TABLE "new__parents" RENAME TO "parents"
CREATE INDEX "parents_name" ON "parents" ("name")
COMMIT
PRAGMA foreign_keys = ON
""".strip().split("\n")


async def test_a_table_is_rebuilt_and_its_children_stay(ddl: World) -> None:
    await ddl.same("INSERT INTO children(parent) VALUES (1), (2)")
    for sql in REBUILD:
        await ddl.same(sql)
    await same_schema(ddl)
    for sql in ("SELECT * FROM parents ORDER BY id", "SELECT * FROM children ORDER BY id", "PRAGMA foreign_keys"):
        await ddl.same(sql)
    await ddl.same_error("INSERT INTO children(parent) VALUES (99)")
    for sql in (
        "DELETE FROM parents WHERE id = 1",
        "SELECT * FROM children",
        "INSERT INTO parents VALUES (NULL, 'n', 0)",
    ):
        await ddl.same(sql)


async def test_the_schema_changes_behind_rows_whose_keys_are_checked_at_commit(ddl: World) -> None:
    """Postgres alters no table with such a check open: it is made before, and what is written then waits again."""
    late = "INTEGER REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED"
    await ddl.same(f"CREATE TABLE late (id INTEGER PRIMARY KEY, parent {late}, t TEXT)")
    for statements in (
        ["INSERT INTO late(parent, t) VALUES (1, 'y')", "ALTER TABLE late ADD COLUMN z TEXT", "UPDATE late SET z = t"],
        ["UPDATE late SET parent = 2", "CREATE INDEX late_t ON late(t)", "DELETE FROM parents WHERE id = 1"],
        ["INSERT INTO parents VALUES (3, 'three')", "ALTER TABLE parents ADD COLUMN n INT", "SELECT * FROM late"],
        [
            "PRAGMA defer_foreign_keys = ON",
            'CREATE TABLE __new_late (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id), t TEXT, z TEXT)',
            "INSERT INTO __new_late SELECT * FROM late",
            "DROP TABLE late",
            "ALTER TABLE __new_late RENAME TO late",
            "INSERT INTO late(id, parent) VALUES (10, 99)",
            "UPDATE late SET parent = 2 WHERE id = 10",
        ],
    ):  # fmt: skip
        for sql in ["BEGIN", *statements, "COMMIT", "SELECT * FROM late", "SELECT * FROM parents"]:
            await ddl.same(sql)
    await same_schema(ddl)
    await ddl.same(f"CREATE TABLE later (id INTEGER PRIMARY KEY, parent {late})")
    await ddl.same("BEGIN")
    await ddl.same("INSERT INTO later VALUES (1, 77)")
    await ddl.refused("ALTER TABLE later ADD COLUMN z TEXT", "until COMMIT")
    for sql in ("INSERT INTO parents(id, name) VALUES (77, 'n')", "ALTER TABLE later ADD COLUMN z TEXT"):
        await ddl.same(sql)
    await ddl.same("INSERT INTO later(id, parent) VALUES (2, 78)")
    await ddl.same_error("COMMIT")
    await ddl.same("ROLLBACK")


async def test_schema_changes_beside_checks_that_wait_for_commit(ddl: World) -> None:
    """Postgres alters no table of which a foreign key is yet to be checked."""
    for sql in (
        "CREATE TABLE late(id INTEGER PRIMARY KEY, parent INT REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE gone(id INTEGER PRIMARY KEY)",
        "CREATE TABLE of_gone(gone INTEGER REFERENCES gone(id))",
        "BEGIN",
        "INSERT INTO late VALUES (1, 1)",
        "ALTER TABLE late ADD COLUMN x TEXT",
        "CREATE INDEX late_x ON late(x)",
        "UPDATE late SET parent = 99",
        "CREATE TABLE another(a)",
        "UPDATE late SET parent = 2",
        "DROP TABLE gone",
        "UPDATE late SET parent = 99",
        "UPDATE late SET parent = 1",
        "COMMIT",
        "BEGIN",
        "PRAGMA defer_foreign_keys = ON",
        "INSERT INTO children(parent) VALUES (1)",
        "ALTER TABLE children ADD COLUMN y",
        "DROP TABLE another",
        "INSERT INTO children(parent) VALUES (3)",
        "INSERT INTO parents VALUES (3, 'three')",
        "COMMIT",
        "SELECT * FROM children ORDER BY id",
        "SELECT * FROM late ORDER BY id",
    ):
        await ddl.same(sql)
    await same_schema(ddl)
    for sql in ("BEGIN", "UPDATE late SET parent = 99"):
        await ddl.same(sql)
    await ddl.refused("ALTER TABLE late ADD COLUMN z", "until COMMIT")
    await ddl.same_error("COMMIT")
    for sql in ("ROLLBACK", "BEGIN", "PRAGMA defer_foreign_keys = ON"):
        await ddl.same(sql)
    for sql in ("DROP TABLE parents", "ROLLBACK", "SELECT * FROM late"):
        await ddl.same(sql)


async def test_dropping_a_parent_deletes_its_rows_first(ddl: World) -> None:
    for sql in ("INSERT INTO children(parent) VALUES (1), (NULL)", "DROP TABLE parents", "SELECT * FROM children"):
        await ddl.same(sql)
    await same_schema(ddl)


async def test_numbers_of_the_file_are_remembered(ddl: World) -> None:
    for sql in ("PRAGMA user_version = 12", "PRAGMA application_id = 5"):
        await ddl.on_postgres(sql)
        ddl.db.execute(sql)
    assert (await ddl.on_postgres("PRAGMA user_version")).rows == [(12,)]
    await ddl.on_postgres("PRAGMA application_id = 0")
    assert (await ddl.on_postgres("PRAGMA application_id")).rows == [(0,)]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER INSERT ON parents BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
    ],
)
async def test_what_postgres_cannot_have_is_refused_by_name(ddl: World, sql: str) -> None:
    with pytest.raises(Refused, match=r"CREATE (TRIGGER|VIRTUAL)"):
        await ddl.on_postgres(sql)
    await ddl.same("SELECT 1")


async def test_two_streams_make_the_same_table(ddl: World) -> None:
    others = [ddl.executor.session() for _ in range(3)]
    sql = "CREATE TABLE IF NOT EXISTS race (x INTEGER PRIMARY KEY)"
    await asyncio.gather(*(other.execute(Statement(sql)) for other in others))
    for other in others:
        await other.close()
    assert (await ddl.on_postgres("SELECT * FROM race")).rows == []


async def test_checks_may_call_what_postgres_has_no_like_of(ddl: World) -> None:
    await ddl.same('CREATE TABLE t (a TEXT NOT NULL CHECK ((JSON_VALID("a") OR "a" IS NULL)))')
    await ddl.same("INSERT INTO t VALUES ('{\"x\": [1]}'), ('null')")
    await ddl.same_error("INSERT INTO t VALUES ('{')")


@pytest.mark.parametrize(
    "key",
    [
        "id SERIAL PRIMARY KEY, v TEXT",
        "id PRIMARY KEY, v TEXT",
        "id NUMERIC, v, PRIMARY KEY (id, v)",
        "id REAL PRIMARY KEY, v TEXT",
        "id NUMERIC, v TEXT PRIMARY KEY",
    ],
)
async def test_a_declared_key_that_takes_anything_takes_null(ddl: World, key: str) -> None:
    for sql in (
        f"CREATE TABLE noted ({key})",
        "INSERT INTO noted(v) VALUES ('a'), ('b')",
        "INSERT INTO noted(id, v) VALUES (NULL, 'c'), (7, 'd'), (1.5, 'e')",
        "SELECT count(noted.rowid), max(rowid) FROM noted",
        "SELECT rowid, id, v FROM noted ORDER BY rowid",
        "SELECT * FROM noted WHERE id = 7",
        "SELECT id, v FROM noted ORDER BY v DESC LIMIT 1",
        "UPDATE noted SET v = 'f' WHERE id IS NULL AND v = 'a'",
        "DELETE FROM noted WHERE id = 1.5",
        "SELECT * FROM noted",
    ):
        await ddl.same(sql)
    await ddl.same_error("INSERT INTO noted(id, v) VALUES (7, 'd')")
    await same_schema(ddl)


async def test_whoever_carries_changes_over_is_told_of_those_that_were_committed(ddl: World) -> None:
    told: list[str] = []

    async def look() -> None:
        told.append("looked")

    ddl.executor.tell(lambda: told.append("told"), look)
    for sql in ("BEGIN", "CREATE TABLE undone (id INTEGER PRIMARY KEY)", "ROLLBACK", "DELETE FROM parents"):
        await ddl.on_postgres(sql)
    assert told == []
    for sql in ("BEGIN", "CREATE TABLE made (id INTEGER PRIMARY KEY)", "CREATE INDEX i ON made (id)", "COMMIT"):
        await ddl.on_postgres(sql)
    assert told == ["told"]
    await ddl.on_postgres("CREATE VIEW seen AS SELECT id FROM made")
    assert told == ["told", "told"]


async def test_what_two_transactions_made_holds_for_both(ddl: World) -> None:
    one, other = ddl.executor.session(), ddl.executor.session()
    for session in (one, other):
        await session.execute(Statement("BEGIN"))
        await session.execute(Statement("SELECT 1"))
    await one.execute(Statement("CREATE TABLE first (id INTEGER PRIMARY KEY)"))
    await one.execute(Statement("COMMIT"))
    await other.execute(Statement("ROLLBACK"))
    await other.execute(Statement("CREATE TABLE second (id INTEGER PRIMARY KEY)"))
    assert (await ddl.on_postgres("SELECT * FROM first, second")).rows == []
    for session in (one, other):
        await session.close()


async def test_a_table_that_the_mapping_lacks_for_a_moment_is_changed_all_the_same(ddl: World) -> None:
    """SQLite had the column while Postgres lacked it, so the mapping in force leaves the table out."""
    await ddl.same("ALTER TABLE parents ADD COLUMN q TEXT")
    texts = [row[0] for row in ddl.on_sqlite("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").rows]
    behind = PostgresExecutor(
        Pool(ddl.pool),  # type: ignore[arg-type]  # all that is used of it
        lambda: (),
        lambda: texts,
        Metrics("test"),
        transaction_timeout=30,
        settings=Settings(),
    )
    first, ddl.session = ddl.session, behind.session()
    try:
        await ddl.same("ALTER TABLE parents DROP COLUMN q")
        await ddl.same("SELECT * FROM parents")
    finally:
        await ddl.session.close()
        ddl.session = first
        await behind.close()


async def test_a_table_that_is_not_mirrored_is_not_made_along_with_another(ddl: World) -> None:
    """Its rows are on SQLite: an empty one on Postgres would be read, written, and carried back over them."""
    for sql in ("CREATE TABLE log(msg, at UNIQUE)", "INSERT INTO log VALUES (1, 5), ('x', 6)"):
        ddl.on_sqlite(sql)
    texts = [row[0] for row in ddl.on_sqlite("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").rows]
    beside = PostgresExecutor(
        Pool(ddl.pool),  # type: ignore[arg-type]  # all that is used of it
        lambda: ddl.tables,
        lambda: texts,
        Metrics("test"),
        transaction_timeout=30,
        settings=Settings(),
    )
    first, ddl.session = ddl.session, beside.session()
    try:
        await ddl.same("CREATE TABLE votes(id INTEGER PRIMARY KEY, of INTEGER REFERENCES parents(id))")
        await ddl.same("INSERT INTO votes VALUES (1, 2)")
        await ddl.same("CREATE TEMP TABLE chosen(id INTEGER PRIMARY KEY)")
        for sql in (
            "SELECT * FROM log",
            "INSERT INTO log VALUES (1, 5)",
            "ALTER TABLE log RENAME TO journal",
            "DROP TABLE log",
            "CREATE TABLE entries(id INTEGER PRIMARY KEY, at INTEGER REFERENCES Log(at))",
        ):
            await ddl.refused(sql, "not mirrored")
        await ddl.same("CREATE TABLE marks(id INTEGER PRIMARY KEY)")
        await ddl.same("SELECT * FROM votes")
    finally:
        await ddl.session.close()
        ddl.session = first
        await beside.close()


async def test_rows_without_their_parents_are_told(ddl: World) -> None:
    for sql in (
        'CREATE TABLE places(code TEXT PRIMARY KEY, "up" TEXT REFERENCES places, kin INT REFERENCES parents(id))',
        "CREATE TABLE pairs(a INT, b INT, v TEXT, PRIMARY KEY(a, b)) WITHOUT ROWID",
        "CREATE TABLE ends(id INTEGER PRIMARY KEY, a INT, b INT, FOREIGN KEY(a, b) REFERENCES pairs)",
        "PRAGMA foreign_key_check",
        "PRAGMA foreign_keys = OFF",
        "INSERT INTO children(id, parent) VALUES (1, 1), (2, 77), (3, NULL)",
        "INSERT INTO ends VALUES (1, 1, NULL), (2, 1, 1), (9, 2, 2)",
        "INSERT INTO pairs VALUES (1, 1, 'x')",
        "PRAGMA foreign_keys = ON",
        "PRAGMA foreign_key_check",
        'PRAGMA foreign_key_check("children")',
        "PRAGMA foreign_key_check = ends",
        "PRAGMA main.foreign_key_check(parents)",
    ):
        await ddl.same(sql, ordered=False)
    assert (await ddl.executor.rehearsal.rehearse("PRAGMA foreign_key_check")).status == "ready"
    with pytest.raises(Refused, match="pragma_foreign_key_check"):
        await ddl.on_postgres("SELECT count(*) FROM pragma_foreign_key_check")


async def test_columns_that_only_an_empty_table_may_get(ddl: World) -> None:
    added = (
        "at DATETIME DEFAULT CURRENT_TIMESTAMP",
        "bad NOT NULL",
        "worse INT NOT NULL DEFAULT NULL",
        "sum INT DEFAULT (1 + 1)",
        "kin INT DEFAULT 1 REFERENCES parents(id)",
        "sum INT AS (id + 1) STORED",
    )
    for column in added:
        await ddl.same_error(f"ALTER TABLE parents ADD COLUMN {column}")
    for column in ("n INT NOT NULL DEFAULT -1", "t TEXT DEFAULT ('x')", "kin INT REFERENCES parents(id)"):
        await ddl.same(f"ALTER TABLE parents ADD COLUMN {column}")
    await ddl.same("SELECT n, t, kin FROM parents")
    late = "ALTER TABLE children ADD COLUMN at DATETIME DEFAULT CURRENT_TIMESTAMP"
    ddl.on_sqlite(late)  # the driver shows columns of a query that SQLite makes for itself here
    await ddl.on_postgres(late)
    await ddl.same("SELECT * FROM children")


async def test_a_default_that_postgres_cannot_hold_is_none_of_a_new_column(ddl: World) -> None:
    """INSERT gives a value instead, but the rows that there are would have had it, spelled as a text."""
    for column in ("d DATETIME DEFAULT -1.5", "d DATE DEFAULT '7'", "d TEXT DEFAULT true", "d TEXT DEFAULT 1.50"):
        await ddl.refused(f"ALTER TABLE parents ADD COLUMN {column}", "default")
    for column in (
        "d DATE DEFAULT '2024-01-31'",
        "e TEXT DEFAULT 5",
        "f INT DEFAULT true",
        "g REAL DEFAULT 7",
        "h INT DEFAULT 'x'",
    ):
        await ddl.same(f"ALTER TABLE parents ADD COLUMN {column}")
    await ddl.same("SELECT * FROM parents")


async def test_a_key_of_a_new_column_may_spell_its_parent_in_another_case(ddl: World) -> None:
    for sql in (
        "ALTER TABLE children ADD COLUMN other INTEGER REFERENCES Parents(ID)",
        "ALTER TABLE children ADD COLUMN called TEXT REFERENCES parents(Name) ON DELETE CASCADE",
        "INSERT INTO children(id, other, called) VALUES (1, 1, 'two')",
    ):
        await ddl.same(sql)
    await ddl.same_error("INSERT INTO children(other) VALUES (7)")
    await ddl.same_error("INSERT INTO children(called) VALUES ('seven')")
    await ddl.same("DELETE FROM parents WHERE name = 'two'")
    await ddl.same("SELECT * FROM children")


async def test_a_check_is_named_as_on_sqlite_whatever_became_of_its_table(ddl: World) -> None:
    """It was made under another name, as tools rebuild tables; columns were renamed, and more came."""
    await ddl.same(
        'CREATE TABLE "new__z" (a INT CHECK (a > 0), b INT CHECK (b > 0), CHECK (b <> 9), CHECK (a < b), '
        "CONSTRAINT it CHECK (a + b < 99))"
    )
    broken = [("0, 5", "a > 0"), ("5, 0", "b > 0"), ("5, 9", "b <> 9"), ("5, 3", "a < b"), ("50, 60", "it")]
    await _breaks(ddl, "new__z", broken)
    await ddl.same('ALTER TABLE "new__z" RENAME TO z')
    await _breaks(ddl, "z", broken)
    for column in ("b", "a"):
        await ddl.same(f"ALTER TABLE z RENAME COLUMN {column} TO {column * 2}")
    broken = [(row, re.sub(r"\b([ab])\b", r"\1\1", failed)) for row, failed in broken]
    await _breaks(ddl, "z", broken)
    await ddl.same("ALTER TABLE z RENAME TO zz")
    await _breaks(ddl, "zz", broken)
    for sql in ("ALTER TABLE zz ADD COLUMN c INT CHECK (c > 0)", "ALTER TABLE zz ADD COLUMN d INT CHECK (d > c)"):
        ddl.on_sqlite(sql)  # the driver shows columns of a query that SQLite makes for itself here
        await ddl.on_postgres(sql)
    await _breaks(ddl, "zz", [("1, 2, 1, 1", "d > c"), *((f"{row}, 1, 2", failed) for row, failed in broken)])


async def _breaks(ddl: World, table: str, broken: Iterable[tuple[str, str]]) -> None:
    """Rows that fail on both sides, each by the CHECK with this text or name."""
    for row, failed in broken:
        assert failed in (await ddl.same_error(f"INSERT INTO {table} VALUES ({row})")).message


async def test_a_check_is_known_beside_columns_that_are_called_as_types_and_functions(ddl: World) -> None:
    await ddl.same(
        "CREATE TABLE n(text TEXT, length INT, v TEXT CHECK (v IN ('text', 'id')), "
        '"or der" INT CHECK ("or der" > 0), CHECK (length(v) > 2 OR CAST(length AS TEXT) < \'5\'))'
    )
    await ddl.same("INSERT INTO n VALUES ('t', 3, 'id', 1)")
    for values in ("(v) VALUES ('x')", "(v, length) VALUES ('id', 7)", '("or der") VALUES (0)'):
        await ddl.same_error(f"INSERT INTO n{values}")


async def test_a_rule_that_postgres_cannot_keep_is_refused(ddl: World) -> None:
    for sql in (
        "CREATE TABLE reals(x REAL PRIMARY KEY)",
        "CREATE TABLE texts(x TEXT UNIQUE COLLATE NOCASE, y TEXT)",
        "CREATE TABLE early(a INT REFERENCES later(x))",
        "CREATE TABLE wrong(a TEXT REFERENCES texts(y))",  # SQLite refuses each write of it
    ):
        await ddl.same(sql)
    for refused, match in (
        ("CREATE TABLE c(a INT REFERENCES reals(x))", "a is bigint and x is double precision"),
        ("CREATE TABLE c(a TEXT REFERENCES texts(x))", "not unique there"),
        ("ALTER TABLE parents ADD COLUMN r INT REFERENCES reals(x)", "r is bigint and x is double precision"),
        ("ALTER TABLE parents ADD COLUMN r TEXT REFERENCES texts(x)", "not unique there"),  # but for NOCASE
        ("CREATE TABLE later(x REAL PRIMARY KEY)", "a is bigint and x is double precision"),
        ("ALTER TABLE parents ADD COLUMN c CHECK (c > 5 AND printf(name, c) <> 'x')", "check constraint"),
    ):
        with pytest.raises(Refused, match=match):
            await ddl.on_postgres(refused)
    await ddl.same("ALTER TABLE parents ADD COLUMN astray TEXT REFERENCES texts(y)")
    for sql in ("INSERT INTO wrong VALUES ('x')", "INSERT INTO parents(id, astray) VALUES (77, 'x')"):
        await ddl.same_error(sql)


CLOCKS = (
    "CREATE INDEX n1 ON day (date(d, 'localtime'))",
    "CREATE INDEX n1 ON day (d) WHERE d < datetime()",
    "CREATE UNIQUE INDEX n1 ON day (julianday('NOW') - julianday(d))",
    "CREATE TABLE days (d TEXT, CHECK (d < date('now')))",
    "CREATE TABLE days (d TEXT, y AS (strftime('%Y', d, 'utc')))",
    "CREATE TABLE days (d TEXT CHECK (length(d) > 3 AND strftime('%s') > 0))",
)
STEADY = (
    "CREATE TABLE day (d TEXT DEFAULT (datetime('now', 'localtime')), w TEXT CHECK (w IN ('now', 'utc')))",
    "CREATE INDEX day_d ON day (date(d, '+1 day'), strftime('%Y', d))",
    "INSERT INTO day (d, w) VALUES ('2024-05-06', 'now')",
    "SELECT d, w FROM day WHERE date(d, '+1 day') = '2024-05-07'",
)


async def test_a_schema_that_asks_the_clock_is_refused_since_sqlite_fails_with_its_rows(ddl: World) -> None:
    for sql in STEADY:
        await ddl.same(sql)
    for sql in CLOCKS:
        await ddl.refused(sql, "of the clock or the time zone")


async def test_a_new_index_of_a_mapped_table_is_known_at_once(ddl: World) -> None:
    for sql in (
        "INSERT INTO children (parent) VALUES (1), (2)",
        "CREATE UNIQUE INDEX only_child ON children(parent)",
        "INSERT OR REPLACE INTO children (parent) VALUES (1)",
        "INSERT INTO children (parent) VALUES (2) ON CONFLICT DO UPDATE SET parent = NULL",
        "SELECT * FROM children ORDER BY id",
        "DROP INDEX only_child",
        "REPLACE INTO children (parent) VALUES (1)",
        "SELECT * FROM children ORDER BY id",
    ):
        await ddl.same(sql)


async def test_a_generated_column_may_be_not_null(ddl: World) -> None:
    await ddl.same("CREATE TABLE made(a INT, b INT AS (a + 1), c INT NOT NULL AS (a + 2), CHECK (b < 100))")
    for value in ("NULL", "1000"):
        await ddl.same_error(f"INSERT INTO made VALUES ({value})")
    await ddl.same("INSERT INTO made VALUES (1)")
    await ddl.same_error("UPDATE made SET a = NULL")
    await ddl.same("SELECT * FROM made")


async def test_a_key_to_what_is_no_key_is_a_mismatch_with_each_write(ddl: World) -> None:
    """Whether the parent comes later or is the table itself; unless foreign keys are off."""
    for sql in (
        "CREATE TABLE one(p TEXT REFERENCES later(b))",
        "CREATE TABLE two(p INTEGER REFERENCES last)",
        "CREATE TABLE later(a INTEGER, b TEXT UNIQUE)",
        "CREATE TABLE last(a INTEGER, b TEXT)",
        "CREATE TABLE own(id INTEGER PRIMARY KEY, c INT, UNIQUE (id, c), FOREIGN KEY (id, c) REFERENCES own(id, id))",
    ):
        await ddl.same(sql)
    writes = (
        "INSERT INTO one VALUES ('x')",
        "INSERT INTO two VALUES (1)",
        "INSERT INTO two VALUES (NULL)",
        "DELETE FROM last",
        "INSERT INTO own VALUES (1, 1)",
        "INSERT INTO own VALUES (2, NULL)",
        f"INSERT INTO two VALUES (2){' ' * LONG}",
    )
    for sql in writes:
        await ddl.same_error(sql)
    await ddl.same("SELECT * FROM two, own")
    await ddl.same("PRAGMA foreign_keys = OFF")
    for sql in ("BEGIN", *writes, "DELETE FROM own", "COMMIT", *writes[:5]):
        await ddl.same(sql)
    await ddl.same("SELECT * FROM one, two")
    await ddl.same("PRAGMA foreign_keys = ON")
    for sql in writes:
        await ddl.same_error(sql)


async def test_writes_while_the_parent_of_a_foreign_key_is_missing(ddl: World) -> None:
    await ddl.same("CREATE TABLE lost(id INTEGER PRIMARY KEY, p INT REFERENCES nowhere, own INT REFERENCES lost)")
    writes = ("INSERT INTO lost VALUES (1, 5, 1)", "UPDATE lost SET p = 6", "DELETE FROM lost WHERE id = 3")
    for sql in (*writes, "DELETE FROM lost"):
        await ddl.same_error(sql)
    await ddl.same("PRAGMA foreign_keys = OFF")
    for sql in (*writes, "SELECT * FROM lost", "DELETE FROM lost", "SELECT * FROM lost"):
        await ddl.same(sql)
    await ddl.same_error("DELETE FROM main.nowhere")
    await ddl.same("PRAGMA foreign_keys = ON")
    await ddl.same_error("DELETE FROM lost")


async def test_checks_are_what_statements_could_ask(ddl: World) -> None:
    """Of columns that hold anything, of generated ones, and by functions that Postgres has not."""
    await ddl.same(
        "CREATE TABLE c(a, b CHECK (b > a), s CHECK (s LIKE 'x%' OR s IS NULL), j TEXT CHECK (json_valid(j)), "
        "t CHECK (typeof(t) IN ('integer', 'text', NULL)), g AS (a || '!') CHECK (g <> '5!'))"
    )
    for row in (
        "1, 2, 'xy', '{}', 3",
        "NULL, NULL, NULL, 'null', NULL",
        "1, '2', 'X', '1', 'word'",
        "1, 2, 'x', '[]', 1.5",
    ):
        await ddl.same(f"INSERT INTO c VALUES ({row})")
    await ddl.same("INSERT INTO c VALUES (1, 2, 'x', '[]', x'00')")  # NULL is no failure
    for row in ("1, 1, 'xy', '{}', 3", "1, 2, 'y', '{}', 3", "1, 2, 'x', '{', 3"):
        await ddl.same_error(f"INSERT INTO c VALUES ({row})")
    await ddl.same_error("INSERT INTO c(a, b, j) VALUES (5, 6, '1')")
    await ddl.same("SELECT * FROM c ORDER BY rowid")


async def test_defaults_are_what_statements_could_give(ddl: World) -> None:
    await ddl.same(
        'CREATE TABLE d(a, b DEFAULT "hello", c DEFAULT bare, t DEFAULT CURRENT_TIMESTAMP, '
        "n DEFAULT (datetime('now', 'localtime')), j DEFAULT (json_object('a', 1)), r DEFAULT (1.0 / 3), "
        "i INT DEFAULT (abs(random()) % 5), z BLOB DEFAULT (zeroblob(3)))"
    )
    await ddl.same("INSERT INTO d(a) VALUES (1)")
    await ddl.same("INSERT INTO d DEFAULT VALUES")
    await ddl.same("INSERT INTO d(a) SELECT id FROM parents")
    await ddl.same('ALTER TABLE d ADD COLUMN w DEFAULT "word"')
    await ddl.same(
        "SELECT a, b, c, typeof(t), length(t), length(n), j, r, i BETWEEN 0 AND 4, hex(z), w FROM d ORDER BY rowid"
    )


async def test_a_generated_column_may_be_added(ddl: World) -> None:
    for sql in (
        "CREATE TABLE doc(body TEXT, n)",
        "INSERT INTO doc VALUES ('{\"id\": 5}', 1), ('{\"id\": \"x\"}', '2')",
        "ALTER TABLE doc ADD COLUMN id AS (body ->> 'id')",
        "ALTER TABLE doc ADD COLUMN more AS (n + 1)",
        "SELECT * FROM doc ORDER BY more",
        "CREATE UNIQUE INDEX ids ON doc(id)",
        "INSERT INTO doc(body) VALUES ('{\"id\": 6}') ON CONFLICT (id) DO NOTHING",
        "INSERT INTO doc(body, n) VALUES ('{\"id\": 6}', 3) ON CONFLICT (id) DO UPDATE SET n = excluded.id * 2",
        'INSERT OR REPLACE INTO doc(body, n) VALUES (\'{"id": "x"}\', 9)',
        "UPDATE OR IGNORE doc SET body = '{\"id\": 5}'",
        "SELECT * FROM doc ORDER BY rowid",
    ):
        await ddl.same(sql)
    await ddl.same_error("INSERT INTO doc(body) VALUES ('{\"id\": 5}')")
    await ddl.refused("ALTER TABLE doc ADD COLUMN must NOT NULL AS (n + 1)", "generated column n \\+ 1")


async def test_a_generated_column_that_no_read_could_have_is_refused(ddl: World) -> None:
    for expression in ("a || b", "a", "body ->> 'price'", "json_extract(body, '$.price')"):
        created = f"CREATE TABLE priced (id INTEGER PRIMARY KEY, a TEXT, b, body TEXT, price REAL AS ({expression}))"
        await ddl.refused(created, "generated column price .*CAST")
    await ddl.refused("CREATE TABLE priced (a, g AS (printf(a, 1)))", "generated column g .*printf")
    for sql in (
        "CREATE TABLE priced (a TEXT, b, body TEXT, price REAL AS (CAST(body ->> 'price' AS REAL)), c AS (a || b))",
        "INSERT INTO priced (a, b, body) VALUES ('a', 5, '{\"price\": 12}'), ('b', NULL, '{\"price\": \"2.5\"}')",
        "SELECT * FROM priced ORDER BY a",
    ):
        await ddl.same(sql)
    await ddl.refused("ALTER TABLE priced ADD COLUMN d REAL AS (a)", "generated column d ")
    await ddl.same("ALTER TABLE priced ADD COLUMN e REAL AS (price * 2)")
    await ddl.same("SELECT price, e FROM priced")


async def test_unique_indexes_over_any_expression_are_kept_to(ddl: World) -> None:
    for sql in (
        "CREATE TABLE u(a, b, n INT, t TEXT)",
        "CREATE UNIQUE INDEX sums ON u(a + b)",
        "CREATE UNIQUE INDEX few ON u(a COLLATE NOCASE) WHERE b = 'k'",
        "CREATE UNIQUE INDEX joined ON u(n || t)",
        "INSERT INTO u(a, b, n) VALUES (1, 2, 1)",
        "INSERT INTO u(a, b, n) VALUES (2.0, 1, 1) ON CONFLICT (a + b) DO UPDATE SET n = n + 1",
        "INSERT OR IGNORE INTO u(a, b) VALUES ('2', '1')",
        "INSERT OR REPLACE INTO u(a, b, n) VALUES (0, 3, 9)",
        "INSERT INTO u(a, b) VALUES ('x', 'k'), ('X', 5)",
        "INSERT INTO u(n, t) VALUES (7, 'q'), (7, 'Q')",
        "SELECT * FROM u ORDER BY rowid",
    ):
        await ddl.same(sql)
    for sql in (
        "INSERT INTO u(a, b) VALUES (2, 1)",
        "INSERT INTO u(a, b) VALUES ('X', 'k')",
        "INSERT INTO u(n, t) VALUES ('7', 'q')",
        "UPDATE u SET t = 'q' WHERE t = 'Q'",
    ):
        await ddl.same_error(sql)
    await ddl.same("INSERT INTO u(a, b) VALUES (300, 7), (301, 7)")
    for terms in ("u(b)", "u(b, n) WHERE b = 7 AND n IS NULL", "u(b + 0)", "u(n COLLATE NOCASE, b)"):
        sql = f"CREATE UNIQUE INDEX many ON {terms}"
        await (ddl.same(sql) if " n" in terms or "n " in terms else ddl.same_error(sql))  # NULL is equal to nothing
        await ddl.same("DROP INDEX IF EXISTS many")
    await ddl.refused("CREATE UNIQUE INDEX days ON u(date(t))", "same each time")


async def test_a_unique_index_goes_by_its_collation_whatever_it_holds(ddl: World) -> None:
    await ddl.same("CREATE TABLE some(a PRIMARY KEY COLLATE NOCASE, n DEFAULT 0)")
    await ddl.same("INSERT INTO some(a) VALUES ('a'), (1), (x'61')")
    await ddl.same_error("INSERT INTO some(a) VALUES ('A')")
    await ddl.same("INSERT INTO some(a) VALUES ('A') ON CONFLICT (a) DO UPDATE SET n = n + 1")
    await ddl.same("REPLACE INTO some VALUES ('A', 5)")
    await ddl.same("SELECT * FROM some ORDER BY rowid")
    await ddl.same("CREATE TABLE names(a UNIQUE, b TEXT UNIQUE COLLATE NOCASE)")
    await ddl.same("INSERT INTO names VALUES ('a', 'a'), ('A', NULL)")
    await ddl.same_error("INSERT INTO names VALUES ('b', 'A')")


async def test_sqlites_own_errors_come_before_any_refusal(ddl: World) -> None:
    for sql in (
        "REINDEX nowhere",
        "ANALYZE nowhere",
        "DROP TRIGGER nowhere",
        "CREATE TRIGGER t AFTER INSERT ON nowhere BEGIN SELECT 1; END",
    ):
        await ddl.same_error(sql)
    for sql in ("REINDEX parents", "REINDEX NOCASE", "REINDEX", "DROP TRIGGER IF EXISTS nowhere"):
        await ddl.same(sql)


async def test_what_analyze_makes_is_listed_and_what_it_counts_is_refused(ddl: World) -> None:
    await ddl.same_error("SELECT * FROM sqlite_stat1")
    await ddl.same("ANALYZE parents")
    for sql in (
        "ANALYZE",
        "SELECT name, sql FROM sqlite_master",
        "PRAGMA table_info(sqlite_stat1)",
    ):
        await ddl.same(sql, ordered=True)
    await ddl.same("PRAGMA table_list", ordered=False)
    await ddl.same_error("CREATE INDEX statistics ON sqlite_stat1 (tbl)")
    for sql in (
        "SELECT stat FROM main.sqlite_stat1",
        "SELECT name, stat FROM sqlite_master JOIN sqlite_stat1 ON tbl = name",
        "DELETE FROM sqlite_stat1",
    ):
        await ddl.refused(sql, "sqlite_stat1, which SQLite's ANALYZE fills")
    await ddl.same("DROP TABLE sqlite_stat1")
    await ddl.same("SELECT name FROM sqlite_master", ordered=True)
    await ddl.same("BEGIN")
    await ddl.same("ANALYZE")
    await ddl.same("SELECT count(*) FROM sqlite_master")
    await ddl.same("ROLLBACK")
    await ddl.same("SELECT count(*) FROM sqlite_master")


async def test_an_index_of_more_columns_than_postgres_takes_serves_as_far_as_they_go(ddl: World) -> None:
    names = ", ".join(f"c{number}" for number in range(33))
    await ddl.same(f"CREATE TABLE wide ({', '.join(f'c{number} INTEGER' for number in range(33))})")
    await ddl.same(f"CREATE INDEX widest ON wide ({names})")
    await ddl.same("INSERT INTO wide (c1, c0, c32) VALUES (2, 1, 3), (1, 1, 2), (1, 1, 1)")
    await ddl.same("SELECT c0, c1, c32 FROM wide WHERE c0 = 1", ordered=True)
    await ddl.refused(f"CREATE UNIQUE INDEX unlike ON wide ({names})", "unique index unlike")
    await ddl.same("DROP INDEX widest")


async def test_an_index_on_a_string_that_looks_like_a_name_is_an_index_on_a_string(ddl: World) -> None:
    """SQLite takes "x" for a string where there is no such column: two rows are then one too many."""
    await ddl.same("CREATE TABLE constantly (id INTEGER PRIMARY KEY, a TEXT)")
    await ddl.same('CREATE UNIQUE INDEX constantly_x ON constantly ("x")')
    await ddl.same("INSERT INTO constantly (a) VALUES ('one')")
    await ddl.same_error("INSERT INTO constantly (a) VALUES ('two')")


async def test_a_check_of_a_text_beside_a_number_compares_texts(ddl: World) -> None:
    await ddl.same("CREATE TABLE numbered (id INTEGER PRIMARY KEY, n VARCHAR NOT NULL UNIQUE, CHECK (n <> 1))")
    for text in ("x", "01", "1.0"):
        await ddl.same("INSERT INTO numbered (n) VALUES (?)", text)
    for one in ("1", 1):
        await ddl.same_error("INSERT INTO numbered (n) VALUES (?)", one)


async def test_a_table_of_migrations_is_made_and_one_of_postgres_s_own_is_left_alone(ddl: World) -> None:
    """Drizzle's and Prisma's: where a store keeps its own, what to do is said."""
    made = "CREATE TABLE __drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)"
    await ddl.same(made)
    await ddl.same("INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('a', '1700000000000')")
    await ddl.same("SELECT *, typeof(created_at) FROM __drizzle_migrations")
    async with ddl.pool.acquire() as connection:
        await connection.execute("CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY)")
    made = "CREATE TABLE IF NOT EXISTS _prisma_migrations (id TEXT PRIMARY KEY NOT NULL)"
    await ddl.refused(made, r"each store keeps its own.* give it a \[tables\] section")


async def test_names_that_postgres_cannot_keep_are_refused_and_never_cut(ddl: World) -> None:
    long = "n" * 64
    await ddl.same("CREATE TABLE named (id INTEGER PRIMARY KEY, a TEXT)")
    for sql, match in (
        ('CREATE TABLE "" (a TEXT)', "empty name"),
        ('CREATE TABLE nameless (a TEXT, "" TEXT)', "empty name"),
        ('ALTER TABLE named RENAME TO ""', "empty name"),
        ('ALTER TABLE named RENAME COLUMN a TO ""', "empty name"),
        ('ALTER TABLE named ADD COLUMN "" TEXT', "empty name"),
        (f"CREATE TABLE {long} (a TEXT)", "longer than the 63 bytes"),
        (f"CREATE TABLE long (a TEXT, {long} TEXT)", "longer than the 63 bytes"),
        (f"ALTER TABLE named RENAME TO {long}", "longer than the 63 bytes"),
        (f"ALTER TABLE named RENAME COLUMN a TO {long}", "longer than the 63 bytes"),
        (f"ALTER TABLE named ADD COLUMN {long} TEXT", "longer than the 63 bytes"),
        ("ALTER TABLE named RENAME COLUMN a TO xmin", "keeps the name xmin"),
        ("ALTER TABLE named ADD COLUMN ctid TEXT", "keeps the name ctid"),
    ):
        await ddl.refused(sql, match)
    await ddl.same("SELECT * FROM named")
    await same_schema(ddl)


async def test_an_index_that_has_another_name_on_postgres_is_dropped_there(ddl: World) -> None:
    """It is too long for Postgres, or that of what stands for a key there."""
    long = "i" * 66
    for sql in (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT UNIQUE, c TEXT)",
        f"CREATE UNIQUE INDEX {long}1 ON t(a)",
        f"CREATE UNIQUE INDEX {long}2 ON t(c COLLATE NOCASE)",
        "INSERT INTO t(a, b, c) VALUES ('x', 'y', 'z')",
        f"DROP INDEX {long}1",
        "INSERT INTO t(a, b, c) VALUES ('x', 'y2', 'z2')",
    ):
        await ddl.same(sql)
    await ddl.same_error("INSERT INTO t(a, b, c) VALUES ('x', 'y3', 'Z')")
    for sql in (
        f"DROP INDEX {long}2",
        "INSERT INTO t(a, b, c) VALUES ('x', 'y3', 'Z')",
        "CREATE UNIQUE INDEX t_b_key ON t(a, b, c)",
        "DROP INDEX t_b_key",
        "CREATE UNIQUE INDEX t_pkey ON t(a || c)",
    ):
        await ddl.same(sql)
    await ddl.same_error("INSERT INTO t(a, b, c) VALUES ('x', 'y4', 'z')")
    await ddl.same_error("INSERT INTO t(a, b, c) VALUES ('new', 'y', 'z')")
    await ddl.same("DROP INDEX t_pkey")
    await ddl.same("INSERT INTO t(a, b, c) VALUES ('x', 'y4', 'z')")
    await ddl.same_error("INSERT INTO t(a, b, c) VALUES ('new', 'y', 'z')")
    await same_schema(ddl)


async def test_a_unique_index_that_has_another_name_on_postgres_goes_with_sqlite_s(ddl: World) -> None:
    """Somebody renamed it there; one that is a constraint by now cannot be dropped as an index."""
    for sql in (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT)",
        "CREATE UNIQUE INDEX t_a ON t(a)",
        "CREATE UNIQUE INDEX t_b ON t(b)",
        "INSERT INTO t(a, b) VALUES ('x', 'y')",
    ):
        await ddl.same(sql)
    async with ddl.pool.acquire() as connection:
        await connection.execute("ALTER INDEX t_a RENAME TO of_ours")
        await connection.execute("DROP INDEX t_b; ALTER TABLE t ADD CONSTRAINT ours UNIQUE (b)")
    await ddl.same("DROP INDEX t_a")
    await ddl.same("INSERT INTO t(a, b) VALUES ('x', 'y2')")
    await ddl.refused("DROP INDEX t_b", "constraint ours on table t requires it")
    await ddl.same_error("INSERT INTO t(a, b) VALUES ('x', 'y')")


async def test_generated_columns_that_go_round_in_a_circle_are_refused_by_name(ddl: World) -> None:
    """SQLite makes such a table, and refuses each statement about it."""
    circle = "CREATE TABLE circle (id INTEGER PRIMARY KEY, a INT AS (b), b INT AS (a + 1))"
    await ddl.refused(circle, "computed from itself")
    await ddl.same(
        "CREATE TABLE twice (id INTEGER PRIMARY KEY, n INT, a INT AS (n + 1), b INT AS (a + a), c INT AS (a + b))"
    )
    await ddl.same("INSERT INTO twice (n) VALUES (1), (NULL)")
    await ddl.same("SELECT a, b, c, a + b + c FROM twice ORDER BY c")


async def test_the_type_of_a_key_changes_table_by_table(ddl: World) -> None:
    """As Django does it: the parent is made anew with keys of another type, and then each table that refers to it."""
    await ddl.same("CREATE TABLE writer (id INTEGER PRIMARY KEY, name TEXT)")
    await ddl.same("CREATE TABLE novel (id INTEGER PRIMARY KEY, by INTEGER NOT NULL REFERENCES writer(id))")
    await ddl.same("INSERT INTO writer VALUES (1, 'one'), (2, 'two')")
    await ddl.same("INSERT INTO novel VALUES (1, 1), (2, 2)")
    steps = (
        "CREATE TABLE new__writer (id VARCHAR(9) NOT NULL PRIMARY KEY, name TEXT)",
        "INSERT INTO new__writer SELECT id, name FROM writer",
        "DROP TABLE writer",
        "ALTER TABLE new__writer RENAME TO writer",
    )
    await ddl.same("PRAGMA foreign_keys = OFF")
    await ddl.same("BEGIN")
    for sql in steps:
        await ddl.same(sql)
    await ddl.refused("INSERT INTO novel VALUES (3, 1)", "FOREIGN KEY")
    await ddl.same("CREATE TABLE new__novel (id INTEGER PRIMARY KEY, by VARCHAR(9) NOT NULL REFERENCES writer(id))")
    await ddl.same("INSERT INTO new__novel SELECT id, by FROM novel")
    await ddl.same("DROP TABLE novel")
    await ddl.same("ALTER TABLE new__novel RENAME TO novel")
    await ddl.same("PRAGMA foreign_key_check")
    await ddl.same("COMMIT")
    await ddl.same("PRAGMA foreign_keys = ON")
    await ddl.same("SELECT by, typeof(by), name FROM novel JOIN writer ON writer.id = by ORDER BY novel.id")
    await ddl.same_error("INSERT INTO novel VALUES (3, '3')")
    await ddl.same("INSERT INTO novel VALUES (3, '1')")
