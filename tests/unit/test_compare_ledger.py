"""What is remembered of drift, and for how long."""

from __future__ import annotations

import pytest

from cutover.compare import ledger as ledger_module
from cutover.compare.ledger import Ledger
from cutover.metrics import Metrics
from cutover.model.drift import Drift, DriftKind


def drift(number: int, kind: DriftKind = DriftKind.DIFFERENT, at: float = 100.0, body: str = "x") -> Drift:
    return Drift("notes", (number,), kind, ("body",), (number, body), (number, "y"), at)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("test")


@pytest.fixture
def ledger(metrics: Metrics) -> Ledger:
    return Ledger(metrics)


def gauge(metrics: Metrics, kind: str) -> float | None:
    return metrics.registry.get_sample_value("cutover_drift_rows", {"table": "notes", "kind": kind})


def test_the_first_sight_is_kept_and_the_kind_is_renewed(ledger: Ledger, metrics: Metrics) -> None:
    assert ledger.record(drift(1, at=100.0))
    assert ledger.record(drift(1, DriftKind.MISSING, at=200.0))
    (kept,) = ledger.drifts(None, 10)
    assert (kept.first_seen, kept.kind) == (100.0, DriftKind.MISSING)
    assert ledger.counts("notes") == {"missing": 1, "extra": 0, "different": 0, "type_changed": 0}
    assert (gauge(metrics, "missing"), gauge(metrics, "different")) == (1, 0)
    assert ledger.oldest() == 100.0


def test_healed_rows_are_gone_and_counted_once(ledger: Ledger, metrics: Metrics) -> None:
    for number in range(3):
        ledger.record(drift(number))
    assert ledger.heal("notes", [(0,), (1,), (7,)]) == 2
    assert ledger.heal("notes", [(0,)]) == 0
    assert ledger.heal("others", [(0,)]) == 0
    assert ledger.total() == gauge(metrics, "different") == 1
    assert ledger.keys("notes") == [(2,)]


def test_beyond_its_room_drift_is_counted_only(
    ledger: Ledger, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "HELD_ROWS", 2)
    assert [ledger.record(drift(number)) for number in range(3)] == [True, True, False]
    assert ledger.record(drift(1)), "a known one is renewed"
    ledger.count_beyond("notes", {DriftKind.DIFFERENT: 1, DriftKind.MISSING: 4, DriftKind.EXTRA: 0})
    assert (ledger.total(), ledger.beyond("notes")) == (7, 5)
    assert (gauge(metrics, "different"), gauge(metrics, "missing")) == (3, 4)
    ledger.count_beyond("notes", {})
    assert (ledger.total("notes"), gauge(metrics, "missing")) == (2, 0)


def test_large_rows_fill_the_room_sooner(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "HELD_BYTES", 10_000)
    assert ledger.record(drift(1, body="x" * 6000))
    assert not ledger.record(drift(2, body="x" * 6000))
    ledger.heal("notes", [(1,)])
    assert ledger.record(drift(2, body="x" * 6000))


def test_forgetting_clears_all_and_begins_a_reign(ledger: Ledger, metrics: Metrics) -> None:
    ledger.record(drift(1))
    ledger.count_beyond("notes", {DriftKind.EXTRA: 2})
    before = ledger.reign
    ledger.forget()
    assert ledger.reign > before
    assert (ledger.total(), ledger.oldest(), ledger.tables()) == (0, None, [])
    assert (gauge(metrics, "different"), gauge(metrics, "extra")) == (0, 0)


def test_the_age_of_the_oldest_is_shown(ledger: Ledger, metrics: Metrics) -> None:
    ledger.show_age()
    assert metrics.registry.get_sample_value("cutover_drift_oldest_seconds") == 0
    ledger.record(drift(1, at=1.0))
    ledger.show_age()
    age = metrics.registry.get_sample_value("cutover_drift_oldest_seconds")
    assert age is not None
    assert age > 1e9
