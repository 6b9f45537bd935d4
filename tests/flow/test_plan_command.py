"""`cutover plan` as it is typed."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from cutover.cli.main import app
from cutover.errors import ConfigurationError, StoreUnavailable
from cutover.schema.files import without_password
from cutover.settings import load_settings

_SCHEMA = """
CREATE TABLE users (id TEXT PRIMARY KEY NOT NULL, handle TEXT NOT NULL UNIQUE, joined DATETIME);
CREATE TABLE posts (id INTEGER PRIMARY KEY, author TEXT REFERENCES users, body TEXT);
INSERT INTO users VALUES ('u1', 'ann', '2024-01-01'), ('u2', 'bob', NULL);
INSERT INTO posts VALUES (1, 'u1', 'hello');
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory of its own, with nothing of the caller's environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("CUTOVER_CONFIG", "CUTOVER_POSTGRES_URL", "HUMANONLY_DB_FILE", "HUMANONLY_POSTGRES_URL"):
        monkeypatch.delenv(name, raising=False)


def _make(path: str, script: str = _SCHEMA) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def _run(*args: str) -> Result:
    return CliRunner().invoke(app, ["plan", *args])


def test_a_clean_database_is_ready(sqlite_path: str) -> None:
    _make(sqlite_path)
    result = _run("--sqlite", sqlite_path)
    assert result.exit_code == 0, result.output
    assert "Ready: 3 rows in 2 tables." in result.output
    assert 'CREATE TABLE "public"."posts"' in result.output
    assert "datetime" in result.output.lower()


def test_findings_that_block_end_with_3_and_say_what_to_do(sqlite_path: str) -> None:
    _make(sqlite_path, _SCHEMA + "INSERT INTO posts VALUES (2, 'gone', 'x'); CREATE TABLE log (line)")
    result = _run("--sqlite", sqlite_path)
    assert result.exit_code == 3
    assert "posts.author [1 row]: Rows have no parent (posts.author -> users.id)." in result.output
    assert "for example 2" in result.output
    assert "→ Delete them" in result.output
    assert "Not ready: 2 findings" in result.output


def test_json_is_whole(sqlite_path: str) -> None:
    _make(sqlite_path, _SCHEMA + "INSERT INTO posts VALUES (2, x'00', 'x')")
    result = _run("--sqlite", sqlite_path, "--json")
    assert result.exit_code == 3
    found = json.loads(result.output)
    assert found["sqlite"] == sqlite_path
    assert found["blocks"] is True
    posts = found["tables"][0]
    assert (posts["name"], posts["target"], posts["rows"], posts["key"]) == ("posts", "public.posts", 2, ["id"])
    assert posts["columns"][1] == {
        "name": "author",
        "declared": "TEXT",
        "target": "author",
        "type": "text",
        "classes": {"text": 1, "blob": 1},
    }
    assert len(found["ddl"]) == 5
    finding = next(each for each in found["findings"] if each["code"] == "wrong_storage_class")
    assert (finding["severity"], finding["table"], finding["column"]) == ("blocks", "posts", "author")
    assert (finding["count"], finding["examples"]) == (1, [[2]])
    assert finding["todo"]


async def test_written_files_serve_as_they_stand(sqlite_path: str, tmp_path: Path, postgres_url: str) -> None:
    _make(sqlite_path)
    (tmp_path / "given.toml").write_text(
        '[tables.users]\ntarget = "people"\n[tables.users.columns.handle]\ntarget = "nick name"\n'
        '[tables.gone]\nignore = true\n[promotion]\nmax_lag_seconds = "2s"\n'
        '[[invariants]]\nname = "posts"\nsql = "SELECT count(*) FROM posts"\nexpect = "1"\n'
    )
    _make(sqlite_path, "CREATE TABLE gone (a)")
    folder = tmp_path / "out"
    result = _run("--sqlite", sqlite_path, "--config", "given.toml", "--write", str(folder))
    assert result.exit_code == 0, result.output
    settings = load_settings(folder / "cutover.toml", {})
    assert settings.sqlite.path == sqlite_path
    assert settings.tables["users"].target == "people"
    assert settings.tables["users"].columns["handle"].target == "nick name"
    assert settings.tables["users"].columns["joined"].type == "text"
    assert settings.tables["gone"].ignore
    assert settings.promotion.max_lag_seconds == 2
    assert settings.invariants[0].expect == "1"
    again = _run("--sqlite", sqlite_path, "--config", str(folder / "cutover.toml"), "--write", str(folder))
    assert again.exit_code == 0
    assert sorted(file.name for file in folder.iterdir()) == ["cutover.toml", "schema.sql"]

    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute((folder / "schema.sql").read_text())
        assert await connection.fetchval('SELECT count("nick name") FROM people') == 0
    finally:
        await connection.close()


