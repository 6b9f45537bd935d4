"""What the front door tells of itself: statements by shape, slow ones with their plan, whose request a line is of."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

from cutover.clock import monotonic
from cutover.metrics import FINE, Metrics, ShapeTally
from cutover.model.statement import Ok, Statement, Step
from cutover.model.table import Column, Table, Tables
from cutover.serve.statement_log import Names, StatementLog
from cutover.write_through import WriteThrough
from cutover.write_through.shapes import SHAPES
from tests.support.front import connect, eventually, listening, opened

SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b TEXT);"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
Json = dict[str, Any]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("test")


@pytest.fixture
async def way(sqlite_path: str, metrics: Metrics) -> AsyncIterator[WriteThrough]:
    async with opened(sqlite_path, SCHEMA, metrics=metrics) as way:
        yield way


async def post(client: ClientSession, *texts: str, headers: dict[str, str] | None = None, version: int = 2) -> Any:
    requests = [{"type": "execute", "stmt": {"sql": sql}} for sql in texts]
    body = json.dumps({"requests": [*requests, {"type": "close"}]})
    return await client.post(f"/v{version}/pipeline", data=body, headers=headers)


def shape(way: WriteThrough, text: str) -> Json:
    return next(row for row in way.shapes.rows() if row["shape"] == text)


# -- shapes ------------------------------------------------------------------------------------------------------------


async def test_each_shape_tells_how_often_how_long_and_how_it_ended(way: WriteThrough, metrics: Metrics) -> None:
    async with listening(way) as (_, client):
        for number in range(3):
            await post(client, f"INSERT INTO t(a, b) VALUES ('x{number}', 'secret{number}')")
        await post(client, "INSERT INTO t(a, b) VALUES ('x1', 'again')")
        await post(client, "SELECT a FROM t WHERE a <> 'x'", "SELECT missing FROM t", "CREATE TABLE u (x)")
    found = shape(way, "INSERT INTO t(a, b) VALUES (?, ...)")
    assert (found["kind"], found["executions"], found["rows"]) == ("write", 4, 3)
    assert found["errors"] == {"SQLITE_CONSTRAINT": 1}
    seconds = found["seconds"]
    assert 0 < seconds["p50"] <= seconds["p95"] <= seconds["p99"] <= seconds["max"] <= seconds["total"]
    assert found["first_seen"] < found["last_seen"]
    assert shape(way, "SELECT a FROM t WHERE a <> ?")["rows"] == 3
    assert "secret" not in str(way.shapes.rows())
    value = metrics.registry.get_sample_value
    assert value("cutover_statement_errors_total", {"kind": "write", "code": "SQLITE_CONSTRAINT"}) == 1
    assert value("cutover_statement_errors_total", {"kind": "read", "code": "SQL_INPUT_ERROR"}) == 1
    assert value("cutover_statement_seconds_count", {"kind": "write"}) == 4
    assert value("cutover_statement_seconds_count", {"kind": "ddl"}) == 1
    assert value("cutover_statement_seconds_bucket", {"kind": "write", "le": "10.0"}) == 4
    assert value("cutover_statement_seconds_sum", {"kind": "write"}) == pytest.approx(seconds["total"], abs=1e-6)


async def test_every_way_is_counted_and_skipped_steps_are_not(way: WriteThrough) -> None:
    stream = way.stream()
    steps = [Step(Statement("SELECT missing FROM t")), Step(Statement("SELECT 1"), Ok(0))]
    await stream.batch(steps)
    await stream.batch([Step(Statement("BEGIN")), Step(Statement("INSERT INTO t(a) VALUES (1)"))])
    await stream.batch([Step(Statement("COMMIT"))])
    await stream.batches([[Step(Statement("INSERT INTO t(a) VALUES (2)"))]] * 2)
    await way.run([Step(Statement("DELETE FROM t"))])
    counts = {row["shape"]: (row["kind"], row["executions"], len(row["errors"])) for row in way.shapes.rows()}
    assert counts == {
        "SELECT missing FROM t": ("read", 1, 1),
        "BEGIN": ("transaction", 1, 0),
        "COMMIT": ("transaction", 1, 0),
        "INSERT INTO t(a) VALUES (?)": ("write", 3, 1),
        "DELETE FROM t": ("write", 1, 0),
    }


async def test_rows_that_a_cursor_takes_are_counted_and_a_client_that_takes_its_time_is_not_slow(
    way: WriteThrough,
) -> None:
    many = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 60000) SELECT n, 'some text' FROM c"
    texts = [many, "SELECT missing FROM t", "SELECT 1"]
    pieces = await way.stream().pieces([Step(Statement(text)) for text in texts])
    while await pieces.more():
        await asyncio.sleep(0)
    await pieces.close()
    rows = {row["kind"] + str(row["rows"]): (row["executions"], row["errors"]) for row in way.shapes.rows()}
    assert rows == {"read60000": (1, {}), "read0": (1, {"SQL_INPUT_ERROR": 1}), "read1": (1, {})}
    began = monotonic()
    given_up = await way.stream().pieces([Step(Statement(many))])
    assert await given_up.more()
    before = way.shapes.rows()[0]["seconds"]["total"]
    taking_its_time = monotonic()
    await asyncio.sleep(0.3)
    idle = monotonic() - taking_its_time
    await given_up.close()
    found = way.shapes.rows()[0]
    assert found["executions"] == 2
    assert found["seconds"]["total"] - before < monotonic() - began - idle
    assert 60000 < found["rows"] < 120_000


async def test_what_was_refused_as_a_whole_is_an_error_of_each_statement(way: WriteThrough) -> None:
    await way.hold(0)
    async with listening(way) as (_, client):
        assert (await post(client, "INSERT INTO t(a) VALUES (1)")).status == 503
    found = shape(way, "INSERT INTO t(a) VALUES (?)")
    assert (found["executions"], found["errors"]) == (1, {"SQLITE_BUSY": 1})
    assert found["seconds"]["max"] >= 0.05, "waiting counts"


async def test_shapes_are_bounded_and_nothing_stays_uncounted(way: WriteThrough) -> None:
    total = SHAPES + 30
    for number in range(total):
        await way.run([Step(Statement(f"SELECT 1 AS c{number}"))])
    rows = way.shapes.rows()
    assert len(rows) == SHAPES + 1
    assert shape(way, "(other statements) read")["executions"] == 30
    assert sum(row["executions"] for row in rows) == total


def test_quantiles_are_right_within_a_bucket() -> None:
    tally = ShapeTally("", "read", 0)
    for number in range(1, 1001):
        tally.note(number / 1000, 1, 0)
    for share in (0.5, 0.95, 0.99):
        assert share <= tally.quantile(share) <= share * 1.3
    assert tally.quantile(1) == 1.0
    tally.note(500.0, 0, 0)
    assert tally.quantile(1) == 500.0 > FINE[-1]


# -- slow statements ---------------------------------------------------------------------------------------------------


async def test_a_slow_statement_is_logged_with_its_plan_and_without_values(way: WriteThrough) -> None:
    log = StatementLog(way, slow=1e-9, verbatim=False)
    with capture_logs() as lines:
        async with listening(way) as (_, client):
            await post(client, "SELECT b FROM t WHERE b = 'secret'", headers={"x-request-id": "mine"})
            await eventually("the line", lambda: any(line["event"] == "slow statement" for line in lines))
    await log.close()
    (line,) = [line for line in lines if line["event"] == "slow statement"]
    assert line["shape"] == "SELECT b FROM t WHERE b = ?"
    assert (line["log_level"], line["kind"], line["rows"], line["code"]) == ("warning", "read", 0, None)
    assert line["plan"] == ["SCAN t"]
    assert line["request_id"] == "mine"
    assert line["ms"] > 0
    assert "secret" not in str(lines)


async def test_the_plan_of_a_write_changes_nothing_and_of_many_few_are_asked(
    way: WriteThrough, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr("cutover.serve.statement_log.clock", now)
    log = StatementLog(way, slow=1e-9, verbatim=False)
    with capture_logs() as lines:
        for number in range(20):
            await way.run([Step(Statement("UPDATE t SET b = ? WHERE a = ?", (number, "x")))])
        await eventually("the lines", lambda: len(lines) == 20)
        planned = [line for line in lines if line.get("plan")]
        assert len(planned) == 1, "one shape has one plan a second"
        assert "SEARCH t USING INDEX" in planned[0]["plan"][0]
        for number in range(20):
            await way.run([Step(Statement(f"SELECT {number} AS c{number}, b FROM t"))])
        await eventually("the lines", lambda: len(lines) == 40)
        assert len([line for line in lines if line.get("plan")]) == 10, "all together have ten a second"
        now.monotonic = lambda: 101.0
        await way.run([Step(Statement("UPDATE t SET b = ? WHERE a = ?", (1, "x")))])
        await eventually("the line", lambda: len(lines) == 41)
        assert lines[-1]["plan"], "the next second has its own"
    await log.close()


async def test_a_plan_that_cannot_be_had_is_no_reason_to_say_nothing(way: WriteThrough) -> None:
    log = StatementLog(way, slow=1e-9, verbatim=False)
    with capture_logs() as lines:
        await way.run([Step(Statement("SELECT missing FROM t"))])
        await eventually("the line", lambda: lines)
    await log.close()
    assert (lines[0]["code"], lines[0]["plan"]) == ("SQL_INPUT_ERROR", None)


async def test_texts_are_logged_only_if_that_is_wanted(way: WriteThrough) -> None:
    sql = "INSERT INTO t(a, b) VALUES ('verbatim', ?)"
    StatementLog(way, slow=0, verbatim=False)
    with capture_logs() as lines:
        await way.run([Step(Statement(sql, ("argument",)))])
    assert lines == []
    StatementLog(way, slow=0, verbatim=True)
    with capture_logs() as lines:
        await way.run([Step(Statement(sql, ("argument",)))])
    (line,) = lines
    assert (line["event"], line["log_level"], line["sql"]) == ("statement", "info", sql)
    assert line["code"] == "SQLITE_CONSTRAINT"
    assert "argument" not in str(line)


async def test_the_tokens_name_is_told_never_the_token(way: WriteThrough) -> None:
    StatementLog(way, slow=0, verbatim=True)
    with capture_logs() as lines:
        async with listening(way, tokens=["hidden-token"]) as (_, client):
            await post(client, "SELECT 1", headers={"authorization": "Bearer hidden-token"})
            await post(client, "SELECT 1", headers={"authorization": "Bearer other-token"})
    (line,) = [line for line in lines if line["event"] == "statement"]
    assert line["token"] == "tokens.0"
    assert "-token" not in str(lines)


def test_only_names_of_the_schema_are_kept_in_double_quotes() -> None:
    tables: list[Tables] = [()]
    names = Names(lambda: tables[0])
    assert not names.known("users")
    column = Column("Handle", "TEXT", "TEXT", "handle", "text")
    tables[0] = (Table("users", "public", "users", (column,), ("Handle",)),)
    assert [names.known(word) for word in ("users", "USERS", "handle", "secret")] == [True, True, True, False]


# -- whose request -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ["/v2/pipeline", "/v3/cursor", "/v1/execute"])
async def test_the_clients_id_is_answered_and_logged(way: WriteThrough, endpoint: str) -> None:
    body = {"requests": [], "batch": {"steps": []}, "stmt": {"sql": "SELECT 1"}}
    with capture_logs() as lines:
        async with listening(way) as (_, client):
            headers = {"X-Request-Id": "a/b-1", "traceparent": TRACE, "tracestate": "v=1,w=2"}
            answer = await client.post(endpoint, data=json.dumps(body), headers=headers)
            assert (answer.status, answer.headers["x-request-id"]) == (200, "a/b-1")
            failed = await client.post(endpoint, data="[", headers=headers)
            assert (failed.status, failed.headers["x-request-id"]) == (400, "a/b-1")
    good, bad = [line for line in lines if line["event"] == "request"]
    assert (good["log_level"], bad["log_level"]) == ("debug", "info")
    for line in (good, bad):
        assert line["request_id"] == "a/b-1"
        assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert line["parent_id"] == "00f067aa0ba902b7"
        assert line["tracestate"] == "v=1,w=2"
        assert len(line["span_id"]) == 16
    assert good["span_id"] != bad["span_id"]


async def test_an_id_is_made_up_for_what_is_logged_and_told_to_the_client(way: WriteThrough) -> None:
    with capture_logs() as lines:
        async with listening(way) as (_, client):
            answers = [await client.post("/v2/pipeline", data="[") for _ in range(2)]
    told = [line["request_id"] for line in lines if line["event"] == "request"]
    assert [answer.headers["x-request-id"] for answer in answers] == told
    assert len(set(told)) == 2


@pytest.mark.parametrize("between", ["SELECT 1", "INSERT INTO t(a) VALUES (1)"])
async def test_ids_do_not_outlive_their_request(way: WriteThrough, between: str) -> None:
    """Also on one connection, and where the next request was sent ahead."""
    async with listening(way) as (_, client):
        assert client._base_url is not None
        _, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
        requests = [{"type": "execute", "stmt": {"sql": between}}, {"type": "close"}]
        body = json.dumps({"requests": requests}).encode()
        head = f"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n".encode()
        with capture_logs() as lines:
            one, two = head + b"x-request-id: first\r\n\r\n" + body, head + b"\r\n" + body
            writer.write(one + two + one)
            await eventually("three lines", lambda: len(lines) == 3)
        writer.close()
    ids = [line["request_id"] for line in lines]
    assert ids[0] == ids[2] == "first" != ids[1]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("x" * 128, True), ("!~", True), ("x" * 129, False), ("a b", False), ("é", False), ("", False)],
)
async def test_an_id_that_no_log_should_have_is_replaced(way: WriteThrough, sent: str, kept: bool) -> None:
    async with listening(way) as (_, client):
        for path in ("/v2/pipeline", "/v1/batch"):
            body = '{"requests":[],"batch":{"steps":[]}}'
            answer = await client.post(path, data=body, headers={"x-request-id": sent})
            assert (answer.headers["x-request-id"] == sent) is kept
            assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("parent", "valid"),
    [
        (TRACE, True),
        ("01" + TRACE[2:] + "-later", True),
        (TRACE + "-later", False),
        ("ff" + TRACE[2:], False),
        (TRACE.upper(), False),
        (TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32), False),
        (TRACE.replace("00f067aa0ba902b7", "0" * 16), False),
        (TRACE[:-1], False),
        ("", False),
    ],
)
async def test_traces_are_as_the_specification_has_them(way: WriteThrough, parent: str, valid: bool) -> None:
    with capture_logs() as lines:
        async with listening(way) as (_, client):
            await post(client, headers={"traceparent": parent, "tracestate": "v=1"})
    (line,) = lines
    assert ("trace_id" in line) is ("tracestate" in line) is valid
    assert line["request_id"]


async def test_a_socket_has_the_id_of_its_upgrade(way: WriteThrough) -> None:
    StatementLog(way, slow=0, verbatim=True)
    with capture_logs() as lines:
        async with listening(way) as (_, client):
            client.headers.update({"x-request-id": "socket-1", "traceparent": TRACE})
            socket = await connect(client)
            await socket.ask("open_stream", stream_id=1)
            await socket.execute(1, "SELECT 1")
            await socket.raw.close()
            await eventually("its line", lambda: any(line["event"] == "socket" for line in lines))
    for event in ("statement", "socket"):
        (line,) = [line for line in lines if line["event"] == event]
        assert (line["request_id"], line["trace_id"]) == ("socket-1", TRACE[3:35])


async def test_what_is_open_is_told(way: WriteThrough) -> None:
    async with listening(way) as (door, client):

        def told(what: str) -> float:
            found = door.front.sockets.metrics.registry.get_sample_value(f"cutover_open_{what}")
            assert found is not None
            return found

        assert (told("streams"), told("sockets")) == (0, 0)
        socket = await connect(client)
        await socket.ask("open_stream", stream_id=1)
        async with client.post("/v2/pipeline", json={"requests": []}) as answer:
            assert (await answer.json())["baton"]
        assert (told("streams"), told("sockets"), told("connections")) == (2, 1, 2)
        await socket.ask("close_stream", stream_id=1)
        assert told("streams") == 1
        await socket.raw.close()
        await eventually("the socket is gone", lambda: (told("sockets"), told("connections")) == (0, 1))
