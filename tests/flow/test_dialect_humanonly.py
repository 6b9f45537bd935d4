"""The first user's schema, adopted with its renamed columns and JSONB, on a store as the service has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cutover.errors import StatementError
from cutover.settings import Settings
from tests.flow.dialect_world import World, world

EXAMPLE = Path(__file__).parents[2] / "examples" / "humanonly"
RENAMED = {
    "assurance_level": "identity_assurance_level",
    "assurance_signals_json": "identity_assurance_signals",
    "assurance_evaluated_at": "identity_assurance_evaluated_at",
}
AT = "2026-01-31T12:00:00.000Z"
USER = (
    "INSERT OR REPLACE INTO users (id, handle, display_name, role, governance_accepted_at, human_verified_at, "
    "assurance_level, assurance_signals_json, assurance_evaluated_at, created_at, updated_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def user(key: str, handle: str, level: str | None = None, signals: str | None = None) -> tuple[str | None, ...]:
    return (key, handle, handle.title(), "member", AT, AT, level, signals, None, AT, AT)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    columns = {name: {"target": target} for name, target in RENAMED.items()}
    settings = Settings.model_validate({"tables": {"users": {"columns": columns}}})
    schema = (EXAMPLE / "sqlite.sql").read_text().replace("PRAGMA journal_mode = WAL;", "")
    target = (EXAMPLE / "postgres.sql").read_text()
    async with world(postgres_url, schema, target=target, settings=settings, store=True) as made:
        yield made


async def test_a_save_as_the_application_does_it(both: World) -> None:
    await both.same(USER, *user("u1", "ada", "high", '["passkey","live"]'))
    await both.same(USER, *user("u2", "bob"))
    await both.same(USER, *user("u1", "ada", "low", "[]"))
    await both.same(USER, *user("u3", "bob"))
    for number in range(3):
        await both.same("INSERT OR REPLACE INTO posts VALUES (?, ?, ?, ?)", f"p{number}", "u1", f"text {number}", AT)
    await both.same("DELETE FROM posts WHERE id NOT IN (?, ?)", "p0", "p2")
    await both.same("SELECT * FROM users ORDER BY created_at, id")
    await both.same("SELECT id, assurance_level, assurance_signals_json AS s FROM users WHERE assurance_level = 'low'")
    await both.same("SELECT json_extract(assurance_signals_json, '$[0]') FROM users ORDER BY id")
    await both.same("SELECT length(assurance_signals_json) FROM users ORDER BY id")
    await both.same("UPDATE users SET assurance_signals_json = ?, assurance_level = NULL WHERE id = ?", '{"a":1}', "u1")
    await both.same("UPDATE users SET assurance_signals_json = '[1,2]' WHERE handle = 'bob' RETURNING *")
    await both.same(
        "SELECT p.id, p.body, u.handle FROM posts p JOIN users u ON u.id = p.author_id WHERE p.created_at >= ? "
        "ORDER BY p.created_at DESC, p.id LIMIT ? OFFSET ?",
        AT,
        10,
        0,
    )
    await both.same(
        "INSERT INTO reports (id, post_id, reporter_id, reason, created_at) VALUES ('r', 'p0', 'u1', 'x', ?)", AT
    )
    await both.same("SELECT status, count(*) FROM reports GROUP BY status")


async def test_what_the_target_forbids_is_said_in_sqlite_words(both: World) -> None:
    await both.same(USER, *user("u1", "ada"))
    await both.same_error("INSERT INTO users SELECT 'u9', handle, '', '', '', '', NULL, NULL, NULL, '', '' FROM users")
    with pytest.raises(StatementError) as orphan:
        await both.on_postgres("INSERT INTO posts VALUES ('p', 'nobody', 'x', ?)", AT)
    assert (orphan.value.code, orphan.value.message) == ("SQLITE_CONSTRAINT", "FOREIGN KEY constraint failed")
    with pytest.raises(StatementError) as malformed:
        await both.on_postgres("UPDATE users SET assurance_signals_json = ?", "{not json")
    assert malformed.value.code == "SQLITE_MISMATCH"
    assert "not json" not in malformed.value.message
