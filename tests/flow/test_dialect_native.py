"""Columns of native types that the application's own migrations made, as its statements see them: SQLite's answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from cutover.settings import Settings
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE visits (id INTEGER PRIMARY KEY, at DATETIME, day DATE, token CHAR(36), mood TEXT, seen INTEGER);
"""
TARGET = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE visits (id bigint PRIMARY KEY, at timestamp, day date, token uuid, mood mood, seen timestamptz);
"""
TOKEN = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
DATA = (
    f"INSERT INTO visits VALUES (1, '2024-01-02 03:04:05', '2024-01-02', '{TOKEN}', 'ok', 1700000000),"
    " (2, NULL, NULL, NULL, NULL, NULL),"
    f" (3, '2023-12-31 23:59:59.500000', '2023-12-31', 'b{TOKEN[1:]}', 'sad', 1600000000)",
)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, target=TARGET, data=DATA) as made:
        yield made


async def test_what_is_no_value_of_the_column_is_unequal_to_all_of_them(both: World) -> None:
    for column, given in (
        ("at", ("2024-01-02 03:04:05", "2024-01-02", "2024-01-02T03:04:05", "", 5, None)),
        ("day", ("2024-01-02", "2024", "2024-01-02 00:00:00", None)),
        ("token", (TOKEN, TOKEN.upper(), TOKEN.replace("-", ""), 5, None)),
        ("mood", ("ok", "OK", "none", None)),
        ("seen", (1700000000, "1700000000", 1.5, "x", None)),
    ):
        for value in given:
            await both.same(f"SELECT id, {column} = ?, {column} <> ?1, {column} IN (?1) FROM visits ORDER BY id", value)
            await both.same(f"SELECT id FROM visits WHERE NOT {column} = ? ORDER BY id", value)
            await both.same(f"SELECT id FROM visits WHERE {column} NOT IN (?, ?) ORDER BY id", value, given[0])
            await both.same(f"SELECT id FROM visits WHERE {column} IN (?, ?) OR id = 2 ORDER BY id", value, given[1])
            await both.same(f"SELECT sum({column} = ?), count(*) FILTER (WHERE {column} = ?1) FROM visits", value)
    for written in ("'2024-01-02'", "5", "NULL", "'2024-01-02 03:04:05'"):
        await both.same(f"SELECT id, at = {written}, NOT at = {written}, at NOT IN ({written}) FROM visits ORDER BY id")


KINDS = """
CREATE TABLE things (id INTEGER PRIMARY KEY, doc JSON, note TEXT, rate REAL, few INTEGER, at TIME, token TEXT, raw BLOB,
                     seen INTEGER, said TEXT, price DECIMAL(8, 2), mood TEXT, code CHAR(4), done BOOLEAN);
"""
KINDS_TARGET = """
CREATE TYPE feeling AS ENUM ('sad', 'ok');
CREATE TABLE things (id bigint PRIMARY KEY, doc jsonb, note json, rate real, few real, at time, token uuid, raw uuid,
                     seen timestamptz, said boolean, price numeric(8, 2), mood feeling, code char(4), done boolean);
