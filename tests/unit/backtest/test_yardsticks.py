"""The yardsticks beside the rules, what differs between rules, and rules that fit a feed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from history import START, Item, columns_of, crisis, ordinary
from sentiment_monitor.backtest.account import ReplayedAlert
from sentiment_monitor.backtest.difference import difference
from sentiment_monitor.backtest.peers import ratio, zscore
from sentiment_monitor.backtest.replay import replay
from sentiment_monitor.backtest.suggest import suggest
from sentiment_monitor.backtest.watching import Expected, held_to, watching
from sentiment_monitor.detect.rules import CountRule, Rule
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.times import DAY_MINUTES, HOUR_MINUTES, iso
from sentiment_monitor.watch.turn import Decider

DAYS = 6
LAST = START + DAYS * DAY_MINUTES
HOUR = CountRule(name="hour", min_negative=4, baseline_days=5)
TROUBLE = 5 * DAY_MINUTES + 600


def _feed() -> list[Item]:
    return [*ordinary(1, DAYS), *crisis("C", TROUBLE)]


@pytest.mark.parametrize("make", [ratio, zscore])
def test_a_yardstick_fires_on_a_burst_once_and_ends(make: object) -> None:
    peer = make()  # type: ignore[operator]  # one of two functions
    (alert,) = [alert for alert in peer.alerts(columns_of(_feed()), HOUR, START, LAST) if alert.series == "ticker:C"]
    assert (alert.rule, alert.observed) == ("hour", 4)
    assert alert.fired_minute == START + TROUBLE + 3 * 3 + 1
    assert alert.resolved_minute is not None
    assert alert.resolved_minute >= alert.fired_minute + HOUR.keep_firing_minutes


def test_the_ratio_is_blind_to_a_burst_after_a_burst_and_the_zscore_is_not() -> None:
    columns = columns_of([*_feed(), *crisis("C", TROUBLE - HOUR_MINUTES - 10)])
    late = START + TROUBLE + 12
    assert not [alert for alert in ratio().alerts(columns, HOUR, late, LAST) if alert.series == "ticker:C"]
    assert [alert for alert in zscore().alerts(columns, HOUR, late, LAST) if alert.series == "ticker:C"]


def _alert(series: str, fired: int, resolved: int | None, rule: str = "hour") -> ReplayedAlert:
    return ReplayedAlert(rule, series, "warning", iso(fired), iso(resolved), 1, 4, 5, 0.1, None, "", (), 0, None)


def test_alerts_appear_vanish_move_and_stay() -> None:
    before = [_alert("ticker:A", 100, 200), _alert("ticker:B", 100, None), _alert("ticker:C", 100, 120)]
    after = [
        _alert("ticker:A", 100, 250),
        _alert("ticker:B", 150, 300, rule="day"),
        _alert("ticker:C", 130, 150),
        _alert("ticker:B", 310, 320),  # the old one fires still, but is another's partner already
    ]
    changes = difference(before, after)
    assert [(alert.series, alert.fired_at) for alert in changes.appear] == [
        ("ticker:C", iso(130)),
        ("ticker:B", iso(310)),
    ]
    assert [alert.series for alert in changes.vanish] == ["ticker:C"]
    assert [(moved.before.fired_at, moved.after.fired_at) for moved in changes.move] == [(iso(100), iso(150))]
    assert changes.same == 1


def test_rules_are_made_as_strict_as_wanted_and_no_stricter() -> None:
    def alerts_a_week(rules: Sequence[Rule]) -> float:
        (rule,) = rules
        assert isinstance(rule, CountRule)
        return 1_000 * rule.alpha

    suggestion = suggest([replace(HOUR, alpha=0.01)], 2.0, alerts_a_week)
    (rule,) = suggestion.rules
    assert suggestion.met
    assert isinstance(rule, CountRule)
    assert rule.min_negative == HOUR.min_negative
    assert 1.0 <= suggestion.alerts_a_week <= 2.0
    assert alerts_a_week([rule]) == suggestion.alerts_a_week


def test_floors_rise_only_where_strictness_does_not_do_and_it_is_said_when_nothing_does() -> None:
    def stubborn(rules: Sequence[Rule]) -> float:
        return 30.0 - 5 * rules[0].min_negative

    suggestion = suggest([HOUR], 5.0, stubborn)
    assert (suggestion.rules[0].min_negative, suggestion.met) == (5, True)
    assert not suggest([HOUR], -1.0, lambda rules: 7.0).met


def test_what_a_rule_would_have_watched_is_counted() -> None:
    (watched,) = watching([replace(HOUR, series=("ticker:[A-D]",))], columns_of(_feed()))
    assert (watched.series, watched.watches, watched.window) == (4, "ticker like ticker:[A-D]", "1 h")
    assert watched.ever_enough == 4
    (unseen,) = watching([HOUR], None)
    assert (unseen.series, unseen.ever_enough) == (None, None)


def test_a_rule_is_held_to_its_examples() -> None:
    columns = columns_of(_feed())
    decider = Decider(rules=[HOUR], routes=Routes({}, {}), external_url="", names={})
    book = replay(columns, decider, START + DAY_MINUTES, LAST)
    begins = START + TROUBLE

    def outcome(series: str, start: int, end: int, fires: bool) -> bool:
        (held,) = held_to([Expected("hour", series, start, end, fires)], book, columns)
        return held.holds

    assert outcome("ticker:C", begins, begins + 60, True)
    assert not outcome("ticker:C", begins, begins + 60, False)
    assert outcome("ticker:A", begins, begins + 600, False)
    assert not outcome("ticker:A", begins, begins + 600, True)
    assert not outcome("ticker:ZZ", begins, begins + 60, False), "an example about another history proves nothing"
