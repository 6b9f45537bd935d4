"""JSON functions on Postgres: values, types and errors are SQLite's, for documents and paths of every shape."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE notes (id INTEGER PRIMARY KEY, doc TEXT, tags TEXT, n INTEGER, r REAL, k BLOB);
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, team TEXT);
"""
DATA = (
    "INSERT INTO notes (doc, tags, n, r, k) VALUES "
    """('{"a":{"b":[1,2.50,"x"]},"n":1,"t":true}', '["red","blue"]', 1, 1.0, NULL),
       ('{"a":null,"n":2.0,"a":5}', '[]', 2, 2.5, NULL), ('[1,{"a":"y"}]', NULL, NULL, NULL, NULL),
       (NULL, '["blue", 7, null]', 7, 1e20, NULL)""",
    "INSERT INTO people (name, team) VALUES ('ada', 'x'), ('bob', 'y'), ('cy ''d\"', 'x'), (NULL, 'x')",
)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


DOCUMENTS = [
    '{"a":1,"a":2,"b":[1,{"c":[]},[2,3]],"":7,"a b":4," a":5,"a.b":6,"0":8,"-1":9}',
    ' { "a" : { "b" : { "c" : null } } , "x" : [ true , false , null , "q\\"\\\\\\u0041\\n" ] } ',
    '{"a\\u0062":1,"ab":2,"k\\"":3,"\\\\":4,"é":"ü😀"}',
    "[1,2.50,-0,1e2,9223372036854775807,9223372036854775808,-9223372036854775808,0.1,-1.5E-3]",
    "[[1,[2]],{}]",
    '"text"',
    "12",
    "null",
    " true ",
    "{",
    "",
    "[1,]",
    "01",
    "1.",
    "'a'",
    None,
]
PATHS = [
    "$",
    "$.a",
    "$.a.b.c",
    "$.b[1].c",
    "$.b[#-1][0]",
    '$."a b"',
    "$.a b",
    '$."a.b"',
    "$.0",
    "$[0]",
    "$[3]",
    "$[#]",
    "$[#-9]",
    "$.ab",
    "$.a\\u0062",
    '$."k\\""',
    "$.x[3]",
    '$.""',
    "$.",
    "$..a",
    "$[x]",
    "$[#-",
    '$."a',
    "$a",
    "a",
    "",
    "$.new.x[0].y",
    "$.b[3]",
    "$[0]x",
    None,
]
READING = [
    "json_extract(?1, ?2)",
    "json_type(?1, ?2)",
    "json_array_length(?1, ?2)",
    "?1 -> ?2",
    "?1 ->> ?2",
    "json_array(?2, json_extract(?1, ?2), ?1 -> ?2)",
    "json_remove(?1, ?2)",
    "json_insert(?1, ?2, 'v', '$.z', json('[ 1 ]'))",
]


async def _alike(both: World, expressions: list[str], *args: str | float | None) -> None:
    """All expressions at once, or one by one where SQLite makes an error of some."""
    try:
        both.on_sqlite(f"SELECT {', '.join(expressions)}", *args)
    except StatementError:
        if len(expressions) > 1:
            for expression in expressions:
                await _alike(both, [expression], *args)
        else:
            await both.same_error(f"SELECT {expressions[0]}", *args)
    else:
        await both.same(f"SELECT {', '.join(expressions)}", *args)


async def test_paths_in_documents(both: World) -> None:
    for document in DOCUMENTS:
        for path in PATHS:
            await _alike(both, READING, document, path)


async def test_changed_documents(both: World) -> None:
    changes = [f"json_{how}(?1, ?2, {value})" for how in ("set", "replace") for value in ("?2", "2.0", "json(?1)")]
    changes.append("json_set(?1, ?2, 1, '$.a', 2, '$.b.c', NULL)")
    for document in (*DOCUMENTS[:5], "[]", "{}", None):
        for path in PATHS[1:]:
            await _alike(both, changes, document, path)


