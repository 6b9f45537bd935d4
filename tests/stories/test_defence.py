"""The process and its secrets: files that are read again, and what must not be found in its log."""

import json
import os
import signal
from typing import Any

from tests.support.service import Service, until

MARK = "quetzalcoatl"
"""Of values and tokens; in no text of ours."""
NAME = "mictlantecuhtli"
"""Of things that are not there: in metrics by the shape of their statements, but not in logs."""


def token(service: Service, *lines: str) -> None:
    (service.folder / "tokens").write_text("\n".join(lines) + "\n")


async def hang_up(service: Service, said: str) -> None:
    """SIGHUP, and wait until the log has a new line with this in it."""
    assert service.process is not None
    before = service.log.read_text().count(said)
    os.kill(service.process.pid, signal.SIGHUP)
    await service.explained(until(lambda: service.log.read_text().count(said) > before, said))


async def status(service: Service, secret: str, sql: str = "SELECT 1") -> Any:
    body = {"requests": [{"type": "execute", "stmt": {"sql": sql}}, {"type": "close"}]}
    code, answer = await service.request("POST", service.front + "/v2/pipeline", body, authorization=f"Bearer {secret}")
    return code if code != 200 else answer["results"][0].get("error", {}).get("code", 200)


async def test_tokens_are_read_again_and_nothing_secret_is_logged(service: Service) -> None:
    admin = service.folder / "admin"
    admin.write_text(f"admin-{MARK}-1\n")
    token(service, f"shop rw one-{MARK}", f"reports ro two-{MARK}")
    await service.start(
        environment={
            "CUTOVER_FRONT_TOKEN_FILE": str(service.folder / "tokens"),
            "CUTOVER_ADMIN_ADMIN_TOKEN_FILE": str(admin),
            "CUTOVER_SERVICE_LOG_LEVEL": "debug",
        }
    )
    await service.answering()

    async def as_admin(path: str, secret: str) -> tuple[int, Any]:
        return await service.request("GET", service.admin + path, authorization=f"Bearer {secret}")

    assert [await status(service, f"{name}-{MARK}") for name in ("one", "two", "three")] == [200, 200, 401]

    token(service, f"shop rw three-{MARK}", f"reports rw two-{MARK}")
    admin.write_text(f"admin-{MARK}-2\n")
    await hang_up(service, "The applications' tokens were read again.")
    assert [await status(service, f"{name}-{MARK}") for name in ("one", "two", "three")] == [401, 200, 200]
    assert await status(service, f"two-{MARK}", "CREATE TABLE x (a)") == 200
    assert [(await as_admin("/v1/status", f"admin-{MARK}-{number}"))[0] for number in (1, 2)] == [401, 200]

    token(service, f"shop rw four-{MARK} more")
    admin.unlink()
    await hang_up(service, "The applications' tokens could not be read again and stay as they were")
    assert [await status(service, f"{name}-{MARK}") for name in ("three", "four")] == [200, 401]
    assert (await as_admin("/v1/status", f"admin-{MARK}-2"))[0] == 200

    await leave_marks_everywhere(service)
    _, metrics = await as_admin("/metrics", f"admin-{MARK}-2")
    assert MARK not in json.dumps(metrics)
    log = service.log.read_text()
    lines = [line for line in log.splitlines() if MARK in line or NAME in line]
    assert lines == []
    assert '"now":"reports, shop"' in log
    assert "line 1: it is neither" in log


async def leave_marks_everywhere(service: Service) -> None:
    """Statements, values, names and headers that work, fail, and are not even well formed."""
    secret = f"three-{MARK}"
    for sql in (
        f"SELECT '{MARK}'",
        f"SELECT {NAME}",
        f"SELECT * FROM {NAME}",
        NAME,
        f"PRAGMA {NAME} = 1",
        f"INSERT INTO items VALUES ('{MARK}', 1, '{MARK}')",
        f"INSERT INTO items VALUES ('{MARK}', 2, '')",
        f"UPDATE items SET n = NULL WHERE id = '{MARK}'",
        f"INSERT INTO {NAME} VALUES ('{MARK}')",
        f"SELECT json('{MARK}')",
        f"SELECT 'é{MARK}' || \"{MARK}\" || x'00' -- {MARK}",
        f"/* {MARK} */ SELECT 1 /* {MARK} */",
        f"ATTACH '{MARK}' AS x",
        f"DELETE FROM items WHERE id = '{MARK}'",
    ):
        await status(service, secret, sql)
    for body in (
        {"requests": [{"type": MARK}]},
        {"baton": MARK, "requests": []},
        {"requests": [{"type": "execute", "stmt": {"sql": "SELECT ?", "args": [{"type": MARK}]}}]},
        {"requests": [{"type": "store_sql", "sql_id": 1, "sql": MARK}, {"type": "execute", "stmt": {"sql_id": 2}}]},
        [MARK],
    ):
        await service.request("POST", service.front + "/v2/pipeline", body, authorization=f"Bearer {secret}")
    for path in (f"/{MARK}", f"/v2/pipeline?{MARK}", "/v3/cursor"):
        await service.request("POST", service.front + path, {"batch": {"steps": [{"stmt": {"sql": MARK}}]}})
    await service.request("GET", service.front + "/v2", None, authorization=MARK, **{f"x-{MARK}": MARK})
