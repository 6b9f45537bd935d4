"""Automatic keys from sequences: those that SQLite gives, whenever nobody else inserts at the same time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cutover.errors import StatementError
from cutover.model.statement import Statement, Step
from tests.flow.dialect_world import World, world

_SCHEMA = """
CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT UNIQUE, size INTEGER NOT NULL DEFAULT 1);
CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, size INTEGER NOT NULL DEFAULT 1);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES plain (id) ON DELETE CASCADE);
CREATE TABLE bare (name TEXT UNIQUE, size INTEGER NOT NULL DEFAULT 1);
"""
SEEDS = (0, 1, 2, 3, 54)
_TABLES = ("plain", "auto", "bare")


def _write(chance: random.Random) -> str:
    """A statement that may draw keys, in vain or not, or take the highest rows away."""
    table = chance.choice(_TABLES)
    other_table = chance.choice(_TABLES)
    key, other_key = ("rowid" if one == "bare" else "id" for one in (table, other_table))
    name, other = (f"'{chance.choice('abcdefghij')}'" for _ in range(2))
    return chance.choice(
        (
            f"INSERT INTO {table} (name) VALUES ({name})",
            f"INSERT INTO {table} (name) VALUES ({name}), ({other})",
            f"INSERT INTO {table} (name) VALUES (NULL)",
            f"INSERT INTO {table} (name, size) VALUES ({name}, NULL)",
            f"INSERT OR IGNORE INTO {table} (name) VALUES ({name})",
            f"INSERT OR IGNORE INTO {table} (name) VALUES ({name}), ({other}), (NULL)",
            f"INSERT OR REPLACE INTO {table} (name) VALUES ({name})",
            f"INSERT INTO {table} (name) VALUES ({name}) ON CONFLICT DO NOTHING",
            f"INSERT INTO {table} (name) VALUES ({name}) ON CONFLICT (name) DO UPDATE SET size = size + 1",
            f"INSERT INTO {table} (name) VALUES ({name}), ({other}) ON CONFLICT (name) DO UPDATE SET size = 2",
            f"INSERT INTO {table} ({key}, name) VALUES ({chance.randrange(1, 20)}, {name})",
            f"INSERT INTO {table} (name) SELECT NULL FROM {table} WHERE {key} < 4",
            f"INSERT OR IGNORE INTO {table} (name) SELECT name FROM {other_table} ORDER BY {other_key} LIMIT 4",
            f"INSERT INTO {table} (name) SELECT name FROM {other_table} WHERE true ORDER BY {other_key} DESC LIMIT 4 "
            "ON CONFLICT (name) DO UPDATE SET size = excluded.size + 1",
            f"INSERT INTO {table} (name) SELECT {name} UNION ALL SELECT {other} UNION ALL SELECT {name}",
            f"INSERT INTO {table} ({key}, name) VALUES ({chance.randrange(1, 40)}, {name}), (NULL, {other})",
            f"INSERT INTO {table} ({key}, name) VALUES ({chance.randrange(1, 40)}, {name}), (1, {other})",
            f"INSERT OR IGNORE INTO {table} ({key}, name) VALUES ({chance.randrange(1, 40)}, {name})",
            f"INSERT OR IGNORE INTO {table} ({key}, name) VALUES ({chance.randrange(1, 40)}, {name}), (NULL, {other})",
            f"INSERT INTO {table} ({key}, name) VALUES ({chance.randrange(30, 60)}, {name}) "
            "ON CONFLICT (name) DO UPDATE SET size = 3",
            f"DELETE FROM {table} WHERE {key} = (SELECT max({key}) FROM {table})",
            f"DELETE FROM {table} WHERE {key} > {chance.randrange(12)}",
            f"DELETE FROM {table} WHERE name = {name}",
            f"UPDATE {table} SET {key} = {chance.randrange(1, 25)} WHERE name = {name}",
            "INSERT INTO child (parent) SELECT max(id) FROM plain",
            f"INSERT INTO child (parent) VALUES ({chance.randrange(1, 10)})",
        )
    )


def _script(chance: random.Random) -> Iterator[str]:
    """Statements alone, in transactions and behind savepoints."""
    opened = False
    saved = 0
    for _ in range(60):
        if not opened and chance.random() < 0.15:
            opened = True
            yield "BEGIN"
        elif opened and chance.random() < 0.2:
            opened, saved = False, 0
            yield chance.choice(("COMMIT", "ROLLBACK"))
        elif opened and chance.random() < 0.15:
            saved += 1
            yield f"SAVEPOINT s{saved}"
        elif saved and chance.random() < 0.3:
            undone = chance.randrange(1, saved + 1)
            if chance.random() < 0.5:
                yield f"ROLLBACK TO s{undone}"
                saved = undone
            else:
                yield f"RELEASE s{undone}"
                saved = undone - 1
        else:
            yield _write(chance)
    if opened:
        yield "COMMIT"


async def _both(made: World, sql: str) -> None:
    """The statement on both, with the same outcome."""
    told = []
    for on in ("sqlite", "postgres"):
        try:
            result = made.on_sqlite(sql) if on == "sqlite" else await made.on_postgres(sql)
            told.append((result.affected, ""))
        except StatementError as error:
            told.append((0, error.message))
    assert told[0] == told[1], sql


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_keys_are_those_of_sqlite(postgres_url: str, seed: int) -> None:
    async with world(postgres_url, _SCHEMA) as made:
        done = []
        for sql in _script(random.Random(seed)):  # no secret
            await _both(made, sql)
            done.append(sql)
            if not sql.startswith(("BEGIN", "SAVEPOINT", "RELEASE")):
                for table in (*_TABLES, "child"):
                    wanted = made.on_sqlite(f"SELECT rowid, * FROM {table} ORDER BY rowid").rows
                    found = (await made.on_postgres(f"SELECT rowid, * FROM {table} ORDER BY rowid")).rows
                    assert found == wanted, "\n".join(done)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_schema_change_leaves_the_keys_as_they_are(postgres_url: str, seed: int) -> None:
    """What was given in vain before it is known behind it, whether the schema is read anew or not."""
    chance = random.Random(seed)  # no secret
    async with world(postgres_url, _SCHEMA, store=True) as made:
        done = []
        for at, sql in enumerate(_script(chance)):
            changes = chance.random() < 0.2
            extra = (f"CREATE TABLE more{at} (id INTEGER PRIMARY KEY)", f"ALTER TABLE child ADD COLUMN more{at} TEXT")
            for one in (chance.choice(extra), sql) if changes else (sql,):
                await _both(made, one)
                done.append(one)
            if changes and not made.session.in_transaction:
                made.executor.dialect.forget()
            for table in ("plain", "auto"):
                wanted = made.on_sqlite(f"SELECT rowid, name FROM {table} ORDER BY rowid").rows
                found = (await made.on_postgres(f"SELECT rowid, name FROM {table} ORDER BY rowid")).rows
                assert found == wanted, "\n".join(done)


async def _counted(made: World, sql: str) -> None:
    """Run by itself, as applications of the front door do; whatever becomes of it is no matter of keys."""
    try:
        result = await made.executor.run((Step(Statement(sql)),))
        error = result.errors[0]
    except StatementError as failure:
        error = failure
    assert error is None or "id" not in error.message, error


async def test_inserts_at_once_never_meet_on_a_key(postgres_url: str) -> None:
    """Some fail, some are undone, some delete what is highest: sequences are set back while others insert."""

    async def insert(who: int, table: str) -> None:
        chance = random.Random(who)  # no secret
        for number in range(12):
            await _counted(made, f"INSERT INTO {table} (name) VALUES ('{who} {number}')")
            await _counted(made, f"INSERT INTO {table} (name) VALUES ('{chance.randrange(who + 1)} {number}')")
            if number % 4 == who % 4:
                await _counted(made, f"DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table})")

    async with world(postgres_url, _SCHEMA) as made:
        await asyncio.gather(*[insert(who, table) for who in range(4) for table in ("plain", "auto")])


async def test_a_committed_key_of_autoincrement_is_not_given_again(postgres_url: str) -> None:
    """Transactions draw, delete and go back side by side."""
    given: list[int] = []

    async def work(who: int) -> None:
        session = made.executor.session()
        chance = random.Random(who)  # no secret
        for _ in range(10):
            with suppress(StatementError):
                await session.execute(Statement("BEGIN IMMEDIATE" if who % 2 else "BEGIN"))
                result = await session.execute(Statement("INSERT INTO auto (name) VALUES (NULL) RETURNING id"))
                await session.execute(Statement("DELETE FROM auto WHERE id = last_insert_rowid()"))
                if chance.random() < 0.5:
                    await session.execute(Statement("COMMIT"))
                    given.append(result.rows[0][0])  # type: ignore[arg-type]  # an integer
            if session.in_transaction:
                await session.execute(Statement("ROLLBACK"))
        await session.close()

    async with world(postgres_url, _SCHEMA) as made:
        await asyncio.gather(*map(work, range(4)))
        assert len(given) == len(set(given))
        assert given


async def test_a_key_that_a_native_writer_drew_stays_theirs(postgres_url: str) -> None:
    async with world(postgres_url, _SCHEMA) as made, made.pool.acquire() as native:
        await made.same("INSERT INTO plain (name) VALUES ('a')")
        await native.execute("BEGIN")
        drawn = await native.fetchval("INSERT INTO plain (name) VALUES ('native') RETURNING id")
        await made.same_error("INSERT INTO plain (name) VALUES ('a')")
        ours = await made.on_postgres("INSERT INTO plain (name) VALUES ('b') RETURNING id")
        again = await native.fetchval("INSERT INTO plain (name) VALUES ('too') RETURNING id")
        await native.execute("COMMIT")
        assert len({drawn, again, ours.rows[0][0]}) == 3


async def test_a_key_that_a_native_writer_had_drawn_when_keys_were_read_stays_theirs(postgres_url: str) -> None:
    """As behind a start: where the sequence stands is read while their row is not committed yet."""
    async with world(postgres_url, _SCHEMA) as made, made.pool.acquire() as native:
        await made.same("INSERT INTO plain (name) VALUES ('a')")
        await native.execute("BEGIN")
        drawn = await native.fetchval("INSERT INTO plain (name) VALUES ('native') RETURNING id")
        made.executor.dialect.keys_moved()
        await made.on_postgres("BEGIN")
        await made.on_postgres("SELECT count(*) FROM plain")
        await native.execute("COMMIT")
        ours = await made.on_postgres("INSERT INTO plain (name) VALUES ('b') RETURNING id")
        assert ours.rows[0][0] == drawn + 1
        await made.on_postgres("COMMIT")


@pytest.mark.parametrize(
    "unsettling",
    [
        "INSERT INTO bare (name) SELECT 'c' ON CONFLICT DO NOTHING",
        "INSERT OR IGNORE INTO bare (name) SELECT name FROM bare",
        "DELETE FROM bare WHERE name = 'b'",
    ],
)
async def test_a_transaction_that_does_not_see_what_native_writers_stored_gives_no_key_of_theirs(
    postgres_url: str, unsettling: str
) -> None:
    """The sequence is unsettled when it begins; what they store since is not there for it when it sets it back."""
    async with world(postgres_url, _SCHEMA) as made, made.pool.acquire() as native:
        await made.same("INSERT INTO bare (name) VALUES ('a')")
        await made.same("INSERT INTO bare (name) VALUES ('b')")
        await made.same(unsettling)
        await made.on_postgres("BEGIN")
        await made.on_postgres("SELECT count(*) FROM child")
        insert = "INSERT INTO bare (name) VALUES ($1) RETURNING _rowid_"
        drawn = [await native.fetchval(insert, f"n{at}") for at in range(3)]
        ours = await made.on_postgres("INSERT INTO bare (name) VALUES ('e') RETURNING rowid")
        await made.same_error("INSERT INTO bare (name, size) VALUES ('d', NULL)")
        more = await made.on_postgres("INSERT INTO bare (name) VALUES ('d') RETURNING rowid")
        drawn.append(await native.fetchval(insert, "n"))
        await made.on_postgres("COMMIT")
        assert len({*drawn, ours.rows[0][0], more.rows[0][0]}) == 6


async def test_a_transaction_goes_back_over_its_own_rows_that_it_deleted(postgres_url: str) -> None:
    """They are there for others until it commits."""
    async with world(postgres_url, _SCHEMA) as made:
        for name in "abc":
            await made.same(f"INSERT INTO plain (name) VALUES ('{name}')")
        await made.same("BEGIN")
        await made.same("DELETE FROM plain WHERE name > 'a'")
        await made.same("INSERT INTO plain (name) VALUES ('d') RETURNING id")
        await made.same("ROLLBACK")
        await made.same("INSERT INTO plain (name) VALUES ('e') RETURNING id")


async def test_a_number_that_others_took_by_hand_is_not_given_again(postgres_url: str) -> None:
    """Though nothing is stored under it yet, and they committed."""
    async with world(postgres_url, _SCHEMA) as made, made.pool.acquire() as native:
        await made.same("INSERT INTO plain (name) VALUES ('a')")
        drawn = await native.fetchval("SELECT nextval(pg_get_serial_sequence('plain', 'id'))")
        await made.on_postgres("INSERT INTO plain (name) VALUES ('b')")
        await made.on_postgres("DELETE FROM plain WHERE id > 1")
        await made.on_postgres("INSERT INTO plain (name) VALUES ('c')")
        keys = [row[0] for row in (await made.on_postgres("SELECT id FROM plain ORDER BY id")).rows]
        assert drawn not in keys
        assert len(keys) == 2


async def test_a_row_that_is_repeated_in_a_transaction_keeps_what_was_done_before(postgres_url: str) -> None:
    """What Postgres refuses at first is run in another way; a statement that fails behind it undoes itself alone."""
    async with world(postgres_url, _SCHEMA) as made:
        await made.same("BEGIN")
        await made.same("INSERT INTO auto (name) VALUES ('i'), ('i') ON CONFLICT (name) DO UPDATE SET size = 2")
        await made.same_error("INSERT INTO auto (name, size) VALUES ('j', NULL)")
        await made.same("COMMIT")
        await made.same("SELECT * FROM auto")


@pytest.mark.parametrize("table", ["plain", "auto"])
@pytest.mark.parametrize(
    "failing",
    [
        "INSERT INTO {0} (id, name) VALUES (30, 'x'), (1, 'y')",
        "INSERT OR ROLLBACK INTO {0} (id, name) VALUES (30, 'x'), (31, 'a')",
        "INSERT INTO {0} (id, name) SELECT 30, 'x' UNION ALL SELECT 1, 'y'",
    ],
)
async def test_a_key_that_was_given_in_vain_moves_nothing(postgres_url: str, table: str, failing: str) -> None:
    async with world(postgres_url, _SCHEMA) as made:
        await made.same(f"INSERT INTO {table} (name) VALUES ('a')")
        await made.same_error(failing.format(table))
        await made.same(f"INSERT INTO {table} (name) VALUES ('b') RETURNING id")
        await made.same_error(failing.format(table))
        await made.same(f"INSERT INTO {table} (name) VALUES ('d') RETURNING id")
        await made.same(f"SELECT id FROM {table} ORDER BY id")


async def test_nor_does_one_before_any_key_was_drawn(postgres_url: str) -> None:
    async with world(postgres_url, _SCHEMA) as made:
        for table in ("plain", "auto"):
            await made.same(f"INSERT INTO {table} (id, name) VALUES (13, 'a')")
            await made.same_error(f"INSERT INTO {table} (id, name) VALUES (38, 'i'), (13, 'd')")
            await made.same(f"INSERT INTO {table} (name) VALUES ('j') RETURNING id")
            await made.same(f"INSERT OR IGNORE INTO {table} (name) SELECT name FROM {table}")
            await made.same_error(f"INSERT INTO {table} (id, name) VALUES (38, 'i'), (13, 'd')")
            await made.same(f"INSERT INTO {table} (name) VALUES ('k') RETURNING id")


async def test_nor_does_one_whose_row_a_foreign_key_refuses(postgres_url: str) -> None:
    schema = """CREATE TABLE parents (id INTEGER PRIMARY KEY);
    CREATE TABLE plain (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id));
    CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER REFERENCES parents (id));"""
    async with world(postgres_url, schema) as made:
        for table in ("plain", "auto"):
            await made.same(f"INSERT INTO {table} (parent) VALUES (NULL)")
            await made.same_error(f"INSERT INTO {table} (id, parent) VALUES (30, 9)")
            await made.same(f"INSERT INTO {table} (parent) VALUES (NULL) RETURNING id")


_SOURCE = "CREATE TABLE source (name TEXT, size INTEGER)"
_FILLED = ("INSERT INTO source VALUES ('a', 1), ('b', NULL), ('a', 3), ('c', 4), ('d', 5), ('c', 6)",)
_OF_SOURCE = (
    "INSERT OR IGNORE INTO {0} (name, size) SELECT name, size FROM source ORDER BY name DESC, size",
    "INSERT OR IGNORE INTO {0} (id, name, size) SELECT NULL, name, size FROM source ORDER BY name DESC, size",
    "INSERT INTO {0} (name) SELECT name FROM source WHERE true ORDER BY size ON CONFLICT DO NOTHING RETURNING id, name",
    "INSERT INTO {0} (name, size) SELECT name, 7 FROM source WHERE size <> 3 AND size <> 6 ORDER BY size "
    "ON CONFLICT (name) DO UPDATE SET size = excluded.id * 10 + excluded.size RETURNING id, name, size",
    "WITH given (name) AS (SELECT name FROM source WHERE name > 'a' ORDER BY 1) "
    "INSERT OR IGNORE INTO {0} (name) SELECT name FROM given",
)


@pytest.mark.parametrize("table", ["plain", "auto"])
async def test_rows_of_a_query_that_are_not_stored_take_no_key_from_those_behind_them(
    postgres_url: str, table: str
) -> None:
    async with world(postgres_url, _SCHEMA + _SOURCE, data=_FILLED) as made:
        if table == "auto":  # where SQLite counts rows that lack a value as well
            await made.same("UPDATE source SET size = 2 WHERE size IS NULL")
        for begin, end in ((None, None), ("BEGIN", "COMMIT"), ("BEGIN", "ROLLBACK")):
            for statement in _OF_SOURCE:
                for sql in (
                    begin,
                    f"INSERT INTO {table} (name) VALUES ('d')",
                    statement.format(table),
                    f"INSERT INTO {table} (name) VALUES ('e') RETURNING id",
                    end,
                    f"INSERT INTO {table} (name) VALUES ('f') RETURNING id",
                    f"SELECT * FROM {table} ORDER BY id",
                    f"DELETE FROM {table}",
                ):
                    if sql is not None:
                        await made.same(sql)


async def test_a_write_to_sqlite_sequence_leaves_no_hole_in_other_tables(postgres_url: str) -> None:
    other = "CREATE TABLE other (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);"
    async with world(postgres_url, _SCHEMA + other) as made:
        for begin, end in ((None, None), ("BEGIN", "COMMIT"), ("BEGIN", "ROLLBACK")):
            for sql in (
                begin,
                "INSERT INTO auto (name) VALUES ('a'), ('b')",
                "INSERT INTO other (name) VALUES ('a'), ('b')",
                "INSERT INTO auto (name) VALUES ('c'), ('a')",
                "DELETE FROM other",
                "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'other'",
                "INSERT INTO auto (name) VALUES ('d') RETURNING id",
                "INSERT INTO other (name) VALUES ('d') RETURNING id",
                end,
                "INSERT INTO auto (name) VALUES ('e') RETURNING id",
                "INSERT INTO other (name) VALUES ('e') RETURNING id",
                "DELETE FROM auto",
            ):
                if sql is not None:
                    await (made.same_error if "('c'), ('a')" in sql else made.same)(sql)


@pytest.mark.parametrize("table", ["plain", "auto"])
async def test_keys_that_were_undone_are_given_again_though_the_schema_was_read_meanwhile(
    postgres_url: str, table: str
) -> None:
    async with world(postgres_url, _SCHEMA) as made:
        insert = f"INSERT INTO {table} (name) VALUES (NULL), (NULL) RETURNING id"
        for at, changes in enumerate(([], ["INSERT INTO bare VALUES ('x', 1)"], ["CREATE TABLE more (id INTEGER)"])):
            for kept in (insert, "BEGIN", insert, "SAVEPOINT s", insert, "ROLLBACK TO s"):
                await made.same(kept)
            made.executor.dialect.forget()
            await made.same(insert)
            made.executor.dialect.forget()
            await made.same("ROLLBACK")
            for change in changes:
                await made.same(change.replace("more", f"more_{at}"))
            await made.same(insert)
            await made.same(f"DELETE FROM {table} WHERE id = last_insert_rowid()")


@pytest.mark.parametrize("table", ["plain", "auto"])
async def test_a_key_that_an_upsert_moved_is_gone_on_from(postgres_url: str, table: str) -> None:
    async with world(postgres_url, _SCHEMA) as made:
        await made.same(f"INSERT INTO {table} VALUES (1, 'a', 1), (2, 'b', 1), (5, 'c', 1)")
        await made.same(f"INSERT INTO {table} (name) VALUES ('b') ON CONFLICT (name) DO UPDATE SET id = 50")
        await made.same(f"INSERT INTO {table} (name) VALUES ('d') RETURNING id")
        moving = f"INSERT INTO {table} (id, name) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET (size, id) = (2, ?1)"
        await made.same(moving, 90, "d")
        await made.same(f"INSERT INTO {table} (name) VALUES ('e') RETURNING id")
        await made.same("BEGIN")
        await made.same(moving, 60, "e")
        await made.same(f"INSERT INTO {table} (name) VALUES ('f'), ('g') RETURNING id")
        await made.same("ROLLBACK")
        await made.same(f"INSERT INTO {table} (name) VALUES ('h') RETURNING id")


async def test_a_sequence_at_its_end_goes_on_where_its_rows_end(postgres_url: str) -> None:
    async with world(postgres_url, _SCHEMA) as made:
        await made.same("INSERT INTO plain (name) VALUES ('a')")
        await made.same("INSERT INTO plain (id, name) VALUES (9223372036854775806, 'b')")
        await made.same("INSERT INTO plain (name) VALUES ('c') RETURNING id")
        for _ in range(2):  # where SQLite looks for a key that is free
            with pytest.raises(StatementError) as ended:
                await made.on_postgres("INSERT INTO plain (name) VALUES ('x')")
            assert ended.value.code == "SQLITE_FULL"
        await made.same("DELETE FROM plain WHERE id > 100")
        await made.same("INSERT INTO plain (name) VALUES ('d') RETURNING id")
        await made.same("INSERT INTO plain (id, name) VALUES (9223372036854775807, 'e')")
        await made.same("DELETE FROM plain WHERE id > 100")
        await made.same("INSERT INTO plain (name) VALUES ('f'), ('g') RETURNING id")
        await made.pool.execute("SELECT setval('plain_id_seq', 9223372036854775807)")
        await made.same("DELETE FROM plain WHERE name = 'g'")
        await made.same("INSERT OR IGNORE INTO plain (name) VALUES ('a'), ('h') RETURNING id")


async def test_autoincrement_gives_nothing_once_the_last_key_was_given(postgres_url: str) -> None:
    async def used_up(made: World) -> None:
        insert = "INSERT INTO auto (name) VALUES ('d')"
        with pytest.raises(StatementError) as full:
            made.on_sqlite(insert)
        with pytest.raises(StatementError) as ended:
            await made.on_postgres(insert)
        assert full.value.code == ended.value.code == "SQLITE_FULL"

    async with world(postgres_url, _SCHEMA) as made:
        for key in (9223372036854775806, 9223372036854775807):
            await made.same("INSERT INTO auto (name) VALUES ('a') RETURNING id")
            for end in ("ROLLBACK", "COMMIT"):
                await made.same("BEGIN")
                await made.same("INSERT INTO auto (id, name) VALUES (?, 'b')", key)
                await made.same(end)
                if end == "ROLLBACK" or key % 2 == 0:
                    await made.same("INSERT INTO auto (name) VALUES ('c') RETURNING id")
                await made.same("DELETE FROM auto")
            for _ in range(2):
                await used_up(made)
            made.executor.dialect.keys_moved()  # as behind a restart
            await used_up(made)
            await made.same("DELETE FROM sqlite_sequence")


@pytest.mark.parametrize("table", ["plain", "auto", "bare"])
async def test_keys_below_zero_are_gone_on_from(postgres_url: str, table: str) -> None:
    key = "rowid" if table == "bare" else "id"
    insert = f"INSERT INTO {table} (name) VALUES (?) RETURNING {key}"
    async with world(postgres_url, _SCHEMA) as made:
        await made.same(f"INSERT INTO {table} ({key}, name) VALUES (-5, 'a')")
        for name in "bc":
            await made.same(insert, name)
        await made.same(f"DELETE FROM {table} WHERE {key} > -4")
        await made.same(f"INSERT INTO {table} (name) VALUES ('d'), ('e') RETURNING {key}")
        await made.same(f"INSERT INTO {table} (name) SELECT 'f' UNION ALL SELECT 'g' RETURNING {key}")
        await made.same("BEGIN")
        await made.same(insert, "h")
        await made.same("ROLLBACK")
        for name in "hijk":  # past zero
            await made.same(insert, name)
        await made.same(f"DELETE FROM {table} WHERE {key} >= -4")
        made.executor.dialect.keys_moved()  # as behind a restart
        await made.same(insert, "l")
        await made.same(f"UPDATE {table} SET {key} = -90 WHERE name = 'a'")
        await made.same(f"DELETE FROM {table} WHERE name <> 'a'")
        await made.same("BEGIN")
        await made.same(insert, "m")
        await made.same("SAVEPOINT s")
        await made.same(insert, "n")
        await made.same("ROLLBACK TO s")
        await made.same(insert, "o")
        await made.same("COMMIT")
        await made.same(f"DELETE FROM {table}")
        await made.same(insert, "p")


async def test_a_replace_that_meets_its_own_rows_draws_no_key_in_vain(postgres_url: str) -> None:
    schema = "CREATE TABLE a (k INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE TABLE p (k INTEGER PRIMARY KEY, v)"
    async with world(postgres_url, schema) as made:
        for table in "ap":
            await _both(made, f"REPLACE INTO {table} VALUES (1, 'a'), (NULL, 'b'), (1, 'c')")
            await _both(made, f"REPLACE INTO {table} VALUES (NULL, 'd'), (9, 'e'), (NULL, 'f'), (9, 'g')")
            await _both(made, f"INSERT INTO {table} (v) VALUES ('h')")
            await made.same(f"SELECT * FROM {table} ORDER BY k")


_UNKEPT = """
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT NOT NULL UNIQUE, n INTEGER NOT NULL DEFAULT 1,
    r REAL, b BLOB NOT NULL DEFAULT x'00');
CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT NOT NULL, n INTEGER NOT NULL, r REAL, at DATETIME);
"""


async def test_rows_that_or_ignore_passes_over_for_a_null(postgres_url: str) -> None:
    """AUTOINCREMENT counts them; and NULL has its column's type, also where a query gives nothing else."""
    async with world(postgres_url, _UNKEPT, store=True) as both:
        for sql in (
            "INSERT OR IGNORE INTO counted (v, n) SELECT 'a', NULL",
            "INSERT OR IGNORE INTO counted (v, n) SELECT 'a', 1",
            "INSERT OR IGNORE INTO counted (v, n) SELECT 'b', NULL UNION ALL SELECT 'c', 2 UNION ALL SELECT 'a', 3",
            "INSERT OR IGNORE INTO counted (v, r, b) SELECT 'd', NULL, NULL",
            "INSERT OR IGNORE INTO counted (v, r) SELECT 'd', NULL",
            "INSERT OR IGNORE INTO counted (v) VALUES (NULL)",
            "INSERT OR IGNORE INTO counted (v) VALUES (NULL), ('d'), (NULL), ('e')",
            "INSERT OR IGNORE INTO counted (id, v) VALUES (NULL, NULL), (NULL, 'f')",
            "INSERT OR IGNORE INTO counted (id, v) SELECT NULL, nullif(v, 'a') || '2' FROM counted",
            "INSERT OR IGNORE INTO counted (n) VALUES (1), (2)",
            "INSERT INTO counted (v) VALUES ('end')",
            "SELECT * FROM counted ORDER BY id",
            "SELECT * FROM sqlite_sequence",
            "INSERT OR IGNORE INTO plain (v, n) SELECT 'a', NULL",
            "INSERT OR IGNORE INTO plain (v, n, r, at) SELECT 'a', 1, NULL, NULL",
            "INSERT OR IGNORE INTO plain (v, n, r) SELECT v, NULL, NULL FROM plain",
            "INSERT OR IGNORE INTO plain (v, n, r) SELECT v, n, NULL FROM plain UNION ALL SELECT 'x', NULL, NULL",
            "INSERT INTO plain (v, n) VALUES ('end', 1)",
            "SELECT * FROM plain ORDER BY id",
        ):
            await both.same(sql)
        for value in (None, "args", None):
            await both.same("INSERT OR IGNORE INTO counted (v) VALUES (?)", value)
        await both.same("INSERT OR IGNORE INTO counted (v) VALUES (?), (?), (?)", None, "one", None)
        await both.same("INSERT INTO counted (v) VALUES ('last')")
        await both.same("SELECT id, v FROM counted ORDER BY id")


