"""Every metric, declared once in one registry per service. Names are a contract; base units; bounded labels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from operator import add

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FINE = tuple(
    float(f"{digits}e{power}") for power in range(-5, 2) for digits in (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8)
)
"""Ten bounds a decade, from 10 µs to 80 s; those of `_FAST` are among them."""
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Tally(Collector):
    """Requests by endpoint: `cutover_requests_total` and `cutover_request_seconds`.

    A library's counter and histogram take a lock each, and 4 µs; this one belongs to the event loop's thread.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers: dict[tuple[str, str], int] = {}
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        registry.register(self)

    def note(self, endpoint: str, code: str, seconds: float) -> None:
        """One answer. `endpoint` and `code` must be of a bounded set."""
        answer = (endpoint, code)
        self._answers[answer] = self._answers.get(answer, 0) + 1
        counts = self._counts.get(endpoint)
        if counts is None:
            counts = self._counts[endpoint] = [0] * (len(_FAST) + 1)
            self._sums[endpoint] = 0.0
        counts[bisect_left(_FAST, seconds)] += 1
        self._sums[endpoint] += seconds

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        requests = CounterMetricFamily("cutover_requests", "Requests answered", labels=("endpoint", "code"))
        for answer, count in list(self._answers.items()):
            requests.add_metric(answer, count)
        yield requests
        seconds = HistogramMetricFamily("cutover_request_seconds", "Duration of a request", labels=("endpoint",))
        for endpoint, counts in list(self._counts.items()):
            bounds = [*(str(float(bound)) for bound in _FAST), "+Inf"]
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            seconds.add_metric((endpoint,), buckets, self._sums[endpoint])
        yield seconds


class ShapeTally:
    """What became of the statements of one shape. `kind` is one of a bounded set."""

    __slots__ = ("counts", "errors", "first", "kind", "last", "rows", "seconds", "slowest", "text")

    def __init__(self, text: str, kind: str, now: float) -> None:
        self.text = text
        self.kind = kind
        self.counts = [0] * (len(FINE) + 1)
        """How many took up to each of `FINE`, and beyond."""
        self.seconds = self.slowest = 0.0
        self.rows = 0
        self.errors: dict[str, int] = {}
        """How many of them failed, by code: one of a bounded set."""
        self.first = self.last = now

    def note(self, seconds: float, rows: int, now: float) -> None:
        """One execution."""
        self.counts[bisect_left(FINE, seconds)] += 1
        self.seconds += seconds
        if seconds > self.slowest:
            self.slowest = seconds
        self.rows += rows
        self.last = now

    def quantile(self, share: float) -> float:
        """Seconds that this share of the executions took at most: up to 28 percent more than it really was."""
        wanted = share * sum(self.counts)
        so_far = 0
        for bound, count in zip(FINE, self.counts, strict=False):
            so_far += count
            if so_far >= wanted:
                return min(bound, self.slowest)
        return self.slowest


