"""`cutover demo` as a newcomer runs it, and the judge: a tampered run must not pass."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp.test_utils import TestServer

from cutover.admin.app import make_app
from cutover.cli.demo_crew import Stretch
from cutover.cli.demo_data import generate, rows_of
from cutover.cli.demo_ledger import Ledger, sqlite_rows
from cutover.cli.demo_stage import Folder, Service
from cutover.cli.demo_story import Story
from cutover.cli.demo_traffic import DirectWriter, becomes
from cutover.cli.demo_verdict import Evidence, judge
from cutover.errors import CutoverError
from cutover.metrics import Metrics
from cutover.model.control import Gate
from cutover.model.values import Row
from cutover.settings import AdminSettings
from cutover.stores.postgres.embedded import EmbeddedPostgres
from tests.support.checks import postgres_rows
from tests.support.operations import ScriptedOperations
from tests.support.service import DEADLINE, until

Rows = dict[str, list[Row]]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder with a short name, because a server's socket will be in it."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)


async def start(scratch: Path, *arguments: str) -> asyncio.subprocess.Process:
    """The demo as a process; its scratch folder goes into `scratch`, where it can be found again."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cutover", "demo", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(scratch)},
        cwd=scratch,
    )


def left(scratch: Path) -> list[str]:
    """Processes that still have to do with this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            told = " ".join([*process.cmdline(), process.cwd()])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if str(scratch) in told:
            found.append(told)
    return found


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    out, err = await asyncio.wait_for(process.communicate(), 2 * DEADLINE)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_whole_story_is_played_and_proved(scratch: Path) -> None:
    code, out, err = await ended(await start(scratch, "--once", "--rows", "2000", "--json"))
    assert code == 0, out + err
    told: dict[str, Any] = json.loads(out)
    assert told["ok"] is True
    assert told["problems"] == []
    steps = [step["name"] for step in told["steps"]]
    assert steps == [
        *("postgres", "database", "copy", "write", "verify", "promote", "write", "verify", "demote", "write"),
        *("verify", "proof"),
    ]
    figures = {step["name"]: step["figures"] for step in told["steps"]}
    assert figures["copy"]["rows"] >= 2000
    assert figures["verify"]["rows"] > figures["copy"]["rows"]
    assert figures["promote"]["epoch"] == 2
    assert figures["demote"]["epoch"] == 3
    assert 0 < figures["promote"]["pause_seconds"] < 10, "or it would have been taken back"
    parts = {part["name"]: part for part in told["parts"]}
    for name, writers in {
        "application alone": {"on the file"},
        "shadowing": {"on the file", "front door"},
        "on Postgres": {"front door", "on Postgres"},
        "back on SQLite": {"on the file", "front door"},
    }.items():
        wrote = {writer for writer, counts in parts[name]["writers"].items() if counts["acknowledged"]}
        assert wrote == writers, name
        assert parts[name]["unknown"] == 0
    assert 0 < parts["shadowing"]["p50_seconds"] <= parts["shadowing"]["p99_seconds"]
    assert figures["proof"]["acknowledged"] == sum(part["acknowledged"] for part in told["parts"])
    assert list(scratch.iterdir()) == []
    assert left(scratch) == []


@pytest.mark.parametrize("server", ["embedded", "given"])
async def test_an_interrupted_story_leaves_nothing(scratch: Path, postgres_url: str, server: str) -> None:
    given = ["--postgres", postgres_url] if server == "given" else []
    process = await start(scratch, "--once", "--rows", "2000", *given)
    assert process.stdout is not None
    while not (line := await asyncio.wait_for(process.stdout.readline(), DEADLINE)).startswith("✓ copy".encode()):
        assert line, "the demo ended before it had copied"
    assert any("serve" in told for told in left(scratch))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    code, _, err = await ended(process)
    assert code == 1
    assert "Interrupted" in err
    assert list(scratch.iterdir()) == []
    assert left(scratch) == []
    assert await postgres_rows(postgres_url, "SELECT 1 FROM pg_database WHERE datname LIKE 'cutover_demo_%'") == []
    assert await postgres_rows(postgres_url, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []


async def test_an_operator_looks_on_promotes_and_ends_it_with_a_proof(scratch: Path) -> None:
    kept = scratch / "kept"
    process = await start(scratch, "--rows", "500", "--dir", str(kept))
    assert process.stdout is not None
    said = ""
    while "Ctrl-C ends it" not in said:
        line = await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        assert line, said
        said += line.decode()
    assert "http://127.0.0.1:" in said
    assert f"cd {kept}\n" in said
    assert "cutover promote --approval DEMO-1 " in said
    promoted = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cutover", "promote", "--approval", "X", "--yes"), cwd=kept
    )
    assert await asyncio.wait_for(promoted.wait(), DEADLINE) == 0

    async def native() -> bool:
        url = EmbeddedPostgres(kept / "state" / "postgres").url
        return bool(await postgres_rows(url, "SELECT 1 FROM users WHERE starts_with(id, 'native-')"))

    await until(native, "the application on Postgres")
    process.send_signal(signal.SIGINT)
    code, out, err = await ended(process)
    assert code == 0, out + err
    assert "✓ proof" in out
    assert (kept / "humanonly.db").is_file()
    assert left(scratch) == []


async def test_a_folder_with_files_is_refused_and_left_alone(scratch: Path) -> None:
    (scratch / "mine.txt").write_text("precious")
    code, _, err = await ended(await start(scratch, "--once", "--dir", str(scratch)))
    assert code == 2
    assert "not empty" in err
    assert [path.name for path in scratch.iterdir()] == ["mine.txt"]


async def test_a_server_that_cannot_be_used_is_named_and_nothing_is_left(scratch: Path) -> None:
    code, out, err = await ended(
        await start(scratch, "--once", "--json", "--postgres", "postgresql://x:pw@127.0.0.1:1/y")
    )
    assert code == 2
    assert "--postgres cannot be used" in err
    assert json.loads(out)["ok"] is False
    assert "pw" not in out + err
    assert list(scratch.iterdir()) == []


async def test_a_switch_is_asked_for_again_while_the_mirror_is_behind(scratch: Path) -> None:
    metrics, where = Metrics("0.1.0"), Folder(scratch, keep=True)
    operations = ScriptedOperations(metrics)
    operations.gates = [Gate("mirror_caught_up", False, "lag 3 s, limit 1 s")]
    async with TestServer(make_app(operations, AdminSettings(), metrics)) as server:
        service = Service(where, "", str(server.make_url("/")))
        story = Story(where, service, None, "", print, seeded=0)  # type: ignore[arg-type]  # nobody writes
        asking = asyncio.create_task(story._asked("promote"))
        await until(lambda: len(operations.calls) > 4 or asking.done(), "another try")
        operations.gates = [Gate("mirror_caught_up", True, "lag 0 s, limit 1 s")]
        assert (await asking)[1]["result"] == "promoted"
        operations.gates = [Gate("verified", False, "1 row differs")]
        with pytest.raises(CutoverError, match="verified: 1 row differs"):
            await story._asked("demote")


# -- the judge -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[DirectWriter, Rows]:
    """A writer's ledger, and what the store holds after it."""
    path = str(tmp_path_factory.mktemp("judge") / "app.db")
    generate(path, rows=100, seed=1)
    writer = DirectWriter(path)
    writer.open()
    for _ in range(30):
        assert writer.step() == "acknowledged"
    writer.close()
    return writer, sqlite_rows(path)


