"""A schema that changes under the running service, on either primary: carried over, or the table stops and says why."""

from __future__ import annotations

import sqlite3
from typing import Any

import asyncpg
import pytest

from tests.support.checks import postgres_rows, postgres_script, settled
from tests.support.service import Service, create, until
from tests.support.sqlite_world import direct, make, one


async def shape(url: str, table: str) -> list[tuple[Any, ...]]:
    """(name, type, NOT NULL) of the columns on Postgres."""
    return await postgres_rows(
        url,
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_attribute a "
        f"WHERE a.attrelid = to_regclass('{table}') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname",
    )


async def columns(url: str, table: str) -> list[str]:
    return [row[0] for row in await shape(url, table)]


async def switched(service: Service, direction: str) -> None:
    """A constraint that comes right just after the verification makes it one of another schema: once more, then; also
    where the switch itself met a change that was not followed to its end yet."""

    async def look() -> bool:
        code, body = await service.switch(direction)
        if code == 409 and body["error"]["code"] in ("gates_failed", "aborted"):
            await followed(service)
            return False
        assert code == 200, body
        return True

    await service.explained(until(look, f"to {direction}"))


async def followed(service: Service) -> None:
    """Everything copied, nothing stopped, no drift."""

    async def look() -> bool:
        status = await service.status()
        done = all(t["state"] == "mirrored" and t["backfill"]["state"] == "done" for t in status["tables"])
        return done and status["phase"] in ("shadowing", "promoted") and status["attached"]

    await service.explained(until(look, "every table mirrored"))
    await settled(service)

    async def verified() -> Any:
        """A constraint that waited for the copy may come right now, and a verification does not survive that."""
        await service.post("/v1/verify")
        await until(finished, "the end of a verification")
        found = (await service.request("GET", service.admin + "/v1/verify"))[1]
        return found if found["state"] == "done" else None

    async def finished() -> bool:
        return (await service.request("GET", service.admin + "/v1/verify"))[1]["state"] != "running"

    assert (await service.explained(until(verified, "a verification")))["drift_rows"] == 0


