"""Which triggers go on while their store is the shadow."""

from __future__ import annotations

import pytest

from cutover.schema.searching import content_table, fills_only, keeps_search

_HEAD = "CREATE TRIGGER t AFTER UPDATE OF title ON posts WHEN CASE WHEN new.a THEN 1 ELSE 0 END BEGIN "


@pytest.mark.parametrize(
    "body",
    [
        "INSERT INTO posts_fts(rowid, title) VALUES (new.id, new.title);",
        'INSERT OR REPLACE INTO "Posts_FTS" SELECT id, title FROM posts WHERE id = new.id; DELETE FROM [tags_fts];',
        "UPDATE posts_fts SET title = (SELECT max(title) FROM tags_fts) WHERE rowid = old.id;",
        "UPDATE OR IGNORE main.posts_fts SET title = new.title; REPLACE INTO tags_fts VALUES (1, 'END; UPDATE x');",
    ],
)
def test_what_only_keeps_a_search_goes_on(body: str) -> None:
    assert keeps_search(_HEAD + body + " END", "posts", ["posts_fts", "tags_fts"])


@pytest.mark.parametrize(
    "body",
    [
        "UPDATE posts SET n = n + 1;",
        "INSERT INTO posts_fts VALUES (1); UPDATE posts SET n = 1;",
        "INSERT INTO posts_fts SELECT u.name FROM users u WHERE u.id = new.user_id;",
        "INSERT INTO posts_fts SELECT 1 FROM posts p JOIN users u;",
        "SELECT RAISE(ABORT, 'no');",
        "WITH x AS (SELECT 1) INSERT INTO posts_fts SELECT * FROM x;",
        "",
    ],
)
def test_whatever_else_a_trigger_does_it_rests(body: str) -> None:
    assert not keeps_search(_HEAD + body + " END", "posts", ["posts_fts"])


@pytest.mark.parametrize(
    ("sql", "content"),
    [
        ("CREATE VIRTUAL TABLE f USING fts5(title, content='posts', content_rowid='id')", "posts"),
        ('CREATE VIRTUAL TABLE f USING FTS4(content="my posts", title)', "my posts"),
        ("CREATE VIRTUAL TABLE f USING fts5(title, content = posts)", "posts"),
        ("CREATE VIRTUAL TABLE f USING fts5(title, content='')", None),
        ("CREATE VIRTUAL TABLE f USING fts5(title, content)", None),
        ("CREATE VIRTUAL TABLE f USING rtree(id, content='x')", None),
    ],
)
def test_external_content(sql: str, content: str | None) -> None:
    assert content_table(sql) == content


@pytest.mark.parametrize(
    "body",
    [
        "BEGIN NEW.search := to_tsvector('english', NEW.title); RETURN NEW; END",
        """DECLARE x text; BEGIN -- UPDATE nothing
           IF TG_OP = 'UPDATE' AND NEW.title = OLD.title THEN RETURN NEW; END IF;
           new."search" = to_tsvector(coalesce(new.title, '')); RETURN NEW; END""",
    ],
)
def test_a_function_that_fills_the_search_column_goes_on(body: str) -> None:
    assert fills_only(body, ["search"])


@pytest.mark.parametrize(
    "body",
    [
        "BEGIN NEW.search := ''; NEW.updated_at := now(); RETURN NEW; END",
        "BEGIN NEW.search := ''; INSERT INTO log VALUES (1); RETURN NEW; END",
        "BEGIN NEW.search := ''; SELECT 1 INTO NEW.title; RETURN NEW; END",
        "BEGIN NEW.search := ''; NEW := f(NEW); RETURN NEW; END",
        "BEGIN IF NEW.search <> '' THEN NEW.n = 1; END IF; RETURN NEW; END",
        "BEGIN RETURN NEW; END",
    ],
)
def test_a_function_that_does_more_rests(body: str) -> None:
    assert not fills_only(body, ["search"])
