from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sentiment_monitor.detect.baseline import (
    History,
    exposures,
    fit,
    fit_plain,
    hour_profile,
    masked_bins,
    unusual_bins,
)
from sentiment_monitor.times import DAY_MINUTES
from simulate import baseline, clumpy, names

FIELDS = ("rate", "rate_variance", "fano", "share", "share_precision", "own_mood")
MONDAY = 4 * DAY_MINUTES  # 1970-01-05


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 6).flatmap(
        lambda s: st.integers(0, 9).flatmap(
            lambda k: st.tuples(
                hnp.arrays(np.float64, (s, k), elements=st.integers(0, 10**6)),
                hnp.arrays(np.float64, (s, k), elements=st.floats(0, 1)),
                hnp.arrays(np.float64, (k,), elements=st.floats(0, 3)),
            )
        )
    )
)
def test_any_history_gives_finite_usable_numbers(past: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    volume, mood, exposure = past
    usual = fit(History.dense(names(len(volume)), np.floor(volume * mood), volume, exposure))
    for field in FIELDS:
        values = getattr(usual, field)
        assert values.shape == (len(volume) + 1,)
        assert np.isfinite(values).all(), field
    assert (usual.rate > 0).all()
    assert (usual.fano >= 1).all()
    assert ((usual.share > 0) & (usual.share < 1)).all()
    assert ((usual.own_mood >= 0) & (usual.own_mood < 1)).all()


def test_a_silent_past_makes_a_newcomer_rare_and_no_past_leaves_it_open() -> None:
    rng = np.random.default_rng(1)
    negative, volume = clumpy(rng, 0.5, 2.0, 0.25, 0.1, (40, 28))
    negative[:4], volume[:4] = clumpy(rng, 20.0, 2.0, 0.25, 0.1, (4, 28))  # a few giants, as in any feed
    unseen = baseline(negative, volume).rate[-1]
    assert 0 < unseen < 0.05 < baseline(negative, volume).rate[:-1].mean()
    none = baseline(np.zeros((0, 0)), np.zeros((0, 0)))
    assert none.rate[-1] >= 0.25
    assert none.windows == 0


def test_a_thin_series_is_pulled_to_its_dimension_and_a_rich_one_is_not() -> None:
    rng = np.random.default_rng(2)
    negative, volume = clumpy(rng, 5.0, 1.5, 0.2, 0.05, (30, 100))
    negative[0], volume[0] = 0, 0
    negative[0, 3], volume[0, 3] = 2, 2  # two stories, both negative
    negative[1], volume[1] = 8, 10  # always 80 % negative
    usual = baseline(negative, volume)
    assert usual.share[0] < 0.4
    assert usual.share[1] == pytest.approx(0.8, abs=0.06)
    assert usual.own_mood[0] < 0.2 < 0.8 < usual.own_mood[1]
    assert usual.rate[1] == pytest.approx(8, rel=0.05)


def test_dispersion_is_found_and_never_below_chance() -> None:
    rng = np.random.default_rng(3)
    for fano in (1.5, 4.0):
        negative, volume = clumpy(rng, 6.0, fano, 0.999, 0.001, (30, 200))
        assert np.median(baseline(negative, volume).fano) == pytest.approx(fano, rel=0.15)
    assert (baseline(np.full((3, 50), 4.0), np.full((3, 50), 9.0)).fano >= 1).all()


def test_masked_alert_windows_do_not_raise_the_baseline() -> None:
    rng = np.random.default_rng(4)
    negative, volume = clumpy(rng, 1.0, 1.5, 0.2, 0.05, (20, 60))
    quiet = baseline(negative, volume)
    negative[7, 50:55], volume[7, 50:55] = 40, 50
    loud = History.dense(names(20), negative, volume)
    masked = replace(loud, masked=np.array([(7, k) for k in range(50, 55)]))
    assert fit(loud).rate[7] > 5 * quiet.rate[7]
    for field in ("rate", "fano", "share"):
        assert getattr(fit(masked), field)[7] == pytest.approx(getattr(quiet, field)[7], rel=0.2), field


def test_a_crisis_that_nobody_paged_does_not_become_the_usual() -> None:
    rng = np.random.default_rng(11)
    negative, volume = clumpy(rng, 1.0, 1.5, 0.2, 0.05, (40, 28))
    quiet = baseline(negative, volume)
    for name, place, bad in (("sudden", 7, [9, 7]), ("creeping", 8, [3, 5, 6, 7])):
        negative[place, -len(bad) :] = bad
        volume[place, -len(bad) :] = np.array(bad) + 1
        history = History.dense(names(40), negative, volume)
        robust, plain = fit(history), fit_plain(history)
        assert robust.rate[place] < 1.2 * quiet.rate[place] < 0.8 * plain.rate[place], name
        assert robust.fano[place] < plain.fano[place], name


def test_what_lasts_becomes_the_usual() -> None:
    rng = np.random.default_rng(12)
    negative, volume = clumpy(rng, 2.0, 1.5, 0.3, 0.05, (40, 28))
    negative[3, -10:], volume[3, -10:] = rng.poisson(4, 10), 12
    before = baseline(negative[:, :-10], volume[:, :-10]).rate[3]
    assert baseline(negative, volume).rate[3] > 1.5 * before


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float64, (5, 12), elements=st.integers(0, 50)), st.integers(0, 4), st.integers(0, 11))
def test_nothing_usual_is_left_out_twice(bad: np.ndarray, series: int, place: int) -> None:
    masked = np.array([[series, place]])
    history = replace(History.dense(names(5), bad, bad), masked=masked)
    pairs = unusual_bins(history, fit_plain(history))
    assert pairs.shape[1] == 2
    assert (series, place) not in {(int(s), int(k)) for s, k in pairs}


