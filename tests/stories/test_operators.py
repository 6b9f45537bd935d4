"""What operators are told, and what is written down of what they try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cutover.audit import read_records
from tests.support.service import Service, create

TOKENS = 'viewer_token = "see"\noperator_token = "act"\nadmin_token = "rule"\n'


def records(service: Service) -> list[dict[str, Any]]:
    return list(read_records(service.folder / "state" / "audit.jsonl"))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_what_a_role_does_not_allow_is_in_the_audit_log(tmp_path: Path, postgres_url: str) -> None:
    path = str(tmp_path / "app.db")
    create(path, "PRAGMA journal_mode = WAL; CREATE TABLE items (id TEXT PRIMARY KEY);")
    service = Service(tmp_path, path, postgres_url, TOKENS)
    try:
        await service.start()
        await service.answering()
        body = {"approval": "CHANGE-9", "override": ["verified"]}
        for token, expected in (("nobody", 401), ("see", 403), ("act", 403)):
            code, answer = await service.request("POST", service.admin + "/v1/promote", body, **bearer(token))
            assert code == expected, answer
        assert (await service.request("POST", service.admin + "/v1/mirror/pause", {}, **bearer("see")))[0] == 403
    finally:
        assert await service.stop() == 0
    refused = [record for record in records(service) if record["action"].endswith(".refused")]
    assert [(record["action"], record["actorId"], record["metadata"]["approval"]) for record in refused] == [
        ("promote.refused", "viewer", "CHANGE-9"),
        ("promote.refused", "operator", "CHANGE-9"),
        ("mirror.pause.refused", "viewer", ""),
    ]
    assert "overriding a gate" in refused[1]["metadata"]["reason"]


async def test_a_verification_of_all_tables_says_all(service: Service) -> None:
    await service.start()
    await service.up()
    await service.verified()
    code, body = await service.post("/v1/verify", tables=["nope"])
    assert (code, body["error"]["code"]) == (404, "no_such_table")
    assert "Mapped are:" in body["error"]["message"]
    assert await service.stop() == 0
    assert [record["metadata"]["tables"] for record in records(service) if record["action"] == "verify"] == ["all"]


async def test_a_file_that_is_no_database_is_a_usage_error(tmp_path: Path, postgres_url: str) -> None:
    path, content = tmp_path / "app.db", b"this is no database, but a page of text\n" * 100
    path.write_bytes(content)
    service = Service(tmp_path, str(path), postgres_url)
    await service.start()
    assert await service.died() == 2
    told = service.log.read_text()
    assert f"'{path}' is not a SQLite database, or is damaged" in told
    assert path.read_bytes() == content


async def test_what_cannot_be_mirrored_is_said_in_whole_sentences(tmp_path: Path, postgres_url: str) -> None:
    path = str(tmp_path / "app.db")
    create(
        path,
        "PRAGMA journal_mode = WAL; CREATE TABLE items (id TEXT PRIMARY KEY);"
        "CREATE TABLE prices (id INTEGER PRIMARY KEY, price AMOUNT);",
    )
    service = Service(tmp_path, path, postgres_url, "[tables.gone]\nignore = true\n")
    await service.start()
    await service.up()
    gates = {gate["name"]: gate["detail"] for gate in (await service.status())["gates"]}
    assert await service.stop() == 0
    assert "prices.price: " in gates["target_ready"]
    assert "holds nothing yet. Set its type" in gates["target_ready"]
    assert "mapping: The configuration speaks of table gone, " in gates["target_ready"]