async def test_the_right_side_of_an_arrow(both: World) -> None:
    for right in ("a", "a.b", 0, 1, -1, "0", "[0]", "12x", 1.5, "", '"a"', "$.a", "#-1", None):
        for document in ('{"a":{"b":3},"b":[1,2],"-1":6}', '["x",2.0]'):
            await _alike(both, ["?1 -> ?2", "?1 ->> ?2"], document, right)


SAME = [
    "SELECT id, json_extract(doc, '$.n'), doc ->> 'n', doc -> '$.a' FROM notes ORDER BY id",
    "SELECT id FROM notes WHERE doc ->> '$.n' = 1 OR doc ->> 'n' + 1 = 3.0 ORDER BY id",
    "SELECT json_group_array(n), json_group_array(r), json_group_array(tags) FROM notes",
    "SELECT json_group_array(json_object('id', id, 'tags', json(tags))) FROM notes WHERE tags IS NOT NULL",
    "SELECT team, json_group_object(name, id) FILTER (WHERE id < 3) FROM people GROUP BY team ORDER BY team",
    "SELECT json_group_array(DISTINCT team) FROM people",
    "SELECT id, json_group_array(name) OVER (ORDER BY id) FROM people ORDER BY id",
    "SELECT json_object('team', 'x', 'names', (SELECT json_group_array(name) FROM people WHERE team = 'x'))",
    "SELECT json_array((SELECT json_array(id) FROM people LIMIT 1))",
    "SELECT json_array(1, 2.0, 'x', NULL, '[1]', json('[1]'), coalesce(NULL, json('[2]')), 1 = 1), json_array()",
    "SELECT json_quote('a\"b'), json_quote(1.0), json_quote(json('[1 ]')), json_quote(NULL)",
    "SELECT json_extract(doc, '$.n', '$.a'), json_array(json_extract(doc, '$.a')) FROM notes ORDER BY id",
    "SELECT json_patch('{\"a\":1,\"a\":2,\"b\":{\"c\":1}}', '{\"a\":null,\"b\":{\"d\":{\"e\":null}},\"z\":[null]}')",
    "SELECT json_patch('{\"a\":{\"b\":1}}', '{\"a\":{\"c\":2},\"a\":{\"d\":3},\"a\":4,\"a\":5}')",
    "SELECT json_patch('{\"a\":1}', '{\"a\":{\"c\":2},\"a\":{\"d\":3}}')",
    "SELECT json_valid(doc), json_valid(n), json_valid('{') FROM notes ORDER BY id",
]  # fmt: skip


REFUSED = [
    "SELECT json_set('{}', '$', 1)",
    "SELECT json_array(coalesce(NULL, json('[1]'), 'x'))",
    "SELECT 'x' || doc -> 'a' FROM notes",
    "SELECT json_array((SELECT json_array(id) FROM people ORDER BY name LIMIT 1))",
]


async def test_statements(both: World) -> None:
    for sql in SAME:
        await both.same(sql)


async def test_blobs_and_labels_that_json_cannot_hold(both: World) -> None:
    await both.same_error("SELECT json_array(x'00')")
    await both.same_error("SELECT json_object(NULL, 1)")
    await both.same_error("SELECT json_object(id, 1) FROM notes")


async def test_a_document_may_be_the_bytes_of_its_text(both: World) -> None:
    await both.same("UPDATE notes SET k = CAST(doc AS BLOB)")
    reads = "json_extract(k, '$.n'), json_extract(k, '$.a', '$.n'), k -> 'a', k ->> '$.a.b[2]', json(k), json_valid(k)"
    shapes = "json_type(k), json_array_length(k), json_array(json(k))"
    changes = "json_set(k, '$.z', 1), json_remove(k, '$.a'), json_patch(k, '{\"n\":9}')"
    await both.same(f"SELECT {reads}, {shapes}, {changes} FROM notes ORDER BY id")
    await both.same("SELECT n.id, j.key, j.value, j.json FROM notes n, json_each(n.k) j ORDER BY n.id, j.id")
    await both.same("SELECT json_extract(k, x'242e6e'), k ->> ? FROM notes ORDER BY id", b"n")
    await both.same("SELECT json_extract(?, '$.a')", b'{"a":"\xc3\xa9"}')
    await both.same_error("SELECT json(x'7b')")
    await both.same_error("SELECT json_set('{}', '$.a', k) FROM notes")


