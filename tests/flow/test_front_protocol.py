"""Statements, values and descriptions as the protocol has them, asked over HTTP: real requests, a real SQLite file."""

import json
import math
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutover.hrana.answers import write_json, write_row
from cutover.hrana.fields import NotJson, read_json, read_value
from tests.support.front import Json, listening, opened

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, n INT, x);
CREATE TABLE log (note TEXT NOT NULL);
CREATE VIEW v AS SELECT id AS number, a || '!' AS loud FROM t;
"""


class Door:
    """Asks one thing at a time, each on a stream of its own."""

    def __init__(self, client: ClientSession) -> None:
        self.client = client

    async def pipeline(self, *requests: Json, version: int = 3) -> list[Json]:
        """What each request is answered: its response, or its error."""
        body = json.dumps({"requests": [*requests, {"type": "close"}]})
        async with self.client.post(f"/v{version}/pipeline", data=body) as answer:
            assert answer.status == 200, await answer.text()
            results = (await answer.json())["results"]
        assert len(results) == len(requests) + 1
        return [result.get("response") or result["error"] for result in results[:-1]]

    async def execute(self, sql: str, *args: Json, **more: Any) -> Json:
        """A StmtResult or an Error."""
        (found,) = await self.pipeline({"type": "execute", "stmt": {"sql": sql, "args": list(args), **more}})
        result: Json = found.get("result", found)
        return result

    async def describe(self, sql: str) -> Json:
        """A DescribeResult or an Error."""
        (found,) = await self.pipeline({"type": "describe", "sql": sql})
        result: Json = found.get("result", found)
        return result

    async def batch(self, *steps: Json) -> tuple[list[Any], list[Any]]:
        """Results and errors of the steps: rows, and codes."""
        (found,) = await self.pipeline({"type": "batch", "batch": {"steps": list(steps)}})
        result = found["result"]
        rows = [item and item["rows"] for item in result["step_results"]]
        return rows, [item and item["code"] for item in result["step_errors"]]


@pytest.fixture
async def door(sqlite_path: str) -> AsyncIterator[Door]:
    async with opened(sqlite_path, SCHEMA) as way, listening(way) as (_, client):
        yield Door(client)


def integer(value: int) -> Json:
    return {"type": "integer", "value": str(value)}


def text(value: str) -> Json:
    return {"type": "text", "value": value}


NULL: Json = {"type": "null"}

# -- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (integer(2**63 - 1), "integer"),
        (integer(-(2**63)), "integer"),
        (integer(2**53 + 1), "integer"),
        (integer(0), "integer"),
        ({"type": "float", "value": 2.0}, "real"),
        ({"type": "float", "value": 5e-324}, "real"),
        ({"type": "float", "value": 1.7976931348623157e308}, "real"),
        ({"type": "float", "value": -0.1}, "real"),
        (text(""), "text"),
        (text("a\0b\n'\"\\ \u00e9 \u4e2d \U0001f600 \ufeff \u2028"), "text"),
        (text("x" * 200_000), "text"),
        ({"type": "blob", "base64": ""}, "blob"),
        ({"type": "blob", "base64": "AA"}, "blob"),
        ({"type": "blob", "base64": "/+8"}, "blob"),
        (NULL, "null"),
    ],
)
async def test_values_come_back_as_they_went(door: Door, value: Json, kind: str) -> None:
    found = await door.execute("SELECT ?1, typeof(?1)", value)
    assert found["rows"] == [[value, text(kind)]]
    assert (await door.execute("INSERT INTO t(x) VALUES (?) RETURNING x", value))["rows"] == [[value]]
    assert (await door.execute("SELECT x FROM t"))["rows"] == [[value]]


async def test_infinities_both_ways(door: Door) -> None:
    body = b'{"requests": [{"type": "execute", "stmt": {"sql": "SELECT ?, ?, -1e999", "args": ['
    body += b'{"type": "float", "value": 1e999}, {"type": "float", "value": 1e308}]}}, {"type": "close"}]}'
    async with door.client.post("/v2/pipeline", data=body) as answer:
        values = [value["value"] for value in (await answer.json())["results"][0]["response"]["result"]["rows"][0]]
        assert values == [math.inf, 1e308, -math.inf]
    assert (await door.execute("SELECT 1e999"))["rows"] == [[{"type": "float", "value": math.inf}]]


async def test_padded_base64_is_read(door: Door) -> None:
    assert (await door.execute("SELECT ?", {"type": "blob", "base64": "AA=="}))["rows"] == [
        [{"type": "blob", "base64": "AA"}]
    ]


@pytest.mark.parametrize(
    "value",
    [
        {"type": "integer", "value": "9223372036854775808"},
        {"type": "integer", "value": "1_000"},
        {"type": "integer", "value": " 1"},
        {"type": "integer", "value": "\u0663"},
        {"type": "integer", "value": 1},
        {"type": "integer"},
        {"type": "float", "value": "1.5"},
        {"type": "float", "value": True},
        {"type": "blob", "base64": "A?=="},
        {"type": "blob", "base64": "A"},
        {"type": "blob", "base64": "-_8"},
        {"type": "text", "value": None},
        {"type": "boolean", "value": True},
        {},
        None,
        1,
    ],
)
async def test_what_is_no_value_is_refused(door: Door, value: Any) -> None:
    body = json.dumps({"requests": [{"type": "execute", "stmt": {"sql": "SELECT ?", "args": [value]}}]})
    async with door.client.post("/v2/pipeline", data=body) as answer:
        assert answer.status == 400


@given(
    st.one_of(
        st.none(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=("Cs",))),
        st.binary(),
    )
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_value_survives_the_encoding(value: Any) -> None:
    found = read_value(read_json(write_json({"v": write_row((value,))[0]}))["v"])
    assert (type(found), found) == (type(value), value)


async def test_text_that_is_not_valid_utf8_is_an_error_and_no_failure(door: Door, sqlite_path: str) -> None:
    db = sqlite3.connect(sqlite_path)
    db.execute("INSERT INTO log VALUES (CAST(x'66ff' AS TEXT)), ('fine')")
    db.commit()
    db.close()
    found = await door.execute("SELECT note FROM log")
    assert found["code"] == "SQLITE_UNKNOWN"
    assert "UTF-8" in found["message"]
    assert (await door.execute("SELECT CAST(note AS BLOB) FROM log LIMIT 1"))["rows"] == [
        [{"type": "blob", "base64": "Zv8"}]
    ]


# -- arguments -----------------------------------------------------------------------------------------------------


def named(**values: int) -> list[Json]:
    return [{"name": name, "value": integer(value)} for name, value in values.items()]


async def test_numbered_and_named_parameters(door: Door) -> None:
    assert (await door.execute("SELECT ?2, ?1, ?2", integer(1), integer(2)))["rows"] == [
        [integer(2), integer(1), integer(2)]
    ]
    found = await door.execute("SELECT :a, @b, $c, :a", named_args=named(a=1, b=2, c=3))
    assert found["rows"] == [[integer(1), integer(2), integer(3), integer(1)]]
    prefixed = [{"name": name, "value": integer(at)} for at, name in enumerate((":a", "@b", "$c"))]
    found = await door.execute("SELECT :a, @b, $c", named_args=prefixed)
    assert found["rows"] == [[integer(0), integer(1), integer(2)]]
    found = await door.execute("SELECT :a, ?, @a", integer(1), integer(2), integer(3))
    assert found["rows"] == [[integer(1), integer(2), integer(3)]]


@pytest.mark.parametrize(
    ("sql", "args", "named_args", "code"),
    [
        ("SELECT ?, ?", 1, {}, "ARGS_INVALID"),
        ("SELECT ?3", 2, {}, "ARGS_INVALID"),
        ("SELECT ?", 2, {}, "ARGS_INVALID"),
        ("SELECT :a, :b", 0, {"a": 1}, "ARGS_INVALID"),
        ("SELECT :a, ?", 1, {"a": 1}, "ARGS_BOTH_POSITIONAL_AND_NAMED"),
    ],
)
async def test_arguments_that_do_not_fit(
    door: Door, sql: str, args: int, named_args: dict[str, int], code: str
) -> None:
    found = await door.execute(sql, *map(integer, range(args)), named_args=named(**named_args))
    assert found["code"] == code


# -- results -------------------------------------------------------------------------------------------------------


async def test_names_of_columns_may_come_twice(door: Door) -> None:
    found = await door.execute("SELECT 1 AS a, 2 AS a, 3 AS \"\", 4 AS 'ä'")
    assert [column["name"] for column in found["cols"]] == ["a", "a", "", "ä"]
    assert found["rows"] == [[integer(1), integer(2), integer(3), integer(4)]]


async def test_counts_and_keys(door: Door) -> None:
    told = [
        ((found := await door.execute(sql)).get("affected_row_count"), found.get("last_insert_rowid"))
        for sql in (
            "INSERT INTO t(a) VALUES ('x'), ('y')",
            "INSERT INTO t(id, a) VALUES (9223372036854775807, 'z')",
            "WITH q(a) AS (VALUES ('p'), ('q')) INSERT INTO t(id, a) SELECT 100 + rowid, a FROM t WHERE id < 3",
            "INSERT OR IGNORE INTO t(a) VALUES ('x')",
            "INSERT INTO t(a) VALUES ('x') ON CONFLICT DO UPDATE SET n = 1",
            "UPDATE t SET n = 1",
            "DELETE FROM t WHERE id > 2",
            "SELECT * FROM t",
            "CREATE TABLE more (x)",
            "PRAGMA user_version = 3",
        )
    ]
    assert told[0] == (2, "2")
    assert told[1] == (1, "9223372036854775807")
    assert told[2][0] is None  # UNIQUE
    assert [count for count, _ in told[3:]] == [0, 1, 3, 1, 0, 0, 0]


async def test_rows_that_are_not_wanted(door: Door) -> None:
    found = await door.execute("INSERT INTO t(a) VALUES ('x'), ('y') RETURNING a", want_rows=False)
    assert (found["rows"], found["affected_row_count"]) == ([], 2)
    assert [column["name"] for column in found["cols"]] == ["a"]
    assert (await door.execute("SELECT count(*) FROM t", want_rows=None))["rows"] == [[integer(2)]]


async def test_exactly_one_statement_with_anything_harmless_around_it(door: Door) -> None:
    for sql in ("SELECT 1;", "  /* a */ SELECT 1 -- b\n;;; ", "SELECT count (*) FROM t;", "-- a ; b\nSELECT ';'"):
        assert "rows" in await door.execute(sql), sql
    assert (await door.execute("INSERT INTO t(a) VALUES ('x');;", want_rows=False))["affected_row_count"] == 1
    assert [column["name"] for column in (await door.describe("SELECT a FROM t;;"))["cols"]] == ["a"]
    for sql in ("", " ", ";", "-- nothing", "/* open"):
        assert (await door.execute(sql))["code"] == "SQL_NO_STATEMENT", sql
    assert (await door.execute("DELETE FROM t; SELECT 1"))["code"] == "SQL_MANY_STATEMENTS"


@pytest.mark.parametrize("body", [b'{"v": 1e999, "w": NaN}', b'{"v": 1e999, "w": "\\ud800"}', b"[1e999" + b"[" * 99999])
def test_beside_an_infinity_the_rest_is_read_as_strictly(body: bytes) -> None:
    with pytest.raises(NotJson):
        read_json(body)


@pytest.mark.parametrize(
    ("sql", "code", "text"),
    [
        ("SELEC 1", "SQL_PARSE_ERROR", 'near "SELEC": syntax error (at offset 0)'),
        ("SELECT 'é,', 1 FROM t,, v,, t", "SQL_PARSE_ERROR", 'near ",": syntax error (at offset 23)'),
        ("UPDATE t SET a = (1, 2), n = 1 n = 2", "SQL_PARSE_ERROR", 'near "n": syntax error (at offset 31)'),
        ("SELECT 'open", "SQL_PARSE_ERROR", 'unrecognized token: "\'open" (at offset 7)'),
        ("SELECT 1 +", "SQL_PARSE_ERROR", "incomplete input"),
        ("SELECT a,\n  nope FROM t", "SQL_INPUT_ERROR", "no such column: nope (at offset 12)"),
        ("SELECT nope(1)", "SQL_INPUT_ERROR", "no such function: nope (at offset 7)"),
        ("SELECT t.nope FROM t WHERE nope = 1", "SQL_INPUT_ERROR", "no such column: t.nope"),
        ("SELECT * FROM nope", "SQLITE_UNKNOWN", "no such table: nope"),
        ("INSERT INTO t(a) VALUES ('x')", "SQLITE_CONSTRAINT", "UNIQUE constraint failed: t.a"),
        ("INSERT INTO log VALUES (NULL)", "SQLITE_CONSTRAINT", "NOT NULL constraint failed: log.note"),
        ("INSERT INTO t(id) VALUES ('word')", "SQLITE_MISMATCH", "datatype mismatch"),
        ("VACUUM", "SQLITE_AUTH", "VACUUM"),
    ],
)
async def test_errors_have_a_primary_code_and_sqlites_own_words(door: Door, sql: str, code: str, text: str) -> None:
    await door.execute("INSERT INTO t(a) VALUES ('x')")
    found = await door.execute(sql)
    assert (found["code"], text in found["message"]) == (code, True), found


# -- batches and sequences -----------------------------------------------------------------------------------------


def step(sql: str, condition: Json | None = None) -> Json:
    return {"stmt": {"sql": sql}, "condition": condition}


def ok(number: int) -> Json:
    return {"type": "ok", "step": number}


def failed(number: int) -> Json:
    return {"type": "error", "step": number}


async def test_conditions(door: Door) -> None:
    yes, no = step("SELECT 1"), step("SELEC")
    skipped = step("SELECT 2", ok(1))
    conditions: list[tuple[Json, bool]] = [
        (ok(0), True),
        (ok(1), False),
        (ok(2), False),
        (failed(0), False),
        (failed(1), True),
        (failed(2), False),
        ({"type": "not", "cond": failed(2)}, True),
        ({"type": "and", "conds": []}, True),
        ({"type": "or", "conds": []}, False),
        ({"type": "and", "conds": [ok(0), failed(1)]}, True),
        ({"type": "and", "conds": [ok(0), failed(0)]}, False),
        ({"type": "or", "conds": [ok(1), failed(1)]}, True),
        ({"type": "is_autocommit"}, True),
    ]
    rows, codes = await door.batch(yes, no, skipped, *(step("SELECT 3", condition) for condition, _ in conditions))
    assert [found is not None for found in rows] == [True, False, False, *(holds for _, holds in conditions)]
    assert codes == [None, "SQL_PARSE_ERROR", *[None] * (len(conditions) + 1)]


async def test_autocommit_is_seen_between_steps(door: Door) -> None:
    inside = {"type": "not", "cond": {"type": "is_autocommit"}}
    rows, _ = await door.batch(step("SELECT 1", inside), step("BEGIN"), step("SELECT 2", inside), step("ROLLBACK"))
    assert [found is not None for found in rows] == [False, True, True, True]


@pytest.mark.parametrize("condition", [ok(0), ok(1), ok(-1), {"type": "is"}, {"type": "not"}, {"type": "and"}, {}, 1])
async def test_conditions_that_mean_nothing(door: Door, condition: Any) -> None:
    batch = {"steps": [step("INSERT INTO t(a) VALUES ('x')", condition)]}
    body = json.dumps({"requests": [{"type": "batch", "batch": batch}]})
    async with door.client.post("/v3/pipeline", data=body) as answer:
        assert answer.status == 400
    assert (await door.execute("SELECT count(*) FROM t"))["rows"] == [[integer(0)]]


async def test_sequences(door: Door) -> None:
    script = """
        CREATE TRIGGER noted AFTER INSERT ON t WHEN new.a <> ';' BEGIN
          INSERT INTO log VALUES ('; ' || new.a); INSERT INTO log SELECT CASE 1 WHEN 1 THEN 'END' END;
        END;
        -- a comment; with a semicolon
        INSERT INTO t(a) VALUES ('one; /* no comment */'); /* ; */ INSERT INTO t(a) VALUES (';');
        SELECT "t".[a] FROM `t`;
    """
    (found,) = await door.pipeline({"type": "sequence", "sql": script})
    assert found == {"type": "sequence"}
    assert (await door.execute("SELECT note FROM log"))["rows"] == [[text("; one; /* no comment */")], [text("END")]]
    found, empty = await door.pipeline(
        {"type": "sequence", "sql": "INSERT INTO log VALUES ('a'); SELEC; INSERT INTO log VALUES ('b')"},
        {"type": "sequence", "sql": "-- nothing"},
    )
    assert (found["code"], empty) == ("SQL_PARSE_ERROR", {"type": "sequence"})
    assert (await door.execute("SELECT count(*) FROM log"))["rows"] == [[integer(3)]]


# -- describe ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "readonly", "explain", "params", "cols"),
    [
        ("SELECT a, n FROM t WHERE id = ?", True, False, [None], ["a", "n"]),
        ("SELECT :a, ?5, @b, $c", True, False, [":a", None, None, None, "?5", "@b", "$c"], [":a", "?5", "@b", "$c"]),
        ("VALUES (1, 2)", True, False, [], ["column1", "column2"]),
        ("WITH q AS (SELECT 1 AS one) SELECT * FROM q", True, False, [], ["one"]),
        ("EXPLAIN SELECT 1", True, True, [], None),
        ("EXPLAIN QUERY PLAN SELECT 1", True, True, [], ["id", "parent", "notused", "detail"]),
        ("INSERT INTO t(a) VALUES (?)", False, False, [None], []),
        ("INSERT INTO t(a) VALUES (?) RETURNING id AS key", False, False, [None], ["key"]),
        ("WITH q(a) AS (VALUES (?)) INSERT INTO t(a) SELECT a FROM q", False, False, [None], []),
        ("UPDATE t SET a = :a", False, False, [":a"], []),
        ("DELETE FROM t", False, False, [], []),
        ("CREATE TABLE u (x)", False, False, [], []),
        ("DROP TABLE t", False, False, [], []),
        ("BEGIN", True, False, [], []),
        ("BEGIN IMMEDIATE", False, False, [], []),
        ("BEGIN TRANSACTION READONLY", True, False, [], []),
        ("COMMIT", True, False, [], []),
        ("ROLLBACK", True, False, [], []),
        ("SAVEPOINT s", True, False, [], []),
        ("RELEASE s", True, False, [], []),
        ("PRAGMA foreign_keys", True, False, [], ["foreign_keys"]),
        ("PRAGMA user_version = 7", False, False, [], []),
        ("PRAGMA table_info(t)", True, False, [], ["cid", "name", "type", "notnull", "dflt_value", "pk"]),
    ],
)
async def test_describe(
    door: Door, sql: str, readonly: bool, explain: bool, params: list[str | None], cols: list[str] | None
) -> None:
    found = await door.describe(sql)
    assert (found["is_readonly"], found["is_explain"]) == (readonly, explain)
    assert [param["name"] for param in found["params"]] == params
    if cols is not None:
        assert [column["name"] for column in found["cols"]] == cols
    assert (await door.execute("SELECT count(*) FROM t"))["rows"] == [[integer(0)]]
    assert (await door.execute("PRAGMA user_version"))["rows"] == [[integer(0)]]


# -- versions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["get_autocommit", "open_stream", "open_cursor", "hello", "", None])
async def test_what_is_not_of_the_second_version(door: Door, kind: Any) -> None:
    async with door.client.post("/v2/pipeline", data=json.dumps({"requests": [{"type": kind}]})) as answer:
        assert (answer.status, answer.headers["content-type"]) == (400, "text/plain")


async def test_what_other_clients_add_is_ignored(door: Door) -> None:
    statement = {"sql": "SELECT 1", "sql_id": None, "args": [], "named_args": [], "want_rows": True, "new": {}}
    found = await door.pipeline(
        {"type": "execute", "stmt": statement, "replication_index": None},
        {"type": "batch", "batch": {"steps": [{"stmt": statement, "condition": None}], "replication_index": None}},
    )
    assert [answer["type"] for answer in found] == ["execute", "batch"]
