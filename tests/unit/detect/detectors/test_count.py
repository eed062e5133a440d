from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_monitor.detect.baseline import Baseline, exposure_end, past_end
from sentiment_monitor.detect.detectors import detector_of
from sentiment_monitor.detect.detectors.contract import Reason
from sentiment_monitor.detect.rules import CountRule
from sentiment_monitor.detect.words import sentence
from sentiment_monitor.domain.alerts import Evaluation
from simulate import DAY, HOURS, MOOD, baseline, clumpy, evaluations, names, window


def feed(seed: int = 0) -> Baseline:
    """Forty companies over 28 days: a few giants, most rarely in the news, a quarter of it negative."""
    rng = np.random.default_rng(seed)
    means = np.concatenate([[12.0, 8.0, 6.0, 4.0], np.full(16, 0.4), np.full(20, 0.1)])
    pairs = [clumpy(rng, mean, 1.8, 0.25, 0.08, (28,)) for mean in means]
    return baseline(np.array([n for n, _ in pairs]), np.array([v for _, v in pairs]))


def one(
    negative: float, volume: float, series: str = "ticker:new", *, rule: CountRule = DAY, usual: Baseline | None = None
) -> Evaluation:
    dimension = series.partition(":")[0]
    [result] = evaluations(rule, {dimension: usual or feed()}, window([series], [negative], [volume], family=30))
    return result


def test_a_bank_never_seen_before_spikes_under_a_modest_classifier() -> None:
    for negative, volume in ((5, 20), (7, 18), (10, 20)):
        result = one(negative, volume)
        assert result.beyond, sentence(DAY, result)
        assert result.reason is Reason.SPIKE_BURST
        assert result.expected < 0.1


def test_an_earnings_day_doubles_the_volume_at_the_usual_mood_and_pages_nobody() -> None:
    assert one(6, 24, "ticker:0").reason is Reason.SMALL_EFFECT
    loose = replace(DAY, min_ratio=1.0)
    assert one(6, 24, "ticker:0", rule=loose).reason in (Reason.USUAL_MOOD, Reason.NOT_UNUSUAL)


def test_ten_times_the_stories_at_the_usual_mood_page_nobody() -> None:
    result = one(30, 120, "ticker:0")
    assert result.reason is Reason.USUAL_MOOD
    assert "usual share" in sentence(DAY, result)


def test_a_giant_in_real_trouble_pages() -> None:
    result = one(32, 40, "ticker:0")
    assert result.beyond
    assert result.statistics["p_share"] < 0.01


def test_a_newcomer_with_good_press_pages_nobody() -> None:
    assert not one(4, 60).beyond


def test_two_or_three_bad_stories_on_a_rare_company_page_nobody() -> None:
    assert one(2, 2).reason is Reason.TOO_FEW
    assert not one(3, 3, "ticker:30", rule=replace(DAY, min_negative=1, surge=10.0, alpha=0.001)).beyond


def test_six_bad_stories_of_sixty_five_page_nobody_whatever_the_statistic_says() -> None:
    result = one(6, 65)
    assert result.reason is Reason.SMALL_SHARE
    assert "the rule asks for 20% of the stories" in sentence(DAY, result)


def test_a_giant_need_not_be_all_bad() -> None:
    assert one(28, 36, "ticker:0").beyond


def test_so_many_bad_stories_make_the_alert_critical() -> None:
    assert [one(negative, 12).grave for negative in (4, 9, 10, 12)] == [False, False, True, True]
    assert not one(12, 12, rule=replace(DAY, critical_negative=0)).grave
    assert not one(10, 12, "ticker:0", rule=replace(DAY, min_ratio=50)).grave  # not beyond


