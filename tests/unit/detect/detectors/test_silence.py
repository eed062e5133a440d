from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_monitor.detect.baseline import Baseline
from sentiment_monitor.detect.detectors import awaited
from sentiment_monitor.detect.detectors.contract import Reason
from sentiment_monitor.detect.rules import CountRule, SilenceRule
from sentiment_monitor.detect.words import explain, sentence
from sentiment_monitor.domain.alert_states import Kind, State
from sentiment_monitor.domain.alerts import Alert, Evaluation, Evidence
from simulate import baseline, clumpy, evaluations, window

RULE = SilenceRule(name="quiet", dimensions=("source", "all"), window_minutes=360, warmup_minutes=0)


def feed() -> Baseline:
    """Five sources over 112 windows: one with forty stories in each, one with one in ten of them."""
    rng = np.random.default_rng(1)
    pairs = [clumpy(rng, mean, 2.0, 0.2, 0.02, (112,)) for mean in (40.0, 20.0, 8.0, 2.0, 0.1)]
    return baseline(np.array([n for n, _ in pairs]), np.array([v for _, v in pairs]), "source")


USUAL = {"source": feed()}


def one(volume: float, series: str = "source:0", *, exposure: float = 1.0, all_stories: float = 50) -> Evaluation:
    candidates = window([series], [0], [volume], feed=all_stories, exposure=exposure)
    [result] = evaluations(RULE, USUAL, candidates, sources=0)
    return result


def test_a_loud_source_that_says_nothing_is_missed_and_a_rare_one_is_not() -> None:
    assert one(0).reason is Reason.SILENT
    assert one(2).beyond
    assert not one(30).beyond
    assert not one(0, "source:3").beyond
    assert not one(0, "source:4").beyond
    assert not one(0, "source:unknown").beyond


def test_a_night_on_which_little_is_usual_is_no_silence() -> None:
    assert not one(0, "source:2", exposure=0.1).beyond


def test_silence_of_the_whole_feed_is_silence_and_not_missing_data() -> None:
    assert one(0, all_stories=0).beyond
    counting = CountRule(name="c", dimensions=("source",), warmup_minutes=0)
    result = evaluations(counting, USUAL, window(["source:0"], [0], [0], feed=0))[0]
    assert result.reason is Reason.NO_DATA


def test_what_would_be_missed_is_awaited_though_the_window_holds_nothing_of_it() -> None:
    assert set(awaited(RULE, USUAL, 1.0)) == {"source:0", "source:1"} | {
        name for name in ("source:2",) if one(0, name).beyond
    }
    assert awaited(RULE, USUAL, 0.001) == []
    assert awaited(replace(RULE, series=("source:1",)), USUAL, 1.0) == ["source:1"]
    assert awaited(CountRule(name="c"), USUAL, 1.0) == ()


def test_it_says_what_was_expected() -> None:
    result = one(0)
    assert "0 stories in 6 h, where" in sentence(RULE, result)
    alert = Alert("quiet", "source:0", "warning", State.FIRING, fired_minute=27_974_481)
    told = explain(RULE, result, Evidence(sources=("x",)), alert, Kind.FIRED)
    assert told.title == "source 0 is silent"
    assert told.lines[0].startswith("What: 0 stories in 6 h, where ")
    assert told.lines[0].endswith(" are usual.")
    assert not any("negative" in line or line.startswith("Sources") for line in told.lines)
    assert explain(RULE, result, Evidence(), alert, Kind.RESOLVED).title == "Resolved: silence of source 0"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 6), st.floats(0, 5))
def test_more_news_is_never_more_silent(volume: int, place: int, exposure: float) -> None:
    fewer, more = (
        one(volume, f"source:{place}", exposure=exposure),
        one(volume + 1, f"source:{place}", exposure=exposure),
    )
    assert fewer.p_value is not None
    assert more.p_value is not None
    assert 0 < fewer.p_value <= more.p_value * (1 + 1e-9) <= 1 + 1e-9
