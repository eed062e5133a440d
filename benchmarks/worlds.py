"""A stored feed as arrays, also with invented bad news poured in, and what rules make of months of it in seconds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sentiment_monitor.backtest.columns import BucketColumns, Columns
from sentiment_monitor.backtest.reader import ColumnArchive, ColumnReader
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.states import step
from sentiment_monitor.domain.alert_states import Kind
from sentiment_monitor.domain.alerts import Alert, Evaluation
from sentiment_monitor.domain.series import dimension_of
from sentiment_monitor.enrich.companies import read_companies
from sentiment_monitor.times import DAY_MINUTES
from sentiment_monitor.watch.judge import judge
from sentiment_monitor.watch.window import SeriesPlaces


@dataclass(frozen=True, slots=True)
class Told:
    """One story that is no copy: when, by whom, how bad, and in which series it counts."""

    minute: int
    source: str
    negative: bool
    series: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spike:
    """Bad news that was poured in: so many negatives from ``first`` to ``last``, where so many a day are usual."""

    series: str
    first: int
    last: int
    usual: float
    negatives: int


@dataclass(frozen=True, slots=True)
class Fired:
    """One alert: when, how long, and what was seen when it fired."""

    rule: str
    series: str
    minute: int
    over: int | None
    evaluation: Evaluation


def groups_of(watchlist: Path) -> dict[str, tuple[str, ...]]:
    """The groups of each ticker."""
    return {company.ticker: company.groups for company in read_companies(watchlist)}


def stored(database: Path, watchlist: Path) -> list[Told]:
    """The stories of a SQLite database that are no copies, in the series of the watchlist's groups too."""
    groups = groups_of(watchlist)
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "select minute, source, label, topic, tickers from stories join scores on scores.story_id = stories.id"
            " where copy_of is null and not deleted order by minute"
        ).fetchall()
    stories = []
    for minute, source, label, topic, tickers in rows:
        companies = tickers.strip(",").split(",") if tickers else []
        sectors = sorted({group for company in companies for group in groups.get(company, ())})
        series = ["all", f"source:{source}", *(f"ticker:{company}" for company in companies)]
        series += [*(f"group:{sector}" for sector in sectors), *([f"topic:{topic}"] if topic else [])]
        stories.append(Told(minute, source, label == "negative", tuple(series)))
    return stories


def columns_of(stories: Iterable[Told]) -> Columns:
    """What detection reads of these stories."""
    names = SeriesPlaces()
    sources: dict[str, int] = {}
    counted: list[tuple[int, int, int, int]] = []
    told: dict[str, list[tuple[int, int, bool]]] = {}
    feed = []
    for story in stories:
        row = (story.minute, sources.setdefault(story.source, len(sources)), story.negative)
        feed.append(row)
        for series in story.series:
            counted.append((names.place(series), story.minute, 1, int(story.negative)))
            told.setdefault(series, []).append(row)
    return Columns.of(names, BucketColumns.of(counted), told, feed)


def replay(columns: Columns, rules: Sequence[Rule], *, every: int = 10, until: int | None = None) -> list[Fired]:
    """The alerts of a history decided every so many minutes: each is late by less than that."""
    alerts: dict[tuple[str, str], Alert] = {}
    seen: dict[tuple[str, str], tuple[int, Evaluation]] = {}
    fired: list[Fired] = []
    past: list[Alert] = []

    def raised(minute: int) -> list[Alert]:
        return [*past, *(alert for alert in alerts.values() if alert.fired_minute is not None and alert.open)]

    reader = ColumnReader(columns, ColumnArchive(columns, raised))
    first, last = columns.first_minute or 0, until or columns.last_minute or 0
    for minute in range(first - first % every + every, last + 2, every):
        watched: dict[str, list[str]] = {rule.name: [] for rule in rules}
        for (name, series), alert in alerts.items():
            if alert.open:
                watched[name].append(series)
        for rule, evaluation in list(judge(minute, rules, reader, watched)):
            key = (rule.name, evaluation.series)
            before = alerts.get(key) or Alert(rule.name, evaluation.series, rule.severity)
            after, transition, _ = step(rule, before, evaluation, minute)
            alerts[key] = after
            if transition is not None and transition.kind is Kind.FIRED:
                seen[key] = (minute, evaluation)
            elif transition is not None and transition.kind is Kind.RESOLVED:
                fired.append(Fired(*key, seen[key][0], minute, seen.pop(key)[1]))
                past.append(after)
    fired += [Fired(*key, minute, None, evaluation) for key, (minute, evaluation) in seen.items()]
    return sorted(fired, key=lambda alert: (alert.minute, alert.rule, alert.series))


def poured(
    stories: Sequence[Told],
    watchlist: Path,
    *,
    seed: int,
    spikes: int,
    factor: float,
    creeping: bool,
    dimension: str,
    usually: tuple[float, float],
) -> tuple[list[Told], list[Spike]]:
    """The stories with spikes in them, ``factor`` times a day's usual negatives, of one a day at least.

    A sudden spike lies in one day, a creeping one grows over four. ``usually`` is from how many negatives a day to
    how many a series may have that gets one; spikes of a series are eight days apart. The sources are drawn as the
    feed's own are.
    """
    rng = np.random.default_rng(seed)
    first, last = stories[0].minute + 14 * DAY_MINUTES, stories[-1].minute - 5 * DAY_MINUTES
    days = (stories[-1].minute - stories[0].minute) / DAY_MINUTES
    negatives: dict[str, int] = {}
    for story in stories:
        for name in story.series if story.negative else ():
            if dimension_of(name) == dimension:
                negatives[name] = negatives.get(name, 0) + 1
    usual = {name: count / days for name, count in sorted(negatives.items()) if usually[0] <= count / days < usually[1]}
    groups = groups_of(watchlist)
    invented: list[Told] = []
    made: list[Spike] = []
    for _ in range(100 * spikes):
        if len(made) == spikes or not usual:
            break
        name = list(usual)[int(rng.integers(len(usual)))]
        start = int(rng.integers(first, last))
        if any(spike.series == name and abs(spike.first - start) < 8 * DAY_MINUTES for spike in made):
            continue
        count = max(3, round(factor * max(usual[name], 1.0)))
        length = (4 if creeping else 1) * DAY_MINUTES
        places = np.sqrt(rng.random(count)) if creeping else rng.random(count)
        company = name.partition(":")[2] if dimension == "ticker" else ""
        sectors = [f"group:{group}" for group in groups.get(company, ())]
        for place in places.tolist():
            source = stories[int(rng.integers(len(stories)))].source
            series = ("all", f"source:{source}", name, *sectors)
            invented.append(Told(start + int(place * length), source, True, series))
        made.append(Spike(name, start, start + length, usual[name], count))
    return sorted([*stories, *invented], key=lambda story: story.minute), made


def found(fired: Sequence[Fired], spike: Spike) -> int | None:
    """Minutes until an alert on the spike's series fired, 0 where one was open; None: not while it lasted."""
    own = [alert for alert in fired if alert.series == spike.series]
    if any(alert.minute <= spike.first and (alert.over is None or alert.over > spike.first) for alert in own):
        return 0
    delays = [alert.minute - spike.first for alert in own if spike.first < alert.minute <= spike.last + 15]
    return min(delays, default=None)
