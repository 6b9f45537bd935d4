"""The command line against a real admin door: what it asks, prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from cutover.admin.app import make_app
from cutover.admin.operations import Actor, Json, StatementsRequest, SwitchRequest
from cutover.audit import AuditLog
from cutover.errors import NoSuchTable, StoreUnavailable, SwitchAborted, SwitchRefused
from cutover.metrics import Metrics
from cutover.model.control import Gate
from cutover.settings import AdminSettings
from tests.support.commands import cutover
from tests.support.operations import STATUS_SHAPE, ScriptedOperations

DRIFT = {
    "table": "posts",
    "key": ["p1"],
    "kind": "different",
    "columns": ["body"],
    "primary": {"id": "p1", "body": "new"},
    "shadow": {"id": "p1", "body": "old"},
    "first_seen": "2026-01-31T12:00:00.000Z",
}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of the machine reaches the commands."""
    for name in ("CUTOVER_ADMIN_TOKEN", "CUTOVER_ADMIN_URL", "CUTOVER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def operations(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedOperations]:
    """A service that the commands reach by CUTOVER_ADMIN_URL."""
    metrics = Metrics("0.1.0")
    operations = ScriptedOperations(metrics)
    async with TestServer(make_app(operations, AdminSettings(), metrics)) as server:
        monkeypatch.setenv("CUTOVER_ADMIN_URL", str(server.make_url("/")))
        yield operations


# -- seeing ----------------------------------------------------------------------------------------------------------


async def test_status_for_people(operations: ScriptedOperations) -> None:
    ran = await cutover("status")
    assert (ran.code, ran.err) == (0, "")
    for word in ("shadowing", "epoch 1", "lag 20 ms", "3 changes", "public.posts", "1 row differs", "20,000"):
        assert word in ran.out
    assert "✓ mirror_caught_up  lag 0.02 s, limit 1 s" in ran.out
    assert "✗ verified" in ran.out


async def test_status_for_machines(operations: ScriptedOperations) -> None:
    ran = await cutover("status", "--json")
    assert json.loads(ran.out) == STATUS_SHAPE


async def test_watch_ends_when_the_service_does(operations: ScriptedOperations) -> None:
    operations.failures_after = 2
    ran = await cutover("status", "--watch", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert lines == [STATUS_SHAPE, STATUS_SHAPE]
    assert ran.code == 1
    assert "Postgres is away" in ran.err


async def test_verify_follows_to_the_end(operations: ScriptedOperations) -> None:
    running = {"id": "v1", "state": "running", "rows": 10, "total": 20, "drift_rows": 0, "tables": []}
    table = {"name": "posts", "state": "done", "rows": 20, "drift": {}}
    done = {**running, "state": "done", "rows": 20, "tables": [table], "problems": [], "error": None}
    operations.verify_states = [running, done]
    ran = await cutover("verify", "--table", "posts")
    assert ran.code == 0
    assert "20 rows compared: no row differs." in ran.out
    assert operations.calls[0] == ("verify", ["posts"], operations.calls[0][2])


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"drift_rows": 2}, 4),
        ({"state": "failed", "error": "Postgres went away."}, 1),
        ({"problems": ["posts was left out"]}, 3),
    ],
)
async def test_verify_ends_by_what_it_found(operations: ScriptedOperations, end: dict[str, Any], code: int) -> None:
    done = {"id": "v1", "state": "done", "rows": 20, "total": 20, "drift_rows": 0, "tables": [], "problems": []}
    operations.verify_states = [done | end]
    ran = await cutover("verify", "--json")
    assert ran.code == code
    assert json.loads(ran.out) == done | end
    if "error" in end:
        assert end["error"] in ran.err


async def test_drift(operations: ScriptedOperations) -> None:
    assert (await cutover("drift")).code == 0
    operations.drifted = [DRIFT]
    ran = await cutover("drift", "--table", "posts", "--limit", "5")
    assert ran.code == 4
    assert "body = new" in ran.out
    assert "body = old" in ran.out
    assert operations.calls[-1] == ("drift", "posts", 5)


async def test_other_peoples_data_cannot_steer_the_terminal(operations: ScriptedOperations) -> None:
    evil = {"id": "p1", "body": "\x1b[2J\x07[bold]x[/bold]\u202egnp\n"}
    operations.drifted = [{**DRIFT, "primary": evil}]
    ran = await cutover("drift")
    assert "\x1b" not in ran.out
    assert "\x07" not in ran.out
    assert "\u202e" not in ran.out
    assert r"\x1b[2J\x07[bold]x[/bold]\u202egnp\n" in ran.out


