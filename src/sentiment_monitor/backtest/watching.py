"""What rules watch in a history, and whether they keep to the examples that people wrote of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sentiment_monitor.backtest.book import Book
from sentiment_monitor.backtest.columns import Columns
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.times import iso, spell_minutes

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class WatchedBy:
    """One rule, and what of a history concerns it."""

    rule: str
    watches: str
    window: str
    series: int | None  # that have had a story; None: there is no history
    ever_enough: int | None  # of those, the ones with as many negatives in all as the rule asks of a window
    examples: str  # the series with the most stories


def watching(rules: Sequence[Rule], columns: Columns | None) -> list[WatchedBy]:
    """Each rule with the series it would have watched."""
    return [_watched(rule, columns) for rule in rules]


def _watched(rule: Rule, columns: Columns | None) -> WatchedBy:
    watches = ", ".join(rule.dimensions) + (f" like {', '.join(rule.series)}" if rule.series else "")
    window = spell_minutes(rule.window_minutes)
    if columns is None:
        return WatchedBy(rule.name, watches, window, None, None, "")
    size = len(columns.names)
    stories = np.bincount(columns.buckets.series, columns.buckets.stories, size)
    negative = np.bincount(columns.buckets.series, columns.buckets.negative, size)
    own = np.flatnonzero(columns.names.watched_by(rule))
    largest = own[np.argsort(-stories[own], kind="stable")][:_SHOWN]
    return WatchedBy(
        rule.name,
        watches,
        window,
        len(own),
        int((negative[own] >= rule.min_negative).sum()),
        ", ".join(columns.names[place] for place in largest.tolist()),
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """One example: a rule fires on a series between two minutes (both included), or must not."""

    rule: str
    series: str
    start: int
    end: int
    fires: bool


@dataclass(frozen=True, slots=True)
class ExampleOutcome:
    """How an example went."""

    rule: str
    series: str
    since: str  # RFC 3339
    until: str
    expected: bool  # that it fires
    fired_at: tuple[str, ...]  # in that time
    stories: int  # of the series in that time: an example without any proves nothing
    holds: bool


def held_to(expected: Sequence[Expected], book: Book, columns: Columns) -> list[ExampleOutcome]:
    """How each example went. One in whose time the series has no story fails: it is about another history."""
    return [_outcome(example, book, columns) for example in expected]


def _outcome(example: Expected, book: Book, columns: Columns) -> ExampleOutcome:
    minutes = [
        raised.alert.fired_minute
        for raised in book.fired()
        if (raised.alert.rule, raised.alert.series) == (example.rule, example.series)
        and example.start <= (raised.alert.fired_minute or 0) <= example.end
    ]
    tellings = columns.tellings.get(example.series)
    stories = 0
    if tellings is not None:
        stories = int(((tellings.minute >= example.start) & (tellings.minute <= example.end)).sum())
    return ExampleOutcome(
        rule=example.rule,
        series=example.series,
        since=iso(example.start),
        until=iso(example.end),
        expected=example.fires,
        fired_at=tuple(iso(minute) for minute in minutes if minute is not None),
        stories=stories,
        holds=stories > 0 and bool(minutes) == example.fires,
    )