async def test_automatic_keys_go_on_from_one_below_zero_of_the_same_insert(postgres_url: str) -> None:
    schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, v)"
    async with world(postgres_url, schema, store=True) as both:
        for sql in (
            "INSERT INTO t (id, v) VALUES (-5, 1), (NULL, 2), (-9, 3), (NULL, 4)",
            "SELECT * FROM t ORDER BY id",
            "INSERT INTO t (id) VALUES (7), (NULL)",
            "DELETE FROM t",
            "BEGIN",
            "INSERT INTO t (id) VALUES (-5), (NULL)",
            "INSERT OR IGNORE INTO t (id) VALUES (-5), (NULL)",
            "INSERT INTO t (id) VALUES (-6), (NULL) ON CONFLICT DO NOTHING",
            "COMMIT",
            "SELECT * FROM t ORDER BY id",
            "INSERT INTO a (id) VALUES (-5), (NULL)",
            "SELECT * FROM a ORDER BY id",
        ):
            await both.same(sql)
        await both.same_error("INSERT INTO t (id) VALUES (-50), (NULL), (-50)")
        await both.same("DELETE FROM t")
        await both.same("INSERT INTO t (id, v) VALUES (?, 1), (NULL, 2), (?, 3)", -7, None)
        await both.same("SELECT * FROM t ORDER BY id")


