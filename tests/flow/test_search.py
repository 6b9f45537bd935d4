"""Searching works on whichever store becomes primary: full-text tables, tsvector columns, materialized views."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import asyncpg

from cutover.model.table import Column, Table
from tests.support.postgres import SHADOW as POSTGRES_SHADOW
from tests.support.postgres import native, ready
from tests.support.service import until
from tests.support.sqlite_world import PRIMARY, SHADOW, make, one, served

_POSTS = "CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT)"
_FTS = "CREATE VIRTUAL TABLE {} USING fts5(title, content='posts', content_rowid='id')"
_KEPT = (
    "CREATE TRIGGER ai AFTER INSERT ON posts BEGIN INSERT INTO kept(rowid, title) VALUES (new.id, new.title); END",
    "CREATE TRIGGER ad AFTER DELETE ON posts BEGIN"
    " INSERT INTO kept(kept, rowid, title) VALUES ('delete', old.id, old.title); END",
    "CREATE TRIGGER au AFTER UPDATE ON posts BEGIN"
    " INSERT INTO kept(kept, rowid, title) VALUES ('delete', old.id, old.title);"
    " INSERT INTO kept(rowid, title) VALUES (new.id, new.title); END",
)


def found(path: str, table: str, word: str) -> list[int]:
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute(f"SELECT rowid FROM {table} WHERE {table} MATCH ? ORDER BY 1", (word,))]


async def test_full_text_triggers_go_on_while_sqlite_is_the_shadow(sqlite_path: str) -> None:
    counting = "CREATE TRIGGER counting AFTER INSERT ON posts BEGIN UPDATE posts SET title = 'changed'; END"
    make(sqlite_path, _POSTS, _FTS.format("kept"), *_KEPT, counting)
    async with served(sqlite_path, SHADOW) as (store, tables):
        async with store.applier(0, 1, 1) as applier:
            await applier.apply(tables["posts"], [(1, "red fox"), (2, "blue whale")], [])
            await applier.apply(tables["posts"], [(2, "blue fox")], [(1,)])
        assert found(sqlite_path, "kept", "fox") == [2]
        assert found(sqlite_path, "kept", "red OR whale") == []
        make(sqlite_path, "INSERT INTO kept(kept) VALUES ('integrity-check')")
        assert one(sqlite_path, "SELECT group_concat(name) FROM _cutover_suspended") == "counting"
        await store.prepare("s")
        await store.receive(PRIMARY.but(epoch=2), "s", 60)
        await until(lambda: one(sqlite_path, "SELECT count(*) FROM _cutover_rebuild") == 0, "nothing left to rebuild")
        assert one(sqlite_path, "SELECT count(*) FROM sqlite_master WHERE name = 'counting'") == 1


async def test_a_full_text_table_that_nothing_kept_is_built_again_after_a_demotion(sqlite_path: str) -> None:
    make(sqlite_path, _POSTS, _FTS.format("stale"), "INSERT INTO posts VALUES (1, 'red fox')")
    make(sqlite_path, "INSERT INTO stale(stale) VALUES ('rebuild')")
    async with served(sqlite_path, SHADOW) as (store, tables):
        async with store.applier(0, 1, 1) as applier:
            await applier.apply(tables["posts"], [(2, "blue whale")], [(1,)])
        assert found(sqlite_path, "stale", "whale") == []
        await store.prepare("s")
        await store.receive(PRIMARY.but(epoch=2), "s", 60)
        await until(lambda: found(sqlite_path, "stale", "whale") == [2], "the full-text table to be built again")
        assert found(sqlite_path, "stale", "fox") == []


_ARTICLES = Table(
    "articles",
    "public",
    "articles",
    (Column("id", "INTEGER", "INTEGER", "id", "bigint"), Column("title", "TEXT", "TEXT", "title", "text")),
    ("id",),
)
_DDL = (
    "CREATE TABLE articles (id bigint PRIMARY KEY, title text, built tsvector, made tsvector)",
    "CREATE TRIGGER built BEFORE INSERT OR UPDATE ON articles FOR EACH ROW"
    " EXECUTE FUNCTION tsvector_update_trigger(built, 'pg_catalog.english', title)",
    """CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS
       $$BEGIN NEW.made := to_tsvector('english', coalesce(NEW.title, '')); RETURN NEW; END$$""",
    "CREATE TRIGGER made BEFORE INSERT OR UPDATE ON articles FOR EACH ROW EXECUTE FUNCTION fill()",
    """CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
       $$BEGIN NEW.title := upper(NEW.title); RETURN NEW; END$$""",
    "CREATE TRIGGER shouting BEFORE INSERT OR UPDATE ON articles FOR EACH ROW EXECUTE FUNCTION shout()",
    "CREATE VIEW titles AS SELECT title FROM articles",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM titles",
)
_TRIGGERS = """
SELECT tgname, tgenabled FROM pg_trigger
WHERE tgrelid = 'articles'::regclass AND tgname !~ 'cutover' ORDER BY 1"""
_FOUND = "SELECT id FROM articles WHERE built @@ to_tsquery('fox') AND made @@ to_tsquery('fox') ORDER BY 1"


async def _numbers(app: asyncpg.Connection, sql: str) -> list[int]:
    return [row[0] for row in await app.fetch(sql)]


async def test_search_columns_are_filled_and_views_refreshed_on_postgres(postgres_url: str) -> None:
    async with (
        ready(postgres_url, POSTGRES_SHADOW, ddl=_DDL, tables=(_ARTICLES,)) as store,
        native(postgres_url) as app,
    ):
        standing = await app.fetch(_TRIGGERS)
        async with store.applier(1, 1, 1) as applier:
            await applier.replace_range(_ARTICLES, None, None, [(1, "red fox"), (2, "blue whale")])
            await applier.apply(_ARTICLES, [(2, "two foxes")], [])
        assert await _numbers(app, _FOUND) == [1, 2]
        assert await app.fetchval("SELECT string_agg(title, ',' ORDER BY id) FROM articles") == "red fox,two foxes"
        assert await store.check_capture() == []
        await store.prepare("s")
        await store.receive(POSTGRES_SHADOW.but(primary="postgres", epoch=2), "s", 60)

        async def refreshed() -> bool:
            return await _numbers(app, "SELECT n FROM counted") == [2]

        await until(refreshed, "the view to be refreshed")
        await app.execute("INSERT INTO articles VALUES (3, 'third fox')")
        assert await _numbers(app, _FOUND) == [1, 2, 3]
        assert await app.fetchval("SELECT title FROM articles WHERE id = 3") == "THIRD FOX"
        after = await app.fetch(_TRIGGERS)
        assert [row["tgname"] for row in after] == [row["tgname"] for row in standing]
        assert {row["tgenabled"] for row in after} == {b"O"}
        assert await app.fetchval("SELECT count(*) FROM cutover.suspended") == 0
