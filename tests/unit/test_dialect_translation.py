"""Translations without a database: parameters, cache, plans that indexes can serve, and what is refused."""

from __future__ import annotations

import pytest

from cutover.dialect.catalog import Catalog
from cutover.dialect.functions import NAMES
from cutover.dialect.tokens import prepare
from cutover.dialect.translator import Translator
from cutover.dialect.typed import Refused
from cutover.model.table import Column, Table, UniqueIndex


def column(name: str, affinity: str, target_type: str, **more: object) -> Column:
    return Column(name, affinity, affinity, str(more.pop("target", name)), target_type, **more)  # type: ignore[arg-type]


POSTS = Table(
    name="posts",
    target_schema="public",
    target="articles",
    columns=(
        column("id", "INTEGER", "bigint", not_null=True),
        column("body", "TEXT", "text", target="content"),
        column("likes", "INTEGER", "bigint"),
        column("handle", "TEXT", "text", not_null=True),
    ),
    key=("id",),
    unique=(
        UniqueIndex("key", (('"id"', "BINARY"),), ("id",), primary_key=True),
        UniqueIndex("handles", (('"handle"', "NOCASE"),), ("handle",)),
    ),
    rowid_alias="id",
)


@pytest.fixture
def translator() -> Translator:
    return Translator(Catalog.of((POSTS,), (), {"posts": "public.articles_id_seq"}))


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT ?, ?3, ?, :a, @a, $a, :a", "SELECT :p0 , :p2 , :p3 , :p4 , :p5 , :p6 , :p4"),
        (
            "SELECT a||b, a<=b, a==b, a!=b, a->>'$.x' -- no\n",
            "SELECT a || b , a <= b , a == b , a != b , fn_json_arrow_value ( a , '$.x' )",
        ),
        ("SELECT x'0f', 0x10, `a``b`, [c d], \"e\"", 'SELECT x\'0f\' , 16 , "a`b" , "c d" , "e"'),
        ("SELECT 1e-7, 2.5E+3, .5e-1, a-1", "SELECT 1e-7 , 2.5E+3 , .5e-1 , a - 1"),
        ("SELECT lower(a), date ('now') FROM t INDEXED BY i", "SELECT fn_lower ( a ) , fn_date ( 'now' ) FROM t"),
        ("SELECT a ISNULL, b NOTNULL FROM t NOT INDEXED", "SELECT a IS NULL , b IS NOT NULL FROM t"),
        ("INSERT INTO date (a) VALUES ('?', ':x')", "INSERT INTO date ( a ) VALUES ( '?' , ':x' )"),
    ],
)
def test_text_for_the_parser(sql: str, text: str) -> None:
    assert prepare(sql, NAMES).text == text


@pytest.mark.parametrize(
    ("sql", "conflict"),
    [("REPLACE INTO t VALUES (1)", "REPLACE"), ("INSERT OR IGNORE INTO t VALUES (1)", "IGNORE"),
     ("INSERT OR ABORT INTO t VALUES (1)", "ABORT"),
     ("WITH a AS (VALUES (1)) INSERT OR REPLACE INTO t SELECT 1", None)],
)  # fmt: skip
def test_conflict_words(sql: str, conflict: str | None) -> None:
    if sql.startswith("WITH"):
        conflict = "REPLACE"
    found = prepare(sql, NAMES)
    assert found.conflict == conflict
    assert "OR" not in found.text.split()


def test_names_of_the_mapping_and_null_order(translator: Translator) -> None:
    found = translator.translate("SELECT body FROM posts WHERE likes > ? ORDER BY id DESC, likes", (1,))
    assert found.command.sql == (
        'SELECT "posts"."content" FROM "public"."articles" AS "posts" WHERE "posts"."likes" > CAST($1 AS BIGINT) '
        'ORDER BY "posts"."id" DESC, "posts"."likes" ASC NULLS FIRST'
    ).replace(" DESC,", " DESC,")


def test_only_used_parameters_are_numbered(translator: Translator) -> None:
    found = translator.translate("SELECT ?2, ?2 FROM posts WHERE body = ?4", (1, 2, 3, "x"))
    assert [use.slot for use in found.command.uses] == [1, 3]
    assert found.command.arguments((1, 2, 3, "x"), lambda _: 0) == [2, "x"]


def test_null_arguments_share_the_statement_of_others(translator: Translator) -> None:
    sql = "INSERT INTO posts (body, likes, handle) VALUES (?, ?, ?)"
    full = translator.translate(sql, ("a", 1, "h"))
    for arguments in ((None, 1, "h"), ("a", None, "h"), (None, None, "h")):
        assert translator.translate(sql, arguments).command.sql == full.command.sql
    assert translator.translate(sql, ("a", 1, "h")) is full


