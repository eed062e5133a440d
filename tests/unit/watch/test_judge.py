"""A minute's evaluations out of any reader of the past: no database, no lease, no clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from sentiment_monitor.detect.baseline import Baseline
from sentiment_monitor.detect.gates import Tellers
from sentiment_monitor.detect.rules import CountRule, Rule
from sentiment_monitor.watch.judge import judge
from sentiment_monitor.watch.past import Usual
from sentiment_monitor.watch.window import Counts, SeriesCount
from simulate import baseline, clumpy

MINUTE = 30_000_000
RULE = CountRule(name="hour", warmup_minutes=0)


def _usual() -> Baseline:
    """Twenty companies with a negative story now and then."""
    return baseline(*clumpy(np.random.default_rng(7), 2.0, 1.5, 0.1, 0.05, (20, 200)))


@dataclass
class Remembered:
    """A past that lives in memory, and notes what it is asked."""

    seen: Mapping[str, SeriesCount]
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def counts(self, start: int, end: int) -> Counts:
        assert (start, end) == (MINUTE - RULE.window_minutes, MINUTE)
        return Counts.of(self.seen)

    def usual(self, rule: Rule, minute: int) -> Usual:
        return Usual({"ticker": _usual()}, (1.0,) * len(rule.spans))

    def tellers(self, series: Collection[str], start: int, end: int) -> Tellers:
        self.asked.append(tuple(series))
        return Tellers(dict.fromkeys(series, 3), dict.fromkeys(series, end - 1), 9)


def test_what_spikes_is_beyond_and_only_its_tellers_are_read() -> None:
    past = Remembered({"all": SeriesCount(900, 40), "ticker:0": SeriesCount(14, 13), "ticker:1": SeriesCount(400, 4)})
    judged = {evaluation.series: evaluation for _, evaluation in judge(MINUTE, [RULE], past, {})}
    assert judged["ticker:0"].beyond
    assert not judged["ticker:1"].beyond
    assert set(judged) == {"ticker:0", "ticker:1"}  # not "all", which the rule does not watch
    assert past.asked == [("ticker:0",)]


def test_a_quiet_minute_asks_nobody_and_says_nothing() -> None:
    past = Remembered({"all": SeriesCount(200, 20), "ticker:0": SeriesCount(14, 1)})
    assert list(judge(MINUTE, [RULE], past, {})) == []
    assert past.asked == []


def test_what_is_open_is_looked_at_however_quiet_it_has_become() -> None:
    past = Remembered({"all": SeriesCount(200, 20)})
    (judgement,) = judge(MINUTE, [RULE], past, {"hour": ["ticker:0"]})
    assert (judgement.evaluation.series, judgement.evaluation.observed, judgement.evaluation.holds) == (
        "ticker:0", 0, False,
    )  # fmt: skip


def test_a_silent_feed_is_said_to_be_silent() -> None:
    (judgement,) = judge(MINUTE, [RULE], Remembered({}), {"hour": ["ticker:0"]})
    assert judgement.evaluation.reason == "no_data"


def test_every_rule_is_asked_of_the_series_it_watches() -> None:
    past = Remembered({"all": SeriesCount(200, 20), "ticker:0": SeriesCount(14, 13), "ticker:1": SeriesCount(14, 13)})
    narrow = replace(RULE, name="narrow", series=("ticker:1",))
    judged = [(rule.name, evaluation.series) for rule, evaluation in judge(MINUTE, [RULE, narrow], past, {})]
    assert judged == [("hour", "ticker:0"), ("hour", "ticker:1"), ("narrow", "ticker:1")]
