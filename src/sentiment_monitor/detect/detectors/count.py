"""The count-aware detector: is the negative news of this window more than this series' own past explains?

Two questions are asked of every series, and their answers are put together so that neither a busy day nor a quirk of
mood pages anybody; docs/detection.md gives the reasons and the measurements.

* **mood**: more negatives than expected *and* a larger negative share than usual given the volume. Both p-values must
  be small: the larger one counts (intersection-union test: Berger, Technometrics 1982).
* **burst**: more negatives than a busy day explains, taking the ordinary number of stories ``rule.surge`` times over
  at the usual mood. Not asked where the mood is shown to be no worse than usual, nor of ``all`` and ``source``, whose
  volume tells of feeds, not of news.

The smaller of the two, doubled, is the p-value of the series. Benjamini-Hochberg (JRSS B 1995) over the series of the
tick gives the q-value. It does not decide on an alert: see ``states``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from sentiment_monitor.detect.baseline import Baseline, Floats, Ints
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.tails import at_most, count_tail, share_tail
from sentiment_monitor.domain.series import dimension_of

VOLUME_IS_NEWS = frozenset({"ticker", "topic"})
WORSE_MOOD_ODDS = 2.0  # a worse mood doubles the odds of a negative story, at least
ENOUGH_NEGATIVES = 5  # from so many on one source is enough: a scandal may be told by a single agency
MOOD_LEVEL = 0.05  # confidence with which "no worse than usual" is shown


class Reason(StrEnum):
    """Why a series is beyond its rule, or the first thing that keeps it from being so."""

    SPIKE_MOOD = "spike_mood"
    SPIKE_BURST = "spike_burst"
    NO_DATA = "no_data"  # the feed was silent for the whole window
    WARMING_UP = "warming_up"
    TOO_FEW = "too_few_negatives"
    FEW_SOURCES = "too_few_sources"
    SMALL_EFFECT = "small_effect"
    USUAL_MOOD = "busy_at_usual_mood"
    NOT_UNUSUAL = "not_unusual"


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What one rule sees at one tick: S candidate series, each array (S,), copies collapsed.

    Candidates are the series with at least ``rule.min_negative`` negatives in the window, and every series that is
    pending or firing. ``family`` is how many series of the rule's dimensions had a story in the window: those left
    out count as tests that found nothing.
    """

    names: tuple[str, ...]
    negative: Floats  # negative stories, or their probability mass
    volume: Floats  # stories
    sources: Ints  # distinct sources of the stories, negative or not: a modest classifier misses some of the negatives
    newest_minute: Ints  # event-time minute of the newest negative story; -1 when there is none
    family: int
    feed_volume: float  # stories of series ``all`` in the window
    feed_sources: int  # distinct sources of those
    exposure: float = 1.0  # hour-of-week factor of this window, see baseline.exposures


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One series under one rule at one tick."""

    series: str
    rule: str
    observed: float  # negative stories
    volume: float  # stories
    sources: int
    newest_minute: int  # of the negative stories, -1 when there is none
    expected: float  # negative stories a usual window brings at this hour
    dispersion: float  # variance over mean of those
    expected_share: float
    p_count: float
    p_share: float
    p_burst: float  # 1 where the question is not asked
    p_value: float
    q_value: float
    effect: float  # observed over expected: negatives, or the negative share for a rule on shares
    beyond: bool  # fires
    holds: bool  # keeps a firing alert alive: a lower bar than ``beyond``
    reason: Reason
    sentence: str  # for people

    @property
    def share(self) -> float:
        """Observed negative share, 0 without stories."""
        return self.observed / self.volume if self.volume > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Usual:
    """What the baselines say of the candidates, (S,)."""

    windows: Floats
    rate: Floats
    rate_variance: Floats
    fano: Floats
    share: Floats
    precision: Floats
    own_mood: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """The answers, (S,)."""

    p_count: Floats
    p_share: Floats
    p_burst: Floats
    p_value: Floats
    p_hold: Floats  # compared with the threshold to resolve
    effect: Floats
    usual_mood: NDArray[np.bool_]  # shown to be no worse than usual


def evaluate(rule: Rule, baselines: Mapping[str, Baseline], window: Window) -> list[Evaluation]:
    """Evaluate the candidates of one tick, in their order.

    ``baselines`` holds one ``Baseline`` per dimension of the rule, fitted with the rule's window length; a dimension
    without one is warming up. Total: no input gives NaN, an error or an infinite number.
    """
    if not window.names:
        return []
    usual = _usual(baselines, window.names)
    expected = np.maximum(usual.rate * window.exposure, 1e-9)
    asked = _by_share(usual, expected, window) if rule.basis == "share" else _by_count(rule, usual, expected, window)
    q_value = _adjusted(asked.p_value, window.family)
    alive = window.feed_volume > 0
    warm = usual.windows * rule.window_minutes >= rule.warmup_minutes
    # The floor too is lower for what already fires: one story a day must not keep an alert alive for ever.
    holds = (asked.p_hold <= rule.resolve_alpha) & (window.negative >= rule.min_negative / 2) & warm & alive
    tests = (
        (np.full(len(expected), alive), Reason.NO_DATA),
        (warm, Reason.WARMING_UP),
        (window.negative >= rule.min_negative, Reason.TOO_FEW),
        (_enough_sources(rule, window), Reason.FEW_SOURCES),
        (asked.effect >= rule.min_ratio, Reason.SMALL_EFFECT),
        ((q_value <= rule.alpha) | ~asked.usual_mood, Reason.USUAL_MOOD),
        (q_value <= rule.alpha, Reason.NOT_UNUSUAL),
    )
    results = []
    for i, name in enumerate(window.names):
        failed = next((reason for passed, reason in tests if not passed[i]), None)
        burst = asked.p_burst[i] < max(asked.p_count[i], asked.p_share[i])
        reason = failed or (Reason.SPIKE_BURST if burst else Reason.SPIKE_MOOD)
        results.append(
            Evaluation(
                series=name,
                rule=rule.name,
                observed=float(window.negative[i]),
                volume=float(window.volume[i]),
                sources=int(window.sources[i]),
                newest_minute=int(window.newest_minute[i]),
                expected=float(expected[i]),
                dispersion=float(usual.fano[i]),
                expected_share=float(usual.share[i]),
                p_count=float(asked.p_count[i]),
                p_share=float(asked.p_share[i]),
                p_burst=float(asked.p_burst[i]),
                p_value=float(asked.p_value[i]),
                q_value=float(q_value[i]),
                effect=float(asked.effect[i]),
                beyond=failed is None,
                holds=failed is None or bool(holds[i]),
                reason=reason,
                sentence=_sentence(rule, reason, window, i, expected[i], usual.share[i], asked.p_value[i]),
            )
        )
    return results


def _enough_sources(rule: Rule, window: Window) -> NDArray[np.bool_]:
    """Whether the stories have sources enough, (S,): of a series that is one source, or of a feed that has fewer, the
    rule cannot ask for more."""
    one_source = np.array([dimension_of(name) == "source" for name in window.names])
    wanted = min(rule.min_sources, window.feed_sources)
    return np.asarray((window.sources >= wanted) | (window.negative >= ENOUGH_NEGATIVES) | one_source)


def _by_count(rule: Rule, usual: _Usual, expected: Floats, window: Window) -> _Asked:
    news = np.array([dimension_of(name) in VOLUME_IS_NEWS for name in window.names])
    p_count = _count(usual, expected, window, 1.0)
    p_share = share_tail(window.negative, window.volume, usual.share, usual.precision)
    # How much worse a mood must be possible depends on how well the usual one is known: a newcomer only must not
    # have a better press than its dimension.
    odds = WORSE_MOOD_ODDS**usual.own_mood * usual.share / (1 - usual.share)
    usual_mood = at_most(window.negative, window.volume, odds / (1 + odds)) < MOOD_LEVEL
    p_burst = np.where(news & ~usual_mood, _count(usual, expected, window, rule.surge), 1.0)
    p_mood = np.maximum(p_count, p_share)
    return _Asked(
        p_count=p_count,
        p_share=p_share,
        p_burst=p_burst,
        p_value=np.where(news, np.minimum(1.0, 2 * np.minimum(p_mood, p_burst)), p_mood),
        p_hold=p_count,
        effect=window.negative / expected,
        usual_mood=usual_mood,
    )


def _by_share(usual: _Usual, expected: Floats, window: Window) -> _Asked:
    p_share = share_tail(window.negative, window.volume, usual.share, usual.precision)
    # The volume is given; but a share that rose because the good half of the feed went away is no news.
    p_value = np.where(window.negative >= expected, p_share, 1.0)
    return _Asked(
        p_count=_count(usual, expected, window, 1.0),
        p_share=p_share,
        p_burst=np.ones(len(expected)),
        p_value=p_value,
        p_hold=p_value,
        effect=window.negative / np.maximum(window.volume, 1e-9) / usual.share,
        usual_mood=np.zeros(len(expected), np.bool_),
    )


def _usual(baselines: Mapping[str, Baseline], names: tuple[str, ...]) -> _Usual:
    rows = np.zeros((7, len(names)))
    rows[1:6] = np.array([1e-9, 0.0, 1.0, 0.5, 2.0])[:, None]
    dimensions = [dimension_of(name) for name in names]
    for dimension in set(dimensions) & set(baselines):
        baseline = baselines[dimension]
        where = [i for i, d in enumerate(dimensions) if d == dimension]
        at = baseline.places(names[i] for i in where)
        rows[0, where] = baseline.windows
        fields = ("rate", "rate_variance", "fano", "share", "share_precision", "own_mood")
        for row, field in enumerate(fields, start=1):
            rows[row, where] = getattr(baseline, field)[at]
    return _Usual(*rows)


def _count(usual: _Usual, expected: Floats, window: Window, times: float) -> Floats:
    """Gamma-Poisson predictive tail when the usual number of stories comes ``times`` over; clumps stay as they are."""
    mean = times * expected
    uncertain = usual.rate_variance * (times * window.exposure) ** 2
    return count_tail(window.negative, mean, usual.fano * mean + uncertain)


def _adjusted(p_value: Floats, family: int) -> Floats:
    """Benjamini-Hochberg q-values; the family's series that are no candidates count with p = 1."""
    others = max(0, family - len(p_value))
    padded = np.concatenate([p_value, np.ones(others)])
    return np.asarray(false_discovery_control(padded)[: len(p_value)])


