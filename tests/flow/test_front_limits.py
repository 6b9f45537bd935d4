"""Limits of the front door: each refusal has its code, changes nothing, and leaves the stream usable."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.flow.test_front_door import CLOSE, Client, Open, answer, code, door, execute, integer, metrics, way
from tests.support.front import listening, opened
from tests.support.memory import keeping_little

__all__ = ["door", "metrics", "way"]


LONG = "x" * 1_000_000
TOO_LONG = (
    execute(f"INSERT INTO t(a) VALUES ('{LONG}')"),
    execute(f"INSERT INTO t(a) VALUES ('{'ä' * 500_001}')"),
    {"type": "sequence", "sql": f"DELETE FROM t; DELETE FROM t WHERE a = '{LONG}'"},
    {"type": "describe", "sql": f"SELECT '{LONG}'"},
    {"type": "batch", "batch": {"steps": [{"stmt": {"sql": sql}} for sql in ("DELETE FROM t", f"'{LONG}'")]}},
)


async def test_a_statement_of_any_length_below_the_limit(door: Open) -> None:
    client = await door()
    values = ",".join(f"('{number}')" for number in range(5000))
    script = {"type": "sequence", "sql": "SELECT 1;" * 2000}
    found = await answer(client, execute("BEGIN"), execute(f"INSERT INTO t(a) VALUES {values}"), script)
    assert [result["type"] for result in found["results"]] == ["ok"] * 3
    for request in TOO_LONG:
        found = await answer(client, request, baton=found["baton"])
        assert code(found["results"][0]) == "SQLITE_TOOBIG"
        assert "front.max_statement_bytes (1000000)" in found["results"][0]["error"]["message"]
    found = await answer(client, execute("SELECT count(*) FROM t"), execute("COMMIT"), CLOSE, baton=found["baton"])
    assert found["results"][0]["response"]["result"]["rows"] == [[integer(5000)]]
    assert found["results"][1]["type"] == "ok"


ROWS = 20_000
NUMBERS = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {ROWS})"
MANY = f"{NUMBERS} SELECT i, 'some text' FROM n"


@pytest.fixture
async def small(sqlite_path: str) -> AsyncIterator[Client]:
    """A door whose answers may have 100,000 bytes."""
    async with (
        opened(sqlite_path, max_response_bytes=100_000, max_batch_steps=50) as way,
        listening(way) as (_, client),
    ):
        yield client


def too_large(result: dict[str, Any]) -> bool:
    return bool(result["type"] == "error" and code(result) == "RESPONSE_TOO_LARGE")


async def test_an_answer_that_is_too_large_is_not_collected_and_changes_nothing(small: Client) -> None:
    insert = f"{NUMBERS} INSERT INTO t(a) SELECT 'x' || i FROM n"
    for begin in ((), (execute("BEGIN IMMEDIATE"),)):
        found = await answer(
            small,
            *begin,
            execute(MANY),
            execute("SELECT hex(zeroblob(60000))"),
            execute(f"{insert} RETURNING id"),
            execute(f"{insert} RETURNING id", want_rows=False),
            execute("SELECT count(*) FROM t"),
            execute("DELETE FROM t"),
            CLOSE,
        )
        results = found["results"][len(begin) :]
        assert [too_large(result) for result in results] == [True, True, True, False, False, False, False]
        assert results[4]["response"]["result"]["rows"] == [[integer(ROWS)]]


LARGE = "hex(zeroblob(2000000))"


@pytest.mark.parametrize(
    "requests",
    [
        (execute(f"SELECT {LARGE}"),),
        (execute(f"INSERT INTO t(a) VALUES ('x') RETURNING {LARGE}"),),
        (execute("BEGIN"), execute(f"SELECT {LARGE}"), execute("ROLLBACK")),
        ({"type": "batch", "batch": {"steps": [{"stmt": {"sql": f"SELECT {LARGE}"}}] * 2}},),
    ],
    ids=["read", "written", "transaction", "batch"],
)
async def test_what_was_refused_is_not_kept(small: Client, requests: tuple[dict[str, object], ...]) -> None:
    await answer(small, *requests, CLOSE)
    with keeping_little(6_000_000):
        for _ in range(10):
            found = await answer(small, *requests, CLOSE)
            assert "error" in json.dumps(found)


async def test_the_statements_of_an_answer_share_its_room(small: Client) -> None:
    some = MANY.replace(str(ROWS), "800")
    steps = [{"stmt": {"sql": sql}} for sql in (some, some, "SELECT 1", some)]
    found = await answer(small, {"type": "batch", "batch": {"steps": steps}})
    errors = found["results"][0]["response"]["result"]["step_errors"]
    assert [error and error["code"] for error in errors] == [None, "RESPONSE_TOO_LARGE", None, "RESPONSE_TOO_LARGE"]
    found = await answer(small, *[execute(some)] * 4, CLOSE, baton=found["baton"])
    assert [too_large(result) for result in found["results"]] == [False, False, True, True, False]
    found = await answer(small, execute(some), CLOSE)
    assert not too_large(found["results"][0])


async def test_a_cursor_tells_it_in_its_place(small: Client) -> None:
    batch = {"steps": [{"stmt": {"sql": sql}} for sql in ("BEGIN", "SELECT 1", MANY, "SELECT 2")]}
    response = await small.post("/v3/cursor", json={"batch": batch})
    lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [line["type"] for line in lines[3:]] == [
        *("step_begin", "row", "step_end"),
        "step_error",
        *("step_begin", "row", "step_end"),
    ]
    assert lines[6]["error"]["code"] == "RESPONSE_TOO_LARGE"


async def test_a_cursor_that_is_read_as_it_is_taken_has_no_limit(small: Client) -> None:
    response = await small.post("/v3/cursor", json={"batch": {"steps": [{"stmt": {"sql": MANY}}]}})
    lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert {line["type"] for line in lines[2:-1]} == {"row"}
    assert lines[-1]["type"] == "step_end"


async def test_a_batch_has_a_number_of_steps_and_a_script_any(small: Client) -> None:
    def batch(count: int) -> dict[str, Any]:
        return {"type": "batch", "batch": {"steps": [{"stmt": {"sql": "INSERT INTO t(a) VALUES (NULL)"}}] * count}}

    script = {"type": "sequence", "sql": "INSERT INTO t(a) VALUES (NULL);" * 49}
    found = await answer(small, batch(50), batch(51), script, execute("SELECT count(*) FROM t"), CLOSE)
    kinds = [result["type"] for result in found["results"]]
    assert kinds == ["ok", "error", "ok", "ok", "ok"]
    assert code(found["results"][1]) == "SQLITE_TOOBIG"
    assert "front.max_batch_steps (50)" in found["results"][1]["error"]["message"]
    assert found["results"][3]["response"]["result"]["rows"] == [[integer(99)]]
    response = await small.post("/v3/cursor", json={"batch": batch(51)["batch"]})
    assert '"code":"SQLITE_TOOBIG"' in await response.text()


async def test_a_script_of_any_length_runs_in_its_order_and_in_its_transaction(door: Open) -> None:
    client = await door()
    inserts = "".join(f"INSERT INTO t(a) VALUES ('{number}');" for number in range(2500))
    for begin, end, kept in (("BEGIN;", "ROLLBACK", 0), ("", "SELECT 1", 2500)):
        found = await answer(
            client, {"type": "sequence", "sql": begin + inserts + end}, execute("SELECT count(*) FROM t")
        )
        assert found["results"][1]["response"]["result"]["rows"] == [[integer(kept)]]
    found = await answer(client, {"type": "sequence", "sql": "SELECT 1;" * 1500 + "SELECT nope;" + inserts}, CLOSE)
    assert code(found["results"][0]) == "SQL_INPUT_ERROR"
