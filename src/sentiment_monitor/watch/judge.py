"""A minute's evaluations: every rule asked of every series that could answer. No lease, no writing, no clock.

The live tick, a replay and the question why there was no alert are this one function; what they read the past from is
the reader.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from sentiment_monitor.detect.detectors import awaited, detector_of
from sentiment_monitor.detect.detectors.contract import LongWindow, Window
from sentiment_monitor.detect.gates import NOBODY, Screening, Tellers, evaluate, screen
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.domain.alerts import Evaluation
from sentiment_monitor.watch.past import Usual
from sentiment_monitor.watch.window import Counts


class Reader(Protocol):
    """The past, as far as one minute may know it."""

    def counts(self, start: int, end: int) -> Counts:
        """What every series had in the minutes [start, end)."""
        ...

    def usual(self, rule: Rule, minute: int) -> Usual:
        """What is usual for the rule's series, as of ``minute``."""
        ...

    def tellers(self, series: Collection[str], start: int, end: int) -> Tellers:
        """Who told the stories of these series in [start, end), and how new the newest negative one is."""
        ...


class Judgement(NamedTuple):
    """One evaluation and the rule that asked for it."""

    rule: Rule
    evaluation: Evaluation


class Sight(NamedTuple):
    """What one rule sees at one minute, before it is put together."""

    screening: Screening
    tellers: Tellers


def judge(
    minute: int, rules: Sequence[Rule], reader: Reader, watched: Mapping[str, Collection[str]]
) -> Iterator[Judgement]:
    """Evaluate the candidates of each rule at ``minute``, which sees the minutes before it and not its own.

    Candidates are the series with enough negatives in the window, and those in ``watched`` (series by rule): what is
    pending or firing must be looked at however quiet it has become.
    """
    for rule in rules:
        sight = look(minute, rule, reader, watched.get(rule.name, ()))
        if sight is not None:
            yield from (Judgement(rule, evaluation) for evaluation in evaluate(rule, *sight))


def look(minute: int, rule: Rule, reader: Reader, watched: Collection[str]) -> Sight | None:
    """Measure the rule's candidates at ``minute``; None where it has none."""
    start = minute - rule.span_minutes
    longest = reader.counts(start, minute)
    names = {*watched, *(longest.enough(rule) if rule.needs_news else _awaited(rule, reader, minute))}
    if not names:
        return None
    usual = reader.usual(rule, minute)
    candidates = tuple(sorted(names))
    # Each is read once: to count a window is most of what a tick costs.
    counts = [*(reader.counts(minute - windows * rule.window_minutes, minute) for windows in rule.spans[:-1]), longest]
    newest, *longer = [
        _counted(windows, span, candidates, exposure)
        for windows, span, exposure in zip(rule.spans, counts, usual.exposures, strict=True)
    ]
    window = Window(
        names=candidates,
        negative=newest.negative,
        volume=newest.volume,
        family=longest.family(rule),
        feed_volume=float(counts[0].count("all").stories),
        exposure=newest.exposure,
        longer=tuple(longer),
    )
    screening = screen(rule, detector_of(rule).measure(rule, usual.baselines, window), window)
    if not rule.needs_news:  # nobody tells of silence, and it is of now
        return Sight(screening, Tellers({}, dict.fromkeys(candidates, minute - 1), 0))
    # Who tells it, and how long ago, can only hold a spike back: they are read only where there is one.
    tellers = reader.tellers(screening.beyond, start, minute) if screening.beyond else NOBODY
    return Sight(screening, tellers)


def _awaited(rule: Rule, reader: Reader, minute: int) -> Collection[str]:
    usual = reader.usual(rule, minute)
    return awaited(rule, usual.baselines, usual.exposures[0])


def _counted(windows: int, counts: Counts, candidates: Sequence[str], exposure: float) -> LongWindow:
    series_counts = [counts.count(series) for series in candidates]
    return LongWindow(
        windows=windows,
        negative=np.array([count.negative for count in series_counts], np.float64),
        volume=np.array([count.stories for count in series_counts], np.float64),
        exposure=exposure,
    )