"""
WORDS = Settings.model_validate({"tables": {"things": {"columns": {"said": {"format": "no|yes"}}}}})


@pytest.fixture
async def things(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, KINDS, target=KINDS_TARGET, settings=WORDS) as made:
        row = "INSERT INTO things VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        for given in (
            (
                1,
                '{"a":[1,"x"]}',
                '{"k": 1}',
                1.5,
                3,
                "10:00:00",
                TOKEN,
                b"\x01" * 16,
                1700000000,
                "yes",
                2.5,
                "ok",
                "ab",
                1,
            ),
            (
                2,
                "7",
                "[]",
                -2.0,
                4,
                "23:59:59.250000",
                f"b{TOKEN[1:]}",
                b"\x02" * 16,
                1600000000,
                "no",
                7,
                "sad",
                "c",
                0,
            ),
            (3, *[None] * 13),
            (4, '"7"', '{"k": 1}', 0.25, None, "10:00:00", TOKEN, None, 1700000000, "yes", 2.5, "ok", "ab", 1),
        ):
            await made.same(row, *given)
        yield made


COLUMNS = ["doc", "note", "rate", "few", "at", "token", "raw", "seen", "said", "price", "mood", "code", "done"]


async def test_every_kind_in_expressions(things: World) -> None:
    for column in COLUMNS:
        for sql in (
            "SELECT {0}, typeof({0}), coalesce({0}, 'none'), CASE WHEN id > 1 THEN {0} END FROM things ORDER BY id",
            "SELECT id FROM things ORDER BY {0} DESC, id",
            "SELECT {0}, count(*), max(id) FROM things GROUP BY {0} ORDER BY {0}",
            "SELECT DISTINCT {0} FROM things ORDER BY 1",
            "SELECT min({0}), max({0}), count(DISTINCT {0}) FROM things",
            "SELECT a.id, b.id FROM things a JOIN things b ON a.{0} = b.{0} ORDER BY 1, 2",
            "SELECT id FROM things WHERE {0} IN (SELECT {0} FROM things WHERE id = 1) ORDER BY id",
            "SELECT id, rank() OVER (ORDER BY {0}), lag({0}) OVER (ORDER BY id) FROM things ORDER BY id",
            "SELECT v FROM (SELECT id, {0} AS v FROM things) WHERE v IS NOT NULL ORDER BY id",
            "UPDATE things SET {0} = coalesce({0}, (SELECT {0} FROM things WHERE id = 1)) WHERE id = 3 RETURNING {0}",
            "UPDATE things SET {0} = CASE id WHEN 3 THEN NULL ELSE {0} END RETURNING id, {0}",
            "INSERT INTO things (id, {0}) SELECT id + 10, {0} FROM things WHERE id < 3 RETURNING id, {0}",
            "DELETE FROM things WHERE id > 10",
        ):
            await things.same(sql.format(column))


async def test_every_kind_with_arguments(things: World) -> None:
    for column, given in (
        ("doc", ('{"a":[1,"x"]}', 7, "7", '"7"', None)),
        ("note", ('{"k": 1}', '{"k":1}', None)),
        ("rate", (1.5, -2, "0.25", None)),
        ("few", (3, 3.0, "4", 0.5)),
        ("at", ("10:00:00", "23", None)),
        ("raw", (b"\x01" * 16, "x", None)),
        ("seen", (1700000000, 1600000000.0, "1700000000", None)),
        ("said", ("yes", "no", "true", 1, None)),
        ("price", (2.5, 7, "2.50", "x", None)),
        ("done", (1, 0.0, "1", "yes", None)),
    ):
        for value in given:
            await things.same(f"SELECT id, {column} = ?, {column} < ?1, ?1 <= {column} FROM things ORDER BY id", value)
            await things.same(f"SELECT id FROM things WHERE {column} IN (?, 'z') OR {column} > ?1 ORDER BY id", value)
            await things.same(f"SELECT coalesce({column}, ?), nullif({column}, ?1) FROM things ORDER BY id", value)
        for sql in (
            "UPDATE things SET {0} = CASE id WHEN 1 THEN ? ELSE {0} END WHERE id <> 2 RETURNING id, {0}",
            "INSERT INTO things (id, {0}) SELECT 20, ? RETURNING {0}",
            "DELETE FROM things WHERE id = 20 AND {0} = ? RETURNING {0}",
        ):
            await things.same(sql.format(column), given[0])
    await things.same("UPDATE things SET price = CASE id WHEN ? THEN ? ELSE ? END RETURNING price", 1, "7.25", "3.50")
    await things.same("UPDATE things SET done = CASE id WHEN ? THEN ? ELSE ? END RETURNING done", 1.0, 0.0, 1.0)


async def test_computed_values_that_do_not_fit(things: World) -> None:
    for column, value in (
        *(("rate", 0.1234567891), ("at", "10:00:00.1234567"), ("token", "none"), ("seen", 1.5), ("price", "1.005")),
        *(("price", "x"), ("mood", "none"), ("code", "ab "), ("done", 2.0), ("seen", 1 << 60), ("said", 5)),
    ):
        with pytest.raises(StatementError):
            await things.on_postgres(f"UPDATE things SET {column} = CASE id WHEN 1 THEN ? ELSE {column} END", value)
    await things.same("SELECT * FROM things ORDER BY id")


async def test_arguments_that_a_column_of_dates_makes_numbers_of(both: World) -> None:
    for given in ("2024", " 7 ", "2024-01-01", ""):
        await both.same("SELECT id, at > ?, at <= ?1, ?1 < at, at BETWEEN ?1 AND 'x' FROM visits ORDER BY id", given)
        await both.same("SELECT id FROM visits WHERE (at, id) > (?, 1) ORDER BY id", given)


async def test_the_first_value_says_how_its_column_is_spelled(postgres_url: str) -> None:
    schema = (
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, a DATETIME, b DATETIME, c DATETIME, d DATETIME, e DATETIME,"
        " u CHAR(36), doc TEXT, said TEXT)"
    )
    target = (
        "CREATE TABLE notes (id bigint PRIMARY KEY, a timestamp, b timestamptz, c timestamptz, d timestamp,"
        " e timestamp, u uuid, doc jsonb, said boolean)"
    )
    async with world(postgres_url, schema, target=target) as both:
        first = ("2024-01-02 03:04:05.000000", "2024-01-02 03:04:05.120 +00:00", 1700000000123,
                 "2024-01-02 03:04:05.500000", "2024-01-02T03:04:05Z", TOKEN.replace("-", ""),
                 '{"a": 1, "b": [1, "x:, y"]}', "yes")  # fmt: skip
        insert = "INSERT INTO notes (a, b, c, d, e, u, doc, said) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *"
        await both.same(insert, *first)
        assert sorted(column for _, column in both.executor.learned()) == ["a", "b", "c", "doc", "e", "said", "u"]
        await both.same(
            "INSERT INTO notes VALUES (7, '2024-01-02 03:04:05.250000', '2024-01-02 03:04:05.000 +00:00',"
            " 1700000000000, '2024-01-02 03:04:05', '2024-01-02T03:04:06Z', NULL, '{\"a\": 2}', 'no')"
        )
        await both.same("SELECT * FROM notes ORDER BY id")
        await both.same(
            "SELECT id FROM notes WHERE a = ? AND b = ? AND c = ? AND d = ? AND e = ? AND u = ? AND doc = ?"
            " AND said = ?",
            *first,
        )
        await both.same("SELECT a || b, c + 1, max(d), length(doc), doc LIKE '%\"a\": 1%' FROM notes ORDER BY id")


async def test_a_literal_says_it_too_and_schema_changes_keep_it(both: World) -> None:
    await both.same("DELETE FROM visits")
    both.executor.dialect.learned.clear()
    await both.same("INSERT INTO visits (id, at) VALUES (1, '2024-01-02T03:04:05.000Z')")
    both.executor.dialect.forget()
    await both.same("INSERT INTO visits (id, at) VALUES (2, ?) RETURNING at", "2024-01-02T03:04:05.120Z")
    await both.same("SELECT id, at FROM visits WHERE at >= '2024-01-02T03:04:05.000Z' ORDER BY at DESC")
    many = ", ".join(f"({key}, '2024-01-02', '2024-01-02 03:04:{key:02}.000 +00:00')" for key in range(10, 30))
    both.on_sqlite("UPDATE visits SET at = NULL")
    await both.on_postgres("UPDATE visits SET at = NULL")
    both.executor.dialect.learned.clear()
    both.executor.dialect.forget()
    await both.same(f"INSERT INTO visits (id, day, at) VALUES {many}")  # long enough for a thread of its own
    await both.same("SELECT * FROM visits ORDER BY id")


async def test_a_later_value_does_not_change_how_the_others_are_spelled(things: World) -> None:
    await things.on_postgres("UPDATE things SET token = ?, done = ? WHERE id = 2", TOKEN.upper(), 1)
    await things.on_postgres("UPDATE things SET doc = ?, at = ? WHERE id = 3", '{"a": [2]}', "07:00")
    found = await things.on_postgres("SELECT token, doc, at FROM things WHERE id = 1")
    assert found.rows == [(TOKEN, '{"a":[1,"x"]}', "10:00:00")]
    assert not things.executor.learned_otherwise


async def test_domains_are_what_they_are_based_on(postgres_url: str) -> None:
    schema = "CREATE TABLE people (id INTEGER PRIMARY KEY, mail TEXT, age INTEGER, doc TEXT, on_ BOOLEAN, code TEXT)"
    target = """
        CREATE DOMAIN mail AS text CHECK (value LIKE '%@%'); CREATE DOMAIN age AS integer CHECK (value > 0);
        CREATE DOMAIN doc AS jsonb; CREATE DOMAIN flag AS boolean; CREATE DOMAIN code AS varchar(3);
        CREATE TABLE people (id bigint PRIMARY KEY, mail mail, age age, doc doc, on_ flag, code code);
    """
    async with world(postgres_url, schema, target=target) as both:
        await both.same("INSERT INTO people VALUES (1, 'a@x', 5, '{\"k\":1}', 1, 'abc'), (2, 'b@x', 6, '[]', 0, NULL)")
        for sql in (
            "SELECT mail || '!', upper(mail), age + 1, age * 2.5, on_ + 1, NOT on_, code || 1 FROM people ORDER BY id",
            "SELECT json_extract(doc, '$.k'), length(doc) FROM people ORDER BY id",
            "SELECT max(mail), sum(age), count(DISTINCT on_) FROM people WHERE on_ OR mail LIKE 'B%'",
            "SELECT age, count(*) FROM people GROUP BY age ORDER BY age DESC",
            "UPDATE people SET mail = lower(mail) || 'z', age = age + 1, on_ = 1 - on_ RETURNING *",
            "UPDATE people SET code = substr(code, 2), age = coalesce(age, 1) RETURNING code",
        ):
            await both.same(sql)
        for sql in ("mail = upper(id)", "age = age - 10", "on_ = on_ + 2", "code = mail || code"):
            with pytest.raises(StatementError):
                await both.on_postgres(f"UPDATE people SET {sql} WHERE id = 1")
        await both.same("SELECT * FROM people ORDER BY id")


async def test_what_a_narrower_type_cannot_hold_is_told_by_the_type(postgres_url: str) -> None:
    schema = "CREATE TABLE stock (id INTEGER PRIMARY KEY, n INTEGER, small INTEGER, price DECIMAL(5,2))"
    target = "CREATE TABLE stock (id bigint PRIMARY KEY, n integer, small smallint, price numeric(5,2))"
    async with world(postgres_url, schema, target=target, data=("INSERT INTO stock VALUES (1, 5, 5, 5)",)) as both:
        for sql, kind in (
            ("n = n + 2147483647", "integer"),
            ("n = 3000000000", "integer"),
            ("small = n * 32767", "smallint"),
            ("price = price * 1000", "numeric"),
        ):
            with pytest.raises(StatementError, match=f"type {kind}") as told:
                await both.on_postgres(f"UPDATE stock SET {sql}")
            assert told.value.code == "SQLITE_MISMATCH"


async def test_rows_leave_a_window_in_the_order_of_texts(both: World) -> None:
    for column in ("mood", "token", "at", "seen"):
        sql = f"SELECT id, row_number() OVER (PARTITION BY {column} ORDER BY id) FROM visits"
        await both.same(sql, ordered=True)


SHIFTS = """
CREATE TABLE shifts (id INTEGER PRIMARY KEY, wake TIME, span BIGINT, gap DATETIME, said TEXT, code CHAR(4), doc JSON,
                     note TEXT, token CHAR(32));