async def test_it_is_known_where_the_keys_of_a_new_table_stand(postgres_url: str) -> None:
    failing = "INSERT INTO made (id, up) VALUES (0, 2), (1, 99)"
    async with world(postgres_url, "", store=True) as both:
        await both.same("CREATE TABLE made (id INTEGER PRIMARY KEY, up INTEGER REFERENCES made)")
        await both.same("BEGIN")
        await both.same_error(failing)
        first = await both.same("INSERT INTO made (up) VALUES (NULL)")
        assert first.last_insert_rowid == 1
        await both.same("DROP TABLE made")
        await both.same("CREATE TABLE made (id INTEGER PRIMARY KEY, up INTEGER REFERENCES made)")
        await both.same("INSERT OR FAIL INTO made (id) VALUES (-7), (NULL)")
        await both.same_error(failing)
        await both.same("INSERT INTO made (up) VALUES (-6) RETURNING id")
        await both.same("COMMIT")
        await both.same("SELECT * FROM made")


async def test_how_far_keys_were_given_is_known_while_the_schema_is_to_be_read_again(postgres_url: str) -> None:
    async with world(postgres_url, _SCHEMA) as made:
        await made.same("INSERT INTO auto (name) VALUES ('a'), ('b')")
        await made.same("UPDATE auto SET id = 90 WHERE name = 'b'")
        await made.same("DELETE FROM sqlite_sequence WHERE name = 'other'")  # which moves the sequence past that row
        given = {name: key for name, (_, key) in made.executor.dialect.keys_given().items() if "auto" in name}
        assert list(given.values()) == [2]
        made.executor.dialect.forget()
        assert given.items() <= {name: key for name, (_, key) in made.executor.dialect.keys_given().items()}.items()


