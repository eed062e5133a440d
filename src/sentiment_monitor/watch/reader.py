"""What the tick loop reads of the past: counts, what is usual, who told it, and the evidence of a decision."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from sentiment_monitor.detect.gates import Tellers
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.words import sentence
from sentiment_monitor.domain.alerts import TOP_STORIES, Alert, Evaluation, Evidence
from sentiment_monitor.domain.series import dimension_of
from sentiment_monitor.store import buckets, reading
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Connection
from sentiment_monitor.store.dossier import top_story
from sentiment_monitor.watch.past import Binned, Past, Usual
from sentiment_monitor.watch.window import Counts, SeriesCount, SeriesPlaces


class StoreArchive:
    """What has been, as one snapshot of the database has it."""

    def __init__(self, connection: Connection, alerts: AlertStore) -> None:
        self._connection = connection
        self._alerts = alerts

    def history(self, dimensions: Collection[str], end: int, width: int, bins: int) -> Mapping[str, Binned]:
        """See ``past.Archive``."""
        rows: dict[str, list[tuple[str, int, int, int]]] = {dimension: [] for dimension in dimensions}
        for row in buckets.history(self._connection, dimensions, end, width, bins):
            rows[dimension_of(row[0])].append(row)
        return {dimension: _binned(own) for dimension, own in rows.items()}

    def fired_since(self, minute: int) -> Sequence[Alert]:
        """See ``past.Archive``."""
        return self._alerts.fired_since(minute)


class StoreReader:
    """The reader of one tick: one snapshot of the database, and the baselines that stay."""

    def __init__(self, connection: Connection, alerts: AlertStore, past: Past, names: SeriesPlaces) -> None:
        self._connection = connection
        self._archive = StoreArchive(connection, alerts)
        self._past = past
        self._names = names

    def counts(self, start: int, end: int) -> Counts:
        """See ``judge.Reader``."""
        windows = buckets.series_windows(self._connection, start, end)
        return Counts.of(
            {window.series: SeriesCount(window.stories, window.negative) for window in windows}, self._names
        )

    def usual(self, rule: Rule, minute: int) -> Usual:
        """See ``judge.Reader``."""
        return self._past.usual(self._archive, rule, minute)

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
            top_stories=tuple(map(top_story, facts)),
            sources=tuple(reading.negative_sources(self._connection, evaluation.series, start, end)),
            copies=buckets.copies(self._connection, evaluation.series, start, end),
            statistics={
                **evaluation.statistics,
                "effect": evaluation.effect,
                "expected_share": evaluation.expected_share,
            },
            window_minutes=evaluation.span_minutes(rule.window_minutes),
        )


def _binned(rows: Sequence[tuple[str, int, int, int]]) -> Binned:
    """From rows of series, bin, negatives and stories, in any order."""
    names = tuple(sorted({row[0] for row in rows}))
    place = {name: index for index, name in enumerate(names)}
    values = np.array(
        sorted((place[series], where, negative, count) for series, where, negative, count in rows), np.int64
    ).reshape(-1, 4)
    return Binned(names, values[:, 0], values[:, 1], values[:, 2].astype(np.float64), values[:, 3].astype(np.float64))