async def test_refused(both: World) -> None:
    for sql in REFUSED:
        with pytest.raises(StatementError) as refused:
            await both.on_postgres(sql)
        assert refused.value.code == "SQL_NOT_TRANSLATABLE"


ROWS_OF = [
    '{"a b":[1,true,null],"a":{"c_d":3.50,"c1":"x\\u0041"},"":[],"a":{"q":1}}',
    '[1,[2,{"a":[5,"x"]}],{"k":{"l":[[]]}}]',
    "5",
    '"x"',
    "null",
    "[]",
    "{}",
    "{",
    None,
]
ROOTS = ["$", "$.a", "$[1]", "$[1][1].a", "$.a.c1", "$[0]", '$."a b"[1]', "$.none", "a", "$[#-1].k", None]


async def test_the_rows_of_documents(both: World) -> None:
    columns = "key, value, type, atom, id, parent, fullkey, path, typeof(key), typeof(value)"
    for name in ("json_each", "json_tree"):
        for document in ROWS_OF:
            await _alike(both, [f"{columns} FROM {name}(?)"], document)
            for root in ROOTS:
                await _alike(both, [f"{columns} FROM {name}(?, ?)"], document, root)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT notes.id, json_each.key, json_each.value FROM notes, json_each(notes.tags)",
        "SELECT n.id, j.* FROM notes AS n JOIN json_each(n.tags) AS j WHERE j.value = 'blue' ORDER BY n.id DESC",
        "SELECT id FROM notes WHERE EXISTS (SELECT 1 FROM json_each(notes.tags) WHERE value = 'red')",
        "SELECT json, root, key FROM json_each('{\"a\":[1,2]}', '$.a')",
        "SELECT n.id, j.json, j.root FROM notes AS n LEFT JOIN json_each(n.tags) AS j ON n.id = 1 ORDER BY n.id",
        "SELECT json, typeof(json), count(*) FROM notes, json_tree(notes.id) GROUP BY json",
        "SELECT id FROM notes WHERE 'blue' IN (SELECT value FROM json_each(tags))",
        "SELECT id FROM notes WHERE n IN (SELECT value FROM json_each('[1, 7]')) ORDER BY id",
        "SELECT id FROM notes WHERE tags IN (SELECT value FROM json_each('[7, \"[]\"]'))",
        "SELECT id FROM notes WHERE substr(doc, 2, 1) || '' NOT IN (SELECT value FROM json_each('[1, \"\"]'))",
        "SELECT p.name, j.key FROM people AS p, json_each('[7, \"ada\"]') AS j WHERE j.value = p.name",
        "SELECT a.value FROM json_each('[1, \"2\"]') AS a, json_each('[\"1\", 2]') AS b WHERE a.value = b.value",
        "SELECT value FROM json_each('[7, \"7\"]') WHERE value = CAST(7 AS TEXT) OR value IN (SELECT tags FROM notes)",
        "SELECT id, (SELECT json_group_array(value) FROM json_each(tags) WHERE value <> 'red') FROM notes",
        'SELECT json_group_array(value) FROM json_each(\'[1, [2, {"a": 1}], "x", null, 2.0]\')',
        "SELECT n.id, j.value FROM notes n LEFT JOIN json_each(n.tags) j ON j.key = 1 ORDER BY n.id",
        "SELECT count(*), sum(value), max(key) FROM json_each('[1, 2.5, 3]')",
        'SELECT value FROM json_each(\'[3, 1, "b", 2, "a"]\') ORDER BY value',
        "SELECT j.value, count(*) FROM notes, json_each(notes.tags) AS j GROUP BY j.value ORDER BY 2, 1",
        'SELECT fullkey, atom FROM json_tree(\'{"a": [1, {"b": 2}]}\') WHERE atom IS NOT NULL',
        "SELECT t.fullkey FROM notes, json_tree(notes.doc, '$.a') AS t WHERE t.type = 'integer'",
        "SELECT value ->> 'x', key FROM json_each('[{\"x\": 1}, {\"x\": \"y\"}]') WHERE value ->> 'x' = 1",
        "WITH e AS (SELECT value AS v FROM json_each('[1, 2]')) SELECT v + 1 FROM e",
        "SELECT DISTINCT type FROM json_each('[1, 2, \"a\"]')",
        "SELECT key, value FROM json_each('[10, 20, 30]') LIMIT 2 OFFSET 1",
        "DELETE FROM notes WHERE id IN (SELECT value FROM json_each('[1, 3]')) RETURNING id",
    ],
)
async def test_json_in_from(both: World, sql: str) -> None:
    await both.same(sql)