def test_conflict_targets(translator: Translator) -> None:
    sql = "INSERT INTO posts (handle) VALUES (?) ON CONFLICT (handle) DO UPDATE SET likes = likes + 1"
    found = translator.translate(sql, ("h",)).command.sql
    assert 'ON CONFLICT(lower(("handle" COLLATE "C"))) DO UPDATE SET "likes" = ("posts"."likes" + ' in found


def test_a_replace_on_several_keys_deletes_first(translator: Translator) -> None:
    found = translator.translate("REPLACE INTO posts (id, handle) VALUES (?, ?)", (1, "h"))
    assert found.command.sql.startswith('WITH "cutover: gone" AS (DELETE FROM "public"."articles" USING (VALUES ')
    automatic = translator.translate("REPLACE INTO posts (handle) VALUES (?)", ("h",))
    assert automatic.before is None
    assert automatic.automatic == "public.articles_id_seq"


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT load_extension('x') FROM posts", "load_extension"),
        ("SELECT * FROM elsewhere", "elsewhere"),
        ("SELECT body FROM posts WHERE body MATCH 'x'", "Match"),
        ("UPDATE OR REPLACE posts SET id = 1 FROM posts AS o WHERE o.id = posts.id", "UPDATE OR REPLACE"),
        ("INSERT INTO posts (likes, handle) VALUES (x'00', 'h')", "blob"),
        ("SELECT body COLLATE other = 'x' FROM posts", "OTHER"),
        ("SELECT " + "(" * 500 + "1" + ")" * 500, "nested"),
    ],
)
def test_what_is_refused_is_named(translator: Translator, sql: str, named: str) -> None:
    with pytest.raises(Refused, match="no translation") as refused:
        translator.translate(sql, ())
    assert named in refused.value.message


def test_clock_and_chance_are_told(translator: Translator) -> None:
    assert translator.translate("SELECT body FROM posts", ()).compared
    for expression in ("random()", "datetime('now')", "CURRENT_TIMESTAMP", "last_insert_rowid()"):
        assert not translator.translate(f"SELECT {expression}", ()).compared


def test_the_cache_is_bounded() -> None:
    translator = Translator(Catalog.of((POSTS,)), size=5)
    for number in range(50):
        translator.translate(f"SELECT {number}, ?", (None,))
    assert len(translator._known) <= 10  # the young half and the old one
    assert len(translator._hints) <= 10


def test_the_cache_keeps_what_is_used() -> None:
    translator = Translator(Catalog.of((POSTS,)), size=5)
    kept = translator.translate("SELECT body FROM posts", ())
    for number in range(20):
        translator.translate(f"SELECT {number}", ())
        assert translator.translate("SELECT body FROM posts", ()) is kept


def test_long_chains_of_and_and_or(translator: Translator) -> None:
    chain = " OR ".join(f"likes = {number}" for number in range(1500))
    assert translator.translate(f"SELECT id FROM posts WHERE {chain}", ()).command.sql.count(" OR ") == 1499


LONG = {
    "and": " AND ".join(f"likes <> {n}" for n in range(999)),
    "or": " OR ".join(f"(likes = {n} AND id = {n})" for n in range(400)),
    "concatenation": " || ".join(["body"] * 999) + " = 'x'",
    "bits": " & ".join(["likes"] * 900) + " = 1",
    "list": "id IN (" + ", ".join(map(str, range(5000))) + ")",
    "parentheses": "(" * 90 + "id" + ")" * 90 + " = 1",
    "sums in parentheses": "(1 + " * 45 + "id" + ")" * 45 + " = 1",
    "not": "NOT " * 90 + "id",
    "case": "CASE " + " ".join(f"WHEN likes = {n} THEN 1" for n in range(900)) + " END",
}


@pytest.mark.parametrize("name", LONG)
def test_long_and_deep_expressions(translator: Translator, name: str) -> None:
    assert translator.translate(f"SELECT id FROM posts WHERE {LONG[name]}", ()).command.sql.startswith("SELECT")


def test_long_sums(translator: Translator) -> None:
    found = translator.translate("SELECT " + " + ".join(["likes"] * 999) + " FROM posts", ()).command.sql
    assert "((" not in found


def test_many_arguments_translate_in_one_go(translator: Translator) -> None:
    several = translator.translate(f"SELECT id FROM posts WHERE id IN ({', '.join('?' * 3000)})", (1,) * 3000)
    assert len(several.command.uses) == 3000
    rows = ", ".join(["(?, ?)"] * 1000)
    assert (
        len(translator.translate(f"INSERT INTO posts (body, handle) VALUES {rows}", ("a",) * 2000).command.uses) == 2000
    )
