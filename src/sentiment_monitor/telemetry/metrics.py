"""What Prometheus reads: counters of the loops as they are, and a few counts from the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from sentiment_monitor import __version__
from sentiment_monitor.errors import DatabaseAway, FatalError
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Database
from sentiment_monitor.stream.pipeline import Pipeline
from sentiment_monitor.watch.clocks import Turns
from sentiment_monitor.watch.deliver import Deliveries
from sentiment_monitor.watch.lease import Leadership

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "sentiment_monitor"


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts of this process; None where it lacks the role."""

    pipeline: Pipeline | None = None
    classifier: str | None = None
    turns: Turns | None = None
    deliveries: Deliveries | None = None
    leadership: Leadership | None = None


class Metrics:
    """The text that ``/metrics`` answers with."""

    def __init__(self, parts: Parts, database: Database) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Loops(parts, database))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Loops(Collector):
    def __init__(self, parts: Parts, database: Database) -> None:
        self._parts = parts
        self._alerts = AlertStore(database)

    def describe(self) -> list[Metric]:
        """Nothing: names are not checked by collecting, which would ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric of this process."""
        yield _info(self._parts)
        if self._parts.pipeline:
            yield from _ingest(self._parts.pipeline)
        if self._parts.turns and self._parts.deliveries and self._parts.leadership:
            yield from _detect(self._parts.turns, self._parts.deliveries, self._parts.leadership)
        yield from self._stored()

    def _stored(self) -> Iterator[Metric]:
        up = _gauge("database_up", "1 when the database answered this scrape.")
        try:
            alerts, notifications = self._alerts.counts()
        except (DatabaseAway, FatalError):
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield _by_label(
            _gauge("alerts", "Open alerts in the database.", "state"),
            {state: alerts.get(state, 0) for state in ("pending", "firing")},
        )
        yield _by_label(
            _gauge("notifications", "Notifications in the database.", "state"),
            {state: notifications.get(state, 0) for state in ("queued", "failed")},
        )


def _info(parts: Parts) -> Metric:
    info = InfoMetricFamily(f"{_PREFIX}_build", "Version and classifier of this process.")
    info.add_metric([], {"version": __version__, "classifier": parts.classifier or ""})
    return info


def _ingest(pipeline: Pipeline) -> Iterator[Metric]:
    progress = pipeline.progress
    yield _single(_counter("records", "Records of which the outcome is stored."), progress.records)
    written = asdict(progress.written)
    dead = written.pop("dead")
    yield _by_label(_counter("stories", "Records by what they did to the stories.", "outcome"), written)
    yield _single(_counter("dead_letters", "Records that were put aside."), dead)
    yield _single(_counter("batches", "Transactions of the hot loop."), progress.batches)
    yield _single(_counter("fenced", "Batches refused because another process has the partition."), progress.fenced)
    yield _by_label(
        _counter("stage_busy_seconds", "Time each stage has worked; its rate is the stage's load.", "stage"),
        progress.busy_seconds,
    )
    yield _by_label(_gauge("stage_waiting_records", "Records waiting for each stage.", "stage"), pipeline.queues)
    lag = _gauge("lag_records", "Records not yet fetched.", "topic", "partition")
    assigned = 0
    for (topic, partition), left in pipeline.lag.items():
        assigned += 1
        if left is not None:
            lag.add_metric([topic, str(partition)], left)
    yield lag
    yield _single(_gauge("assigned_partitions", "Partitions that are this process's."), assigned)
    if progress.last_minute is not None:
        yield _single(_gauge("newest_story_timestamp_seconds", "Event time stored."), progress.last_minute * 60)


def _detect(turns: Turns, deliveries: Deliveries, leadership: Leadership) -> Iterator[Metric]:
    yield _single(_gauge("leading", "1 while this process decides alerts."), leadership.leading)
    yield _by_label(
        _counter("ticks", "Turns of the tick loop.", "result"),
        {"done": turns.done, "postponed": turns.postponed, "missed": turns.missed},
    )
    if turns.last_minute is not None:
        yield _single(_gauge("last_tick_timestamp_seconds", "Newest minute decided."), turns.last_minute * 60)
    yield _by_label(
        _counter("alerts_decided", "Alerts by what was decided.", "transition"),
        {"fired": turns.fired, "resolved": turns.resolved},
    )
    yield _by_label(_counter("deliveries", "Attempts to tell a receiver.", "result"), asdict(deliveries))


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)


def _single(family: CounterMetricFamily | GaugeMetricFamily, value: float) -> Metric:
    family.add_metric([], float(value))
    return family


def _by_label(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]) -> Metric:
    for label, value in values.items():
        family.add_metric([label], float(value))
    return family