async def test_explain(operations: ScriptedOperations) -> None:
    ran = await cutover("explain", "posts", "p1")
    assert ran.code == 0
    assert "This is drift: the shadow does not have the row" in ran.out
    assert "hi (text)" in ran.out
    ran = await cutover("explain", "posts", "nobody")
    assert "Neither store has this row." in ran.out
    assert "≠" not in ran.out
    await cutover("explain", "--json", "--", "readings", "-5", "ü")
    assert operations.calls[-1] == ("explain", "readings", ["-5", "ü"])


async def test_repair(operations: ScriptedOperations) -> None:
    operations.drifted = [DRIFT]
    ran = await cutover("repair", "--dry-run", "--table", "posts")
    assert ran.code == 0
    assert "1 row would be repaired; nothing was changed." in ran.out
    assert operations.calls[-1][1:3] == ("posts", True)
    ran = await cutover("repair")
    assert "1 row repaired, 0 remain." in ran.out
    assert operations.calls[-1][1:3] == (None, False)


async def test_quarantine_and_statements(operations: ScriptedOperations) -> None:
    assert "text holds NUL" in (await cutover("quarantine")).out
    ran = await cutover("rehearse")
    assert ran.code == 0
    assert "1 distinct statements seen, 1 ready, 0 failing." in ran.out
    operations.failing_statements = 1
    assert (await cutover("rehearse")).code == 3


async def test_statements_are_asked_for_a_page_at_a_time(operations: ScriptedOperations) -> None:
    operations.seen_statements = 2500
    found = json.loads((await cutover("rehearse", "--json")).out)
    assert [row["id"] for row in found["rows"]] == sorted(f"{at:02}" for at in range(2500))
    assert found["next"] is None
    assert [call[1].limit for call in operations.calls] == [1000, 1000, 1000]
    ran = await cutover("rehearse", "--limit", "3", "--status", "ready", "--result", "none")
    assert ran.out.count("FROM posts") == 3
    assert "There are more" in ran.out
    assert operations.calls[-1][1] == StatementsRequest(3, "", "ready", "none")
    assert (await cutover("rehearse", "--result", "match", "--json")).code == 0


async def test_what_was_found_before_a_restart_is_forgotten(operations: ScriptedOperations) -> None:
    ran = await cutover("rehearse", "--forget")
    assert ran.code == 0
    assert "2 statements of before the last start are forgotten." in ran.out
    assert [call[0] for call in operations.calls if call[0] in ("forget", "statements")] == ["forget", "statements"]


