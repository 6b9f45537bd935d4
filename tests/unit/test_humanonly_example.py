"""The HumanOnly example: its data, its ledger, and the application's own way of saving."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cutover.cli.demo_data import TABLES, Maker, configuration, generate, insert_sql, rows_of, write_audit_log
from cutover.cli.demo_ledger import Ledger, sqlite_rows
from cutover.cli.demo_traffic import DirectWriter
from cutover.model.values import Row
from cutover.settings import load_settings

EXAMPLE = Path(__file__).parents[2] / "examples" / "humanonly"


def column(rows: list[Row], table: str, name: str) -> list[object]:
    return [row[TABLES[table].index(name)] for row in rows]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("humanonly") / "app.db"
    generate(path, rows=2000, seed=7)
    return str(path)


def test_the_same_seed_makes_the_same_rows() -> None:
    assert list(rows_of(500, 1)) == list(rows_of(500, 1))
    assert list(rows_of(500, 1)) != list(rows_of(500, 2))


def test_as_many_rows_as_asked_and_no_orphans(made: str) -> None:
    rows = sqlite_rows(made)
    assert sum(len(table) for table in rows.values()) == 2000
    assert all(rows.values())
    keys = {table: set(column(rows[table], table, "id")) for table in TABLES}
    assert set(column(rows["posts"], "posts", "author_id")) <= keys["users"]
    assert set(column(rows["reports"], "reports", "post_id")) <= keys["posts"]
    assert set(column(rows["appeals"], "appeals", "report_id")) <= keys["reports"]
    assert set(column(rows["appeals"], "appeals", "decided_by_id")) - {None} <= keys["users"]


def test_values_look_as_the_application_writes_them(made: str) -> None:
    rows = sqlite_rows(made)
    stamps = column(rows["posts"], "posts", "created_at")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(stamp)) for stamp in stamps)
    signals = column(rows["users"], "users", "assurance_signals_json")
    assert {None, "[]"} < set(signals), "none and the empty list both occur, and so does a real list"
    for text in filter(None, signals):
        assert json.dumps(json.loads(str(text)), separators=(",", ":")) == text
    bodies = "".join(str(body) for body in column(rows["posts"], "posts", "body"))
    assert "\x00" not in bodies
    assert any(ord(letter) > 0xFFFF for letter in bodies)


def test_traps_are_what_a_promotion_must_stop_at(tmp_path: Path) -> None:
    generate(tmp_path / "app.db", rows=100, seed=1, trap_rows=4)
    trapped = [row for row in sqlite_rows(str(tmp_path / "app.db"))["posts"] if row[1] == "nobody"]
    assert len(trapped) == 4
    assert sum("\x00" in str(row[2]) for row in trapped) == 2


def test_the_application_audit_log_is_one_chain(tmp_path: Path) -> None:
    head = write_audit_log(tmp_path / "audit.jsonl", records=30)
    previous = ""
    for number, line in enumerate((tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines(), start=1):
        record = json.loads(line)
        claimed = record.pop("hash")
        plain = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
        assert claimed == hashlib.sha256(plain.encode()).hexdigest()
        assert (record["sequence"], record["previousHash"]) == (number, previous)
        previous = claimed
    assert previous == head


def test_the_configuration_is_valid_and_leaves_the_environment_its_say() -> None:
    environ = {"HUMANONLY_DB_FILE": "/data/app.db", "HUMANONLY_POSTGRES_URL": "postgresql://db/humanonly"}
    settings = load_settings(EXAMPLE / "cutover.toml", environ)
    assert settings.sqlite.path == "/data/app.db"
    assert settings.postgres.url.get_secret_value() == "postgresql://db/humanonly"
    assert settings.tables["users"].columns["assurance_level"].target == "identity_assurance_level"
    assert (EXAMPLE / "cutover.toml").read_text(encoding="utf-8") == configuration()


def test_invariants_hold_on_the_example_and_not_on_traps(made: str, tmp_path: Path) -> None:
    generate(tmp_path / "bad.db", rows=100, seed=1, trap_rows=2)
    broken = []
    for invariant in load_settings(EXAMPLE / "cutover.toml", {}).invariants:
        sql = invariant.sql_sqlite or invariant.sql
        for path in (made, str(tmp_path / "bad.db")):
            connection = sqlite3.connect(path)
            answer = str(connection.execute(sql).fetchone()[0])
            connection.close()
            if path == made and invariant.expect is not None:
                assert answer == invariant.expect, invariant.name
            elif invariant.expect is not None and answer != invariant.expect:
                broken.append(invariant.name)
    assert broken == ["no post without its author"]


def test_a_direct_writer_saves_and_its_ledger_agrees(tmp_path: Path) -> None:
    path = str(tmp_path / "app.db")
    generate(path, rows=60, seed=1)
    writer = DirectWriter(path, tag="direct", seed=3)
    writer.open()
    assert [writer.step() for _ in range(40)] == ["acknowledged"] * 40
    writer.close()
    stored = sqlite_rows(path)
    assert writer.ledger.check(stored, "direct") == []
    assert sum(not str(row[0]).startswith("direct-") for rows in stored.values() for row in rows) == 60


def test_a_writer_that_owns_the_store_deletes_what_it_does_not_know(tmp_path: Path) -> None:
    path = str(tmp_path / "app.db")
    generate(path, rows=60, seed=1)
    writer = DirectWriter(path, whole_store=True)
    writer.open()
    stranger = Maker(1, "stranger").user()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(insert_sql("users"), stranger)
    other.close()
    assert writer.step() == "acknowledged"
    writer.close()
    assert stranger not in sqlite_rows(path)["users"]


def test_a_fenced_file_refuses_the_save_and_nothing_of_it_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "app.db")
    generate(path, rows=60, seed=1)
    writer = DirectWriter(path, tag="direct")
    writer.open()
    writer.step()
    other = sqlite3.connect(path, isolation_level=None)
    for table in TABLES:
        raises = "BEGIN SELECT RAISE(ROLLBACK, 'cutover: postgres is primary, epoch 2'); END"
        other.execute(f"CREATE TRIGGER fence_{table} BEFORE INSERT ON {table} {raises}")
    other.close()
    before = sqlite_rows(path)
    assert writer.step() == "refused"
    assert "epoch 2" in writer.last_error
    writer.close()
    assert sqlite_rows(path) == before
    assert writer.ledger.check(before, "direct") == []


def append(row: Row | None) -> Row | None:
    return None if row is None else (*row[:2], f"{row[2]}+", *row[3:])


POST: Row = ("me-1", "me-0", "text", "2025-01-01T00:00:00.000Z")
TWICE: Row = ("me-1", "me-0", "text++", "2025-01-01T00:00:00.000Z")


def test_a_ledger_finds_losses_doubles_and_strangers() -> None:
    ledger = Ledger()
    row_id = ("posts", "me-1")
    ledger.record("acknowledged", {row_id: lambda _row: POST})
    assert ledger.check({"posts": []}) == ["posts 'me-1' is lost, though its write was acknowledged"]
    ledger.record("acknowledged", {row_id: append})
    assert "differs from what was acknowledged in body" in ledger.check({"posts": [TWICE]})[0]
    assert "differs" in ledger.check({"posts": [POST]})[0]
    ledger.record("refused", {row_id: append})
    once = append(POST)
    assert once is not None
    assert ledger.check({"posts": [once]}, "me") == []
    assert "twice" in ledger.check({"posts": [once, once]})[0]
    assert "no write made it" in ledger.check({"posts": [once, ("me-9", "me-0", "", "")]}, "me")[0]
    ledger.record("acknowledged", {row_id: lambda _row: None})
    assert "delete was acknowledged" in ledger.check({"posts": [once]})[0]
    assert ledger.check({"posts": []}, "me") == []


def test_an_unknown_outcome_allows_both_states_and_no_third() -> None:
    ledger = Ledger()
    row_id = ("posts", "me-1")
    ledger.record("acknowledged", {row_id: lambda _row: POST})
    ledger.record("unknown", {row_id: append})
    once = append(POST)
    assert once is not None
    assert ledger.check({"posts": [POST]}) == ledger.check({"posts": [once]}) == []
    assert len(ledger.check({"posts": [TWICE]})) == len(ledger.check({"posts": []})) == 1
    assert ledger.certain("posts") == []


@pytest.mark.parametrize("script", ["generate.py", "simulate.py", "smoke.py"])
def test_each_script_explains_itself(script: str) -> None:
    shown = subprocess.run([sys.executable, EXAMPLE / script, "--help"], capture_output=True, text=True, check=True)
    assert "example" in shown.stdout


def test_the_generator_does_not_write_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "app.db").touch()
    command = [sys.executable, EXAMPLE / "generate.py", tmp_path / "app.db"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert "exists" in shown.stderr
