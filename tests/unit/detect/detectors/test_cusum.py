from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_monitor.detect.baseline import Baseline
from sentiment_monitor.detect.detectors import detector_of
from sentiment_monitor.detect.detectors.contract import LongWindow, Reason, Window
from sentiment_monitor.detect.rules import CountRule, CusumRule
from sentiment_monitor.detect.words import sentence
from sentiment_monitor.domain.alerts import Evaluation
from sentiment_monitor.times import DAY_MINUTES
from simulate import baseline, clumpy, evaluations, names, window

CUSUM = CusumRule(name="slow", window_minutes=DAY_MINUTES, warmup_minutes=0, memory_windows=4, alpha=0.01)
DAY = CountRule(name="day", window_minutes=DAY_MINUTES, warmup_minutes=0, alpha=0.01)


def feed() -> dict[str, Baseline]:
    rng = np.random.default_rng(3)
    means = np.concatenate([[12.0, 6.0], np.full(10, 0.4), np.full(28, 0.1)])
    pairs = [clumpy(rng, mean, 1.8, 0.25, 0.08, (28,)) for mean in means]
    return {"ticker": baseline(np.array([n for n, _ in pairs]), np.array([v for _, v in pairs]))}


USUAL = feed()


def spans(*negatives: int, volume: int = 0) -> Window:
    """One company: negatives of the last one, two and four windows, with as many stories or so many more."""
    first, *rest = negatives
    longer = [
        LongWindow(windows, np.array([float(negative)]), np.array([float(negative + volume)]), 1.0)
        for windows, negative in zip((2, 4), rest, strict=True)
    ]
    return replace(window(["ticker:new"], [first], [first + volume], family=3), longer=tuple(longer))


def one(candidates: Window) -> Evaluation:
    [result] = evaluations(CUSUM, USUAL, candidates)
    return result


def test_a_crisis_that_no_window_shows_is_found_in_several() -> None:
    creeping = spans(2, 4, 6)
    assert not evaluations(DAY, USUAL, creeping)[0].beyond
    result = one(creeping)
    assert result.beyond
    assert result.observed in (4, 6)
    assert "4 d" in sentence(CUSUM, result) or "2 d" in sentence(CUSUM, result)


def test_a_sudden_crisis_is_told_with_the_numbers_of_its_own_window() -> None:
    result = one(spans(6, 6, 6))
    assert result.beyond
    assert (result.observed, result.statistics["span_minutes"]) == (6, DAY_MINUTES)


def test_what_many_windows_make_usual_is_no_crisis() -> None:
    candidates = replace(spans(3, 6, 12, volume=9), names=("ticker:0",))
    assert not one(candidates).beyond


def test_looking_often_is_paid_for() -> None:
    alone = evaluations(DAY, USUAL, window(["ticker:new"], [4], [4], family=3))[0]
    result = one(spans(4, 4, 4))
    assert result.p_value is not None
    assert alone.p_value is not None
    assert result.p_value <= 3 * alone.p_value * (1 + 1e-9)
    assert result.p_value > alone.p_value


def test_quiet_series_are_left_alone_as_often_as_alpha_says() -> None:
    rng = np.random.default_rng(5)
    small = 0
    for _ in range(20):
        negative, volume = clumpy(rng, 8.0, 1.8, 0.3, 0.05, (100, 84))
        usual = {"ticker": baseline(negative[:, :80], volume[:, :80])}
        longer = tuple(LongWindow(k, negative[:, -k:].sum(axis=1), volume[:, -k:].sum(axis=1), 1.0) for k in (2, 4))
        now = replace(window(names(100), negative[:, -1], volume[:, -1]), longer=longer)
        measured = detector_of(CUSUM).measure(CUSUM, usual, now)
        assert measured.p_value is not None
        small += int((measured.p_value <= 0.05).sum())
    assert small / 2000 < 0.05


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 10_000), min_size=3, max_size=3),
    st.integers(0, 10_000),
    st.floats(0, 3),
)
def test_no_input_gives_nan(negatives: list[int], volume: int, exposure: float) -> None:
    candidates = replace(spans(*sorted(negatives), volume=volume), exposure=exposure)
    result = one(candidates)
    assert np.isfinite([result.expected, result.effect, result.p_value or 0, result.q_value or 0]).all()
    assert 0 <= (result.p_value or 0) <= 1
    assert sentence(CUSUM, result)
    assert result.reason in set(Reason)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=12, unique=True), st.integers(1, 40), st.integers(2, 6))
def test_nothing_changes_between_two_minutes_that_are_named(active: list[int], width: int, memory: int) -> None:
    rule = CusumRule(name="c", window_minutes=width, memory_windows=memory, baseline_days=1, warmup_minutes=0)
    active.sort()
    stirred = detector_of(rule).stirs(rule, active, 0, 800)

    def seen(minute: int) -> list[int]:
        return [bisect_left(active, minute) - bisect_left(active, minute - width * windows) for windows in rule.spans]

    for minute in range(1, 801):
        assert minute in stirred or seen(minute) == seen(minute - 1)