def evidence(writer: DirectWriter, one: Rows, other: Rows, ledger: Ledger | None = None, wrote: int = 30) -> Evidence:
    part = Stretch("shadowing", 1.0, {"direct": {"acknowledged": wrote, "refused": 0, "unknown": 0}})
    return Evidence(
        ledgers={"direct": ledger or writer.ledger},
        tags={"direct": writer.tag},
        stores={"SQLite": one, "Postgres": other},
        seeded=rows_of(100, 1),
        stretches=[part],
        must_write=["shadowing"],
    )


def copy(rows: Rows) -> Rows:
    return {table: list(found) for table, found in rows.items()}


def own(writer: DirectWriter, rows: Rows) -> int:
    """Place of a post that the writer wrote."""
    return next(place for place, row in enumerate(rows["posts"]) if str(row[0]).startswith(f"{writer.tag}-"))


def test_an_honest_run_passes(honest: tuple[DirectWriter, Rows]) -> None:
    writer, rows = honest
    assert judge(evidence(writer, rows, copy(rows))) == []


def lose_an_acknowledged_write(rows: Rows, place: int) -> None:
    del rows["posts"][place]


def double_it(rows: Rows, place: int) -> None:
    rows["posts"].append(rows["posts"][place])


def change_it(rows: Rows, place: int) -> None:
    rows["posts"][place] = (*rows["posts"][place][:2], "forged", rows["posts"][place][3])


