"""The front door as clients see it: real HTTP, a real SQLite file."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession
from pydantic import SecretStr

from cutover.hrana.answers import write_row
from cutover.hrana.door import FrontDoor
from cutover.metrics import Metrics
from cutover.settings import FrontSettings
from cutover.write_through import WriteThrough
from tests.support.front import SCHEMA, listening, opened

Client = ClientSession
Open = Callable[..., Awaitable[Client]]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("test")


@pytest.fixture
def commits(metrics: Metrics) -> Callable[[], float]:
    """How many groups were committed."""
    return lambda: metrics.registry.get_sample_value("cutover_write_commit_seconds_count") or 0.0


@pytest.fixture
async def way(sqlite_path: str, metrics: Metrics) -> AsyncIterator[WriteThrough]:
    async with opened(sqlite_path, metrics=metrics) as way:
        yield way


@pytest.fixture
async def door(way: WriteThrough) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def make(metrics: Metrics | None = None, /, **settings: object) -> Client:
            front = FrontDoor(way, FrontSettings.model_validate(settings), metrics or Metrics("test"))
            stack.push_async_callback(front.close)
            port = await front.listen("127.0.0.1", 0, shutdown_timeout=30)
            return await stack.enter_async_context(ClientSession(f"http://127.0.0.1:{port}"))

        yield make


def execute(sql: str, *args: dict[str, object], **more: object) -> dict[str, object]:
    return {"type": "execute", "stmt": {"sql": sql, "args": list(args), **more}}


def integer(value: int) -> dict[str, object]:
    return {"type": "integer", "value": str(value)}


CLOSE: dict[str, object] = {"type": "close"}


async def post(
    client: Client, *requests: dict[str, object], baton: str | None = None, version: int = 2
) -> ClientResponse:
    body = io.BytesIO(json.dumps({"baton": baton, "requests": requests}).encode())  # aiohttp wants large ones so
    return await client.post(f"/v{version}/pipeline", data=body)


async def answer(client: Client, *requests: dict[str, object], baton: str | None = None, version: int = 2) -> Any:
    response = await post(client, *requests, baton=baton, version=version)
    assert response.status == 200, await response.text()
    return await response.json()


def code(result: dict[str, Any]) -> str:
    return str(result["error"]["code"])


async def test_one_shot_pipeline(door: Open) -> None:
    client = await door()
    response = await post(client, execute("INSERT INTO t(a) VALUES ('x')"), execute("SELECT * FROM t"), CLOSE)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["access-control-allow-origin"] == "*"
    assert await response.json() == {
        "baton": None,
        "base_url": None,
        "results": [
            {
                "type": "ok",
                "response": {
                    "type": "execute",
                    "result": {"cols": [], "rows": [], "affected_row_count": 1, "last_insert_rowid": "1"},
                },
            },
            {
                "type": "ok",
                "response": {
                    "type": "execute",
                    "result": {
                        "cols": [{"name": "id", "decltype": "INTEGER"}, {"name": "a", "decltype": "TEXT"}],
                        "rows": [[integer(1), {"type": "text", "value": "x"}]],
                        "affected_row_count": 0,
                        "last_insert_rowid": None,
                    },
                },
            },
            {"type": "ok", "response": {"type": "close"}},
        ],
    }


async def test_an_interactive_transaction_over_batons(door: Open) -> None:
    client = await door()
    first = await answer(client, execute("BEGIN"), {"type": "get_autocommit"}, version=3)
    assert first["results"][1]["response"] == {"type": "get_autocommit", "is_autocommit": False}
    second = await answer(client, execute("INSERT INTO t(a) VALUES ('x')"), baton=first["baton"])
    assert second["baton"] not in (None, first["baton"])
    outside = await answer(client, execute("SELECT count(*) FROM t"), CLOSE)
    assert outside["results"][0]["response"]["result"]["rows"] == [[integer(0)]]
    third = await answer(client, execute("COMMIT"), CLOSE, baton=second["baton"])
    assert third["baton"] is None
    outside = await answer(client, execute("SELECT count(*) FROM t"), CLOSE)
    assert outside["results"][0]["response"]["result"]["rows"] == [[integer(1)]]
    for used in (first["baton"], second["baton"], third["baton"] or "x"):
        assert (await post(client, CLOSE, baton=used)).status == 400


async def test_a_forged_or_used_baton_does_not_hurt_the_stream(door: Open) -> None:
    client = await door()
    first = await answer(client, execute("BEGIN"))
    second = await answer(client, execute("INSERT INTO t(a) VALUES ('x')"), baton=first["baton"])
    for wrong in (first["baton"], second["baton"][:-2] + "zz", "", "é"):
        response = await post(client, CLOSE, baton=wrong)
        assert (response.status, response.headers["content-type"]) == (400, "text/plain")
    last = await answer(client, execute("COMMIT"), CLOSE, baton=second["baton"])
    assert last["results"][0]["type"] == "ok"


async def test_close_rolls_back(door: Open) -> None:
    client = await door()
    await answer(client, execute("BEGIN IMMEDIATE"), execute("INSERT INTO t(a) VALUES ('x')"), CLOSE)
    counted = await answer(client, execute("INSERT INTO t(a) VALUES ('x') RETURNING id"), CLOSE)
    assert counted["results"][0]["response"]["result"]["rows"] == [[integer(1)]]


async def test_an_idle_stream_expires_and_is_rolled_back(door: Open) -> None:
    client = await door(stream_idle_timeout=0.05)
    first = await answer(client, execute("BEGIN IMMEDIATE"), execute("INSERT INTO t(a) VALUES ('x')"))
    # The write lock is free as soon as the idle stream is gone, and not before.
    written = await answer(client, execute("INSERT INTO t(a) VALUES ('x')"), CLOSE)
    assert written["results"][0]["type"] == "ok"
    response = await post(client, execute("COMMIT"), baton=first["baton"])
    assert response.status == 400
    assert await response.json() == {"message": "The stream has expired due to inactivity", "code": "STREAM_EXPIRED"}


async def test_errors_are_in_band_and_every_request_is_served(door: Open) -> None:
    client = await door()
    found = await answer(
        client,
        execute("SELEC"),
        execute("INSERT INTO t(a) VALUES ('x')"),
        execute("INSERT INTO t(a) VALUES ('x')"),
        execute("SELECT ?"),
        execute("SELECT 1; SELECT 2"),
        {"type": "sequence", "sql": "DELETE FROM t; INSERT INTO nope VALUES (1); DELETE FROM t"},
        {"type": "sequence", "sql": "INSERT INTO t(a) VALUES ('y'); -- done\n"},
        CLOSE,
    )
    results = found["results"]
    assert [result["type"] for result in results] == ["error", "ok", *["error"] * 4, "ok", "ok"]
    assert [code(result) for result in results if result["type"] == "error"] == [
        "SQL_PARSE_ERROR",
        "SQLITE_CONSTRAINT",
        "ARGS_INVALID",
        "SQL_MANY_STATEMENTS",
        "SQLITE_UNKNOWN",
    ]
    assert "UNIQUE constraint failed: t.a" in results[2]["error"]["message"]


async def test_stored_texts(door: Open) -> None:
    client = await door()
    store = {"type": "store_sql", "sql_id": -1, "sql": "SELECT ?"}
    run = {"type": "execute", "stmt": {"sql_id": -1, "args": [integer(5)]}}
    first = await answer(client, store, run, {"type": "describe", "sql_id": -1})
    assert first["results"][1]["response"]["result"]["rows"] == [[integer(5)]]
    assert first["results"][2]["response"]["result"]["params"] == [{"name": None}]
    batch = {"type": "batch", "batch": {"steps": [{"stmt": {"sql_id": -1, "args": [integer(6)]}}]}}
    close_sql = {"type": "close_sql", "sql_id": -1}
    second = await answer(client, batch, close_sql, close_sql, store, baton=first["baton"])
    assert second["results"][0]["response"]["result"]["step_results"][0]["rows"] == [[integer(6)]]
    assert (await post(client, store, baton=second["baton"])).status == 400  # an id is stored once
    assert (await post(client, CLOSE, baton=second["baton"])).status == 400  # and the stream has ended
    assert (await post(client, run, CLOSE)).status == 400
    many = [{"type": "store_sql", "sql_id": at, "sql": "x"} for at in range(151)]
    assert code((await answer(client, *many, CLOSE))["results"][150]) == "SQL_STORE_TOO_MANY"
    big = {"type": "store_sql", "sql_id": 1, "sql": "x" * 70_000}
    assert code((await answer(client, big, CLOSE))["results"][0]) == "SQL_STORE_TOO_LARGE"


async def test_a_batch_with_conditions(door: Open) -> None:
    client = await door()
    steps = [
        {"stmt": {"sql": "BEGIN"}},
        {"stmt": {"sql": "INSERT INTO t(a) VALUES ('x')"}, "condition": {"type": "ok", "step": 0}},
        {"stmt": {"sql": "INSERT INTO t(a) VALUES ('x')"}, "condition": {"type": "ok", "step": 1}},
        {"stmt": {"sql": "COMMIT"}, "condition": {"type": "ok", "step": 2}},
        {"stmt": {"sql": "ROLLBACK"}, "condition": {"type": "not", "cond": {"type": "ok", "step": 3}}},
    ]
    found = await answer(client, {"type": "batch", "batch": {"steps": steps}}, execute("SELECT count(*) FROM t"), CLOSE)
    result = found["results"][0]["response"]["result"]
    assert [item is not None for item in result["step_results"]] == [True, True, False, False, True]
    assert [item and item["code"] for item in result["step_errors"]] == [None, None, "SQLITE_CONSTRAINT", None, None]
    assert found["results"][1]["response"]["result"]["rows"] == [[integer(0)]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"requests": 1}',
        b'{"requests": [{"type": "dance"}]}',
        b'{"requests": [{"type": "get_autocommit"}]}',
        b'{"requests": [{"type": "close"}, {"type": "execute", "stmt": {"sql": "SELECT 1"}}]}',
        b'{"requests": [{"type": "execute", "stmt": {"sql": "SELECT \\"\\ud800\\""}}]}',
        b'{"requests": [{"type": "execute", "stmt": {"sql": "x", "args": [{"type": "float", "value": NaN}]}}]}',
        b'{"requests": ' + b"[" * 3000,
        b"\xff\xfe",
    ],
)
async def test_a_broken_protocol_is_a_4xx_and_nothing_runs(door: Open, body: bytes) -> None:
    client = await door()
    response = await client.post("/v2/pipeline", data=body)
    assert response.status == 400
    assert response.headers["content-type"] == "text/plain"
    assert (await answer(client, CLOSE))["results"][0]["type"] == "ok"


async def test_malformed_requests_run_nothing_of_their_pipeline(door: Open) -> None:
    client = await door()
    assert (await post(client, execute("INSERT INTO t(a) VALUES ('x')"), {"type": "dance"})).status == 400
    counted = await answer(client, execute("SELECT count(*) FROM t"), CLOSE)
    assert counted["results"][0]["response"]["result"]["rows"] == [[integer(0)]]


async def test_probes_and_what_is_not_there(door: Open) -> None:
    client = await door()
    for path in ("/v2", "/v3", "/health"):
        response = await client.get(path)
        assert (response.status, await response.text()) == (200, "")
    assert (await (await client.get("/version")).text()).startswith("cutover ")
    assert (await client.get("/v4")).status == 404
    assert (await client.post("/v4/pipeline")).status == 404
    preflight = await client.options(
        "/v2/pipeline", headers={"origin": "http://app", "access-control-request-method": "POST"}
    )
    assert preflight.status == 200
    assert "authorization" in preflight.headers["access-control-allow-headers"]


async def test_tokens(door: Open) -> None:
    client = await door(tokens=(SecretStr("secret"),))
    for headers in ({}, {"authorization": "Bearer"}, {"authorization": "Bearer wrong"}):
        response = await client.post("/v2/pipeline", data=b"{}", headers=headers)
        assert response.status == 401
        assert response.headers["content-type"] == "application/json"
        assert (await response.json())["error"].startswith("Unauthorized")
    right = await client.post("/v2/pipeline", data=b'{"requests": []}', headers={"authorization": "Bearer secret"})
    assert right.status == 200
    assert (await client.get("/v2")).status == 200


async def test_the_request_size_limit(door: Open) -> None:
    client = await door(max_request_bytes=100_000)
    assert (await answer(client, execute("SELECT length(?)", {"type": "text", "value": "x" * 90_000}), CLOSE))[
        "results"
    ]
    response = await post(client, execute("SELECT ?", {"type": "text", "value": "x" * 110_000}), CLOSE)
    assert (response.status, response.headers["content-type"]) == (413, "application/json")


async def test_a_held_write_that_times_out_is_503(door: Open, way: WriteThrough) -> None:
    client = await door()
    await way.hold(0)
    response = await post(client, execute("INSERT INTO t(a) VALUES ('x')"), CLOSE)
    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert (await response.json())["code"] == "SQLITE_BUSY"
    mixed = await answer(client, execute("SELECT 1"), execute("INSERT INTO t(a) VALUES ('x')"))
    assert code(mixed["results"][1]) == "SQLITE_BUSY"
    await way.resume(way.member, 1)
    again = await answer(client, execute("INSERT INTO t(a) VALUES ('x')"), CLOSE, baton=mixed["baton"])
    assert again["results"][0]["type"] == "ok"


async def test_too_many_streams_and_shutting_down_are_503(door: Open, way: WriteThrough) -> None:
    client = await door(max_streams=2)
    kept = [await answer(client, execute("SELECT 1")) for _ in range(2)]
    assert (await post(client, execute("SELECT 1"))).status == 503
    assert (await post(client, execute("SELECT 1"), CLOSE)).status == 200
    await answer(client, CLOSE, baton=kept[0]["baton"])
    assert (await post(client, execute("SELECT 1"))).status == 200
    await way.drain(1)
    assert (await post(client, execute("SELECT 1"), CLOSE)).status == 503


async def test_cursors(door: Open) -> None:
    client = await door()
    steps = [
        {"stmt": {"sql": "INSERT INTO t(a) VALUES ('x'), ('y')"}},
        {"stmt": {"sql": "SELECT a FROM t"}},
        {"stmt": {"sql": "SELEC"}},
        {"stmt": {"sql": "SELECT 1"}, "condition": {"type": "ok", "step": 2}},
    ]
    response = await client.post("/v3/cursor", data=json.dumps({"baton": None, "batch": {"steps": steps}}))
    assert response.headers["content-type"] == "text/plain"
    lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert set(lines[0]) == {"baton", "base_url"}
    assert [line["type"] for line in lines[1:]] == [
        *("step_begin", "step_end", "step_begin", "row", "row", "step_end", "step_error"),
    ]
    assert lines[2] == {"type": "step_end", "affected_row_count": 2, "last_insert_rowid": "2"}
    assert lines[7]["step"] == 2
    assert (await answer(client, CLOSE, baton=lines[0]["baton"], version=3))["baton"] is None


async def test_the_stateless_first_version(door: Open) -> None:
    client = await door()
    found = await client.post("/v1/execute", data=json.dumps({"stmt": {"sql": "INSERT INTO t(a) VALUES ('x')"}}))
    assert (await found.json())["result"]["affected_row_count"] == 1
    found = await client.post("/v1/execute", data=json.dumps({"stmt": {"sql": "INSERT INTO t(a) VALUES ('x')"}}))
    assert (found.status, (await found.json())["code"]) == (400, "SQLITE_CONSTRAINT")
    steps = {"batch": {"steps": [{"stmt": {"sql": "BEGIN"}}, {"stmt": {"sql": "DELETE FROM t"}}]}}
    found = await client.post("/v1/batch", data=json.dumps(steps))
    assert (await found.json())["result"]["step_errors"] == [None, None]
    counted = await answer(client, execute("SELECT count(*) FROM t"), CLOSE)
    assert counted["results"][0]["response"]["result"]["rows"] == [[integer(1)]]


async def test_many_clients_at_once_lose_nothing(door: Open) -> None:
    client = await door()

    async def writer(name: int) -> list[str]:
        done = []
        for at in range(25):
            text = f"{name}-{at}"
            value: dict[str, object] = {"type": "text", "value": text}
            found = await answer(client, execute("INSERT INTO t(a) VALUES (?)", value), CLOSE)
            assert found["results"][0]["type"] == "ok"
            done.append(text)
        return done

    written = await asyncio.gather(*(writer(name) for name in range(16)))
    found = await answer(client, execute("SELECT a FROM t"), CLOSE)
    rows = found["results"][0]["response"]["result"]["rows"]
    assert sorted(row[0]["value"] for row in rows) == sorted(text for done in written for text in done)


async def test_requests_are_counted(door: Open) -> None:
    metrics = Metrics("test")
    client = await door(metrics)
    await answer(client, CLOSE)
    await post(client, {"type": "dance"})
    counted = {
        (sample.labels["endpoint"], sample.labels["code"]): sample.value
        for sample in next(metrics.requests.collect()).samples
        if sample.name.endswith("_total") and sample.value
    }
    assert counted == {("/v2/pipeline", "200"): 1, ("/v2/pipeline", "400"): 1}


async def test_a_pipeline_of_writes_shares_a_commit_and_each_keeps_its_own_atomicity(
    door: Open, commits: Callable[[], float]
) -> None:
    client = await door()
    before = commits()
    inserts = [execute(f"INSERT INTO t(a) VALUES ('{text}')") for text in ("x", "y", "x", "z")]
    steps = [{"stmt": {"sql": sql}} for sql in ("INSERT INTO t(a) VALUES ('v')", "INSERT INTO t(a) VALUES ('y')")]
    inserts.insert(2, {"type": "batch", "batch": {"steps": steps}})
    results = (await answer(client, *inserts, CLOSE))["results"]
    assert [result["type"] for result in results] == ["ok", "ok", "ok", "error", "ok", "ok"]
    assert results[2]["response"]["result"]["step_errors"][1]["code"] == "SQLITE_CONSTRAINT"
    assert code(results[3]) == "SQLITE_CONSTRAINT"
    assert [results[at]["response"]["result"]["last_insert_rowid"] for at in (0, 1, 4)] == ["1", "2", "4"]
    assert commits() == before + 1


async def test_requests_of_a_pipeline_see_what_went_before_them(door: Open, commits: Callable[[], float]) -> None:
    client = await door()
    before = commits()
    requests = [
        execute("INSERT INTO t(a) VALUES ('x')"),
        execute("INSERT INTO t(a) VALUES ('y')"),
        execute("SELECT count(*), last_insert_rowid() FROM t"),
        execute("INSERT INTO t(a) VALUES ('z')"),
        execute("INSERT INTO t(a) SELECT 'rowid ' || last_insert_rowid()"),
        execute("SELECT group_concat(a) FROM t"),
        CLOSE,
    ]
    results = (await answer(client, *requests))["results"]
    assert results[2]["response"]["result"]["rows"] == [[integer(2), integer(2)]]
    assert results[5]["response"]["result"]["rows"] == [[{"type": "text", "value": "x,y,z,rowid 3"}]]
    assert commits() == before + 3


async def test_a_pipeline_whose_group_is_lost_runs_one_by_one(door: Open) -> None:
    client = await door()
    requests = [
        execute("INSERT INTO t(a) VALUES ('x')"),
        execute("INSERT OR ROLLBACK INTO t(a) VALUES ('x')"),
        execute("INSERT INTO t(a) VALUES ('y')"),
        execute("SELECT group_concat(a) FROM t"),
        CLOSE,
    ]
    results = (await answer(client, *requests))["results"]
    assert [result["type"] for result in results] == ["ok", "error", "ok", "ok", "ok"]
    assert results[3]["response"]["result"]["rows"] == [[{"type": "text", "value": "x,y"}]]


async def test_many_rows_are_written_off_the_event_loop(door: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written there, they would keep everybody waiting."""
    threads: list[bool] = []
    monkeypatch.setattr(
        "cutover.hrana.answers.write_row",
        lambda row: threads.append(threading.current_thread() is threading.main_thread()) or write_row(row),
    )
    client = await door()
    many = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) SELECT n, 'row' FROM c"
    batch: dict[str, object] = {"type": "batch", "batch": {"steps": [{"stmt": {"sql": many}}]}}
    for request in (execute(many), batch):
        assert (await answer(client, request, CLOSE))["results"][0]["type"] == "ok"
        assert threads == [False] * 20_000
        threads.clear()
    await answer(client, execute("SELECT 1"), CLOSE)
    assert threads == [True]


