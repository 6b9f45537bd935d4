"""The operators' door: every route, shape and refusal, over real HTTP."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient
from pydantic import SecretStr
from structlog.testing import capture_logs

from cutover.admin.app import make_app
from cutover.admin.operations import Actor, SwitchRequest
from cutover.errors import (
    CaptureBroken,
    ConfigurationError,
    CutoverError,
    FenceTimeout,
    NoSuchTable,
    RolesChanging,
    StoreError,
    StoreUnavailable,
    SwitchAborted,
    SwitchRefused,
)
from cutover.metrics import Metrics
from cutover.model.control import Gate
from cutover.settings import AdminSettings
from tests.support.operations import STATUS_SHAPE, ScriptedOperations

Client = TestClient[web.Request, web.Application]
Ask = Callable[..., Awaitable[tuple[int, Any]]]

TOKENS = AdminSettings(
    viewer_token=SecretStr("see"), operator_token=SecretStr("act"), admin_token=SecretStr("rule"), listen="0.0.0.0:1"
)
VIEWER_READS = (
    "/v1/status",
    "/v1/verify",
    "/v1/drift",
    "/v1/explain?table=posts&key=1",
    "/v1/quarantine",
    "/v1/statements",
    "/v1/audit",
    "/v1/report",
)
OPERATOR_ACTS = (
    "/v1/promote",
    "/v1/demote",
    "/v1/finish",
    "/v1/verify",
    "/v1/repair",
    "/v1/statements",
    "/v1/statements/forget",
    "/v1/mirror/pause",
    "/v1/mirror/resume",
    "/v1/backup",
    "/v1/backfill",
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0.1.0")


@pytest.fixture
def operations(metrics: Metrics) -> ScriptedOperations:
    return ScriptedOperations(metrics)


@pytest.fixture
async def client(operations: ScriptedOperations, metrics: Metrics, aiohttp_client: Any) -> Client:
    return await aiohttp_client(make_app(operations, AdminSettings(), metrics))


@pytest.fixture
async def locked(operations: ScriptedOperations, metrics: Metrics, aiohttp_client: Any) -> Client:
    return await aiohttp_client(make_app(operations, TOKENS, metrics))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def post(client: Client, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    async with client.post(path, data=data, headers=headers) as response:
        return response.status, await response.json()


async def get(client: Client, path: str, **headers: str) -> tuple[int, Any]:
    async with client.get(path, headers=headers) as response:
        return response.status, await response.json()


# -- reading -------------------------------------------------------------------------------------------------------


async def test_a_request_is_logged_and_answered_with_its_id(client: Client) -> None:
    with capture_logs() as lines:
        response = await client.post("/v1/verify", json=[], headers={"X-Request-Id": "op-1"})
        assert response.headers["X-Request-Id"] == "op-1"
        assert "X-Request-Id" not in (await client.get("/v1/status")).headers
    assert [line["request_id"] == "op-1" for line in lines if line["event"] == "request"] == [True, False]


async def test_status_is_passed_as_it_is(client: Client) -> None:
    assert await get(client, "/v1/status") == (200, STATUS_SHAPE)


async def test_parameters_reach_the_service(client: Client, operations: ScriptedOperations) -> None:
    await get(client, "/v1/drift?table=posts&limit=7")
    await get(client, "/v1/drift")
    await get(client, "/v1/explain?table=posts&key=a%20b&key=2")
    await get(client, "/v1/audit?limit=3")
    assert operations.calls == [
        ("drift", "posts", 7),
        ("drift", None, 100),
        ("explain", "posts", ["a b", "2"]),
        ("audit", 3),
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/drift?limit=0",
        "/v1/drift?limit=x",
        "/v1/drift?limit=100000",
        "/v1/drift?limit=٣",
        "/v1/drift?tabel=posts",
        "/v1/explain",
        "/v1/explain?table=posts",
        "/v1/explain?key=1",
        "/v1/audit?limit=-1",
    ],
)
async def test_malformed_queries_are_400(client: Client, operations: ScriptedOperations, path: str) -> None:
    status, body = await get(client, path)
    assert (status, body["error"]["code"]) == (400, "bad_request")
    assert operations.calls == []


async def test_a_misspelt_parameter_is_named_with_the_nearest(client: Client) -> None:
    _, body = await get(client, "/v1/drift?tabel=posts")
    assert "'tabel'" in body["error"]["message"]
    assert "'table'" in body["error"]["message"]


async def test_metrics_are_refreshed_first(client: Client, operations: ScriptedOperations) -> None:
    async with client.get("/metrics") as response:
        text = await response.text()
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert "cutover_mirror_lag_seconds 0.25" in text
    operations.fail(StoreUnavailable("Postgres is away."))
    async with client.get("/metrics") as response:
        assert response.status == 200


async def test_health_and_readiness(client: Client, operations: ScriptedOperations) -> None:
    assert (await get(client, "/healthz"))[0] == 200
    assert (await get(client, "/readyz"))[0] == 200
    operations.not_ready = "The switch is not resolved: Postgres does not answer."
    async with client.get("/readyz") as response:
        body = await response.json()
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert body["error"] == {"code": "not_ready", "message": operations.not_ready}
    assert (await get(client, "/healthz"))[0] == 200


async def test_the_console_needs_nothing_else_and_runs_nothing_else(locked: Client) -> None:
    async with locked.get("/") as response:
        page = await response.text()
    assert response.status == 200
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "innerHTML" not in page


# -- acting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "result", "primary"), [("promote", "promoted", "postgres"), ("demote", "demoted", "sqlite")]
)
async def test_a_switch(client: Client, operations: ScriptedOperations, verb: str, result: str, primary: str) -> None:
    status, body = await post(client, f"/v1/{verb}", {"approval": " CHANGE-123 ", "reason": "now"})
    assert status == 200
    assert {"result": result, "primary": primary, "epoch": 2, "pause_seconds": 0.08}.items() <= body.items()
    assert operations.calls == [(verb, SwitchRequest("CHANGE-123", "now"), Actor("admin", "admin"))]


async def test_gates_that_fail_come_with_the_refusal(client: Client, operations: ScriptedOperations) -> None:
    operations.gates.append(Gate("no_quarantine", False, "2 rows, limit 0"))
    status, body = await post(client, "/v1/promote", {"approval": "C"})
    assert (status, body["error"]["code"]) == (409, "gates_failed")
    assert body["gates"][-1] == {"name": "no_quarantine", "ok": False, "detail": "2 rows, limit 0"}
    status, body = await post(client, "/v1/promote", {"approval": "C", "override": ["no_quarantine"]})
    assert status == 200


async def test_a_dry_run_answers_though_gates_fail(client: Client, operations: ScriptedOperations) -> None:
    assert (await post(client, "/v1/promote", {"dry_run": True}))[1]["would_proceed"] is True
    operations.gates = [Gate("verified", False, "never")]
    status, body = await post(client, "/v1/promote", {"dry_run": True, "approval": "C"})
    assert (status, body["result"], body["would_proceed"]) == (200, "dry_run", False)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"approval": ""},
        {"approval": "   "},
        {"approval": None},
        {"reason": "because"},
        b"",
        {"approval": "", "dry_run": False},
    ],
)
async def test_no_switch_without_approval(client: Client, operations: ScriptedOperations, body: Any) -> None:
    for verb in ("promote", "demote", "finish"):
        status, answer = await post(client, f"/v1/{verb}", body)
        assert (status, answer["error"]["code"]) == (400, "approval_required")
    assert operations.calls == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[]", "object"),
        (b'"x"', "object"),
        (b'{"approval": "a", "approval": "b"}', "twice"),
        (b'{"reason": NaN}', "NaN"),
        (b"[" * 50_000, "JSON"),
        ({"approvel": "C"}, "'approval'"),
        ({"approval": 7}, "approval must be a string"),
        ({"approval": "C", "dry_run": "yes"}, "dry_run must be true or false"),
        ({"approval": "C", "dry_run": 1}, "dry_run must be true or false"),
        ({"approval": "C", "override": "verified"}, "override must be a list of strings"),
        ({"approval": "C", "override": [1]}, "override must be a list of strings"),
        ({"approval": "C\x00"}, "plain text"),
        ({"approval": "C" * 2001}, "2000 characters"),
        (b'{"approval": "\\ud800"}', "plain text"),
    ],
)
async def test_malformed_bodies_are_400(client: Client, operations: ScriptedOperations, body: Any, word: str) -> None:
    status, answer = await post(client, "/v1/promote", body)
    assert status == 400
    assert word in answer["error"]["message"]
    assert operations.calls == []


async def test_force_needs_its_confirmation(client: Client, operations: ScriptedOperations) -> None:
    status, body = await post(client, "/v1/demote", {"approval": "C", "force": True})
    assert (status, body["error"]["code"]) == (400, "data_loss_not_accepted")
    assert operations.calls == []


async def test_an_override_names_a_gate_that_exists(client: Client, operations: ScriptedOperations) -> None:
    status, body = await post(client, "/v1/promote", {"approval": "C", "override": ["verfied"]})
    assert (status, body["error"]["code"]) == (400, "unknown_gate")
    assert "Did you mean 'verified'?" in body["error"]["message"]
    assert operations.calls == []


async def test_other_verbs(client: Client, operations: ScriptedOperations) -> None:
    assert await post(client, "/v1/verify", {"tables": ["posts"]}) == (202, {"id": "v1", "state": "running"})
    assert (await post(client, "/v1/repair", {"table": "posts", "dry_run": True}))[0] == 200
    assert (await post(client, "/v1/mirror/pause"))[1]["state"] == "paused"
    assert (await post(client, "/v1/mirror/resume"))[1]["state"] == "running"
    assert (await post(client, "/v1/backup", {"path": "/tmp/b.db"}))[1]["path"] == "/tmp/b.db"
    assert (await post(client, "/v1/backfill"))[1] == {"tables": ["posts"]}
    assert [call[0] for call in operations.calls] == ["verify", "repair", "mirror", "mirror", "backup", "backfill"]
    status, body = await post(client, "/v1/backup", {"path": "b.db"})
    assert (status, body["error"]["code"]) == (400, "bad_request")
    assert (await post(client, "/v1/mirror/pause", {"hard": True}))[0] == 400


async def test_a_switch_outlives_the_client_that_asked(client: Client, operations: ScriptedOperations) -> None:
    operations.go_on.clear()
    asking = asyncio.create_task(post(client, "/v1/promote", {"approval": "C"}))
    await asyncio.wait_for(operations.in_switch.wait(), 60)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    operations.go_on.set()
    assert (await get(client, "/v1/status"))[0] == 200
    async with asyncio.timeout(60):
        while not operations.switches_done:
            await asyncio.sleep(0)


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreUnavailable("Postgres does not answer.", hint="Start it."), 503, "store_unavailable"),
        (FenceTimeout("Process 12 holds the lock."), 503, "fence_timeout"),
        (RolesChanging("The roles are changing.", hint="Try again."), 503, "roles_changing"),
        (NoSuchTable("There is no mapped table 'x'."), 404, "no_such_table"),
        (SwitchRefused("A switch is under way.", "switch_in_progress"), 409, "switch_in_progress"),
        (SwitchRefused("No approval.", "approval_required"), 400, "approval_required"),
        (SwitchAborted("The drain took too long."), 409, "aborted"),
        (CaptureBroken("A trigger is gone."), 409, "capture_broken"),
        (StoreError("Disk full."), 500, "store"),
        (ConfigurationError("There is no gate 'verifyed'."), 400, "configuration"),
        (CutoverError("There is no table 'nope'."), 400, "error"),
    ],
)
async def test_errors_become_statuses(
    client: Client, operations: ScriptedOperations, error: CutoverError, status: int, code: str
) -> None:
    operations.fail(error)
    async with client.post("/v1/promote", json={"approval": "C"}) as response:
        body = await response.json()
    assert response.status == status
    assert body["error"] == {"code": code, "message": str(error)}
    assert ("Retry-After" in response.headers) == (status == 503)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), (503, "disk")),
        (TimeoutError(), (500, "internal")),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), (500, "internal")),
    ],
)
async def test_a_full_disk_is_told_from_a_peer_that_is_gone(
    client: Client, operations: ScriptedOperations, error: OSError, told: tuple[int, str]
) -> None:
    operations.fail(error)
    status, body = await get(client, "/v1/status")
    assert (status, body["error"]["code"]) == told


async def test_the_unexpected_is_500_and_tells_nothing(
    client: Client, operations: ScriptedOperations, capsys: pytest.CaptureFixture[str]
) -> None:
    operations.fail(RuntimeError("password=hunter2"))
    status, body = await get(client, "/v1/status")
    assert (status, body["error"]["code"]) == (500, "internal")
    assert "hunter2" not in body["error"]["message"]
    reference = body["error"]["message"].split()[-1].rstrip(".")
    said = capsys.readouterr()
    assert reference in said.out + said.err


async def test_unknown_places_and_methods(client: Client) -> None:
    assert (await get(client, "/v1/nope"))[1]["error"]["code"] == "not_found"
    async with client.delete("/v1/verify") as response:
        body = await response.json()
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert body["error"]["code"] == "method_not_allowed"
    assert (await get(client, "/v1/promote"))[0] == 405


async def test_a_huge_body_is_413(client: Client) -> None:
    status, body = await post(client, "/v1/promote", {"approval": "x" * 100_000})
    assert (status, body["error"]["code"]) == (413, "too_large")


async def test_a_body_that_is_not_compressed_as_it_says_is_400(client: Client) -> None:
    async with client.post("/v1/promote", data=b"{}", headers={"content-encoding": "gzip"}) as response:
        body = await response.json()
    assert (response.status, body["error"]["code"]) == (400, "bad_request")


async def test_text_that_is_no_unicode_is_escaped(client: Client, operations: ScriptedOperations) -> None:
    operations.drifted = [{"table": "posts", "key": ["\ud800"], "kind": "missing"}]
    assert (await get(client, "/v1/drift"))[1]["rows"][0]["key"] == ["\ud800"]


async def test_every_answer_has_careful_headers(client: Client) -> None:
    for path in ("/", "/v1/status", "/nope", "/metrics"):
        async with client.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["X-Frame-Options"] == "DENY"
            assert response.headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert response.headers["Server"] == "cutover"


# -- who may ---------------------------------------------------------------------------------------------------------


async def test_without_a_token_there_is_nothing(locked: Client, operations: ScriptedOperations) -> None:
    for headers in ({}, bearer("wrong"), {"Authorization": "Basic c2Vl"}, {"Authorization": "see"}, bearer("")):
        async with locked.get("/v1/status", headers=headers) as response:
            body = await response.json()
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")
        assert body["error"]["code"] == "unauthorized"
    for path in OPERATOR_ACTS:
        assert (await post(locked, path, {"approval": "C"}))[0] == 401
    assert (await get(locked, "/healthz"))[0] == 200
    assert (await get(locked, "/readyz"))[0] == 200
    assert operations.calls == []


async def test_roles(locked: Client, operations: ScriptedOperations) -> None:
    for token in ("see", "act", "rule"):
        for path in VIEWER_READS:
            assert (await get(locked, path, **bearer(token)))[0] == 200
    for path in OPERATOR_ACTS:
        needed: dict[str, dict[str, Any]] = {"statements": {"statements": ["SELECT 1"]}}
        needed |= {verb: {"approval": "C"} for verb in ("promote", "demote", "finish")}
        body = needed.get(path[4:])
        status, answer = await post(locked, path, body, **bearer("see"))
        assert (status, answer["error"]["code"]) == (403, "forbidden")
        assert (await post(locked, path, body, **bearer("act")))[0] in (200, 202)
        assert (await post(locked, path, body, **bearer("rule")))[0] in (200, 202)


@pytest.mark.parametrize("body", [{}, {"statements": []}, {"statements": "SELECT 1"}, {"statements": ["\ud800"]}])
async def test_statements_to_rehearse_must_be_named(
    locked: Client, operations: ScriptedOperations, body: dict[str, Any]
) -> None:
    assert (await post(locked, "/v1/statements", body, **bearer("act")))[0] == 400
    assert operations.calls == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=10001",
        "after=x",
        "after=1.2",
        "status=redy",
        "result=missmatch",
        "page=2",
        "status=ready&status=invalid",
    ],
)
async def test_pages_of_statements_are_asked_for_by_names_that_there_are(
    client: Client, operations: ScriptedOperations, query: str
) -> None:
    assert (await get(client, f"/v1/statements?{query}"))[0] == 400
    assert operations.calls == []
    operations.seen_statements = 3
    page = (await get(client, "/v1/statements?limit=2"))[1]
    assert len(page["rows"]) == 2
    rest = (await get(client, f"/v1/statements?limit=2&after={page['next']}"))[1]
    assert ([row["id"] for row in page["rows"] + rest["rows"]], rest["next"]) == (["00", "01", "02"], None)


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("POST", "/v1/promote?dry_run=true", "Send it in the body."),
        ("POST", "/v1/repair?table=posts", "Send it in the body."),
        ("GET", "/v1/quarantine?table=posts", "no parameter 'table'"),
        ("GET", "/v1/drift?tabel=posts", "Did you mean 'table'?"),
        ("GET", "/v1/drift?table=posts&table=users", "table is given twice"),
        ("GET", "/v1/explain?table=posts&key=1&table=users", "table is given twice"),
        ("GET", "/v1/report?format=html", "no parameter 'format'"),
    ],
)
async def test_parameters_that_would_be_passed_over_are_refused(
    client: Client, operations: ScriptedOperations, method: str, path: str, told: str
) -> None:
    """`dry_run` among the parameters must not promote, nor a filter that is none show everything."""
    async with client.request(method, path, json={"approval": "C"} if method == "POST" else None) as response:
        body = await response.json()
    assert (response.status, body["error"]["code"]) == (400, "bad_request")
    assert told in body["error"]["message"]
    assert operations.calls == []


@pytest.mark.parametrize(
    "extra", [{"override": ["verified"]}, {"force": True, "accept_data_loss": True}, {"accept_data_loss": True}]
)
async def test_overrides_and_force_are_the_admins(
    locked: Client, operations: ScriptedOperations, extra: dict[str, Any]
) -> None:
    body = {"approval": "C", **extra}
    status, answer = await post(locked, "/v1/demote", body, **bearer("act"))
    assert (status, answer["error"]["code"]) == (403, "forbidden")
    assert operations.calls == []
    assert (await post(locked, "/v1/demote", body, **bearer("rule")))[0] == 200


async def test_only_an_admin_gives_up_the_paired_postgres(locked: Client, operations: ScriptedOperations) -> None:
    body = {"new_target": True}
    assert (await post(locked, "/v1/backfill", body, **bearer("act")))[0] == 403
    assert (await post(locked, "/v1/backfill", body, **bearer("rule")))[0] == 200
    assert [call[0] for call in operations.calls] == ["backfill new target"]


@pytest.mark.parametrize("path", OPERATOR_ACTS)
async def test_what_a_role_does_not_allow_is_recorded(
    locked: Client, operations: ScriptedOperations, path: str
) -> None:
    who = {"X-Cutover-Actor": "maria"}
    assert (await post(locked, path, {"approval": " CHANGE-7 "}, **bearer("see"), **who))[0] == 403
    action = path.removeprefix("/v1/").replace("/", ".")
    reason = "The viewer's token does not allow this; it needs the operator's."
    assert operations.refusals == [(action, "viewer:maria", reason, "CHANGE-7")]


async def test_what_only_an_admin_may_is_recorded(locked: Client, operations: ScriptedOperations) -> None:
    body = {"approval": "C", "override": ["verified"]}
    assert (await post(locked, "/v1/promote", body, **bearer("act")))[0] == 403
    assert (await post(locked, "/v1/backfill", {"new_target": True}, **bearer("act")))[0] == 403
    assert [(action, actor, approval) for action, actor, _, approval in operations.refusals] == [
        ("promote", "operator", "C"),
        ("backfill", "operator", ""),
    ]
    assert "overriding a gate" in operations.refusals[0][2]


@pytest.mark.parametrize("body", [b"{", b'{"approval": 7}', b"x" * 100_000, None])
async def test_a_refusal_is_recorded_whatever_its_body(
    locked: Client, operations: ScriptedOperations, body: Any
) -> None:
    assert (await post(locked, "/v1/demote", body, **bearer("see")))[0] == 403
    assert [(action, approval) for action, _, _, approval in operations.refusals] == [("demote", "")]


async def test_strangers_and_readers_leave_no_record(locked: Client, operations: ScriptedOperations) -> None:
    for headers in ({}, bearer("wrong"), {**bearer("rule"), "Origin": "https://elsewhere.example"}):
        await post(locked, "/v1/promote", {"approval": "C"}, **headers)
    await post(locked, "/v1/promote", {}, **bearer("act"))
    await get(locked, "/v1/status", **bearer("see"))
    assert operations.refusals == []


async def test_a_refusal_stands_though_the_audit_log_cannot_be_written(
    locked: Client, operations: ScriptedOperations
) -> None:
    operations.audit_failure = OSError(28, "No space left on device")
    assert (await post(locked, "/v1/promote", {"approval": "C"}, **bearer("see")))[0] == 403


async def test_a_reader_that_asks_every_second_leaves_no_line(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO), cache_logger_on_first_use=False
    )
    try:
        assert (await get(client, "/v1/status"))[0] == 200
        said = capsys.readouterr()
        assert '"GET"' not in said.out + said.err
        assert "/v1/status" not in said.out + said.err
        assert (await get(client, "/v1/audit?limit=0"))[0] == 400
        assert (await post(client, "/v1/verify"))[0] == 202
        said = capsys.readouterr()
        assert "/v1/audit" in said.out + said.err
        assert "/v1/verify" in said.out + said.err
    finally:
        structlog.reset_defaults()


async def test_who_asked_is_told(locked: Client, operations: ScriptedOperations) -> None:
    await post(locked, "/v1/backfill", None, **bearer("act"), **{"X-Cutover-Actor": "maria@example.org"})
    await post(locked, "/v1/backfill", None, **bearer("act"))
    assert [call[-1] for call in operations.calls] == [
        Actor("operator:maria@example.org", "operator"),
        Actor("operator", "operator"),
    ]
    status, _ = await post(locked, "/v1/backfill", None, **bearer("act"), **{"X-Cutover-Actor": '"x";'})
    assert status == 400


async def test_metrics_are_closed_only_by_a_viewers_token(
    locked: Client, operations: ScriptedOperations, metrics: Metrics, aiohttp_client: Any
) -> None:
    async with locked.get("/metrics") as response:
        assert response.status == 401
    async with locked.get("/metrics", headers=bearer("see")) as response:
        assert response.status == 200
    half = await aiohttp_client(make_app(operations, AdminSettings(admin_token=SecretStr("rule")), metrics))
    async with half.get("/metrics") as response:
        assert response.status == 200


async def test_other_sites_pages_cannot_act(client: Client, operations: ScriptedOperations) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        status, body = await post(client, "/v1/promote", {"approval": "C"}, Origin=origin)
        assert (status, body["error"]["code"]) == (403, "cross_origin")
    assert operations.calls == []
    own = f"http://{client.host}:{client.port}"
    assert (await post(client, "/v1/promote", {"approval": "C"}, Origin=own))[0] == 200


async def test_a_rebound_name_is_not_this_machine(client: Client, locked: Client) -> None:
    status, body = await get(client, "/v1/status", Host="evil.example")
    assert (status, body["error"]["code"]) == (403, "host_not_allowed")
    for host in ("localhost:8081", "[::1]:8081", "127.0.0.1"):
        assert (await get(client, "/v1/status", Host=host))[0] == 200
    assert (await get(locked, "/v1/status", Host="cutover.example", **bearer("see")))[0] == 200


# -- events ----------------------------------------------------------------------------------------------------------


async def test_events_are_streamed(locked: Client, operations: ScriptedOperations) -> None:
    operations.feed.put_nowait({"event": "status", "data": STATUS_SHAPE})
    async with locked.get("/v1/events", headers=bearer("see")) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert await response.content.readline() == b"event: status\n"
        data = await response.content.readline()
        assert json.loads(data.removeprefix(b"data: ")) == STATUS_SHAPE
        assert await response.content.readline() == b"\n"
        operations.feed.put_nowait({"event": "phase", "data": {"phase": "promoting"}})
        assert await response.content.readuntil(b"\n\n") == b'event: phase\ndata: {"phase":"promoting"}\n\n'
        operations.feed.put_nowait(None)
        assert await response.content.read() == b""
    assert operations.feeds_ended == 1
    assert (await get(locked, "/v1/events"))[0] == 401


async def test_a_stream_that_fails_says_so_and_ends(client: Client, operations: ScriptedOperations) -> None:
    operations.feed.put_nowait(StoreUnavailable("Postgres is away."))
    async with client.get("/v1/events") as response:
        text = await response.text()
    assert text.startswith("event: error\ndata: ")
    assert '"store_unavailable"' in text


async def test_shutdown_ends_the_streams(operations: ScriptedOperations, metrics: Metrics, aiohttp_client: Any) -> None:
    client: Client = await aiohttp_client(make_app(operations, AdminSettings(), metrics))
    operations.feed.put_nowait({"event": "status", "data": {}})
    async with client.get("/v1/events") as response:
        await response.content.readuntil(b"\n\n")
        async with asyncio.timeout(60):
            await client.server.close()
    assert operations.feeds_ended == 1


async def test_streams_are_bounded(client: Client, operations: ScriptedOperations) -> None:
    operations.feed = asyncio.Queue()
    opened = [asyncio.create_task(client.get("/v1/events")) for _ in range(32)]
    responses = await asyncio.gather(*opened)
    status, body = await get(client, "/v1/events")
    assert (status, body["error"]["code"]) == (503, "too_many_streams")
    for response in responses:
        response.close()


# -- what is recorded --------------------------------------------------------------------------------------------------


async def test_requests_are_counted_by_route(client: Client, metrics: Metrics) -> None:
    await get(client, "/v1/explain?table=posts&key=secret-key")
    await get(client, "/v1/nope")
    await post(client, "/v1/promote")
    count = metrics.registry.get_sample_value
    for endpoint, code in (("/v1/explain", "200"), ("other", "404"), ("/v1/promote", "400")):
        assert count("cutover_requests_total", {"endpoint": endpoint, "code": code}) == 1


async def test_one_line_per_request_without_secrets(locked: Client, capsys: pytest.CaptureFixture[str]) -> None:
    await get(locked, "/v1/explain?table=posts&key=private", **bearer("see"))
    await get(locked, "/v1/status", **bearer("guess"))
    said = capsys.readouterr()
    lines = [line for line in (said.out + said.err).splitlines() if "request" in line]
    assert len(lines) == 2
    assert "/v1/explain" in lines[0]
    for secret in ("private", "guess", "see\n"):
        assert secret not in said.out + said.err