def test_bins_without_a_feed_are_no_evidence_of_quiet() -> None:
    negative, volume = np.zeros((1, 40)), np.zeros((1, 40))
    negative[0, 20:], volume[0, 20:] = 3, 9
    exposure = np.repeat([0.0, 1.0], 20)
    assert fit(History.dense(("ticker:0",), negative, volume, exposure)).rate[0] == pytest.approx(3, rel=0.1)
    assert fit(History.dense(("ticker:0",), negative, volume)).rate[0] == pytest.approx(1.5, rel=0.1)


def test_hour_profile_finds_the_week_and_ignores_noise() -> None:
    rng = np.random.default_rng(5)
    shape = np.where(np.arange(168) < 120, 12.0, 3.0)  # weekend at a quarter
    hours = rng.poisson(np.tile(shape, 4)).astype(float)
    profile = hour_profile(hours, MONDAY)
    assert profile.mean() == pytest.approx(1, abs=0.02)
    assert 2.8 < profile[:120].mean() / profile[120:].mean() <= 4  # shrunk towards 1
    shifted = hour_profile(np.roll(hours, -30), MONDAY + 30 * 60)
    assert shifted == pytest.approx(profile)
    flat = hour_profile(rng.poisson(8.0, 4 * 168).astype(float), MONDAY)
    assert flat.std() < 0.1


def test_short_or_empty_history_has_no_hours() -> None:
    assert (hour_profile(np.ones(2 * 168 - 1), MONDAY) == 1).all()
    assert (hour_profile(np.zeros(4 * 168), MONDAY) == 1).all()
    assert (hour_profile(np.empty(0), MONDAY) == 1).all()


def test_exposures_follow_the_profile_across_any_window() -> None:
    profile = np.where(np.arange(168) < 120, 1.3, 0.25)
    assert exposures(profile, MONDAY + 60, 60, 1) == pytest.approx([1.3])
    assert exposures(profile, MONDAY, 60, 1) == pytest.approx([0.25])
    assert exposures(profile, MONDAY + 30, 60, 1) == pytest.approx([(1.3 + 0.25) / 2])
    assert exposures(profile, MONDAY + 5 * DAY_MINUTES, DAY_MINUTES, 7) == pytest.approx([0.25] * 2 + [1.3] * 5)
    assert exposures(np.ones(168), 12345, 77, 30) == pytest.approx(np.ones(30))


def test_an_alert_masks_its_window_and_at_most_a_week() -> None:
    pairs = masked_bins(names(2), [("ticker:1", 300, 360), ("ticker:gone", 1, 2)], 600, 60, 10)
    assert pairs.tolist() == [[1, 4], [1, 5]]
    long = masked_bins(names(1), [("ticker:0", 0, 99 * DAY_MINUTES)], 10 * DAY_MINUTES, DAY_MINUTES, 10)
    assert [k for _, k in long.tolist()] == list(range(7))
    assert masked_bins(names(1), [], 600, 60, 10).shape == (0, 2)
