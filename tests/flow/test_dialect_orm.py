"""Shapes of statements that ORMs send, with their arguments."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from cutover.settings import Settings
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE, age INTEGER, score REAL, data TEXT,
                    active BOOLEAN NOT NULL DEFAULT 1, boss_id INTEGER REFERENCES users (id));
CREATE TABLE posts (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), title TEXT NOT NULL,
                    views INTEGER NOT NULL DEFAULT 0, price DECIMAL);
CREATE INDEX posts_user ON posts (user_id, price DESC);
"""
DATA = (
    "INSERT INTO users (name, age, score, data, active, boss_id) VALUES"
    """ ('ann', 31, 1.5, '{"k":1,"l":[1,2]}', 1, NULL), ('Bob', NULL, 2.0, NULL, 0, 1),"""
    """ ('eve', 25, NULL, '{"k":"x"}', 1, 1), ('tom', 25, 0.25, '[]', 1, 2)""",
    "INSERT INTO posts (user_id, title, views, price) VALUES (1, 'a', 3, 1.25), (2, 'b', 0, 2), (1, 'c', 7, 3.5),"
    " (3, 'd', 1, NULL), (1, 'e', 3, 1.25)",
)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


async def test_frames_whose_ends_are_arguments(both: World) -> None:
    for kind in ("ROWS", "GROUPS", "RANGE"):
        sql = f"SELECT id, sum(views) OVER (ORDER BY id {kind} BETWEEN ? PRECEDING AND ? FOLLOWING) FROM posts"
        await both.same(f"{sql} ORDER BY id", 1, 1)
        await both.same_error(f"{sql} ORDER BY id", -1, 1)
        await both.same_error(f"{sql} ORDER BY id", 1, -1)
    sql = "SELECT id, count(*) OVER (ORDER BY id ROWS ? PRECEDING) FROM posts ORDER BY id"
    for fine in (2.0, "2", 0):
        await both.same(sql, fine)
    for wrong in (2.5, None, "x", b"1"):
        await both.same_error(sql, wrong)
    await both.same("SELECT sum(views) OVER (ORDER BY id ROWS BETWEEN 1 + 1 PRECEDING AND 0 FOLLOWING) FROM posts")
    await both.same(
        "SELECT id, sum(views) OVER (ORDER BY score RANGE BETWEEN ? PRECEDING AND 0.5 FOLLOWING)"
        " FROM (SELECT users.id, score, views FROM users JOIN posts ON user_id = users.id) ORDER BY id, 2",
        1,
    )


async def test_a_document_that_is_replaced_whole(both: World) -> None:
    for item in ("json(?)", "json_patch(data, ?)", "json_array(?, 1)"):
        for path in ("'$'", "?1"):
            args = ('{"z": [1, null]}',) if path == "'$'" else ("$", '{"z": [1, null]}')
            await both.same(f"SELECT id, json_set(data, {path}, {item}, '$.z', 2) FROM users ORDER BY id", *args)
            await both.same(f"SELECT id, json_replace(data, '$.k', 5, {path}, {item}) FROM users ORDER BY id", *args)
    await both.same("SELECT json_set(data, '$', json('[1]'), '$', json('{}')) FROM users")
    await both.same("UPDATE users SET data = json_set(data, ?, json_patch(data, ?)) WHERE id = ?", "$", '{"z": 1}', 1)
    await both.same("SELECT data FROM users ORDER BY id")
    for sql, args in (
        ("SELECT json_set(data, '$', 1) FROM users", ()),
        ("SELECT json_set(data, ?, ?) FROM users", ("$", "x")),
    ):
        with pytest.raises(StatementError, match="root"):
            await both.on_postgres(sql, *args)


async def test_decimals_through_with(both: World) -> None:
    await both.same(
        "WITH w AS (SELECT id, price, views FROM posts WHERE views > ?) SELECT price, id FROM w ORDER BY id", 0
    )
    await both.same("WITH w AS (SELECT * FROM posts) SELECT * FROM w WHERE price > ? ORDER BY id", 1.5)
    await both.same(
        "WITH w (p, n) AS (SELECT price, views FROM posts) SELECT sum(p), max(p), p + n FROM w WHERE p = ?", 2
    )
    await both.same(
        "WITH w AS (SELECT * FROM posts) SELECT a.price, b.price FROM w a JOIN w b USING (price) ORDER BY 1"
    )
    await both.same(
        "WITH w AS (SELECT price FROM posts) UPDATE posts SET price = (SELECT max(price) FROM w) WHERE id = 2"
    )


