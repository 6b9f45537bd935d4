"""The pure parts of trigger text and of what a column would do to a value."""

from __future__ import annotations

import pytest

from cutover.model.control import Control, SwitchState
from cutover.model.table import Column
from cutover.stores.sqlite.apply import altered
from cutover.stores.sqlite.triggers import Facts, capture_triggers, default_sql, fence_message, fence_triggers
from tests.support.samples import ITEMS, PEOPLE


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("'anon'", "'anon'"),
        ("anon", "'anon'"),
        ('"it\'s"', "'it''s'"),
        ("NULL", "NULL"),
        ("current_timestamp", "current_timestamp"),
        ("true", "1"),
        ("FALSE", "0"),
        ("-5", "-5"),
        ("datetime('now')", "datetime('now')"),
    ],
)
def test_defaults_are_written_as_any_sqlite_reads_them(text: str, sql: str) -> None:
    assert default_sql(text) == sql


def test_the_fence_names_primary_and_epoch() -> None:
    message = fence_message(Control("p", primary="postgres", epoch=7))
    assert message.startswith("cutover: ")
    assert "primary is postgres, epoch 7" in message
    switching = Control("p", primary="sqlite", epoch=3, state=SwitchState.PROMOTING)
    assert "a switch from sqlite to postgres is under way" in fence_message(switching)
    assert "epoch 3" in fence_message(switching)
    # The step to `committing` must not have to write the triggers again.
    assert fence_message(switching) == fence_message(switching.but(state=SwitchState.COMMITTING))


def test_no_trigger_has_a_conflict_clause_or_young_syntax() -> None:
    facts = Facts(("id", "handle", "about"), None)
    texts = [*capture_triggers(PEOPLE, facts).values(), *fence_triggers(PEOPLE, Control("p", "sqlite", 1)).values()]
    for text in texts:
        for word in (" OR REPLACE", " OR IGNORE", "ON CONFLICT", "json", "RETURNING", "WITH ", "->"):
            assert word.lower() not in text.lower()


def test_an_automatic_key_is_logged_after_the_insert() -> None:
    automatic = capture_triggers(ITEMS, Facts(("id", "owner", "label", "size", "data"), "id"))
    assert any(name.endswith("_after_insert") for name in automatic)
    known = capture_triggers(PEOPLE, Facts(("id", "handle", "about"), None))
    assert not any(name.endswith("_after_insert") for name in known)


@pytest.mark.parametrize(
    ("affinity", "value", "expected"),
    [
        ("INTEGER", "12", True),
        ("INTEGER", " 1.5e3 ", True),
        ("NUMERIC", "0x10", False),
        ("INTEGER", "12a", False),
        ("INTEGER", 3.0, True),
        ("INTEGER", 3.5, False),
        ("NUMERIC", 1e300, False),
        ("REAL", 3, True),
        ("REAL", -0.0, True),
        ("BLOB", -0.0, False),
        ("TEXT", 1, True),
        ("TEXT", 1.5, True),
        ("TEXT", "12", False),
        ("BLOB", "12", False),
        ("INTEGER", b"12", False),
        ("REAL", None, False),
        ("BLOB", float("nan"), True),
    ],
)
def test_what_affinity_would_alter(affinity: str, value: object, expected: bool) -> None:
    assert altered(Column("c", "", affinity, "c", "text"), value) is expected