def test_the_market_is_judged_by_share_not_by_total() -> None:
    rng = np.random.default_rng(2)
    negative, volume = clumpy(rng, 90.0, 2.0, 0.2, 0.005, (1, 56))
    usual = {"all": baseline(negative, volume, "all")}
    usual["all"] = replace(usual["all"], index={"all": 0})

    def market(bad: float, total: float) -> Evaluation:
        return evaluations(MOOD, usual, window(["all"], [bad], [total]))[0]

    assert market(40, 90).beyond  # flat volume, twice the share
    assert not market(45, 225).beyond  # a busy day
    half_the_feed_away = market(12, 30)
    assert half_the_feed_away.statistics["p_share"] < 0.1
    assert half_the_feed_away.p_value == 1.0


def test_an_alert_holds_at_half_the_floor_and_not_on_a_single_story() -> None:
    assert not one(2, 6).beyond
    assert one(2, 6).holds
    assert not one(1, 1).holds
    assert not one(3, 12, "ticker:0").holds


def test_silence_is_no_data_and_not_quiet() -> None:
    result = evaluations(DAY, {"ticker": feed()}, window(["ticker:0"], [0], [0], feed=0))[0]
    assert result.reason is Reason.NO_DATA
    assert not result.holds


def test_without_history_the_rule_warms_up() -> None:
    empty = baseline(np.zeros((0, 0)), np.zeros((0, 0)))
    assert one(20, 20, usual=empty).reason is Reason.WARMING_UP
    assert evaluations(DAY, {}, window(["ticker:x"], [20], [20]))[0].reason is Reason.WARMING_UP
    young = baseline(np.zeros((1, 2)), np.zeros((1, 2)))
    assert one(20, 20, usual=young).reason is Reason.WARMING_UP


def test_a_short_history_fires_on_much_and_not_on_little() -> None:
    rng = np.random.default_rng(3)
    thin = baseline(*clumpy(rng, 0.5, 1.5, 0.25, 0.1, (10, 4)))
    assert one(15, 18, usual=thin).beyond
    assert not one(4, 8, usual=thin).beyond


def test_series_that_are_no_candidates_count_as_tests() -> None:
    few = evaluations(DAY, {"ticker": feed()}, window(["ticker:new"], [5], [8], family=1))[0]
    many = evaluations(DAY, {"ticker": feed()}, window(["ticker:new"], [5], [8], family=500))[0]
    assert many.p_value == few.p_value
    assert few.q_value is not None
    assert many.q_value == pytest.approx(min(1.0, 500 * few.q_value))


def test_a_busy_hour_expects_more() -> None:
    quiet = evaluations(DAY, {"ticker": feed()}, window(["ticker:0"], [9], [12], exposure=0.3))[0]
    busy = evaluations(DAY, {"ticker": feed()}, window(["ticker:0"], [9], [12], exposure=2.0))[0]
    assert quiet.expected < busy.expected
    assert quiet.statistics["p_count"] < busy.statistics["p_count"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 45)), min_size=1, max_size=8),
    st.floats(0, 5),
    st.sampled_from([DAY, replace(MOOD, dimensions=("ticker",)), HOURS]),
)
def test_no_input_gives_nan_or_leaves_the_unit_interval(
    rows: list[tuple[int, int, int]], exposure: float, rule: CountRule
) -> None:
    candidates = window(
        [f"ticker:{place}" for _, _, place in rows],
        [float(n) for n, _, _ in rows],
        [float(n + rest) for n, rest, _ in rows],
        exposure=exposure,
    )
    for result in evaluations(rule, {"ticker": feed()}, candidates):
        asked = [value for name, value in result.statistics.items() if name.startswith("p_")]
        assert len(asked) == 3
        for value in (*asked, result.p_value, result.q_value):
            assert value is not None
            assert 0 <= value <= 1
        numbers = [result.expected, result.effect, result.statistics["dispersion"], result.expected_share]
        assert np.isfinite(numbers).all()
        assert sentence(rule, result)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 44), st.integers(1, 60))