async def test_json_from_a_query_in_from(both: World) -> None:
    """SQLite forgets that a text is JSON with each row that it stores, and where it merges queries with what functions
    give; not with what a subquery gives."""
    tags = "(SELECT coalesce(json_group_array(o.id), '[]') FROM people o WHERE o.team = p.team)"
    within = {
        "merged": f"SELECT {tags} AS j, p.id FROM people p",
        "sorted": f"SELECT {tags} AS j, p.id FROM people p ORDER BY p.name DESC",
        "cut": f"SELECT {tags} AS j, p.id FROM people p ORDER BY p.name LIMIT 3",
        "distinct": f"SELECT DISTINCT {tags} AS j, p.id FROM people p",
        "grouped": "SELECT json_group_array(p.id) AS j, max(p.id) AS id FROM people p GROUP BY p.team",
        "function": "SELECT json_array(p.id) AS j, p.id FROM people p",
        "compound": f"SELECT {tags} AS j, p.id FROM people p UNION SELECT json_array(p.id), p.id FROM people p",
    }
    around = (
        "SELECT json_object('j', s.j) FROM ({}) AS s ORDER BY s.id, s.j",
        "SELECT json_group_array(json_object('j', s.j)) FROM ({}) AS s",
        "SELECT json_group_array(json_object('j', s.j)) FROM ({}) AS s GROUP BY s.id ORDER BY s.id, s.j",
        "SELECT n.id, (SELECT coalesce(json_group_array(json_array(s.j)), '[]') FROM ({}) AS s) FROM notes n",
        "WITH s AS ({}) SELECT json_object('j', s.j) FROM s ORDER BY s.id, s.j",
        "WITH s AS MATERIALIZED ({}) SELECT json_object('j', s.j) FROM s ORDER BY s.id, s.j",
    )
    await both.all_same(each.format(query) for each in around for query in within.values())
    joined = "SELECT json_object('j', s.j) FROM notes n LEFT JOIN ({}) AS s ON s.id = n.id ORDER BY n.id"
    await both.all_same(joined.format(within[name]) for name in ("merged", "cut", "grouped"))
    with pytest.raises(StatementError, match="inside of other JSON"):
        await both.on_postgres(joined.format(within["function"]))


async def test_kysely_nests_rows(both: World) -> None:
    inner = "SELECT n.tags FROM notes AS n WHERE n.id = p.id ORDER BY n.tags"
    nested = f"(SELECT coalesce(json_group_array(json_object('tags', agg.tags)), '[]') FROM ({inner}) AS agg) AS notes"
    mates = f"SELECT p.name, {nested} FROM people AS p WHERE p.team = people.team ORDER BY p.name"
    await both.same(
        "SELECT name, (SELECT coalesce(json_group_array(json_object('name', agg.name, 'notes', agg.notes)), '[]') "
        f"FROM ({mates}) AS agg) AS mates, (SELECT coalesce(json_group_array(json_object('id', agg.id)), '[]') "
        "FROM (SELECT id FROM notes WHERE 1 = 2) AS agg) AS none FROM people ORDER BY id"
    )


async def test_what_stands_behind_a_value_that_is_never_null_is_never_chosen(both: World) -> None:
    for chosen in ("coalesce(id, name)", "ifnull(count(*), 'x')", "coalesce(name, id, 'y')", "coalesce(max(id), 'z')"):
        await both.same(f"SELECT {chosen}, typeof({chosen}), {chosen} = '1' FROM people GROUP BY id ORDER BY 1")