async def test_a_file_of_statements_is_rehearsed(operations: ScriptedOperations, tmp_path: Path) -> None:
    file = tmp_path / "app.sql"
    file.write_text("SELECT 'a;b';\nCREATE TABLE fresh (a);" + "SELECT 1; " * 123)
    ran = await cutover("rehearse", "--file", str(file))
    assert ran.code == 0
    assert "125 statements, 125 ready, 0 failing, 0 differ." in ran.out
    assert [len(call[1]) for call in operations.calls] == [100, 25]
    assert [call[2] for call in operations.calls] == [[], ["CREATE TABLE fresh (a)"]]
    assert operations.calls[0][1][0] == "SELECT 'a;b'"
    for text, word in (("SELECT bad", "failing"), ("SELECT odd", "differs")):
        file.write_text(text)
        ran = await cutover("rehearse", "--file", str(file))
        assert (ran.code, word in ran.out) == (3, True)
    found = json.loads((await cutover("rehearse", "--json", "--file", str(file))).out)
    assert (found["differing"], found["rows"][0]["sql"]) == (1, "SELECT odd")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        (b"SELECT '\xff'", "not UTF-8"),
        (b" ; -- nothing", "no statement"),
        (b"SELECT '" + b"x" * 1_050_000 + b"'", "too long"),
        (b"SELECT 1;" * 250 + b"SELECT '" + b"x" * 1_050_000 + b"'", "Statement 251 of the file is too long"),
    ],
)
async def test_a_file_that_cannot_be_rehearsed(
    operations: ScriptedOperations, tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "app.sql"
    if content is not None:
        file.write_bytes(content)
    ran = await cutover("rehearse", "--file", str(file))
    assert (ran.code, told in ran.err) == (2, True)
    assert not operations.calls


# -- switching -------------------------------------------------------------------------------------------------------


async def test_promote_from_a_script(operations: ScriptedOperations) -> None:
    ran = await cutover("promote", "--approval", "CHANGE-1", "--reason", "now", "--yes")
    assert ran.code == 0
    assert ran.out == "Promoted; primary postgres, epoch 2; writes were held for 80 ms.\n"
    (call,) = operations.calls
    assert call[1] == SwitchRequest("CHANGE-1", "now")


async def test_no_question_without_a_terminal(operations: ScriptedOperations) -> None:
    ran = await cutover("promote", "--approval", "CHANGE-1")
    assert ran.code == 2
    assert "--yes" in ran.err
    assert operations.calls == []


@pytest.mark.parametrize("verb", ["promote", "demote", "finish"])
async def test_no_switch_without_approval(operations: ScriptedOperations, verb: str) -> None:
    for extra in ((), ("--approval", " ")):
        ran = await cutover(verb, "--yes", *extra)
        assert ran.code == 2
        assert "--approval" in ran.err
    assert operations.calls == []


async def test_a_person_is_shown_the_gates_and_asked(operations: ScriptedOperations) -> None:
    ran = await cutover("promote", "--approval", "C", typed="promote\n")
    assert ran.code == 0
    assert "✓ verified" in ran.err
    assert "Type promote to go on" in ran.err
    assert [call[1].dry_run for call in operations.calls] == [True, False]


@pytest.mark.parametrize("typed", ["yes\n", "\n", "", "PROMOTE\n"])
async def test_only_the_verb_is_a_yes(operations: ScriptedOperations, typed: str) -> None:
    ran = await cutover("promote", "--approval", "C", typed=typed)
    assert ran.code == 1
    assert "Nothing was changed." in ran.err
    assert operations.switches_done == 0


async def test_closed_gates_end_with_3(operations: ScriptedOperations) -> None:
    operations.gates = [Gate("verified", False, "never verified")]
    asked = await cutover("promote", "--approval", "C", typed="promote\n")
    dry = await cutover("promote", "--dry-run")
    forced_on = await cutover("promote", "--approval", "C", "--yes")
    assert (asked.code, dry.code, forced_on.code) == (3, 3, 3)
    assert "✗ verified  never verified" in asked.err
    assert "✗ verified  never verified" in dry.out
    assert "✗ verified  never verified" in forced_on.err
    assert operations.switches_done == 0
    ran = await cutover("promote", "--approval", "C", "--yes", "--override", "verified")
    assert ran.code == 0


async def test_json_answers_of_switches(operations: ScriptedOperations) -> None:
    dry = await cutover("promote", "--dry-run", "--json")
    assert json.loads(dry.out)["result"] == "dry_run"
    operations.gates = [Gate("verified", False, "never")]
    refused = await cutover("promote", "--approval", "C", "--yes", "--json")
    body = json.loads(refused.out)
    assert body["error"]["code"] == "gates_failed"
    assert body["gates"] == [{"name": "verified", "ok": False, "detail": "never"}]


async def test_a_dry_run_lists_the_steps(operations: ScriptedOperations) -> None:
    ran = await cutover("promote", "--dry-run")
    assert ran.code == 0
    assert "1. fence: what fence does" in ran.out
    assert ran.out.endswith("promote would go on.\nNothing was changed.\n")


async def test_where_it_already_is_there_is_nothing_to_do(operations: ScriptedOperations) -> None:
    operations.phase = "promoted"
    for args in (("--dry-run",), ("--approval", "C")):
        ran = await cutover("promote", *args, typed="promote\n")
        assert ran.code == 0
        assert "There is nothing to do: the phase is promoted" in ran.out + ran.err
    assert operations.switches_done == 0


async def test_nothing_was_held_where_nothing_was_done(
    operations: ScriptedOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def already(request: SwitchRequest, actor: Actor) -> Json:
        return {"result": "already_demoted", "primary": "sqlite", "epoch": 3, "pause_seconds": 0.0, "gates": []}

    monkeypatch.setattr(operations, "demote", already)
    ran = await cutover("demote", "--approval", "C", "--yes")
    assert (ran.code, ran.out) == (0, "Already demoted; primary sqlite, epoch 3.\n")


async def test_a_wrong_phase_blocks(operations: ScriptedOperations) -> None:
    ran = await cutover("finish", "--dry-run")
    assert ran.code == 3
    assert "cannot be done now: the phase is shadowing" in ran.out


async def test_force_and_its_price_go_together(operations: ScriptedOperations) -> None:
    for one in ("--force", "--accept-data-loss"):
        assert (await cutover("demote", "--approval", "C", "--yes", one)).code == 2
    assert operations.calls == []
    ran = await cutover("demote", "--approval", "C", "--yes", "--force", "--accept-data-loss")
    assert ran.code == 0
    assert operations.calls[0][1] == SwitchRequest("C", force=True, accept_data_loss=True)


# -- steering ----------------------------------------------------------------------------------------------------------


async def test_backup_names_an_absolute_place(operations: ScriptedOperations, tmp_path: Path) -> None:
    ran = await cutover("backup", "b.db")
    assert operations.calls[0][1] == str(tmp_path / "b.db")
    assert "ab" * 32 in ran.out
    await cutover("backup", "--json")
    assert operations.calls[1][1] is None


async def test_mirror_and_backfill(operations: ScriptedOperations) -> None:
    assert (await cutover("mirror", "pause")).out == "The mirror is paused: lag 20 ms, 3 changes.\n"
    assert json.loads((await cutover("mirror", "resume", "--json")).out)["state"] == "running"
    assert (await cutover("backfill", "--table", "posts")).out == "Copying again: posts.\n"


async def test_report_as_a_page_and_as_json(operations: ScriptedOperations, tmp_path: Path) -> None:
    assert (await cutover("report")).out.startswith("# cutover: evidence\n")
    assert json.loads((await cutover("report", "--json")).out) == await operations.report()
    ran = await cutover("report", "--out", "C-1.html")
    assert ran.out == "wrote C-1.html\nwrote C-1.json\n"
    page = (tmp_path / "C-1.html").read_text()
    assert "<h2>switches</h2>" in page
    assert json.loads((tmp_path / "C-1.json").read_text()) == await operations.report()
    await cutover("report", "--out", "C-2.json")
    assert (tmp_path / "C-2.html").exists()
    await cutover("report", "--out", "C-3.md")
    assert "## switches" in (tmp_path / "C-3.md").read_text()
    assert (await cutover("report", "--out", "absent/x.html")).code == 2
    for taken in ("C-1.html", "C-2.md", "audit.jsonl"):  # the page, the data beside it, a form that there is not
        before = Path(taken).read_bytes() if Path(taken).exists() else None
        ran = await cutover("report", "--out", taken)
        assert ran.code == 2, taken
        assert (Path(taken).read_bytes() if Path(taken).exists() else None) == before


async def test_the_user_of_the_shell_is_named(operations: ScriptedOperations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "maria ü")
    await cutover("mirror", "pause")
    assert operations.calls[0][2] == Actor("admin:maria _", "admin")


# -- failing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("Postgres is away."), 1),
        (SwitchRefused("Another switch is under way.", "switch_in_progress"), 1),
        (SwitchAborted("The drain took too long."), 1),
        (NoSuchTable("There is no mapped table 'x'."), 2),
    ],
)
async def test_refusals_are_one_sentence(operations: ScriptedOperations, error: Exception, code: int) -> None:
    operations.fail(error)
    ran = await cutover("promote", "--approval", "C", "--yes")
    assert (ran.code, ran.out, ran.err) == (code, "", f"cutover: {error}\n")