async def test_what_was_known_of_keys_ends_with_a_promotion_also_behind_a_schema_change(postgres_url: str) -> None:
    async with world(postgres_url, _SCHEMA) as made:
        await made.same("INSERT INTO plain (name) VALUES ('a'), ('b')")
        gone = "DELETE FROM plain WHERE name = 'b'"
        made.on_sqlite(gone)
        await made.pool.execute(gone)  # by the mirror, while SQLite was primary
        made.executor.dialect.forget()
        made.executor.dialect.keys_moved()
        await made.same("INSERT INTO plain (name) VALUES ('c') RETURNING id")


async def test_autoincrement_counts_given_keys_of_rows_that_are_passed_over(postgres_url: str) -> None:
    schema = """
    CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, u TEXT UNIQUE);
    CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT, a INTEGER NOT NULL, b INTEGER CHECK (b > 0));
    CREATE TABLE own (
        id INTEGER PRIMARY KEY AUTOINCREMENT, u TEXT UNIQUE ON CONFLICT IGNORE, v TEXT UNIQUE ON CONFLICT REPLACE
    );
    """
    async with world(postgres_url, schema) as both:
        for sql in (
            "INSERT INTO a (u) VALUES ('a')",
            "INSERT OR IGNORE INTO a VALUES (50, 'a')",
            "INSERT INTO a (u) VALUES ('b')",
            "INSERT OR IGNORE INTO a VALUES (70, 'a'), (NULL, 'f'), (90, 'f')",
            "SELECT * FROM a",
            "INSERT INTO a (u) VALUES ('k')",
            "INSERT INTO a VALUES (100, 'a') ON CONFLICT (u) DO NOTHING",
            "INSERT INTO a VALUES (200, 'a') ON CONFLICT (u) DO UPDATE SET u = 'aa'",
            "INSERT INTO a (u) VALUES ('l')",
            "INSERT OR IGNORE INTO a SELECT id + 300, u FROM a",
            "INSERT INTO a (u) VALUES ('m')",
            "BEGIN",
            "INSERT OR IGNORE INTO a VALUES (2000, 'm'), (2001, 'l')",
            "SAVEPOINT s",
            "INSERT OR IGNORE INTO a VALUES (3001, 'l')",
            "INSERT INTO a (u) VALUES ('p')",
            "ROLLBACK TO s",
            "INSERT INTO a (u) VALUES ('q')",
            "ROLLBACK",
            "INSERT INTO a (u) VALUES ('r')",
            "SELECT * FROM a",
            "SELECT * FROM sqlite_sequence",
            "INSERT OR IGNORE INTO n VALUES (10, NULL, 1)",
            "INSERT OR IGNORE INTO n VALUES (30, 1, 0), (40, NULL, 1), (25, 7, 7)",
            "INSERT INTO n (a) VALUES (3)",
            "INSERT OR IGNORE INTO n SELECT id + 100, nullif(a, 3), b FROM n",
            "INSERT INTO n (a) VALUES (4)",
            "INSERT OR IGNORE INTO n (id, b) VALUES (900, 1)",
            "INSERT INTO n (a) VALUES (6)",
            "INSERT OR IGNORE INTO n (a) SELECT nullif(a, 4) FROM n ORDER BY a DESC",
            "SELECT * FROM n",
            "INSERT INTO own (u, v) VALUES ('a', 'a')",
            "INSERT INTO own VALUES (50, 'a', 'b')",
            "INSERT INTO own (u, v) VALUES ('b', 'b')",
            "SELECT * FROM own",
            "SELECT * FROM sqlite_sequence",
        ):
            await both.same(sql)


