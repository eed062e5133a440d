"""What is usual for a rule at a minute, out of any archive of what has been: the database's, or one in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sentiment_monitor.detect.baseline import (
    WEEK_MINUTES,
    Baseline,
    Floats,
    History,
    Ints,
    exposure_end,
    exposures,
    fit,
    hour_profile,
    masked_bins,
    past_end,
)
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.times import DAY_MINUTES, HOUR_MINUTES


@dataclass(frozen=True, slots=True, eq=False)
class Binned:
    """One dimension's past in bins of equal width: a row for each series and bin with a story, ordered by both."""

    names: tuple[str, ...]  # sorted
    series: Ints  # (R,) place in ``names``
    place: Ints  # (R,) bin, 0 is the oldest
    negative: Floats  # (R,) copies collapsed
    stories: Floats  # (R,) likewise


class Archive(Protocol):
    """What has been, as far as baselines need it."""

    def history(self, dimensions: Collection[str], end: int, width: int, bins: int) -> Mapping[str, Binned]:
        """Each dimension's ``bins`` windows of ``width`` minutes that end at ``end``."""
        ...

    def fired_since(self, minute: int) -> Sequence[Alert]:
        """Alerts that fired and were not resolved before ``minute``."""
        ...


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for a rule at one minute."""

    baselines: Mapping[str, Baseline]  # by dimension
    exposures: tuple[float, ...]  # mean hour-of-week factor of each of the rule's spans that end there


class Past:
    """Baselines of the rules, fitted anew once an hour of event time and kept between ticks."""

    def __init__(self) -> None:
        self._fitted: dict[Rule, tuple[int, dict[str, Baseline], Floats]] = {}

    def usual(self, archive: Archive, rule: Rule, minute: int) -> Usual:
        """Baselines of the rule's dimensions as of ``minute``, and the exposures of the spans that end there."""
        end = past_end(minute, rule.span_minutes)
        fitted = self._fitted.get(rule)
        if fitted is None or fitted[0] != end:
            fitted = (end, *_fit(archive, rule, end, minute))
            self._fitted[rule] = fitted
        _, baselines, profile = fitted
        until = exposure_end(minute)
        spans = [rule.window_minutes * windows for windows in rule.spans]
        return Usual(baselines, tuple(float(exposures(profile, until, span, 1)[0]) for span in spans))


def _fit(archive: Archive, rule: Rule, end: int, minute: int) -> tuple[dict[str, Baseline], Floats]:
    profile = _profile(archive, rule, end)
    rows = archive.history({*rule.dimensions, "all"}, end, rule.window_minutes, rule.bins)
    seen = np.zeros(rule.bins, np.bool_)
    seen[rows["all"].place] = True
    # No data is not no negatives.
    exposure = np.where(seen, exposures(profile, end, rule.window_minutes, rule.bins), 0.0)
    alerts = [
        (alert.series, alert.fired_minute, minute if alert.resolved_minute is None else alert.resolved_minute)
        for alert in archive.fired_since(end - rule.baseline_days * DAY_MINUTES)
        if alert.fired_minute is not None
    ]
    return {
        dimension: fit(_history(rows[dimension], exposure, alerts, end, rule)) for dimension in rule.dimensions
    }, profile


def _profile(archive: Archive, rule: Rule, end: int) -> Floats:
    hours = rule.baseline_days * DAY_MINUTES // HOUR_MINUTES
    hourly = np.zeros(hours)
    counted = archive.history({"all"}, end, HOUR_MINUTES, hours)["all"]
    hourly[counted.place] = counted.stories
    watched = np.flatnonzero(hourly)
    # Hours before the feed began tell nothing about the rhythm of the week.
    began = int(watched[0]) if len(watched) else hours
    if (hours - began) * HOUR_MINUTES < 2 * WEEK_MINUTES:
        return np.ones(WEEK_MINUTES // HOUR_MINUTES)
    return hour_profile(hourly[began:], end - (hours - began) * HOUR_MINUTES)


def _history(rows: Binned, exposure: Floats, alerts: Sequence[tuple[str, int, int]], end: int, rule: Rule) -> History:
    return History(
        names=rows.names,
        row_series=rows.series,
        row_bin=rows.place,
        row_negative=rows.negative,
        row_volume=rows.stories,
        exposure=exposure,
        masked=masked_bins(rows.names, alerts, end, rule.window_minutes, rule.bins),
    )