CREATE INDEX shifts_token ON shifts (token);
"""
SHIFTS_TARGET = """
CREATE TABLE shifts (id bigint PRIMARY KEY, wake time, span interval, gap interval, said interval, code char(4),
                     doc json, note jsonb, token uuid);
CREATE INDEX shifts_token ON shifts (token);
"""


@pytest.fixture
async def shifts(postgres_url: str) -> AsyncIterator[World]:
    token = TOKEN.replace("-", "")
    async with world(postgres_url, SHIFTS, target=SHIFTS_TARGET) as made:
        for row in (
            ("2000-01-01 10:00:00.000000", 5, "1970-01-02 01:00:00.000000", "1 day 02:00:00", "10", 7, "[]", token),
            (*[None] * 5, None, None, f"b{token[1:]}"),
            ("2000-01-01 00:00:00.250000", -90000000000, "1970-01-01 00:00:01.500000", "-2 days", "ab", "[7.0]", '"s"',
             token),
        ):  # fmt: skip
            await made.same("INSERT INTO shifts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", *row)
        yield made


async def test_times_of_another_day_and_lengths_of_time(shifts: World) -> None:
    await shifts.all_same(
        sql.format(column)
        for column in ("wake", "span", "gap", "said")
        for sql in (
            "SELECT {0}, typeof({0}), {0} || '!', coalesce({0}, 0), {0} > '1', {0} = 5 FROM shifts ORDER BY id",
            "SELECT {0}, count(*) FROM shifts GROUP BY {0} ORDER BY {0} DESC",
            "SELECT min({0}), max({0}), count(DISTINCT {0}) FROM shifts",
            "SELECT a.id, b.id FROM shifts a JOIN shifts b ON a.{0} = b.{0} OR a.{0} < b.gap ORDER BY 1, 2",
        )
    )
    await shifts.same("SELECT span + 1, span / 2.0, sum(span) OVER (ORDER BY id) FROM shifts ORDER BY span")
    await shifts.same("SELECT id FROM shifts WHERE wake = ? OR span = ?", "2000-01-01 10:00:00.000000", -90000000000)
    for sql, value in (("wake = ?", "2001-01-01 10:00:00"), ("span = ?", "1970-01-01 00:00:01"), ("gap = ?", 5)):
        with pytest.raises(StatementError) as told:
            await shifts.on_postgres(f"UPDATE shifts SET {sql}", value)
        assert told.value.code == "SQLITE_MISMATCH"
    await shifts.same("SELECT * FROM shifts ORDER BY id")
    await shifts.pool.execute("UPDATE shifts SET span = '1 mon', wake = '24:00' WHERE id = 1")
    for column in ("span", "wake"):
        with pytest.raises(StatementError):
            await shifts.on_postgres(f"SELECT {column} || '' FROM shifts")


async def test_what_affinity_makes_of_values_beside_native_types(shifts: World) -> None:
    await shifts.same("SELECT code = wake, code < wake, wake > code, CAST(id AS TEXT) < wake FROM shifts ORDER BY id")
    await shifts.same("UPDATE shifts SET doc = CASE id WHEN 1 THEN 7.0 WHEN 2 THEN '5.0' ELSE doc END RETURNING doc")
    await shifts.same("SELECT doc, doc + 1, typeof(doc) FROM shifts ORDER BY id")
    await shifts.same("UPDATE shifts SET note = json_array(id, code) WHERE id <> 2 RETURNING id")
    for sql in (
        "code = CASE id WHEN 1 THEN x'6162' ELSE code END",
        "note = '{\"a\":1,' || '\"a\":2}'",
        "note = code || 'x'",
        "doc = '[' || code",
    ):
        with pytest.raises(StatementError, match="cannot be stored") as told:
            await shifts.on_postgres(f"UPDATE shifts SET {sql} WHERE id <> 2")
        assert told.value.code == "SQLITE_MISMATCH"


async def test_groups_that_come_by_an_index_of_a_type_without_min(shifts: World) -> None:
    await shifts.same("WITH q AS (SELECT token AS v FROM shifts) SELECT v, count(*) FROM q GROUP BY v", ordered=True)
    await shifts.same("SELECT substr(token, 1, 0), count(*) FROM shifts WHERE token > '' GROUP BY 1", ordered=True)