def test_every_setting_is_in_the_written_file_once_and_as_its_default(sqlite_path: str, tmp_path: Path) -> None:
    _make(sqlite_path)
    _run("--sqlite", sqlite_path, "--write", str(tmp_path))
    text = (tmp_path / "cutover.toml").read_text()
    plain = "\n".join(
        line.removeprefix("# ") if " = " in line else line
        for line in text.splitlines()
        if line[:2] != "# " or " = " in line
    )
    (tmp_path / "all.toml").write_text(plain)
    assert load_settings(tmp_path / "all.toml", {}) == load_settings(tmp_path / "cutover.toml", {})


def test_values_are_masked_unless_asked_for(sqlite_path: str) -> None:
    _make(
        sqlite_path,
        "CREATE TABLE people (id INTEGER PRIMARY KEY, age INT); INSERT INTO people VALUES (7, 'forty-two');",
    )
    for style in ([], ["--json"], ["--markdown"]):
        shown = _run("--sqlite", sqlite_path, *style)
        assert shown.exit_code == 3
        assert "forty-two" not in shown.output
        assert "text of 9 characters" in shown.output
        assert "7" in shown.output
        assert "forty-two" in _run("--sqlite", sqlite_path, "--show-values", *style).output


def test_markdown_is_a_page_for_a_ticket(sqlite_path: str) -> None:
    _make(sqlite_path, 'CREATE TABLE "a|b" (id INTEGER PRIMARY KEY, x INT); INSERT INTO "a|b" VALUES (1, \'y\');')
    page = _run("--sqlite", sqlite_path, "--markdown").output
    assert page.startswith("# Plan for `")
    assert "**Not ready: 1 finding must be dealt with.**" in page
    assert r"| a\|b | public.a\|b | to be created | 1 | id |" in page
    assert r"- **a\|b.x** [1 row] (`wrong_storage_class`)" in page
    assert "  - The column holds 1 text." in page
    assert "```sql\nCREATE TABLE" in page


def test_many_tables_make_a_short_page(sqlite_path: str) -> None:
    _make(sqlite_path, "".join(f"CREATE TABLE t{n} (id INTEGER PRIMARY KEY AUTOINCREMENT);" for n in range(20)))
    short, full = _run("--sqlite", sqlite_path).output, _run("--sqlite", sqlite_path, "--full").output
    assert "CREATE TABLE" not in short
    assert "CREATE TABLE" in full
    assert short.count("AUTOINCREMENT") == 1
    assert "14 others: AUTOINCREMENT" in short
    assert "14 others" not in full


def test_tightened_types_are_written(sqlite_path: str, tmp_path: Path) -> None:
    _make(sqlite_path, "CREATE TABLE people (id INTEGER PRIMARY KEY, ok BOOL); INSERT INTO people VALUES (7, 1);")
    result = _run("--sqlite", sqlite_path, "--tighten", "--write", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert '[tables.people.columns]\nok = { type = "boolean" }' in (tmp_path / "cutover.toml").read_text()
    assert '"ok" boolean' in (tmp_path / "schema.sql").read_text()


def test_a_file_that_differs_is_kept(sqlite_path: str, tmp_path: Path) -> None:
    _make(sqlite_path)
    (tmp_path / "schema.sql").write_text("-- mine")
    assert _run("--sqlite", sqlite_path, "--write", str(tmp_path)).exit_code == 0
    assert (tmp_path / "schema.sql.1").read_text() == "-- mine"
    assert "CREATE TABLE" in (tmp_path / "schema.sql").read_text()


def test_secrets_are_not_written(sqlite_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make(sqlite_path)
    for name in ("ADMIN_ADMIN_TOKEN", "FRONT_TOKENS"):
        monkeypatch.setenv(f"CUTOVER_{name}", "hunter2")
    assert _run("--sqlite", sqlite_path, "--write", str(tmp_path)).exit_code == 0
    assert "hunter2" not in (tmp_path / "cutover.toml").read_text()
    assert load_settings(tmp_path / "cutover.toml", {}).front.tokens == ()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@h:5432/d?sslmode=require", "postgresql://u@h:5432/d?sslmode=require"),
        ("postgresql://h/d?user=u&password=hunter2", "postgresql://h/d?user=u"),
        ("postgresql://u:hun@ter2@h/d", "postgresql://u@h/d"),
        ("postgresql:///d?host=%2Frun%2Fpg", "postgresql:///d?host=%2Frun%2Fpg"),
    ],
)
def test_a_url_loses_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


