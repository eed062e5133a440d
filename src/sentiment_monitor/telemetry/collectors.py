"""What prometheus-client's own metrics cannot say: a value not known yet, tables that change, a batch at once."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import add

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sentiment_monitor.errors import DatabaseAway, FatalError

StoredCounts = Callable[[], tuple[Mapping[str, int], Mapping[str, int]]]
"""Alerts and notifications in the database by state. Raises DatabaseAway or FatalError."""


class Latest(Collector):
    """A gauge that is absent until it is set: no value is not zero."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self.value: float | None = None

    def set(self, value: float) -> None:
        """The value from now on."""
        self.value = value

    def collect(self) -> Iterator[Metric]:
        """The gauge, without a sample while nothing is known."""
        family = GaugeMetricFamily(self._name, self._text)
        if self.value is not None:
            family.add_metric([], self.value)
        yield family


class LatestBy(Collector):
    """A gauge by one label whose values come and go: each report replaces the last."""

    def __init__(self, name: str, text: str, label: str) -> None:
        self._name = name
        self._text = text
        self._label = label
        self._values: Mapping[str, float] = {}

    def set(self, values: Mapping[str, float]) -> None:
        """The values from now on. The mapping is kept, not copied."""
        self._values = values

    def collect(self) -> Iterator[Metric]:
        """A sample for each value of the label."""
        family = GaugeMetricFamily(self._name, self._text, labels=(self._label,))
        for value, number in self._values.items():
            family.add_metric([value], number)
        yield family


class Partitions(Collector):
    """What is left in the partitions that are this process's: they come and go, so each report replaces the last."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lag: Mapping[tuple[str, int], int | None] = {}

    def set(self, lag: Mapping[tuple[str, int], int | None]) -> None:
        """Records not yet fetched of each partition; None while not known. The mapping is kept, not copied."""
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """lag_records and assigned_partitions."""
        lag = self._lag
        family = GaugeMetricFamily(
            f"{self._prefix}_lag_records", "Records not yet fetched.", labels=("topic", "partition")
        )
        for (topic, partition), left in lag.items():
            if left is not None:
                family.add_metric([topic, str(partition)], left)
        yield family
        yield GaugeMetricFamily(
            f"{self._prefix}_assigned_partitions", "Partitions that are this process's.", value=len(lag)
        )


class Ages(Collector):
    """A histogram that takes a batch in one step: observed one by one, each story would cost a microsecond."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._bounds = bounds
        self._reached = [0] * (len(bounds) + 1)  # how many were no older than each bound, and how many there were
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, seconds: Iterable[float]) -> None:
        """Counts each of them. A negative age, of a clock that is ahead of ours, counts as none."""
        ages = sorted(seconds)
        if ages and ages[0] < 0:
            ages = [max(0.0, age) for age in ages]
        reached = [*(bisect_right(ages, bound) for bound in self._bounds), len(ages)]
        with self._lock:
            self._reached = list(map(add, self._reached, reached))
            self._sum += sum(ages)

    def collect(self) -> Iterator[Metric]:
        """The histogram, cumulative as Prometheus wants it."""
        with self._lock:
            reached, total = self._reached, self._sum
        bounds = [*map(str, map(float, self._bounds)), "+Inf"]
        yield HistogramMetricFamily(
            self._name, self._text, buckets=list(zip(bounds, reached, strict=True)), sum_value=total
        )


class Stored(Collector):
    """Counts that only the database knows, asked anew at each scrape."""

    def __init__(self, prefix: str, counts: StoredCounts) -> None:
        self._prefix = prefix
        self._counts = counts

    def describe(self) -> list[Metric]:
        """Nothing: names are not checked by collecting, which would ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """database_up, and while it is: alerts and notifications by state."""
        up = GaugeMetricFamily(f"{self._prefix}_database_up", "1 when the database answered this scrape.")
        try:
            alerts, notifications = self._counts()
        except (DatabaseAway, FatalError):
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield self._by_state("alerts", "Open alerts in the database.", alerts, ("pending", "firing"))
        yield self._by_state("notifications", "Notifications in the database.", notifications, ("queued", "failed"))

    def _by_state(self, name: str, text: str, counts: Mapping[str, int], states: Sequence[str]) -> Metric:
        family = GaugeMetricFamily(f"{self._prefix}_{name}", text, labels=("state",))
        for state in states:
            family.add_metric([state], counts.get(state, 0))
        return family
