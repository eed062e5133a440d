"""The count-aware detector: is the negative news of this window more than this series' own past explains?

One test. The usual is a mixture of days: nine in ten are ordinary, and one in ten is busy, with the ordinary number of
stories ``rule.surge`` times over at the usual mood. The p-value is the chance of so many negatives on a day of that
mixture. So an earnings day explains itself, and a burst of bad news need not prove twice that it is one.

Where the mood is shown to be no worse than usual a larger number of stories is no bad news, and the larger of count and
share counts in its place (intersection-union test: Berger, Technometrics 1982). So it is for ``all`` and ``source``,
whose volume tells of feeds, not of news. docs/detection.md gives reasons and measurements; ``gates`` decides what is
beyond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.detect.baseline import Baseline, Floats, looked_up
from sentiment_monitor.detect.detectors.contract import Measurements, Reason, Window, moves
from sentiment_monitor.detect.rules import CountRule, TailRule
from sentiment_monitor.detect.tails import at_most, count_tail, share_tail
from sentiment_monitor.domain.series import dimension_of

VOLUME_IS_NEWS = frozenset({"ticker", "topic"})
BUSY_DAYS = 0.1  # part of the days on which a series is ``surge`` times as busy as usual
WORSE_MOOD_ODDS = 2.0  # a worse mood doubles the odds of a negative story, at least
MOOD_LEVEL = 0.05  # confidence with which "no worse than usual" is shown


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What the baselines say of some series, each (S,)."""

    windows: Floats
    rate: Floats
    rate_variance: Floats
    fano: Floats
    share: Floats
    share_precision: Floats
    own_mood: Floats


_WIDE = {
    "windows": 0.0,
    "rate": 1e-9,
    "rate_variance": 0.0,
    "fano": 1.0,
    "share": 0.5,
    "share_precision": 2.0,
    "own_mood": 0.0,
}


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The answers, (S,)."""

    p_count: Floats
    p_share: Floats
    p_burst: Floats
    p_value: Floats
    p_hold: Floats  # compared with the threshold to resolve
    effect: Floats
    usual_mood: NDArray[np.bool_]  # shown to be no worse than usual


class Count:
    """The detector of ``CountRule``."""

    def measure(self, rule: CountRule, usual: Mapping[str, Baseline], window: Window) -> Measurements:
        """Ask both questions of each candidate. Total: no input gives NaN, an error or an infinite number."""
        known = known_of(usual, window.names)
        expected = np.maximum(known.rate * window.exposure, 1e-9)
        by_share = rule.basis == "share"
        asked = _by_share(known, expected, window) if by_share else by_count(rule, known, expected, window)
        return measured(rule, known, expected, asked)

    def stirs(self, rule: CountRule, active: Sequence[int], first: int, last: int) -> set[int]:
        """Minutes at which a story enters or leaves the window, or the same stories are judged by a newer past."""
        return moves(rule, active, first, last)


def measured(rule: TailRule, known: Known, expected: Floats, asked: Answers) -> Measurements:
    """The answers as a detector gives them."""
    burst = asked.p_burst < np.maximum(asked.p_count, asked.p_share)
    large = asked.effect >= rule.min_ratio
    return Measurements(
        expected=expected,
        expected_share=known.share,
        effect=asked.effect,
        history_minutes=known.windows * rule.window_minutes,
        holds=asked.p_hold <= rule.resolve_alpha,
        spikes=[Reason.SPIKE_BURST if more else Reason.SPIKE_MOOD for more in burst.tolist()],
        objections=[None if enough else Reason.SMALL_EFFECT for enough in large.tolist()],
        p_value=asked.p_value,
        alpha=rule.alpha,
        unremarkable=[Reason.USUAL_MOOD if calm else Reason.NOT_UNUSUAL for calm in asked.usual_mood.tolist()],
        statistics={
            "p_count": asked.p_count,
            "p_share": asked.p_share,
            "p_burst": asked.p_burst,
            "dispersion": known.fano,
        },
    )


def by_count(rule: TailRule, usual: Known, expected: Floats, window: Window) -> Answers:
    """Whether so many negatives are more than a usual day brings, given ``expected`` of them, (S,)."""
    news = np.array([dimension_of(name) in VOLUME_IS_NEWS for name in window.names], np.bool_)
    p_count = _count(usual, expected, window, 1.0)
    p_share = share_tail(window.negative, window.volume, usual.share, usual.share_precision)
    # How much worse a mood must be possible depends on how well the usual one is known: a newcomer only must not
    # have a better press than its dimension.
    odds = WORSE_MOOD_ODDS**usual.own_mood * usual.share / (1 - usual.share)
    usual_mood = at_most(window.negative, window.volume, odds / (1 + odds)) < MOOD_LEVEL
    p_busy = _count(usual, expected, window, rule.surge)
    p_burst = np.where(news & ~usual_mood, p_busy, 1.0)
    p_mood = np.maximum(p_count, p_share)
    p_day = (1 - BUSY_DAYS) * p_count + BUSY_DAYS * p_busy
    return Answers(
        p_count=p_count,
        p_share=p_share,
        p_burst=p_burst,
        p_value=np.where(news & ~usual_mood, p_day, p_mood),
        p_hold=p_count,
        effect=window.negative / expected,
        usual_mood=usual_mood,
    )


def _by_share(usual: Known, expected: Floats, window: Window) -> Answers:
    p_share = share_tail(window.negative, window.volume, usual.share, usual.share_precision)
    # The volume is given; but a share that rose because the good half of the feed went away is no news.
    p_value = np.where(window.negative >= expected, p_share, 1.0)
    return Answers(
        p_count=_count(usual, expected, window, 1.0),
        p_share=p_share,
        p_burst=np.ones(len(expected)),
        p_value=p_value,
        p_hold=p_value,
        effect=window.negative / np.maximum(window.volume, 1e-9) / usual.share,
        usual_mood=np.zeros(len(expected), np.bool_),
    )


def known_of(baselines: Mapping[str, Baseline], names: Sequence[str]) -> Known:
    """What the baselines say of series, in their order; wide priors where there is none."""
    return Known(**looked_up(baselines, names, _WIDE))


def _count(usual: Known, expected: Floats, window: Window, times: float) -> Floats:
    """Gamma-Poisson predictive tail when the usual number of stories comes ``times`` over; clumps stay as they are."""
    mean = times * expected
    uncertain = usual.rate_variance * (times * window.exposure) ** 2
    return count_tail(window.negative, mean, usual.fano * mean + uncertain)