async def test_nobody_there_is_5() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        ran = await cutover("status", "--admin-url", url)
    assert ran.code == 5
    assert ran.err.startswith(f"cutover: The service cannot be reached at {url}: connection refused.")
    assert "cutover serve" in ran.err


async def test_another_kind_of_server_is_5() -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.json_response(["hello"])

    app = web.Application()
    app.router.add_get("/{any:.*}", hello)
    async with TestServer(app) as server:
        ran = await cutover("status", "--admin-url", str(server.make_url("/")))
    assert ran.code == 5
    assert "not a cutover service" in ran.err


async def test_an_answer_that_never_came_is_not_called_a_failure() -> None:
    """The connection is cut after the request was read: the switch may have happened."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        ran = await cutover("promote", "--approval", "C", "--yes", "--admin-url", f"127.0.0.1:{port}")
    assert ran.code == 5
    assert "may have been done, or still be under way: look with `cutover status`" in ran.err


async def test_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics("0")
    settings = AdminSettings(viewer_token=SecretStr("see"))
    async with TestServer(make_app(ScriptedOperations(metrics), settings, metrics)) as server:
        monkeypatch.setenv("CUTOVER_ADMIN_URL", str(server.make_url("/")))
        ran = await cutover("status")
        assert ran.code == 2
        assert "CUTOVER_ADMIN_TOKEN" in ran.err
        assert (await cutover("status", "--token", "wrong")).code == 2
        assert (await cutover("status", "--token", "see")).code == 0
        monkeypatch.setenv("CUTOVER_ADMIN_TOKEN", "see")
        assert (await cutover("status")).code == 0
        ran = await cutover("mirror", "pause")
        assert ran.code == 2
        assert "needs the operator's" in ran.err
        ran = await cutover("status", "--token", "a\nb")
        assert ran.code == 2
        assert "a\nb" not in ran.err


# -- configuration ---------------------------------------------------------------------------------------------------


async def test_the_configuration_leads_to_the_service(
    operations: ScriptedOperations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = os.environ["CUTOVER_ADMIN_URL"].rstrip("/").rpartition(":")[2]
    monkeypatch.delenv("CUTOVER_ADMIN_URL")
    (tmp_path / "cutover.toml").write_text(f'[admin]\nlisten = "0.0.0.0:{port}"\n')
    assert (await cutover("status")).code == 0
    (tmp_path / "cutover.toml").rename(tmp_path / "other.toml")
    assert (await cutover("status", "--config", "other.toml")).code == 0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[admin]\nlistn = "x"\n', "listen"),
        ('[admin]\nlisten = "8081"\n', "host:port"),
        ('[admin]\nlisten = "127.0.0.1:0"\n', "--admin-url"),
        ("[admin", "cutover.toml"),
    ],
)
async def test_a_wrong_configuration_is_2(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "cutover.toml").write_text(text)
    ran = await cutover("status")
    assert ran.code == 2
    assert word in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "args",
    [
        ("promot",),
        ("status", "--nope"),
        ("explain", "posts"),
        ("drift", "--limit", "0"),
        ("status", "--config", "absent.toml"),
        ("status", "--admin-url", "ftp://x"),
        ("status", "--admin-url", "http://127.0.0.1:notaport"),
        ("audit", "verify", "absent.jsonl"),
        ("mirror", "stop"),
    ],
)
async def test_wrong_usage_is_2(args: tuple[str, ...]) -> None:
    ran = await cutover(*args)
    assert ran.code == 2
    assert ran.err
    assert "Traceback" not in ran.err


async def test_a_misspelt_command_is_told_the_nearest() -> None:
    assert "Did you mean 'promote'?" in (await cutover("promot")).err


async def test_the_unexpected_is_one_sentence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("of all things")

    monkeypatch.setattr("cutover.cli.status.reach", broken)
    ran = await cutover("status")
    assert ran.code == 1
    assert ran.err.startswith("cutover: unexpected ValueError: of all things (")
    assert ran.err.count("\n") == 1


# -- audit -----------------------------------------------------------------------------------------------------------


async def test_audit_works_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "audit.jsonl"
    log = AuditLog(path)
    log.open()
    log.append("promote.requested", "operator:maria", {"approval": "C-1"})
    log.append("promote.committed", "operator:maria", {"epoch": 2})
    (tmp_path / "cutover.toml").write_text('[service]\nstate_dir = "state"\n')
    ran = await cutover("audit", "verify")
    assert ran.code == 0
    assert "whole, 2 records" in ran.out
    shown = await cutover("audit", "show", "--limit", "1")
    assert "promote.committed" in shown.out
    assert "promote.requested" not in shown.out
    records = json.loads((await cutover("audit", "show", "--json")).out)["records"]
    assert [record["sequence"] for record in records] == [1, 2]

    path.write_text(path.read_text().replace("C-1", "C-2"))
    ran = await cutover("audit", "verify", str(path))
    assert ran.code == 1
    assert "record 1 was edited" in ran.err
    checked = json.loads((await cutover("audit", "verify", "--json")).out)
    assert (checked["ok"], checked["records"]) == (False, 0)