async def test_definitions_keep_their_text_on_a_stream_with_a_past(door: Open) -> None:
    client = await door()
    first = await answer(client, execute("INSERT INTO t(id, a) VALUES (4242, 'past')"))
    trigger = "CREATE TRIGGER g AFTER UPDATE ON t BEGIN INSERT INTO t(a) VALUES ('by ' || last_insert_rowid()); END"
    view = "CREATE VIEW v AS SELECT changes() AS c"
    asked = execute("SELECT sql FROM sqlite_master WHERE name IN ('g', 'v') ORDER BY name")
    found = await answer(client, execute(trigger), execute(view), asked, CLOSE, baton=first["baton"])
    rows = found["results"][2]["response"]["result"]["rows"]
    assert [row[0]["value"] for row in rows] == [trigger, view]


async def test_what_is_sent_along_in_a_transaction_that_was_taken_away_does_not_run(sqlite_path: str) -> None:
    async with opened(sqlite_path, SCHEMA, transaction_timeout=0.05) as way, listening(way) as (_, client):
        began = await answer(client, execute("BEGIN IMMEDIATE"), execute("INSERT INTO t(a) VALUES ('x')"))
        await answer(client, execute("INSERT INTO t(a) VALUES ('of another')"), CLOSE)  # waits until it is taken away
        rest = [execute("INSERT INTO t(a) VALUES ('y')"), execute("INSERT INTO t(a) VALUES ('z')"), execute("COMMIT")]
        found = await answer(client, *rest, {"type": "get_autocommit"}, baton=began["baton"], version=3)
        assert [code(result) for result in found["results"][:3]] == ["TRANSACTION_TIMEOUT"] * 3
        assert found["results"][3]["response"]["is_autocommit"]
        again = [execute("INSERT INTO t(a) VALUES ('again')"), execute("SELECT group_concat(a) FROM t"), CLOSE]
        rows = (await answer(client, *again, baton=found["baton"]))["results"][1]["response"]["result"]["rows"]
        assert rows == [[{"type": "text", "value": "of another,again"}]]


async def test_a_timeout_within_the_work_is_not_a_slow_client(door: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is told that its request came too late takes it for not executed."""

    async def overdue(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("cutover.hrana.front.Front.execute", overdue)
    response = await (await door()).post("/v1/execute", data=b"{}")
    assert (response.status, (await response.json())["code"]) == (500, "OUTCOME_UNKNOWN")
