"""The smoke command: run after a promotion, its output recorded, its failure loud, and nothing switched by it."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path

import aiohttp
import psutil

from cutover.audit import read_records
from tests.support.service import Service, until

_ENVIRONMENT = "CUTOVER_PROMOTION_SMOKE_COMMAND"


def recorded(service: Service) -> list[dict[str, object]]:
    records = read_records(service.folder / "state" / "audit.jsonl")
    return [record["metadata"] for record in records if record["action"] == "smoke"]


async def promoted(service: Service, command: str, **environment: str) -> dict[str, object]:
    await service.start(environment={_ENVIRONMENT: command, **environment})
    await service.up()
    await service.verified()
    body = await service.switched("promote")
    assert isinstance(body, dict)
    return body


async def test_its_output_is_recorded(service: Service) -> None:
    body = await promoted(service, "echo primary $CUTOVER_PRIMARY epoch $CUTOVER_EPOCH; echo trouble >&2")
    assert body["smoke"] == {"ok": True, "exit_code": 0, "output": "primary postgres epoch 2\ntrouble\n"}
    (record,) = recorded(service)
    assert record["exitCode"] == 0
    assert record["output"] == "primary postgres epoch 2\ntrouble\n"
    code, report = await service.request("GET", service.admin + "/v1/report")
    assert code == 200
    assert [smoke["metadata"]["exitCode"] for smoke in report["smoke"]] == [0]
    await service.verified()
    body = await service.switched("demote")
    assert "smoke" not in body
    assert len(recorded(service)) == 1


async def test_its_failure_is_loud_and_switches_nothing(service: Service) -> None:
    body = await promoted(service, "echo the feed is empty; exit 3")
    assert body["smoke"] == {"ok": False, "exit_code": 3, "output": "the feed is empty\n"}
    status = await service.status()
    assert (status["primary"], status["phase"]) == ("postgres", "promoted")
    assert '"level": "error"' in service.log.read_text() or '"level":"error"' in service.log.read_text()
    assert recorded(service)[0]["exitCode"] == 3


async def test_one_that_hangs_is_killed_with_all_that_it_started(service: Service, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    child = f"{shlex.quote(sys.executable)} -c 'import signal; signal.pause()' & echo $! > {pid}; echo waiting; wait"
    body = await promoted(service, child, CUTOVER_PROMOTION_SMOKE_TIMEOUT="3s")
    smoke = body["smoke"]
    assert isinstance(smoke, dict)
    assert not smoke["ok"]
    assert smoke["output"].startswith("waiting\n")
    assert "within 3 s" in smoke["output"]
    await until(lambda: not psutil.pid_exists(int(pid.read_text())), "the end of what it started")


async def test_it_is_run_as_well_when_the_recovery_completes_the_promotion(service: Service, tmp_path: Path) -> None:
    environment = {_ENVIRONMENT: f"touch {tmp_path / 'ran'}"}
    await service.start(crash_point="switch.commit.after", environment=environment)
    await service.up()
    await service.verified()
    with contextlib.suppress(aiohttp.ClientError):
        await service.switch("promote")
    assert await service.died() == -9
    assert not os.path.exists(tmp_path / "ran")
    await service.start(environment=environment)
    await service.up("promoted")
    await until(lambda: recorded(service), "the record of the smoke command")
    assert os.path.exists(tmp_path / "ran")
    assert await service.stop() == 0
    await service.start(environment=environment)
    await service.up("promoted")
    assert len(recorded(service)) == 1