def lose_a_row_that_nobody_wrote(rows: Rows, _place: int) -> None:
    rows["users"] = [row for row in rows["users"] if not str(row[0]).startswith("seed-")]


def add_a_write_that_was_refused(rows: Rows, place: int) -> None:
    rows["posts"].append(("direct-refused", *rows["posts"][place][1:]))


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (lose_an_acknowledged_write, "is lost, though its write was acknowledged"),
        (double_it, "is there twice"),
        (change_it, "differs from what was acknowledged in body"),
        (lose_a_row_that_nobody_wrote, "is gone or changed"),
        (add_a_write_that_was_refused, "is there, though no write made it"),
    ],
)
def test_a_tampered_store_fails(
    honest: tuple[DirectWriter, Rows], tamper: Callable[[Rows, int], None], says: str, side: int
) -> None:
    writer, rows = honest
    stores = [copy(rows), copy(rows)]
    tamper(stores[side], own(writer, rows))
    problems = judge(evidence(writer, stores[0], stores[1]))
    assert any(says in problem and ("SQLite", "Postgres")[side] in problem for problem in problems), problems


def test_a_write_that_both_stores_lost_fails(honest: tuple[DirectWriter, Rows]) -> None:
    writer, rows = honest
    ledger = Ledger(dict(writer.ledger.states), dict(writer.ledger.outcomes))
    post: Row = ("direct-lost", "direct-x", "written, answered, gone", "2025-01-01T00:00:00.000Z")
    ledger.record("acknowledged", becomes({("posts", post[0]): post}))
    problems = judge(evidence(writer, rows, copy(rows), ledger))
    assert len(problems) == 2
    assert all("'direct-lost' is lost" in problem for problem in problems)


def test_a_part_without_writes_proves_nothing(honest: tuple[DirectWriter, Rows]) -> None:
    writer, rows = honest
    problems = judge(evidence(writer, rows, copy(rows), wrote=0))
    assert problems == ["No write was acknowledged in the part 'shadowing', so nothing is proved about it."]


def test_a_stale_read_fails(honest: tuple[DirectWriter, Rows]) -> None:
    writer, rows = honest
    given = evidence(writer, rows, copy(rows))
    stale = Evidence(given.ledgers, given.tags, given.stores, given.seeded, given.stretches, ["posts 'x'"])
    assert judge(stale) == ["A stale read: posts 'x'."]


def test_a_store_that_is_changed_behind_everybodys_back_fails(tmp_path: Path) -> None:
    """The whole chain of the proof, on a real file: write, tamper with it by SQL, read it again, judge."""
    path = str(tmp_path / "app.db")
    generate(path, rows=100, seed=1)
    writer = DirectWriter(path)
    writer.open()
    while not writer.ledger.certain("posts"):
        writer.step()
    writer.close()
    before = sqlite_rows(path)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM posts WHERE id = ?", (writer.ledger.certain("posts")[0][0],))
    connection.commit()
    connection.close()
    assert len(judge(evidence(writer, sqlite_rows(path), before))) == 2