def _sentence(rule: Rule, reason: Reason, window: Window, i: int, expected: float, share: float, p: float) -> str:
    span = spell_minutes(rule.window_minutes)
    if reason is Reason.NO_DATA:
        return f"no story at all in {span}: the feed is silent, nothing can be said"
    if reason is Reason.WARMING_UP:
        return f"less than {spell_minutes(rule.warmup_minutes)} of history: too early to say"
    told = (
        f"{window.negative[i]:,.0f} of {window.volume[i]:,.0f} stories in {span} are negative;"
        f" {spell_number(expected)} were expected"
    )
    usual = f"{share:.0%} is the usual share"
    match reason:
        case Reason.SPIKE_MOOD:
            return f"{told}, {usual} (p = {p:.1g})"
        case Reason.SPIKE_BURST:
            return f"{told}, more than a day {rule.surge:g} times as busy as usual explains (p = {p:.1g})"
        case Reason.TOO_FEW:
            return f"{told}; the rule asks for {rule.min_negative:g}"
        case Reason.FEW_SOURCES:
            return f"{told}, from {window.sources[i]} source(s); the rule asks for {rule.min_sources}"
        case Reason.SMALL_EFFECT:
            return f"{told}, {usual}; the rule asks for {rule.min_ratio:g} times as much as expected"
        case Reason.USUAL_MOOD:
            return f"{told}, but so is the rest of the news: {usual}"
        case _:
            return f"{told}, {usual}: within what the past explains (p = {p:.1g})"


def spell_minutes(minutes: int) -> str:
    """``45 min``, ``6 h``, ``3 d``."""
    if minutes % 1440 == 0 and minutes > 1440:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def spell_number(value: float) -> str:
    """An expectation for people: ``0.9``, ``14``, ``fewer than 0.1``."""
    if value < 0.1:
        return "fewer than 0.1"
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
