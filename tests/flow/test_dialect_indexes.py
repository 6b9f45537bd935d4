"""Postgres uses an index for a translated statement where SQLite uses one for the statement itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE p (
  id INTEGER PRIMARY KEY, n INTEGER, m INTEGER NOT NULL, s TEXT NOT NULL, c TEXT COLLATE NOCASE, r REAL, j TEXT);
CREATE TABLE q (a INTEGER NOT NULL, b TEXT NOT NULL, v INTEGER, PRIMARY KEY (a, b));
CREATE INDEX p_n ON p (n);
CREATE INDEX p_m_s ON p (m, s);
CREATE INDEX p_s ON p (s);
CREATE UNIQUE INDEX p_c ON p (c);
CREATE INDEX p_r ON p (r);
"""

STATEMENTS = [
    "SELECT * FROM p WHERE id = 5",
    "SELECT * FROM p WHERE id = ?",
    "SELECT * FROM p WHERE id IN (1, 2, 3)",
    "SELECT * FROM p WHERE id BETWEEN 5 AND 9",
    "SELECT * FROM p WHERE id > 9990",
    "SELECT * FROM p WHERE n = 5",
    "SELECT * FROM p WHERE n IS 5",
    "SELECT * FROM p WHERE n IS NULL",
    "SELECT * FROM p WHERE n = '5'",
    "SELECT * FROM p WHERE n = ? OR n = ?",
    "SELECT * FROM p WHERE n IN (?, ?)",
    "SELECT * FROM p WHERE m = 5 AND s > 'x'",
    "SELECT * FROM p WHERE m = 5 ORDER BY s LIMIT 3",
    "SELECT * FROM p WHERE s = 'abc'",
    "SELECT * FROM p WHERE s >= 'abc12' AND s < 'abc13'",
    "SELECT * FROM p WHERE s = 5",
    "SELECT * FROM p WHERE c = 'ABC'",
    "SELECT * FROM p WHERE c LIKE 'abc12%'",
    "SELECT * FROM p WHERE s GLOB 'abc12*'",
    "SELECT * FROM p WHERE r = 5",
    "SELECT * FROM p WHERE r > 9990.5",
    "SELECT * FROM p ORDER BY id LIMIT 5",
    "SELECT * FROM p ORDER BY id DESC LIMIT 5",
    "SELECT * FROM p ORDER BY n LIMIT 5",
    "SELECT * FROM p ORDER BY n DESC LIMIT 5",
    "SELECT * FROM p ORDER BY s DESC LIMIT 5",
    "SELECT * FROM p ORDER BY m, s LIMIT 5",
    "SELECT * FROM p ORDER BY c LIMIT 5",
    "SELECT * FROM p LIMIT 5",
    "SELECT max(id) FROM p",
    "SELECT min(n) FROM p",
    "SELECT max(s) FROM p",
    "SELECT q.v FROM q WHERE a = 5 AND b = 'x'",
    "SELECT q.v FROM q WHERE a = 5",
    "SELECT * FROM q LIMIT 5",
    "SELECT * FROM q WHERE rowid = 5",
    "SELECT * FROM q ORDER BY rowid DESC LIMIT 5",
    "SELECT max(rowid) FROM q",
    "SELECT p.s FROM q JOIN p ON p.id = q.a WHERE q.a = 5",
    "SELECT p.s FROM q JOIN p ON p.n = q.a WHERE q.a = 5 AND q.b = 'b'",
    "SELECT * FROM p WHERE id IN (SELECT a FROM q WHERE a = 5)",
    "SELECT * FROM p WHERE EXISTS (SELECT 1 FROM q WHERE q.a = p.id) AND p.id = 5",
    "SELECT * FROM p WHERE n = 5 AND r > 1",
    "SELECT * FROM p WHERE (m, s) > (5, 'x') ORDER BY m, s LIMIT 5",
    "SELECT * FROM p WHERE id > 5 ORDER BY id LIMIT 5",
    "SELECT * FROM p WHERE n > 5 ORDER BY n LIMIT 5",
    "SELECT count(*) FROM p WHERE n = 5",
    "SELECT DISTINCT n FROM p WHERE n < 3",
    "SELECT n, count(*) FROM p WHERE n < 10 GROUP BY n",
    "SELECT * FROM (SELECT * FROM p) AS x WHERE x.id = 5",
    "SELECT id FROM p WHERE id = 5 UNION ALL SELECT a FROM q WHERE a = 5",
    "UPDATE p SET r = 1 WHERE n = 5",
    "DELETE FROM q WHERE a = 5 AND b = 'x'",
]


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA) as made:
        rows = [
            (n, (n * 7919) % 5000, (n * 31) % 100, f"abc{n}", f"Abc{n:05}", float(n), None) for n in range(1, 10001)
        ]
        others = [(n % 5000, f"b{n}", n) for n in range(10000)]
        made.db.executemany("INSERT INTO p VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        made.db.executemany("INSERT INTO q VALUES (?, ?, ?)", others)
        async with made.pool.acquire() as connection:
            await connection.copy_records_to_table("p", records=rows)
            await connection.copy_records_to_table("q", records=others, columns=("a", "b", "v"))
            await connection.execute("ANALYZE p, q")
        yield made


async def test_indexes_serve_what_they_serve_on_sqlite(both: World) -> None:
    failures = []
    for sql in STATEMENTS:
        asked = both.db.execute(f"EXPLAIN QUERY PLAN {sql}", (1,) * sql.count("?")).fetchall()
        there = [line[3] for line in asked]
        plan = await both.executor.plan(sql)
        assert plan, sql
        searched = any("INDEX" in line or "PRIMARY KEY" in line for line in there)
        if searched and any("Seq Scan" in line for line in plan):
            failures.append(f"{sql}\n    sqlite {there}\n    postgres {plan}")
        if "LIMIT" in sql and any("Sort" in line and "Incremental" not in line for line in plan):
            failures.append(f"{sql}\n    sorted: {plan}")
    assert not failures, "\n".join(failures)


async def test_is_beside_an_argument(both: World) -> None:
    await both.same("INSERT INTO p (id, m, s) VALUES (20001, 1, 'none')")
    for column in ("n", "c", "r", "s"):
        for given in (5, "abc5", "Abc00005", "5", 5.0, None):
            await both.same(f"SELECT id FROM p WHERE {column} IS ? AND id > 0", given)
            await both.same(f"SELECT count(*) FROM p WHERE ? IS {column} OR id = 3", given)
            await both.same(f"SELECT count(*) FROM p WHERE NOT {column} IS ?", given)
    for column, given in (("n", 5), ("s", "abc5"), ("c", "Abc00005")):
        command = both.executor.dialect.translate(f"SELECT id FROM p WHERE {column} IS ?", [given]).command
        plan = [row[0] for row in await both.pool.fetch(f"EXPLAIN {command.sql}", given)]
        assert not any("Seq Scan" in line for line in plan), plan


async def test_prefixes_find_the_same_rows(both: World) -> None:
    for sql in (
        "SELECT id FROM p WHERE c LIKE 'ABC0001%'",
        "SELECT id FROM p WHERE c LIKE 'abc_0001%'",
        "SELECT count(*) FROM p WHERE c NOT LIKE 'aBc0001%'",
        "SELECT id FROM p WHERE s GLOB 'abc999*'",
        "SELECT id FROM p WHERE s GLOB 'ABC999*'",
        "SELECT id FROM p WHERE n IS 5 OR n IS ?",
    ):
        await both.same(sql, *(7,) * sql.count("?"))


async def test_a_collation_of_what_is_no_text_says_nothing(postgres_url: str) -> None:
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, c TEXT)") as both:
        await both.same("CREATE INDEX by_length ON t (length(c) COLLATE NOCASE, a COLLATE RTRIM)")
        await both.same("CREATE UNIQUE INDEX by_amount ON t (abs(a) COLLATE NOCASE)")
        await both.same("CREATE UNIQUE INDEX by_text ON t (substr(c || 'x', 1) COLLATE NOCASE)")
        await both.same("INSERT INTO t VALUES (1, 1, 'a'), (2, -2, 'b')")
        await both.same_error("INSERT INTO t VALUES (3, -1, 'c')")
        await both.same_error("INSERT INTO t VALUES (3, 3, 'A')")


async def test_rows_that_a_unique_index_tells_apart_are_sorted_by_nothing_else(both: World) -> None:
    for sql in (
        "SELECT * FROM q WHERE a = 5 AND b = 'b5'",
        "SELECT * FROM q WHERE a = 5",
        "SELECT * FROM p WHERE id = 5",
    ):
        await both.same(sql, ordered=True)
        command = both.executor.dialect.translate(sql, []).command
        order = command.sql.partition("ORDER BY ")[2]
        assert "_rowid_" not in order, command.sql
    plan = await both.executor.plan("SELECT * FROM q WHERE a = 5 AND b = 'b5'")
    assert not any("Sort" in line for line in plan), plan
