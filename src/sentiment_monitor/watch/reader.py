"""What the tick loop reads of the past: counts, what is usual, who told it, and the evidence of a decision."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from sentiment_monitor.detect.baseline import (
    WEEK_MINUTES,
    Baseline,
    Floats,
    History,
    exposures,
    fit,
    hour_profile,
    masked_bins,
    past_end,
)
from sentiment_monitor.detect.gates import Tellers
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.words import sentence
from sentiment_monitor.domain.alerts import TOP_STORIES, Evaluation, Evidence, TopStory
from sentiment_monitor.domain.series import dimension_of
from sentiment_monitor.store import buckets, reading
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Connection
from sentiment_monitor.times import DAY_MINUTES, HOUR_MINUTES, rfc3339
from sentiment_monitor.watch.judge import SeriesCount, Usual


class Past:
    """Baselines of the rules, fitted anew once an hour of event time and kept between ticks."""

    def __init__(self, alerts: AlertStore) -> None:
        self._alerts = alerts
        self._fitted: dict[str, tuple[int, dict[str, Baseline], Floats]] = {}

    def usual(self, connection: Connection, rule: Rule, minute: int) -> Usual:
        """Baselines of the rule's dimensions as of ``minute``, and the exposure of the window that ends there."""
        end = past_end(minute, rule.window_minutes)
        fitted = self._fitted.get(rule.name)
        if fitted is None or fitted[0] != end:
            fitted = (end, *self._fit(connection, rule, end, minute))
            self._fitted[rule.name] = fitted
        _, baselines, profile = fitted
        return Usual(baselines, float(exposures(profile, minute, rule.window_minutes, 1)[0]))

    def _fit(self, connection: Connection, rule: Rule, end: int, minute: int) -> tuple[dict[str, Baseline], Floats]:
        profile = _profile(connection, rule, end)
        rows = buckets.history(connection, {*rule.dimensions, "all"}, end, rule.window_minutes, rule.bins)
        seen = np.zeros(rule.bins, np.bool_)
        seen[[place for series, place, _, _ in rows if series == "all"]] = True
        # No data is not no negatives.
        exposure = np.where(seen, exposures(profile, end, rule.window_minutes, rule.bins), 0.0)
        alerts = [
            (alert.series, alert.fired_minute, minute if alert.resolved_minute is None else alert.resolved_minute)
            for alert in self._alerts.fired_since(end - rule.baseline_days * DAY_MINUTES)
            if alert.fired_minute is not None
        ]
        baselines: dict[str, Baseline] = {
            dimension: fit(_history(dimension, rows, exposure, alerts, end, rule)) for dimension in rule.dimensions
        }
        return baselines, profile


class StoreReader:
    """The reader of one tick: one snapshot of the database, and the baselines that stay."""

    def __init__(self, connection: Connection, past: Past) -> None:
        self._connection = connection
        self._past = past

    def counts(self, start: int, end: int) -> Mapping[str, SeriesCount]:
        """See ``judge.Reader``."""
        windows = buckets.series_windows(self._connection, start, end)
        return {window.series: SeriesCount(window.stories, window.negative) for window in windows}

    def usual(self, rule: Rule, minute: int) -> Usual:
        """See ``judge.Reader``."""
        return self._past.usual(self._connection, rule, minute)

    def tellers(self, series: Collection[str], start: int, end: int) -> Tellers:
        """See ``judge.Reader``."""
        sources: dict[str, set[str]] = {name: set() for name in series}
        newest = dict.fromkeys(series, -1)
        feed: set[str] = set()
        for story in reading.originals(self._connection, start, end):
            feed.add(story.source)
            for name in story.series:
                if name in sources:
                    sources[name].add(story.source)
                    newest[name] = max(newest[name], story.minute if story.negative else -1)
        return Tellers({name: len(tellers) for name, tellers in sources.items()}, newest, len(feed))

    def evidence(self, rule: Rule, evaluation: Evaluation, start: int, end: int) -> Evidence:
        """What lies behind an evaluation of the window [start, end)."""
        facts = reading.top_negative(self._connection, evaluation.series, start, end, TOP_STORIES)
        return Evidence(
            sentence=sentence(rule, evaluation),
            top_stories=tuple(
                TopStory(
                    id=str(fact.id),
                    headline=fact.headline,
                    source=fact.source,
                    url=fact.url,
                    published_at=rfc3339(fact.published_ms),
                    p_negative=fact.negative,
                    copies=fact.copies,
                )
                for fact in facts
            ),
            sources=tuple(reading.negative_sources(self._connection, evaluation.series, start, end)),
            copies=buckets.copies(self._connection, evaluation.series, start, end),
            statistics={
                **evaluation.statistics,
                "effect": evaluation.effect,
                "expected_share": evaluation.expected_share,
            },
        )


def _profile(connection: Connection, rule: Rule, end: int) -> Floats:
    hours = rule.baseline_days * DAY_MINUTES // HOUR_MINUTES
    hourly = np.zeros(hours)
    for _, place, _, count in buckets.history(connection, ["all"], end, HOUR_MINUTES, hours):
        hourly[place] = count
    watched = np.flatnonzero(hourly)
    # Hours before the feed began tell nothing about the rhythm of the week.
    began = int(watched[0]) if len(watched) else hours
    if (hours - began) * HOUR_MINUTES < 2 * WEEK_MINUTES:
        return np.ones(WEEK_MINUTES // HOUR_MINUTES)
    return hour_profile(hourly[began:], end - (hours - began) * HOUR_MINUTES)


def _history(
    dimension: str,
    rows: Sequence[tuple[str, int, int, int]],
    exposure: Floats,
    alerts: Sequence[tuple[str, int, int]],
    end: int,
    rule: Rule,
) -> History:
    own = [row for row in rows if dimension_of(row[0]) == dimension]
    names = tuple(sorted({row[0] for row in own}))
    place = {name: index for index, name in enumerate(names)}
    return History(
        names=names,
        row_series=np.array([place[row[0]] for row in own], np.int64),
        row_bin=np.array([row[1] for row in own], np.int64),
        row_negative=np.array([row[2] for row in own], np.float64),
        row_volume=np.array([row[3] for row in own], np.float64),
        exposure=exposure,
        masked=masked_bins(names, alerts, end, rule.window_minutes, rule.bins),
    )