async def test_columns_and_tables_come_and_go_under_sqlite_as_primary(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    make(
        service.sqlite,
        "ALTER TABLE items ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",
        "ALTER TABLE items RENAME COLUMN body TO words",
        "CREATE TABLE tags(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, item TEXT REFERENCES items(id))",
        "INSERT INTO tags VALUES (1, 'red', 'old-1')",
        "CREATE INDEX items_note ON items(note, n DESC)",
        "UPDATE items SET note = 'some', words = 'new words' WHERE id = 'old-1'",
    )

    async def carried() -> bool:
        return await postgres_rows(postgres_url, "SELECT note, words FROM items WHERE id = 'old-1'") == [
            ("some", "new words")
        ]

    await service.explained(until(lambda: columns(postgres_url, "tags"), "the new table"))
    await service.explained(until(carried, "the new columns"))
    await followed(service)
    assert ("note", "text", True) in await shape(postgres_url, "items")
    assert await columns(postgres_url, "items") == ["_rowid_", "id", "n", "note", "words"]
    assert await postgres_rows(postgres_url, "SELECT 1 FROM pg_indexes WHERE indexname = 'items_note'") == [(1,)]

    make(
        service.sqlite,
        "CREATE TABLE new_tags(id INTEGER, name TEXT NOT NULL PRIMARY KEY, item TEXT)",
        "INSERT INTO new_tags SELECT * FROM tags",
        "INSERT INTO new_tags VALUES (1, 'blue', NULL)",
        "DROP TABLE tags",
        "ALTER TABLE new_tags RENAME TO tags",
    )

    async def with_another_key() -> bool:
        try:
            rows = await postgres_rows(postgres_url, "SELECT id, name FROM tags ORDER BY name")
        except asyncpg.UndefinedTableError:  # it is being made anew
            return False
        return rows == [(1, "blue"), (1, "red")]

    await service.explained(until(with_another_key, "the rows of the table that has another key"))
    await followed(service)


DJANGO = """
PRAGMA foreign_keys = OFF;
BEGIN;
CREATE TABLE "new__items" ("id" varchar(40) NOT NULL PRIMARY KEY, "body" text NULL, "n" bigint NOT NULL,
  "seen" bool NOT NULL);
INSERT INTO "new__items" ("id", "body", "n", "seen") SELECT "id", "body", "n", 0 FROM "items";
DROP TABLE "items";
ALTER TABLE "new__items" RENAME TO "items";
CREATE INDEX "items_n_7f1a" ON "items" ("n");
COMMIT;
PRAGMA foreign_keys = ON;
"""
"""What Django's schema editor sends for a field that is added (after its constraint checks)."""

ALEMBIC = """
CREATE TABLE _alembic_tmp_accounts (id INTEGER NOT NULL, balance INTEGER NOT NULL, owner VARCHAR(20), PRIMARY KEY (id));
INSERT INTO _alembic_tmp_accounts (id, balance) SELECT accounts.id, accounts.balance FROM accounts;
DROP TABLE accounts;
ALTER TABLE _alembic_tmp_accounts RENAME TO accounts;
"""
"""Alembic's batch mode on pysqlite, which commits each of them."""

DRIZZLE = """
PRAGMA foreign_keys=OFF;
CREATE TABLE `__new_pairs` (`a` text, `b` integer, `v` real, PRIMARY KEY(`a`, `b`));
INSERT INTO `__new_pairs`("a", "b", "v") SELECT "a", "b", "v" FROM `pairs`;
DROP TABLE `pairs`;
ALTER TABLE `__new_pairs` RENAME TO `pairs`;
PRAGMA foreign_keys=ON;
"""

PRISMA = """
PRAGMA defer_foreign_keys=ON;
PRAGMA foreign_keys=OFF;
CREATE TABLE "new_items" ("id" TEXT NOT NULL PRIMARY KEY, "body" TEXT, "n" BIGINT NOT NULL DEFAULT 7,
  "seen" BOOLEAN NOT NULL);
INSERT INTO "new_items" ("body", "id", "n", "seen") SELECT "body", "id", "n", "seen" FROM "items";
DROP TABLE "items";
ALTER TABLE "new_items" RENAME TO "items";
PRAGMA foreign_keys=ON;
PRAGMA defer_foreign_keys=OFF;
"""


async def test_a_view_that_changed_last_is_there_behind_a_promotion(service: Service) -> None:
    """No table changes with it, and no row: statements alone go by it."""
    await service.start()
    await service.up()
    await followed(service)
    make(service.sqlite, "CREATE VIEW few AS SELECT n FROM items WHERE n < 3", "CREATE VIEW gone AS SELECT 1 AS one")
    assert await service.rows("SELECT n FROM few ORDER BY n") == [[0], [1], [2]]

    async def ready() -> bool:
        (row,) = (await service.request("GET", service.admin + "/v1/statements"))[1]["rows"]
        return bool(row["status"] == "ready")

    await service.explained(until(ready, "the view's rehearsal"))
    make(service.sqlite, "DROP VIEW few", "CREATE VIEW few AS SELECT n FROM items WHERE n < 2", "DROP VIEW gone")

    async def promoted() -> bool:
        """Not before it is known."""
        code, body = await service.switch("promote")
        assert code == 200 or body["error"]["code"] in ("gates_failed", "aborted"), body
        if code != 200:
            await followed(service)
        return code == 200

    await service.explained(until(promoted, "the promotion"))
    assert await service.rows("SELECT n FROM few ORDER BY n") == [[0], [1]]
    refused = await service.sql("SELECT one FROM gone")
    assert refused["error"]["message"] == "no such table: gone"


async def test_the_dances_of_four_tools_end_right(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    create(service.sqlite, DJANGO)
    await service.explained(until(lambda: _has(postgres_url, "items", "seen"), "Django's column"))
    await followed(service)
    await service.explained(until(lambda: _demands(postgres_url, "items", "seen"), "NOT NULL, once all is copied"))
    for script in (ALEMBIC, DRIZZLE, PRISMA):
        create(service.sqlite, script)
        make(service.sqlite, "UPDATE accounts SET balance = balance + 1 WHERE id = 1")
    await service.explained(until(lambda: _has(postgres_url, "accounts", "owner"), "Alembic's column"))
    await service.explained(until(lambda: _lacks(postgres_url, "pairs", "x"), "the end of Drizzle's column"))
    await followed(service)
    tables = await postgres_rows(postgres_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    assert [name for (name,) in tables] == ["accounts", "items", "pairs"]


async def test_an_interim_table_that_was_seen_is_gone_in_the_end(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    statements = [each.strip() for each in ALEMBIC.split(";\n") if each.strip()]
    make(service.sqlite, *statements[:2])
    await service.explained(until(lambda: shape(postgres_url, "_alembic_tmp_accounts"), "the interim table"))
    make(service.sqlite, statements[2])

    async def gone() -> bool:
        return not any(table["name"] == "accounts" for table in (await service.status())["tables"])

    await service.explained(until(gone, "the end of the table"))
    make(service.sqlite, statements[3], "INSERT INTO accounts VALUES (77, 1, 'me')")
    await service.explained(until(lambda: _has(postgres_url, "accounts", "owner"), "Alembic's column"))
    await followed(service)
    assert await shape(postgres_url, "_alembic_tmp_accounts") == []


async def test_a_column_is_dropped_and_a_table_renamed_through_the_front_door(
    service: Service, postgres_url: str
) -> None:
    await service.start()
    await service.up()
    make(service.sqlite, "CREATE INDEX accounts_balance ON accounts(balance)")
    for sql in ("ALTER TABLE items DROP COLUMN body", 'ALTER TABLE "accounts" RENAME TO "purses"'):
        assert (await service.sql(sql))["type"] == "ok"
        assert (await service.sql("UPDATE items SET n = n + 1"))["type"] == "ok"
    assert (await service.sql("ALTER TABLE items DROP COLUMN body"))["type"] == "error"
    await service.explained(until(lambda: _lacks(postgres_url, "items", "body"), "the end of the column"))
    await service.explained(until(lambda: shape(postgres_url, "purses"), "the table's new name"))
    await followed(service)
    assert await shape(postgres_url, "accounts") == []
    make(service.sqlite, "DROP TABLE purses", "DROP INDEX IF EXISTS accounts_balance")
    await followed(service)

    async def left() -> bool:
        return [table["name"] for table in (await service.status())["tables"]] == ["items", "pairs"]

    await service.explained(until(left, "a mapping without the dropped table"))
    assert len(await postgres_rows(postgres_url, "SELECT * FROM purses")) == 10


async def test_what_cannot_be_carried_stops_one_table_and_goes_on_by_itself(
    service: Service, postgres_url: str
) -> None:
    await service.start()
    await service.up()
    await postgres_script(postgres_url, "CREATE VIEW bodies AS SELECT body FROM items")
    assert (await service.sql("ALTER TABLE items DROP COLUMN body"))["type"] == "ok"

    async def stopped() -> Any:
        found = {table["name"]: table for table in (await service.status())["tables"]}
        return found["items"] if found["items"]["state"] == "stopped" else None

    told = (await service.explained(until(stopped, "a table that stopped")))["reason"]
    assert "bodies" in told or "depend" in told
    gates = {gate["name"]: gate for gate in (await service.status())["gates"]}
    assert not gates["target_ready"]["ok"]
    make(service.sqlite, "INSERT INTO accounts VALUES (99, 5)", "INSERT INTO items VALUES ('meanwhile', 1)")

    async def others() -> bool:
        return await postgres_rows(postgres_url, "SELECT balance FROM accounts WHERE id = 99") == [(5,)]

    await service.explained(until(others, "a change of another table"))
    with pytest.raises(asyncpg.PostgresError, match="takes no writes"):  # not mirrored, and fenced all the same
        await postgres_script(postgres_url, "UPDATE items SET n = 0")
    await postgres_script(postgres_url, "DROP VIEW bodies")
    await service.explained(until(lambda: _lacks(postgres_url, "items", "body"), "the end of the column"))
    await followed(service)


async def test_with_stop_nothing_is_altered_and_either_order_of_migrations_works(
    service: Service, postgres_url: str
) -> None:
    service.config.write_text(service.config.read_text() + '[mirror]\nschema_changes = "stop"\n')
    await service.start()
    await service.up()
    make(
        service.sqlite,
        "CREATE INDEX items_n ON items(n)",
        "ALTER TABLE items ADD COLUMN note TEXT",
        "CREATE TABLE extra(id TEXT PRIMARY KEY)",
    )

    async def stopped() -> Any:
        found = {table["name"]: table for table in (await service.status())["tables"]}
        reasons = [found.get(name, {}).get("reason") for name in ("items", "extra")]
        return reasons if all(reasons) else None

    items, extra = await service.explained(until(stopped, "tables that stopped"))
    assert 'ADD COLUMN "note" text' in items
    assert "CREATE TABLE" in extra
    assert await columns(postgres_url, "items") == ["_rowid_", "body", "id", "n"]
    await postgres_script(
        postgres_url, "ALTER TABLE items ADD COLUMN note text; CREATE TABLE extra(id text PRIMARY KEY)"
    )
    await followed(service)
    await postgres_script(postgres_url, "ALTER TABLE accounts ADD COLUMN owner text")  # this time Postgres first
    make(service.sqlite, "ALTER TABLE accounts ADD COLUMN owner TEXT DEFAULT 'x'")
    await followed(service)
    assert await postgres_rows(postgres_url, "SELECT DISTINCT owner FROM accounts") == [("x",)]


async def _has(url: str, table: str, column: str) -> bool:
    return column in await columns(url, table)


async def _lacks(url: str, table: str, column: str) -> bool:
    found = await columns(url, table)
    return bool(found) and column not in found


async def _demands(url: str, table: str, column: str) -> bool:
    return any(name == column and demands for name, _, demands in await shape(url, table))


async def test_what_changes_on_postgres_as_primary_comes_back_to_sqlite(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    await service.up("promoted")
    await postgres_script(
        postgres_url,
        """
        ALTER TABLE items ADD COLUMN note text NOT NULL DEFAULT 'none';
        ALTER TABLE items RENAME COLUMN body TO words;
        ALTER TABLE pairs DROP COLUMN v;
        CREATE TABLE tags(id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE,
                          at timestamptz, price numeric(10,2), item text REFERENCES items(id));
        INSERT INTO tags(name, at, price, item) VALUES ('red', now(), 1.50, 'old-1');
        CREATE INDEX items_note ON items(note);
        ALTER TABLE accounts RENAME TO purses;
        UPDATE purses SET balance = balance + 1;
        UPDATE items SET note = 'some' WHERE id = 'old-1';
        """,
    )

    async def came() -> bool:
        found = one(
            service.sqlite,
            "SELECT group_concat(name) FROM (SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1)",
        )
        return "purses" in str(found) and "tags" in str(found) and "accounts" not in str(found)

    await service.explained(until(came, "the new tables in the SQLite file"))
    await followed(service)
    with direct(service.sqlite) as application:
        assert [row[1] for row in application.execute("PRAGMA table_info(items)")] == ["id", "n", "words", "note"]
        assert application.execute("SELECT note FROM items WHERE id = 'old-1'").fetchall() == [("some",)]
        assert application.execute("SELECT sum(balance) FROM purses").fetchall() == [(1010,)]
        assert application.execute("SELECT name, item FROM tags").fetchall() == [("red", "old-1")]
        assert application.execute("SELECT 1 FROM sqlite_master WHERE name = 'items_note'").fetchall() == [(1,)]
    await switched(service, "demote")
    await service.up()
    make(service.sqlite, "INSERT INTO tags(name, item) VALUES ('blue', 'old-2')", "DELETE FROM purses WHERE id = 1")
    await followed(service)
    assert await postgres_rows(postgres_url, "SELECT id, name FROM tags ORDER BY id") == [(1, "red"), (2, "blue")]


async def test_a_type_that_cannot_come_back_stops_one_table_which_stays_fenced(
    service: Service, postgres_url: str
) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    await service.up("promoted")
    await postgres_script(postgres_url, "ALTER TABLE items ADD COLUMN place point; CREATE TABLE loose(n int)")

    async def stopped() -> Any:
        found = {table["name"]: table["reason"] for table in (await service.status())["tables"]}
        return found if found.get("items") and found.get("loose") else None

    reasons = await service.explained(until(stopped, "tables that stopped"))
    assert "point" in reasons["items"]
    assert "primary key" in reasons["loose"]
    with pytest.raises(sqlite3.IntegrityError, match="not the primary"):
        make(service.sqlite, "UPDATE items SET n = 0")
    for sql in ("UPDATE items SET n = n + 1", "ALTER TABLE items DROP COLUMN place", "DROP TABLE loose"):
        await postgres_script(postgres_url, sql)
    await followed(service)


async def test_a_column_that_is_declared_anew_gets_another_type(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    create(
        service.sqlite,
        "BEGIN; CREATE TABLE new_pairs (a TEXT, b INTEGER, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;"
        "INSERT INTO new_pairs SELECT a, b, v FROM pairs; DROP TABLE pairs; ALTER TABLE new_pairs RENAME TO pairs;"
        "INSERT INTO pairs VALUES ('typed', 1, 'a word'); COMMIT",
    )

    async def retyped() -> bool:
        return ("v", "text", False) in await shape(postgres_url, "pairs")

    await service.explained(until(retyped, "the other type"))
    await followed(service)
    assert await postgres_rows(postgres_url, "SELECT v FROM pairs WHERE a = 'typed'") == [("a word",)]


async def test_a_key_to_a_table_of_the_same_migration_is_carried(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    create(
        service.sqlite,
        "BEGIN; CREATE TABLE shelves (id INTEGER PRIMARY KEY, room TEXT);"
        "ALTER TABLE items ADD COLUMN shelf INTEGER REFERENCES shelves (id); COMMIT",
    )

    async def carried() -> bool:
        sql = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'items'::regclass"
        return await postgres_rows(postgres_url, sql) == [(1,)]

    await service.explained(until(carried, "the foreign key"))
    await followed(service)


REBUILT = (
    "PRAGMA foreign_keys = OFF",
    "BEGIN",
    'CREATE TABLE "new__items" ("id" varchar(40) PRIMARY KEY, "body" text, "n" bigint DEFAULT 7 CHECK (n > -9))',
    'INSERT INTO "new__items" SELECT "id", "body", "n" FROM "items"',
    'DROP TABLE "items"',
    'ALTER TABLE "new__items" RENAME TO "items"',
    'CREATE INDEX "items_n" ON "items" ("n" DESC)',
    "COMMIT",
    "PRAGMA foreign_keys = ON",
)


async def test_what_the_front_door_changes_on_postgres_comes_to_sqlite_in_its_own_words(
    service: Service, postgres_url: str
) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    await service.up("promoted")
    made = "CREATE TABLE notes(id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT COLLATE NOCASE DEFAULT 'x')"
    requests = [
        {"type": "execute", "stmt": {"sql": sql}}
        for sql in (made, "INSERT INTO notes(t) VALUES ('one')", *REBUILT, "PRAGMA user_version = 3")
    ]
    code, answer = await service.request(
        "POST", service.front + "/v3/pipeline", {"baton": None, "requests": [*requests, {"type": "close"}]}
    )
    assert code == 200
    assert [result["error"] for result in answer["results"] if result["type"] != "ok"] == []
    await service.kill()  # whatever was carried by now: the rest is, at the next start
    await service.start()
    await service.up("promoted")

    async def came() -> bool:
        return one(service.sqlite, "SELECT count(*) FROM sqlite_master WHERE name IN ('notes', 'items_n')") == 2

    await service.explained(until(came, "the new table in the SQLite file"))
    await followed(service)
    assert one(service.sqlite, "SELECT sql FROM sqlite_master WHERE name = 'notes'") == made
    assert "CHECK (n > -9)" in str(one(service.sqlite, "SELECT sql FROM sqlite_master WHERE name = 'items'"))
    assert one(service.sqlite, "SELECT t FROM notes") == "one"
    assert one(service.sqlite, "PRAGMA user_version") == 3
    await service.switched("demote")
    await service.up()
    make(service.sqlite, "INSERT INTO notes(t) VALUES ('two')", "DELETE FROM items WHERE n > 5")
    await followed(service)
    assert await postgres_rows(postgres_url, "SELECT id, t FROM notes ORDER BY id") == [(1, "one"), (2, "two")]


async def test_with_stop_the_front_door_on_postgres_changes_nothing_in_the_sqlite_file(
    service: Service, postgres_url: str
) -> None:
    service.config.write_text(service.config.read_text() + '[mirror]\nschema_changes = "stop"\n')
    await service.start()
    await service.up()
    await switched(service, "promote")
    await service.up("promoted")
    made = "CREATE TABLE extra(id TEXT PRIMARY KEY NOT NULL)"
    for sql in (made, "ALTER TABLE items ADD COLUMN note TEXT", "INSERT INTO extra VALUES ('a')"):
        assert (await service.sql(sql))["type"] == "ok"

    async def stopped() -> Any:
        found = {table["name"]: table for table in (await service.status())["tables"]}
        reasons = [found.get(name, {}).get("reason") for name in ("items", "extra")]
        return reasons if all(reasons) else None

    items, extra = await service.explained(until(stopped, "tables that stopped"))
    assert "note" in items
    assert made in extra
    assert one(service.sqlite, "SELECT count(*) FROM sqlite_master WHERE name = 'extra'") == 0
    assert one(service.sqlite, "SELECT count(*) FROM pragma_table_info('items') WHERE name = 'note'") == 0
    code, body = await service.request("POST", service.admin + "/v1/demote", {"dry_run": True})
    assert code == 200, body
    gate = next(gate for gate in body["gates"] if gate["name"] == "target_ready")
    assert not gate["ok"]
    assert "schema: not there yet, as applications changed it: table extra, table items" in gate["detail"]


async def test_a_table_of_a_name_that_was_dropped_before_the_promotion_is_empty(
    service: Service, postgres_url: str
) -> None:
    await postgres_script(
        postgres_url, "CREATE TABLE foreign_one(id bigint PRIMARY KEY); INSERT INTO foreign_one VALUES (1)"
    )
    await service.start()
    await service.up()
    kept = ("parents", "spare", "again", "moved")
    make(
        service.sqlite,
        "CREATE TABLE parents(id INTEGER PRIMARY KEY, name TEXT UNIQUE)",
        "INSERT INTO parents VALUES (1, 'old')",
    )
    for name in kept[1:]:
        made = f"CREATE TABLE {name}(id INTEGER PRIMARY KEY, t TEXT REFERENCES parents(name))"
        make(service.sqlite, made, f"INSERT INTO {name} VALUES (1, 'old')")
    await followed(service)
    make(service.sqlite, *(f"DROP TABLE {name}" for name in reversed(kept)))

    async def forgotten() -> bool:
        return not {table["name"] for table in (await service.status())["tables"]} & set(kept)

    await service.explained(until(forgotten, "a mapping without the tables"))
    await switched(service, "promote")
    await service.up("promoted")
    for sql in (
        "CREATE TABLE parents(id INTEGER PRIMARY KEY, name TEXT UNIQUE)",
        "CREATE TABLE spare(id INTEGER PRIMARY KEY, t TEXT REFERENCES parents(name))",  # the same that was dropped
        "CREATE TABLE again(id INTEGER PRIMARY KEY, other REAL)",
        "CREATE TABLE fresh(id INTEGER PRIMARY KEY, u TEXT)",
        "ALTER TABLE fresh RENAME TO moved",
    ):
        assert (await service.sql(sql))["type"] == "ok"
    for name in kept:
        assert await service.rows(f"SELECT count(*) FROM {name}") == [[0]]
        assert (await service.sql(f"INSERT INTO {name} VALUES (7, NULL)"))["type"] == "ok"
    answer = await service.sql("CREATE TABLE foreign_one(id INTEGER PRIMARY KEY)")
    assert "Postgres has a table of that name, with rows" in answer["error"]["message"]
    assert await postgres_rows(postgres_url, "SELECT id FROM foreign_one") == [(1,)]

    async def came() -> bool:
        return one(service.sqlite, f"SELECT count(*) FROM sqlite_master WHERE name IN {kept}") == len(kept)

    await service.explained(until(came, "the tables in the SQLite file"))
    await followed(service)
    assert [one(service.sqlite, f"SELECT id FROM {name}") for name in kept] == [7] * 4


async def test_tables_made_and_dropped_on_both_primaries_keep_no_gate_shut(service: Service) -> None:
    """What was rehearsed of tables that are gone, or are others by now, is in nobody's way at the next promotion."""
    with service.config.open("a") as config:
        config.write("[compare]\nshadow_read_sample = 1\nshadow_write_sample = 1\n")
    await service.start()
    await service.up()

    async def say(*statements: str) -> None:
        for sql in statements:
            assert (found := await service.sql(sql))["type"] == "ok", (sql, found)

    index, rows = "CREATE INDEX ix ON t1 (a)", ("INSERT INTO t1 (a) VALUES ('x')", "SELECT * FROM t1 ORDER BY 1")
    await say("CREATE TABLE t1 (k TEXT NOT NULL PRIMARY KEY DEFAULT 'k', a TEXT UNIQUE, b INTEGER)", index, *rows)
    await say("SELECT b FROM t1", "DROP TABLE t1", "CREATE TABLE t1 (id INTEGER PRIMARY KEY, a TEXT)", index, *rows)
    await switched(service, "promote")
    await say("DROP TABLE t1", "CREATE TABLE t1 (a TEXT PRIMARY KEY, b REAL)", index, *rows, "SELECT b FROM t1")
    await say("CREATE TABLE t2 (a TEXT PRIMARY KEY)", "INSERT INTO t2 VALUES ('y')", "SELECT * FROM t2")
    await followed(service)
    await switched(service, "demote")
    await say("DROP TABLE t1", "CREATE TABLE t1 (a TEXT, b INT)", index, *rows, *rows, "DROP TABLE t2")
    await switched(service, "promote")
    assert await service.rows("SELECT a, b FROM t1") == [["x", None], ["x", None]]
