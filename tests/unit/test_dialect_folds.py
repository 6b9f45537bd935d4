"""Statements are remembered in bounded memory, whatever is written out in their texts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.dialect.folds import Folds, blank, classes_of
from cutover.dialect.rehearsal import Rehearsed
from cutover.model.statement import Statement
from cutover.model.values import SqlValue
from cutover.schema import fingerprint

READY, REFUSED = Rehearsed("ready"), Rehearsed("refused", reason="no")


def rehearsed(folds: Folds, generation: int = 1) -> None:
    """As the registry does: what has `odd` in it is refused."""
    for fold in folds:
        for sample in fold.samples():
            if sample.generation != generation:
                sample.found, sample.generation = REFUSED if "odd" in sample.sql else READY, generation
        fold.judge(generation)


def test_inlined_literals_fill_nothing() -> None:
    folds = Folds(50)
    for number in range(2000):
        group, _ = folds.find(Statement(f"SELECT a FROM t WHERE b = {number} AND c = 'x{number}'"), writes=False)
        assert group is not None
    (fold,) = folds
    assert len(fold.groups) == 65, "the first for themselves, then one for this combination of classes"
    assert len(folds.spots) <= 5
    for number in range(200):
        folds.find(Statement(f"SELECT c{number} FROM t"), writes=False)
    assert (len(folds), folds.beyond) == (50, 151)


def test_long_texts_are_known_again_and_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that writes its values into megabytes of text."""
    seen, shape = Counter[str](), fingerprint.fold
    monkeypatch.setattr("cutover.dialect.folds.fold", lambda sql, longest: (seen.update("x"), shape(sql, longest))[1])
    folds = Folds(50)
    rows = ", ".join(["(1, 'x')"] * 20_000)
    first, _ = folds.find(Statement(f"INSERT INTO t VALUES {rows}"), writes=True)
    assert folds.find(Statement(f"INSERT INTO t VALUES {rows}"), writes=True) == (first, False)
    assert seen.total() == 1, "by its digest"
    for number in range(200):
        group, _ = folds.find(Statement(f"INSERT INTO t VALUES (0, '{number}'), {rows}"), writes=True)
        assert group is not None
    kept = sum(len(sample.sql) for one in folds for sample in one.samples())
    assert kept <= 16 << 20
    assert folds.beyond == 0
    assert folds.find(Statement(f"INSERT INTO other VALUES {', '.join(['(2)'] * 4_000_000)}"), writes=True)[0] is None
    assert folds.beyond == 1
    assert folds.find(Statement("SELECT a FROM t"), writes=False)[1]


def test_a_fold_is_as_ready_as_its_worst_text() -> None:
    folds = Folds(50)
    for value in ("'a'", "'odd'", "1"):
        folds.find(Statement(f"SELECT a FROM t WHERE b = {value}"), writes=False)
    (fold,) = folds
    assert fold.status == "unseen"
    rehearsed(folds)
    assert (fold.status, fold.sql, fold.reason) == ("refused", "SELECT a FROM t WHERE b = 'odd'", "no")
    rehearsed(folds, generation=2)
    assert fold.generation == 2
    group, new = folds.find(Statement("SELECT a FROM t WHERE b = 2.5"), writes=False)
    assert new
    assert group is not None
    assert fold.status == "unseen"


def test_a_new_combination_of_classes_opens_it_again() -> None:
    folds = Folds(50)
    statement = Statement("SELECT a FROM t WHERE b = ?", (1,))
    group, _ = folds.find(statement, writes=False)
    assert group is not None
    rehearsed(folds)
    assert group.fold.status == "ready"
    other = Statement(statement.sql, ("secret",))
    assert classes_of(other) not in group.samples
    assert group.fold.count_in(group, other, classes_of(other))
    assert group.fold.status == "unseen"
    rehearsed(folds)
    assert (group.fold.status, len(group.samples)) == ("ready", 2)
    assert "secret" not in str(group.samples)


@given(st.lists(st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()), max_size=4))
def test_a_sample_has_the_classes_of_the_execution_and_none_of_its_values(args: list[SqlValue]) -> None:
    sample = blank(Statement("SELECT ?", tuple(args), ((":a", 7),)))
    assert sample is not None
    assert classes_of(sample) == classes_of(Statement("SELECT ?", tuple(args), ((":a", 7),)))
    assert all(not value for value in (*sample.args, *(value for _, value in sample.named)))
