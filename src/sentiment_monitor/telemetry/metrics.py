"""What Prometheus reads: one closed list of what the two loops count and time, on a registry of this process.

Seconds are seconds, instants are seconds since 1970. A loop is handed its part and counts in it; nothing here asks a
loop for anything but the length of a queue.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from sentiment_monitor.telemetry.collectors import Ages, Latest, LatestBy, Partitions, Stored, StoredCounts
from sentiment_monitor.telemetry.turns import Turns

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LOOPS = ("poll", "prepare", "score", "write", "replay")  # of the hot loop, each a thread
OUTCOMES = ("created", "copies", "updated", "deleted", "duplicates")
_PREFIX = "sentiment_monitor"
_WORK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_AGE_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400)


class _Part:
    """Some metrics of one registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()

    def value(self, name: str, **labels: str) -> float | None:
        """The present value of one sample (``records_total``), None where there is none."""
        return self.registry.get_sample_value(f"{_PREFIX}_{name}", labels)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def _work(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", text, labels, registry=self.registry, buckets=_WORK_SECONDS)

    def _ages(self, name: str, text: str) -> Ages:
        ages = Ages(f"{_PREFIX}_{name}", text, _AGE_SECONDS)
        self.registry.register(ages)
        return ages

    def _latest(self, name: str, text: str) -> Latest:
        latest = Latest(f"{_PREFIX}_{name}", text)
        self.registry.register(latest)
        return latest


class HotLoop(_Part):
    """What the hot loop counts and times."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__(registry)
        self.records = self._counter("records", "Records of which the outcome is stored.")
        self.stories = self._counter("stories", "Messages by what they did to the stories.", "outcome")
        self.dead_letters = self._counter("dead_letters", "Records, or stories of one, that were put aside.")
        self.replayed = self._counter(
            "replayed_dead_letters", "Dead letters read again, by what came of it.", "outcome"
        )
        self.dropped_fields = self._counter(
            "dropped_fields", "Stories read without a field, or with part of it.", "field", "reason"
        )
        self.batches = self._counter("batches", "Transactions of the hot loop.")
        self.fenced = self._counter("fenced", "Batches refused because another process has the partition.")
        self.stage_busy_seconds = self._counter(
            "stage_busy_seconds", "Time each stage has worked; its rate is the stage's load.", "stage"
        )
        self.stage_seconds = self._work("stage_seconds", "One turn of a stage, of some hundred records.", "stage")
        self.stage_waiting_records = self._gauge("stage_waiting_records", "Records waiting for each stage.", "stage")
        self.partitions = Partitions(_PREFIX)
        self.registry.register(self.partitions)
        self.newest_story = self._latest("newest_story_timestamp_seconds", "Event time stored.")
        self.broker_up = self._gauge("broker_up", "0 while no Kafka broker can be reached.")
        self.last_write = self._latest("last_write_timestamp_seconds", "When a batch was last stored.")
        self.oldest_waiting = self._gauge(
            "oldest_waiting_seconds", "Time since the fetch of the oldest record whose outcome is not stored."
        )
        self.published_to_stored = self._ages(
            "published_to_stored_seconds", "Age of each story, by its feed's own time, when it was stored."
        )
        self.feed_clocks = LatestBy(
            f"{_PREFIX}_feed_clock_behind_seconds",
            "How far each source's newest stories are usually dated before their records.",
            "source",
        )
        self.registry.register(self.feed_clocks)
        self.received_to_stored = self._ages(
            "received_to_stored_seconds", "Time from the fetch of each story to its being stored."
        )
        # A classifier's own threads compute while the stage waits.
        self.turns = {name: Turns(name, computes=name not in ("score", "replay")) for name in LOOPS}
        for outcome in OUTCOMES:
            self.stories.labels(outcome)
        for outcome in ("stored", "unreadable"):
            self.replayed.labels(outcome)

    @contextmanager
    def turn(self, stage: str) -> Iterator[None]:
        """One turn of a stage: timed, and seen by whoever watches whether it ends."""
        started = time.monotonic()
        with self.turns[stage]:
            yield
        seconds = time.monotonic() - started
        self.stage_busy_seconds.labels(stage).inc(seconds)
        self.stage_seconds.labels(stage).observe(seconds)


class TickLoop(_Part):
    """What the tick loop and its deliveries count and time."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        super().__init__(registry)
        self.leading = self._gauge("leading", "1 while this process decides alerts.")
        self.ticks = self._counter("ticks", "Turns of the tick loop.", "result")
        self.tick_seconds = self._work("tick_seconds", "One turn of the tick loop that decided a minute.")
        self.last_tick = self._latest("last_tick_timestamp_seconds", "Newest minute decided.")
        self.alerts_decided = self._counter("alerts_decided", "Alerts by what was decided.", "transition")
        self.deliveries = self._counter("deliveries", "Attempts to tell a receiver.", "result")
        self.notifier_stopped = self._gauge(
            "notifier_stopped", "1 while a notifier stands still because its receiver does not let us in.",
            "receiver", "notifier",
        )  # fmt: skip
        self.delivery_seconds = self._work("delivery_seconds", "One attempt to tell a receiver.", "receiver")
        self.decided_to_sent = self._ages(
            "decided_to_sent_seconds", "Time from the decision to tell somebody to its being sent."
        )
        self.clock_steps = self._counter("clock_steps", "Jumps of the wall clock.")
        self.turns = {name: Turns(name) for name in ("tick", "delivery")}
        for result in ("done", "skipped", "postponed", "missed"):
            self.ticks.labels(result)
        for transition in ("fired", "stale", "reopened", "resolved"):
            self.alerts_decided.labels(transition)
        for result in ("sent", "retried", "failed", "refused"):
            self.deliveries.labels(result)


class Metrics(_Part):
    """The metrics of one process: of the loops that it has, of the process itself, and of the database."""

    def __init__(self) -> None:
        super().__init__()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each counter, for nobody
        ProcessCollector(registry=self.registry)
        self._build = Info(f"{_PREFIX}_build", "Version and classifier of this process.", registry=self.registry)

    @cached_property
    def hot(self) -> HotLoop:
        """The part of the hot loop; shown from now on."""
        return HotLoop(self.registry)

    @cached_property
    def tick(self) -> TickLoop:
        """The part of the tick loop; shown from now on."""
        return TickLoop(self.registry)

    def ask_database(self, stored: StoredCounts) -> None:
        """Shows what only the database knows; ``stored`` is called at each scrape."""
        self.registry.register(Stored(_PREFIX, stored))

    def describe_build(self, version: str, classifier: str) -> None:
        """What runs here."""
        self._build.info({"version": version, "classifier": classifier})

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