def test_one_more_negative_story_is_never_less_surprising(place: int, volume: int) -> None:
    steps = np.arange(volume + 1.0)
    same = [f"ticker:{place}"] * len(steps)
    results = evaluations(DAY, {"ticker": feed()}, window(same, steps, np.full(len(steps), float(volume))))
    for before, after in pairwise(results):
        assert before.p_value is not None
        assert after.p_value is not None
        assert after.statistics["p_count"] <= before.statistics["p_count"] * (1 + 1e-9)
        assert after.statistics["p_share"] <= before.statistics["p_share"] * (1 + 1e-9)
        assert after.p_value <= before.p_value * (1 + 1e-9)


def test_probability_mass_is_as_good_as_a_count() -> None:
    result = one(6.4, 18)
    assert one(7, 18).statistics["p_count"] < result.statistics["p_count"] < one(6, 18).statistics["p_count"]
    assert result.beyond


@pytest.mark.parametrize(("mean", "fano"), [(3.0, 1.5), (12.0, 3.0)])
def test_p_values_are_calibrated_on_null_series(mean: float, fano: float) -> None:
    """4,000 null windows: at 5 % about 200 small p-values; discreteness makes it fewer."""
    rng = np.random.default_rng(7)
    count, share, moods = [], [], []
    for _ in range(40):
        negative, volume = clumpy(rng, mean / 0.3, fano, 0.3, 0.05, (100, 81))
        usual = {"ticker": baseline(negative[:, :80], volume[:, :80])}
        results = evaluations(HOURS, usual, window(names(100), negative[:, 80], volume[:, 80]))
        count += [r.statistics["p_count"] for r in results]
        share += [r.statistics["p_share"] for r in results]
        moods += [r.p_value for r in results]
    for p in (count, share):
        assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.065
        assert np.mean(np.array(p) <= 0.01) < 0.015
    assert np.mean(np.array(moods) <= 0.05) < 0.05


def test_a_thin_baseline_widens_the_p_value_instead_of_lying() -> None:
    rng = np.random.default_rng(8)
    honest, plugged = [], []
    for _ in range(60):
        negative, volume = clumpy(rng, 6.0, 2.0, 0.3, 0.05, (50, 4))
        usual = baseline(negative[:, :3], volume[:, :3])
        own = np.append(negative[:, :3].mean(axis=1), 1.0)  # each series' own mean, taken as the truth
        naive = replace(usual, rate=own, rate_variance=np.zeros(51))
        now = window(names(50), negative[:, 3], volume[:, 3])
        honest += [r.statistics["p_count"] <= 0.05 for r in evaluations(HOURS, {"ticker": usual}, now)]
        plugged += [r.statistics["p_count"] <= 0.05 for r in evaluations(HOURS, {"ticker": naive}, now)]
    assert np.mean(honest) < 0.07 < np.mean(plugged)


ACTIVE = st.lists(st.integers(0, 900), unique=True, max_size=12).map(sorted)


@settings(max_examples=200, deadline=None)
@given(ACTIVE, st.sampled_from([1, 7, 60, 90, 360]), st.integers(0, 400), st.integers(0, 700))
def test_between_the_minutes_that_stir_nothing_can_change(
    active: list[int], length: int, first: int, spread: int
) -> None:
    rule = replace(DAY, window_minutes=length)
    last = first + spread
    seen = [minute for minute in active if minute >= first - length - 1]
    stirred = detector_of(rule).stirs(rule, seen, first, last)
    assert all(first <= minute <= last for minute in stirred)

    def view(minute: int) -> tuple[list[int], int, int]:
        inside = [story for story in active if minute - length <= story < minute]
        return inside, past_end(minute, length) if inside else 0, exposure_end(minute) if inside else 0

    for minute in range(first + 1, last + 1):
        if minute not in stirred:
            assert view(minute) == view(minute - 1), minute


def test_a_story_stirs_when_it_enters_when_it_leaves_and_at_each_new_past_and_factor_between() -> None:
    rule = replace(DAY, window_minutes=130)
    assert detector_of(rule).stirs(rule, [100], 0, 1000) == {101, 130, 190, 231, *range(105, 231, 15)}
    assert detector_of(rule).stirs(rule, [], 0, 10_000) == set()
