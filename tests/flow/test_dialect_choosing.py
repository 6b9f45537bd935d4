"""INSERT whose rows go one of several ways: several ON CONFLICT clauses, none with a target, clauses of constraints."""

from __future__ import annotations

import random

from cutover.errors import StatementError
from tests.flow.dialect_world import World, typed_rows, world

SCHEMA = """
CREATE TABLE t (a INTEGER PRIMARY KEY, b UNIQUE, c INT UNIQUE, d TEXT COLLATE NOCASE, n INT DEFAULT 0 CHECK (n < 99));
CREATE UNIQUE INDEX t_d ON t (d) WHERE c > 2;
CREATE TABLE own (a INT UNIQUE ON CONFLICT IGNORE, b INT UNIQUE ON CONFLICT REPLACE, c INT UNIQUE, n INT);
CREATE TABLE sums (x INT, y INT, n INT DEFAULT 0);
CREATE UNIQUE INDEX sums_of ON sums (x + y);
CREATE UNIQUE INDEX sums_x ON sums (x);
"""


async def _both_ways(both: World, sql: str, table: str) -> None:
    """The same answer, or the same error; and the same rows behind it."""
    expected: object
    found: object
    try:
        found = typed_rows(await both.on_postgres(sql), True)
    except StatementError as error:
        if "OR IGNORE" in sql and "DO UPDATE of a row that" in error.message:  # which of two rows a CHECK is about
            return
        found = error.code, error.message.split(": ")[0]  # an UPDATE may name another of the keys that are met
    try:
        expected = typed_rows(both.on_sqlite(sql), True)
    except StatementError as error:
        expected = error.code, error.message.split(": ")[0]
    assert found == expected, sql
    await both.same(f"SELECT * FROM {table} ORDER BY rowid")


async def test_the_first_clause_whose_key_is_met_says_what_becomes_of_a_row(postgres_url: str) -> None:
    clauses = {
        "a": ("(a) DO UPDATE SET n = n + 1", "(a) DO NOTHING", "(a) DO UPDATE SET b = excluded.b, c = excluded.c"),
        "b": ("(b) DO UPDATE SET n = n + 10", "(b) DO NOTHING", "(b) DO UPDATE SET a = excluded.a"),
        "c": ("(c) DO UPDATE SET n = n + excluded.n WHERE n < 50", "(c) DO UPDATE SET n = n + 10"),
        "d": ("(d) WHERE c > 2 DO UPDATE SET n = n + 20", "(d) WHERE c > 2 DO NOTHING"),
    }
    rests = ("", "", "DO NOTHING", "DO UPDATE SET n = n + 7")
    chance = random.Random(5)
    async with world(postgres_url, SCHEMA) as both:
        for number in range(75):
            if number % 25 == 0:
                await both.same("DELETE FROM t")
                await both.same("INSERT INTO t VALUES (1, 'x', 1, 'd', 0), (2, 'y', 2, 'e', 0), (3, 3, 3, 'f', 0)")
            rows = []
            for _ in range(chance.choice((1, 1, 1, 3))):
                key = chance.choice((1, 2, 3, 4, 5, 9)) if chance.random() < 0.7 else "NULL"
                other, n = chance.choice(("'x'", "'y'", "3", "'z'", "3.0", "NULL")), chance.choice((1, 1, 1, 1, 99))
                rows.append(f"({key}, {other}, {chance.randint(1, 6)}, '{chance.choice('dDeEfg')}', {n})")
            named = chance.sample(sorted(clauses), chance.randint(0, 3))
            said = [chance.choice(clauses[name]) for name in named] + [chance.choice(rests)]
            word = chance.choice(("", "", "", "OR IGNORE ", "OR REPLACE "))
            upsert = " ".join(f"ON CONFLICT {one}" for one in said if one)
            returning = chance.choice(("", " RETURNING *"))
            await _both_ways(both, f"INSERT {word}INTO t VALUES {', '.join(rows)} {upsert}{returning}", "t")


async def test_a_clause_may_mean_an_expression(postgres_url: str) -> None:
    async with world(postgres_url, "CREATE TABLE other (q)", store=True) as both:
        for sql in SCHEMA.strip().split(";\n")[3:]:
            await both.same(sql.rstrip(";"))
        await both.same("INSERT INTO sums VALUES (1, 2, 0), (2, 5, 0)")
        for sql in (
            "INSERT INTO sums VALUES (1, 9, 5) ON CONFLICT (x) DO UPDATE SET n = 1 ON CONFLICT (x + y) DO NOTHING",
            "INSERT INTO sums VALUES (3, 0, 5) ON CONFLICT (x) DO NOTHING ON CONFLICT (x+y) DO UPDATE SET n = 4",
            "INSERT INTO sums VALUES (2, 1, 5) ON CONFLICT (x + y) DO NOTHING ON CONFLICT (x) DO UPDATE SET n = 5",
            "INSERT INTO sums VALUES (4, -1, 5) ON CONFLICT DO UPDATE SET n = 6",
        ):
            await _both_ways(both, sql, "sums")