async def test_decimals_beside_aggregates(both: World) -> None:
    await both.same("SELECT max(id), price FROM posts")
    await both.same("SELECT user_id, price, price * 2, count(*) FROM posts GROUP BY user_id ORDER BY user_id")
    await both.same("SELECT +price, -price, (price) FROM posts ORDER BY id")
    await both.same("SELECT coalesce(price, ?), ifnull(price, 0), max(price, 1), iif(id > 2, price, id) FROM posts", 0)
    await both.same("SELECT (SELECT price FROM posts p WHERE p.id = posts.id) FROM posts ORDER BY id")
    await both.same("SELECT price FROM posts UNION SELECT price FROM posts ORDER BY 1")
    await both.same("SELECT lag(price) OVER (ORDER BY id), first_value(price) OVER (ORDER BY id DESC) FROM posts")
    await both.same("SELECT a.price FROM posts a FULL JOIN posts b USING (price) ORDER BY a.id, b.id")
    await both.same("SELECT DISTINCT price FROM posts ORDER BY price DESC")
    await both.same("SELECT price FROM posts GROUP BY price ORDER BY price")


async def test_decimals_in_compounds(both: World) -> None:
    arms = "SELECT id, price FROM posts WHERE views > ? {} SELECT id, price FROM posts WHERE user_id = ?"
    for word in ("UNION", "UNION ALL", "EXCEPT", "INTERSECT"):
        await both.same(arms.format(word), 0, 1)
        await both.same(f"SELECT count(*), sum(price) FROM ({arms.format(word)})", 0, 1)
        await both.same(f"SELECT * FROM ({arms.format(word)}) WHERE price > 1.25 ORDER BY 1 LIMIT 2", 0, 1)


async def test_whole_reals_that_were_just_written(both: World) -> None:
    score = "INSERT INTO users (name, score) VALUES (?, ?), (?, ?) RETURNING score, *, score + 0, typeof(score)"
    await both.same(score, "x", 3.0, "y", -140737488355328.0)
    await both.same(score, "v", 1e15, "w", 0.5)
    await both.same("UPDATE users SET score = score * ? WHERE score < ? RETURNING id, score", 2, 100)
    await both.same(
        "INSERT INTO users (name, score) VALUES ('ann', ?) ON CONFLICT (name) DO UPDATE SET score = excluded.score"
        " RETURNING score, name",
        7,
    )
    await both.same("UPDATE users SET name = name || '!', score = NULL WHERE id = 2 RETURNING score")
    await both.same("DELETE FROM users WHERE id > 3 RETURNING score")
    await both.same("SELECT score FROM users ORDER BY id")


async def test_offsets_that_clients_send_as_reals(both: World) -> None:
    sql = "SELECT id, lag(views, ?) OVER w, lead(price, ?, 0) OVER w, nth_value(views, ?) OVER w FROM posts WINDOW w AS"
    await both.same(f"{sql} (ORDER BY id) ORDER BY id LIMIT ?", 1.0, 2.0, 1.0, 4.0)
    with pytest.raises(StatementError, match="offset"):
        await both.on_postgres(f"{sql} (ORDER BY id)", 1.5, 1.0, 1.0)


async def test_keys_of_selected_rows_as_sqlite_gives_them(postgres_url: str) -> None:
    settings = Settings.model_validate({"tables": {"posts": {"keys": "sqlite"}}})
    async with world(postgres_url, SCHEMA, data=DATA, settings=settings) as both:
        copy = (
            "INSERT INTO posts (id, user_id, title) SELECT {}, user_id, title FROM posts WHERE user_id = 1 ORDER BY id"
        )
        await both.same(copy.format("NULL"))
        await both.same(copy.format("id + 100"))
        await both.same("SELECT id, title FROM posts ORDER BY id")
        await both.same_error("INSERT INTO posts (id, user_id, title) SELECT boss_id, id, name FROM users")
        some = "SELECT CASE WHEN id = 2 THEN 900 END, id, name FROM users ORDER BY id"
        await both.same(f"INSERT INTO posts (id, user_id, title) {some}")
        await both.same("SELECT id, title FROM posts ORDER BY id")


async def test_what_sqlite_tells_of_itself(both: World) -> None:
    await both.same("SELECT sqlite_version(), sqlite_source_id(), sqlite_compileoption_used('ENABLE_FTS5')")
    await both.same("SELECT sqlite_version(*), changes( * ), char(*)")  # ActiveRecord's first statement
    await both.same("SELECT sqlite_compileoption_used('NO_SUCH_OPTION') AS used")
    with pytest.raises(StatementError, match="written out"):
        await both.on_postgres("SELECT sqlite_compileoption_used(?)", "ENABLE_FTS5")
