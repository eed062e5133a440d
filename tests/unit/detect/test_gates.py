from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentiment_monitor.detect.baseline import Baseline
from sentiment_monitor.detect.detectors import detector_of
from sentiment_monitor.detect.detectors.contract import Measurements, Reason, Window
from sentiment_monitor.detect.gates import NOBODY, Tellers, adjusted, evaluate, screen
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.words import sentence
from simulate import DAY, MOOD, baseline, clumpy, evaluations, window


@pytest.fixture(scope="module")
def usual() -> dict[str, Baseline]:
    """Forty companies over 28 days, most of them rarely in the news."""
    rng = np.random.default_rng(0)
    means = np.concatenate([[12.0, 8.0, 6.0, 4.0], np.full(16, 0.4), np.full(20, 0.1)])
    pairs = [clumpy(rng, mean, 1.8, 0.25, 0.08, (28,)) for mean in means]
    return {"ticker": baseline(np.array([n for n, _ in pairs]), np.array([v for _, v in pairs]))}


@pytest.mark.parametrize(
    ("negative", "sources", "enough"),
    [(3, 3, True), (3, 2, False), (4, 2, True), (4, 1, False), (5, 1, True), (9, 1, True)],
)
def test_each_negative_more_takes_the_place_of_a_source(
    usual: dict[str, Baseline], negative: int, sources: int, enough: bool
) -> None:
    scandal = window(["ticker:new"], [negative], [negative])
    result = evaluations(DAY, usual, scandal, sources=sources)[0]
    assert result.beyond is enough
    assert enough or result.reason is Reason.FEW_SOURCES


def test_one_source_is_enough_where_the_whole_feed_has_no_more(usual: dict[str, Baseline]) -> None:
    agency = window(["ticker:new"], [4], [4])
    assert evaluations(DAY, usual, agency, sources=1, feed_sources=1)[0].beyond
    assert evaluations(replace(DAY, min_sources=3), usual, agency, sources=2, feed_sources=2)[0].beyond


def test_a_series_that_is_a_source_is_not_asked_for_another() -> None:
    rng = np.random.default_rng(1)
    wires = {"source": baseline(*clumpy(rng, 40.0, 2.0, 0.2, 0.01, (5, 60)), dimension="source")}
    wire = window(["source:0"], [45], [60])
    assert evaluations(MOOD, wires, wire, sources=1)[0].reason is Reason.SPIKE_MOOD


def test_only_what_the_window_lets_through_needs_its_tellers(usual: dict[str, Baseline]) -> None:
    busy = window(["ticker:new", "ticker:0", "ticker:other", "ticker:30"], [4, 30, 2, 1], [4, 120, 2, 1])
    screening = screen(DAY, detector_of(DAY).measure(DAY, usual, busy), busy)
    assert screening.beyond == ("ticker:new",)
    results = evaluate(DAY, screening, Tellers({"ticker:new": 2}, {"ticker:new": 77}, 9))
    assert [result.beyond for result in results] == [True, False, False, False]
    assert [result.sources for result in results] == [2, None, None, None]
    assert [result.newest_minute for result in results] == [77, -1, -1, -1]


def test_what_only_its_sources_hold_back_keeps_a_firing_alert_alive(usual: dict[str, Baseline]) -> None:
    single = evaluations(DAY, usual, window(["ticker:new"], [4], [4]), sources=1)[0]
    assert not single.beyond
    assert single.holds


def test_no_candidates_are_no_evaluations(usual: dict[str, Baseline]) -> None:
    for family in (0, 5):
        nothing = Window((), np.empty(0), np.empty(0), family, 10.0)
        assert evaluate(DAY, screen(DAY, detector_of(DAY).measure(DAY, usual, nothing), nothing)) == []


def test_a_detector_without_p_values_is_judged_by_its_own_bar() -> None:
    rule = Rule(name="plain", min_negative=2, warmup_minutes=60)
    names = ["ticker:a", "ticker:b", "ticker:c"]
    measured = Measurements(
        expected=np.ones(3),
        expected_share=np.full(3, 0.2),
        effect=np.array([9.0, 2.0, 9.0]),
        history_minutes=np.array([60.0, 60.0, 59.0]),
        holds=np.array([True, True, True]),
        spikes=[Reason.SPIKE_BURST] * 3,
        objections=[None, Reason.SMALL_EFFECT, None],
    )
    counted = window(names, [9, 2, 9], [9, 9, 9])
    screening = screen(rule, measured, counted)
    assert screening.beyond == ("ticker:a",)
    results = evaluate(rule, screening, Tellers({"ticker:a": 3}, {"ticker:a": 5}, 3))
    assert [result.reason for result in results] == [Reason.SPIKE_BURST, Reason.SMALL_EFFECT, Reason.WARMING_UP]
    assert {(result.p_value, result.q_value) for result in results} == {(None, None)}
    assert [result.holds for result in results] == [True, True, False]
    assert all("p =" not in sentence(rule, result) for result in results)


def test_a_series_beyond_whose_tellers_nobody_read_is_an_error_and_not_a_page(usual: dict[str, Baseline]) -> None:
    single = window(["ticker:new"], [9], [9])
    screening = screen(DAY, detector_of(DAY).measure(DAY, usual, single), single)
    with pytest.raises(KeyError):
        evaluate(DAY, screening, NOBODY)


def test_q_values_count_the_series_that_are_no_candidates() -> None:
    assert adjusted(np.array([0.01, 0.04]), 2) == pytest.approx([0.02, 0.04])
    assert adjusted(np.array([0.01, 0.04]), 10) == pytest.approx([0.1, 0.2])