async def test_rows_of_a_query_and_arguments_go_their_ways(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA) as both:
        await both.same("INSERT INTO t VALUES (1, 'x', 1, 'd', 0), (2, 'y', 2, 'e', 0), (3, 3, 3, 'f', 0)")
        upsert = "ON CONFLICT (b) DO UPDATE SET n = n + ?6 ON CONFLICT (a) DO UPDATE SET n = ?7"
        for values in ((1, "y", 8, "q", 0, 5, 6), (1, "w", 8, "q", 0, 5, 6), (8, "w", 8, "q", 0, 5, 6)):
            await both.same(f"INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5) {upsert} RETURNING *", *values)
        await both.same(
            "INSERT INTO t SELECT a + 1, b, c, d, n FROM t WHERE true ORDER BY a "
            "ON CONFLICT (a) DO UPDATE SET n = n + 1 ON CONFLICT (b) DO UPDATE SET n = n + 10"
        )
        await both.same("SELECT * FROM t ORDER BY a")
        await both.refused(
            "INSERT INTO t (a, n) VALUES (1, 0), (2, 0) ON CONFLICT (a) DO UPDATE SET n = (SELECT max(n) FROM t) "
            "ON CONFLICT (b) DO NOTHING",
            "subquery of the same table",
        )


async def test_constraints_that_say_different_things(postgres_url: str) -> None:
    chance = random.Random(6)
    async with world(postgres_url, SCHEMA) as both:
        for number in range(60):
            if number % 20 == 0:
                await both.same("DELETE FROM own")
                await both.same("INSERT INTO own VALUES (1, 1, 1, 0)")
            rows = ", ".join(
                f"({chance.randint(1, 5)}, {chance.randint(1, 5)}, {chance.randint(1, 5)}, {number})"
                for _ in range(chance.choice((1, 1, 2)))
            )
            clause = chance.choice(
                ("", "", " ON CONFLICT (c) DO UPDATE SET n = -n", " ON CONFLICT (a) DO UPDATE SET n = 5")
            )
            await _both_ways(both, f"INSERT INTO own VALUES {rows}{clause}", "own")


KEYED = """
CREATE TABLE live (id INTEGER PRIMARY KEY, n INT, on_air INT, m INT DEFAULT 0);
CREATE UNIQUE INDEX live_n ON live (n) WHERE on_air = 1;
CREATE TABLE odd (id INTEGER PRIMARY KEY, n INT, m INT DEFAULT 0);
CREATE UNIQUE INDEX odd_n ON odd (n) WHERE id <> 7;
CREATE TABLE odder (id INTEGER PRIMARY KEY, n INT);
CREATE UNIQUE INDEX odder_n ON odder (length(id) || n);
"""


async def test_a_clause_without_a_target_means_the_only_key_though_it_is_partial(postgres_url: str) -> None:
    async with world(postgres_url, KEYED) as both:
        for sql in (
            "INSERT INTO live (n, on_air) VALUES (1, 1), (1, 0), (2, 1)",
            "INSERT INTO live (n, on_air) VALUES (1, 1) ON CONFLICT DO UPDATE SET m = m + 1 RETURNING *",
            "INSERT INTO live (n, on_air) VALUES (1, 0) ON CONFLICT DO UPDATE SET m = m + 1 RETURNING *",
            "INSERT INTO live (n, on_air) VALUES (1, 1), (2, 1) ON CONFLICT DO UPDATE SET m = m + 1 RETURNING *",
        ):
            await _both_ways(both, sql, "live")


async def test_a_key_that_depends_on_the_automatic_one_is_told_or_refused_by_name(postgres_url: str) -> None:
    async with world(postgres_url, KEYED) as both:
        for table in ("odd", "odder"):
            await both.same(f"INSERT INTO {table} (n) VALUES (1)")
            await _both_ways(both, f"INSERT INTO {table} (n) VALUES (1)", table)
            await _both_ways(both, f"INSERT OR IGNORE INTO {table} (n) VALUES (1)", table)
            await _both_ways(both, f"INSERT OR REPLACE INTO {table} (id, n) VALUES (2, 1)", table)
            await both.refused(f"INSERT OR REPLACE INTO {table} (n) VALUES (1)", f"{table}_n, a unique index that")
            await both.same(f"SELECT * FROM {table}")


async def test_a_collation_says_nothing_to_what_is_no_text(postgres_url: str) -> None:
    tables = {
        "x'62'": "b BLOB COLLATE NOCASE, n INT, UNIQUE (id, b)",
        "x'4142'": "b BLOB COLLATE RTRIM UNIQUE, n INT",
        "7": "b INTEGER COLLATE NOCASE UNIQUE, n INT",
        "2.5": "b REAL COLLATE RTRIM, n INT, UNIQUE (b, id)",
        "'d'": "b TEXT COLLATE NOCASE UNIQUE, n INT",
    }
    made = [f"CREATE TABLE made{at} (id INTEGER PRIMARY KEY, {text})" for at, text in enumerate(tables.values())]
    async with world(postgres_url, "; ".join(text.replace("made", "born") for text in made), store=True) as both:
        for text in made:
            await both.same(text)
        for at, value in enumerate(tables):
            for table in (f"born{at}", f"made{at}"):
                key = "id, b" if "UNIQUE (id, b)" in made[at] else "b, id" if "(b, id)" in made[at] else "b"
                for sql in (
                    f"INSERT INTO {table} (b, n) VALUES ({value}, 1)",
                    f"INSERT OR REPLACE INTO {table} (id, n) VALUES (5, 1)",
                    f"INSERT INTO {table} (n) VALUES (1) ON CONFLICT DO UPDATE SET n = 9 RETURNING *",
                    f"REPLACE INTO {table} (n, b) VALUES (5, {value})",
                    f"INSERT INTO {table} (id, b) VALUES (1, {value}) ON CONFLICT ({key}) DO UPDATE SET n = 9",
                    f"INSERT INTO {table} (id, b) SELECT id, b FROM {table} WHERE true ON CONFLICT DO UPDATE SET n = 8",
                    f"UPDATE OR REPLACE {table} SET b = {value} WHERE id = 5",
                    f"SELECT count(*) FROM {table} WHERE b = {value}",
                ):
                    await _both_ways(both, sql, table)