@pytest.mark.parametrize("table", ["plain", "auto"])
async def test_a_key_that_was_drawn_in_vain_is_given_again_beside_a_vacuum(postgres_url: str, table: str) -> None:
    async with world(postgres_url, _SCHEMA) as made:
        in_vain = f"INSERT INTO {table} (name) VALUES (NULL), ('a')"
        await made.same(f"INSERT INTO {table} (name) VALUES ('a'), ('b')")
        async with made.pool.acquire() as vacuum, vacuum.transaction():
            await vacuum.execute(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE")
            for begin, end in ((None, None), ("BEGIN", "COMMIT"), ("BEGIN", "ROLLBACK"), (None, None)):
                for sql in (begin, in_vain, f"INSERT INTO {table} (name) VALUES (NULL) RETURNING id", in_vain, end):
                    if sql is not None:
                        await (made.same_error if sql is in_vain else made.same)(sql)
            await made.same(f"INSERT INTO {table} (name) VALUES (NULL), (NULL) RETURNING id")
        await made.same(f"INSERT INTO {table} (name) VALUES (NULL) RETURNING id")


async def test_rows_that_are_passed_over_take_no_key_beside_keys_that_are_given(postgres_url: str) -> None:
    """Be those lower or higher than the automatic ones, by however much."""
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, u INTEGER UNIQUE)") as made:
        for sql in (
            "INSERT OR IGNORE INTO t VALUES (9, 9), (NULL, NULL), (NULL, 7)",
            "INSERT OR IGNORE INTO t VALUES (1, 8), (NULL, 8), (NULL, 8), (NULL, 2)",
            "INSERT OR IGNORE INTO t VALUES (NULL, 18), (NULL, 18), (0, 8), (3, 4), (2, 20)",
            "INSERT OR REPLACE INTO t (id) VALUES (2), (1), (6), (NULL)",
            "INSERT INTO t VALUES (4, 8), (NULL, 2), (NULL, 31) ON CONFLICT (u) DO UPDATE SET u = t.u + 100",
            "INSERT OR IGNORE INTO t VALUES (NULL, 40), (5, 40), (NULL, 41), (NULL, 42)",
            "INSERT OR IGNORE INTO t VALUES (NULL, 51), (NULL, 52), (1000000000000, 53)",
            "INSERT OR IGNORE INTO t VALUES (NULL, 61), (NULL, 51), (2000000000000, 63), (NULL, 62)",
        ):
            await made.same(sql)
            await made.same("SELECT *, last_insert_rowid() FROM t ORDER BY id")
