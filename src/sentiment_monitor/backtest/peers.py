"""What other tools would have raised on the same history, to be set beside the rules.

Each takes a number for every series of the rule's dimensions whenever a story comes or goes, and fires where that is
at or above its bar with the rule's floor of negatives; it ends after the rule's ``keep_firing_minutes`` under the bar.
None has the rules' other gates. They are yardsticks, not detectors to run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sentiment_monitor.backtest.columns import Columns
from sentiment_monitor.backtest.reader import Sliding
from sentiment_monitor.detect.baseline import Floats
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.times import DAY_MINUTES, HOUR_MINUTES

PAST_DAYS = 28
RATIO_BAR, Z_BAR = 3.0, 3.0


@dataclass(slots=True)
class PeerAlert:
    """One alert that a yardstick raises."""

    rule: str
    series: str
    fired_minute: int
    resolved_minute: int | None
    observed: float
    volume: float
    expected: float


@dataclass(frozen=True, slots=True)
class Peer:
    """One yardstick: ``score`` gives what is compared with ``bar``, and the negatives it expected, each (S,)."""

    name: str
    bar: float
    score: Callable[[Columns, Rule, int, Floats], tuple[Floats, Floats]]

    def alerts(self, columns: Columns, rule: Rule, first: int, last: int) -> list[PeerAlert]:
        """What it raises in the minutes [first, last] with the rule's series, window and floor."""
        window = Sliding(columns.buckets, len(columns.names))
        watched = columns.names.watched_by(rule)
        active = np.array(columns.active(), np.int64)
        minutes = np.unique(np.concatenate([active + 1, active + 1 + rule.window_minutes]))
        alerts: list[PeerAlert] = []
        firing: dict[int, PeerAlert] = {}
        quiet: dict[int, int] = {}
        for minute in minutes[(minutes >= first) & (minutes <= last)].tolist():
            for place, since in list(quiet.items()):
                if minute - since >= rule.keep_firing_minutes:
                    firing.pop(place).resolved_minute = since + rule.keep_firing_minutes
                    del quiet[place]
            window.move(minute - rule.window_minutes, minute)
            enough = watched & (window.negative >= rule.min_negative)
            beyond: set[int] = set()
            if enough.any():
                score, expected = self.score(columns, rule, minute, window.negative)
                beyond = set(np.flatnonzero(enough & (score >= self.bar)).tolist())
                for place in beyond - firing.keys():
                    firing[place] = PeerAlert(
                        rule.name, columns.names[place], minute, None,
                        float(window.negative[place]), float(window.stories[place]), float(expected[place]),
                    )  # fmt: skip
                    alerts.append(firing[place])
            for place in firing:
                if place in beyond:
                    quiet.pop(place, None)
                else:
                    quiet.setdefault(place, minute)
        return alerts


def ratio() -> Peer:
    """Negatives over those of the window before, a window without any counting as one (ElastAlert's spike rule)."""
    before: dict[int, Sliding] = {}

    def score(columns: Columns, rule: Rule, minute: int, negative: Floats) -> tuple[Floats, Floats]:
        length = rule.window_minutes
        past = before.setdefault(length, Sliding(columns.buckets, len(columns.names)))
        past.move(minute - 2 * length, minute - length)
        expected = np.maximum(past.negative, 1.0)
        return negative / expected, expected

    return Peer("ratio", RATIO_BAR, score)


def zscore() -> Peer:
    """Standard deviations above the mean of the series' own windows of the 28 days before, fitted once an hour."""
    fitted: dict[int, tuple[int, Floats, Floats]] = {}

    def score(columns: Columns, rule: Rule, minute: int, negative: Floats) -> tuple[Floats, Floats]:
        length = rule.window_minutes
        end = (minute - length) // HOUR_MINUTES * HOUR_MINUTES
        if length not in fitted or fitted[length][0] != end:
            fitted[length] = (end, *_moments(columns, end, length))
        _, mean, deviation = fitted[length]
        return (negative - mean) / deviation, mean

    return Peer("zscore", Z_BAR, score)


def _moments(columns: Columns, end: int, length: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of a window's negatives, (S,) each; windows before the feed began do not count."""
    buckets, size = columns.buckets, len(columns.names)
    bins = PAST_DAYS * DAY_MINUTES // length
    if len(buckets):
        bins = max(1, min(bins, -(-(end - int(buckets.minute[0])) // length)))
    low, high = buckets.before(end - bins * length), buckets.before(end)
    key = buckets.series[low:high] * bins + (buckets.minute[low:high] - (end - bins * length)) // length
    cells, where = np.unique(key, return_inverse=True)
    counts = np.bincount(where, buckets.negative[low:high], len(cells))
    mean = np.bincount(cells // bins, counts, size) / bins
    square = np.bincount(cells // bins, counts**2, size) / bins
    # A series that has never had a negative would be infinitely far out with one.
    return mean, np.sqrt(np.maximum(square - mean**2, 1.0 / bins))


PEERS = (ratio, zscore)