class StatementTally(Collector):
    """Statements by kind: `cutover_statement_seconds` and `cutover_statement_errors_total`, added up when asked for.

    Without locks, as `Tally`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.shapes: list[ShapeTally] = []
        """Only grows: what was counted stays counted."""
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        counts: dict[str, list[int]] = {}
        sums: dict[str, float] = {}
        errors: dict[tuple[str, str], int] = {}
        for shape in list(self.shapes):
            kind = shape.kind
            counts[kind] = list(map(add, counts[kind], shape.counts)) if kind in counts else list(shape.counts)
            sums[kind] = sums.get(kind, 0.0) + shape.seconds
            for code, count in list(shape.errors.items()):
                errors[kind, code] = errors.get((kind, code), 0) + count
        seconds = HistogramMetricFamily("cutover_statement_seconds", "Duration of a statement", labels=("kind",))
        for kind, found in counts.items():
            totals = list(accumulate(found))
            buckets = [(str(bound), totals[FINE.index(bound)]) for bound in _FAST]
            seconds.add_metric((kind,), [*buckets, ("+Inf", totals[-1])], sums[kind])
        yield seconds
        failed = CounterMetricFamily("cutover_statement_errors", "Statements that failed", labels=("kind", "code"))
        for error, count in errors.items():
            failed.add_metric(error, count)
        yield failed


class Metrics:
    """The service's metrics. One instance a service; nothing is registered globally."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        gauge, counter, histogram = self._gauge, self._counter, self._histogram

        self.info = gauge("cutover_info", "Always 1, with the version", "version")
        self.info.labels(version).set(1)
        self.primary = gauge("cutover_primary", "1 for the primary store", "store")
        self.phase = gauge("cutover_phase", "1 for the phase the service is in", "phase")
        self.epoch = gauge("cutover_epoch", "Number of the primary's reign")
        self.gate = gauge("cutover_gate", "1 for a gate that is passed", "gate")

        self.mirror_lag_seconds = gauge("cutover_mirror_lag_seconds", "Age of the oldest change not applied")
        self.mirror_lag_changes = gauge("cutover_mirror_lag_changes", "Changes logged and not applied")
        self.mirror_up = gauge("cutover_mirror_up", "1 while the mirror runs and its last turn succeeded")
        self.mirror_last_success = gauge(
            "cutover_mirror_last_success_timestamp_seconds", "When the mirror last reached the end of the change log"
        )
        self.mirror_applied_rows = counter("cutover_mirror_applied_rows", "Rows applied to the shadow", "table", "op")
        self.mirror_apply_seconds = histogram("cutover_mirror_apply_seconds", "Duration of one mirrored batch")
        self.mirror_errors = counter("cutover_mirror_errors", "Failed turns of the mirror", "kind")
        self.quarantined_rows = gauge("cutover_quarantined_rows", "Rows the shadow cannot hold", "table")

        self.backfill_rows = counter("cutover_backfill_rows", "Rows copied by the backfill", "table")
        self.backfill_expected = gauge("cutover_backfill_rows_expected", "Rows the backfill will copy", "table")
        self.backfill_rate = gauge("cutover_backfill_rows_per_second", "Rows copied a second, over the last while")
        self.backfill_remaining = gauge(
            "cutover_backfill_remaining_seconds", "How long the backfill still takes at this rate; NaN: not known"
        )

        self.drift_rows = gauge("cutover_drift_rows", "Rows that differ though nothing is in flight", "table", "kind")
        self.drift_oldest = gauge("cutover_drift_oldest_seconds", "Age of the oldest known drift")
        self.compare_pending = gauge("cutover_compare_pending_rows", "Mismatches that may still be in flight")
        self.compare_coverage = gauge(
            "cutover_compare_coverage_ratio", "Share of the table compared by the running or last scan", "table"
        )
        self.compare_rows = counter("cutover_compare_rows", "Rows compared", "table", "detector")
        self.compare_last_full = gauge(
            "cutover_compare_last_full_timestamp_seconds", "When a full verification last ended", "table"
        )
        self.compare_full_seconds = gauge("cutover_compare_full_seconds", "Duration of the last full verification")

        self.shadow_reads = counter("cutover_shadow_reads", "Reads replayed on the shadow", "result")
        self.shadow_read_seconds = histogram("cutover_shadow_read_seconds", "How long replayed reads took", "store")
        self.shadow_writes = counter("cutover_shadow_writes", "Writes tried on both stores and undone", "result")
        self.statements = gauge("cutover_statements", "Distinct statements seen, by readiness", "status")

        self.requests = Tally(self.registry)
        self.statement_shapes = StatementTally(self.registry)
        self.write_commit_seconds = histogram("cutover_write_commit_seconds", "Duration of one group's commit")
        self.write_group_size = histogram("cutover_write_group_size", "Requests in one group", buckets=_SIZES)
        self.open_transactions = gauge("cutover_open_transactions", "Interactive transactions open")
        self.open_streams = gauge("cutover_open_streams", "Streams of the front door that outlive a request")
        self.open_connections = gauge("cutover_open_connections", "Connections to the front door")
        self.open_sockets = gauge("cutover_open_sockets", "WebSockets among them")
        self.held_writes = gauge("cutover_held_writes", "Writes waiting for a switch")

        self.switches = counter("cutover_switches", "Switches by direction and outcome", "direction", "outcome")
        self.switch_pause_seconds = histogram("cutover_switch_pause_seconds", "How long writes were held by a switch")
        self.audit_records = counter("cutover_audit_records", "Audit records written")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = _FAST) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)