async def test_a_target_is_adopted(sqlite_path: str, postgres_url: str, tmp_path: Path) -> None:
    _make(sqlite_path)
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(
            "CREATE TABLE users (id text PRIMARY KEY, handle text UNIQUE, joined text);"
            "CREATE TABLE posts (id bigint PRIMARY KEY, author text, body text)"
        )
        before = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
        assert before
    finally:
        await connection.close()
    result = await _in_thread("--sqlite", sqlite_path, "--postgres", postgres_url, "--write", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "exists" in result.output
    assert "CREATE TABLE" not in result.output
    assert "nothing to create" in (tmp_path / "schema.sql").read_text()


async def _in_thread(*args: str) -> Result:
    import asyncio

    return await asyncio.to_thread(_run, *args)


def test_a_target_that_is_away_is_said_without_the_password(sqlite_path: str) -> None:
    _make(sqlite_path)
    result = _run("--sqlite", sqlite_path, "--postgres", "postgresql://u:hunter2@127.0.0.1:1/d")
    assert isinstance(result.exception, StoreUnavailable)
    assert "127.0.0.1:1" in str(result.exception)
    assert "hunter2" not in str(result.exception)


@pytest.mark.parametrize("url", ["nonsense://u:hunter2@h/d", "postgresql://u:hunter2@h:port/d"])
def test_a_url_that_is_none_is_said_without_the_password(sqlite_path: str, url: str) -> None:
    _make(sqlite_path)
    result = _run("--sqlite", sqlite_path, "--postgres", url)
    assert isinstance(result.exception, ConfigurationError)
    assert "hunter2" not in str(result.exception)


def test_wrong_files(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, only a text of some length" * 20)
    for args, told in (
        ((), "No SQLite file"),
        (("--sqlite", "none.db"), "There is no file 'none.db'"),
        (("--sqlite", str(tmp_path)), "is not a file"),
        (("--sqlite", "text.db"), "is not a SQLite database"),
        (("--sqlite", "text.db", "--config", "none.toml"), "no configuration file"),
    ):
        result = _run(*args)
        assert isinstance(result.exception, ConfigurationError), result.output
        assert told in str(result.exception)
    assert not (tmp_path / "none.db").exists()


def test_an_exclusive_writer_is_a_finding(sqlite_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.cli.plan._BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(sqlite_path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.executescript(_SCHEMA)
    result = _run("--sqlite", sqlite_path, "--json")
    holder.close()
    assert result.exit_code == 3
    assert [finding["code"] for finding in json.loads(result.output)["findings"]] == ["locked"]


def test_the_database_is_not_changed(sqlite_path: str) -> None:
    _make(sqlite_path)
    before = Path(sqlite_path).read_bytes()
    writer = sqlite3.connect(sqlite_path, isolation_level=None)
    writer.execute("INSERT INTO users VALUES ('u3', 'cat', NULL)")
    assert "Ready: 4 rows" in _run("--sqlite", sqlite_path).output
    assert Path(sqlite_path).read_bytes() == before  # the writer's row is in the WAL, and stays there
    writer.close()


def test_names_cannot_move_the_cursor(sqlite_path: str) -> None:
    _make(sqlite_path, 'CREATE TABLE "a\x1b[2J" (id TEXT PRIMARY KEY, "b\nc" TEXT DEFAULT \'\x1b\')')
    result = _run("--sqlite", sqlite_path)
    assert "\x1b" not in result.output
