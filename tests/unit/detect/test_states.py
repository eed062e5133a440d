from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.detect.detectors.contract import Reason
from sentiment_monitor.detect.rules import Rule, SilenceRule
from sentiment_monitor.detect.states import REOPENED_WITHIN, Decision, close, close_by_hand, hold_minutes, rewound, step
from sentiment_monitor.domain.alert_states import Kind, State, Why
from sentiment_monitor.domain.alerts import Alert, Evaluation
from simulate import evaluation

RULE = Rule(name="r", for_minutes=5, keep_firing_minutes=30, max_staleness_minutes=60)
NOW = 1000
CALM = Alert("r", "ticker:ACME", "warning")


def spike(now: int) -> Evaluation:
    return evaluation(newest=now - 1)


def hold(now: int) -> Evaluation:
    return evaluation(beyond=False, newest=now - 1, reason=Reason.NOT_UNUSUAL)


def quiet(now: int) -> Evaluation:
    return evaluation(beyond=False, holds=False, newest=now - 1, reason=Reason.TOO_FEW)


def silent(now: int) -> Evaluation:
    return evaluation(beyond=False, holds=False, newest=-1, reason=Reason.NO_DATA)


def stale(now: int) -> Evaluation:
    return evaluation(newest=now - RULE.max_staleness_minutes - 1)


def fired(now: int = NOW) -> Alert:
    decision = step(replace(RULE, for_minutes=0), CALM, spike(now), now)
    assert decision.transition is not None
    assert decision.transition.kind is Kind.FIRED
    return decision.alert


def pending(now: int = NOW) -> Alert:
    return step(RULE, CALM, spike(now), now).alert


def test_a_spike_waits_for_its_time_and_then_fires_once() -> None:
    first = step(RULE, CALM, spike(NOW), NOW)
    assert (first.alert.state, first.why) == (State.PENDING, Why.WAITING)
    assert first.transition == (Kind.PENDING, NOW, Why.WAITING)
    early = step(RULE, first.alert, spike(NOW + 4), NOW + 4)
    assert early.transition is None
    late = step(RULE, early.alert, spike(NOW + 5), NOW + 5)
    assert late.transition == (Kind.FIRED, NOW + 5, Why.BEYOND)
    assert (late.alert.pending_minute, late.alert.fired_minute) == (NOW, NOW + 5)
    again = step(RULE, late.alert, spike(NOW + 6), NOW + 6)
    assert (again.transition, again.why) == (None, Why.ALREADY_FIRING)


def test_a_pending_spike_that_passes_is_dropped() -> None:
    decision = step(RULE, pending(), hold(NOW + 1), NOW + 1)
    assert (decision.alert.state, decision.alert.resolved_minute) == (State.DROPPED, NOW + 1)
    assert decision.transition == (Kind.DROPPED, NOW + 1, Why.QUIET)


def test_no_waiting_time_fires_at_once() -> None:
    assert fired().state is State.FIRING


def test_under_the_bar_to_fire_it_keeps_firing_until_the_bar_to_resolve() -> None:
    alert = fired()
    for now in range(NOW + 1, NOW + 200):
        decision = step(RULE, alert, hold(now), now)
        assert (decision.transition, decision.why) == (None, Why.HOLDING)
        alert = decision.alert


def test_it_resolves_only_after_a_quiet_time_without_a_break() -> None:
    alert = fired()
    for now, what, why in (
        (NOW + 1, quiet, Why.KEEPING),
        (NOW + 29, quiet, Why.KEEPING),
        (NOW + 30, spike, Why.ALREADY_FIRING),
        (NOW + 31, quiet, Why.KEEPING),
        (NOW + 60, quiet, Why.KEEPING),
    ):
        decision = step(RULE, alert, what(now), now)
        assert (decision.transition, decision.why) == (None, why)
        alert = decision.alert
    over = step(RULE, alert, quiet(NOW + 61), NOW + 61)
    assert over.transition == (Kind.RESOLVED, NOW + 61, Why.RECOVERED)
    assert (over.alert.state, over.alert.resolved_minute) == (State.RESOLVED, NOW + 61)


OVER = replace(close(fired(), NOW + 61, Why.RECOVERED).alert, id=7, title="old")
LATER = NOW + 61 + REOPENED_WITHIN * RULE.keep_firing_minutes


def test_the_spike_after_an_alert_that_has_been_over_for_long_makes_a_new_one() -> None:
    new = step(replace(RULE, for_minutes=0), OVER, spike(LATER + 1), LATER + 1).alert
    assert (new.fired_minute, new.pending_minute, new.resolved_minute) == (LATER + 1, LATER + 1, None)
    assert (new.reopened_minute, new.reopenings) == (None, 0)
    assert (new.id, new.title, new.fingerprint) == (None, "", OVER.fingerprint)


@pytest.mark.parametrize("minute", [NOW + 62, LATER])
def test_the_spike_soon_after_an_alert_is_over_is_the_same_alert_and_does_not_wait(minute: int) -> None:
    back = step(RULE, OVER, spike(minute), minute)
    assert back.transition == (Kind.REOPENED, minute, Why.BEYOND)
    alert = back.alert
    assert (alert.id, alert.state, alert.fired_minute, alert.resolved_minute) == (7, State.FIRING, NOW, None)
    assert (alert.reopened_minute, alert.reopenings) == (minute, 1)


@pytest.mark.parametrize("what", [hold, quiet, silent])
def test_what_is_no_spike_of_new_stories_reopens_nothing(what: Any) -> None:
    decision = step(RULE, OVER, what(NOW + 62), NOW + 62)
    assert (decision.transition, decision.alert.state) == (None, State.RESOLVED)


def test_nothing_is_reopened_of_a_rule_that_holds_nothing_and_a_day_is_the_longest() -> None:
    at_once = replace(RULE, for_minutes=0, keep_firing_minutes=0)
    assert step(at_once, OVER, spike(NOW + 62), NOW + 62).alert.id is None
    slow = replace(RULE, for_minutes=0, keep_firing_minutes=6 * 60)
    for minute, reopened in ((NOW + 61 + 1440, True), (NOW + 62 + 1440, False)):
        assert (step(slow, OVER, spike(minute), minute).alert.id == 7) is reopened


def test_each_time_an_alert_comes_back_it_is_held_for_twice_as_long_up_to_half_a_day() -> None:
    alert = fired()
    held = [hold_minutes(RULE, replace(alert, reopenings=n)) for n in (0, 1, 2, 3, 4, 5, 99)]
    assert held == [30, 60, 120, 240, 480, 720, 720]
    assert hold_minutes(replace(RULE, keep_firing_minutes=1000), replace(alert, reopenings=3)) == 1000
    assert hold_minutes(replace(RULE, keep_firing_minutes=0), replace(alert, reopenings=3)) == 0


@given(st.lists(st.integers(0, 1_380), min_size=10, max_size=10), st.sampled_from([15, 60, 120, 360]))
def test_ten_bursts_on_one_company_in_a_day_are_one_alert(bursts: list[int], keep: int) -> None:
    """Each burst is beyond for the hour that it stays in the window."""
    rule = replace(RULE, for_minutes=0, keep_firing_minutes=keep)
    longest = max(later - earlier for earlier, later in pairwise(sorted(bursts)))
    alert, kinds, numbers = CALM, [], set()
    for minute in range(1_440 + 24 * 60):
        seen = spike(NOW + minute) if any(0 <= minute - burst < 60 for burst in bursts) else quiet(NOW + minute)
        decision = step(rule, alert, seen, NOW + minute)
        alert = decision.alert
        if decision.transition is not None:
            kinds.append(decision.transition.kind)
            numbers.add(alert.fired_minute)
    # A rule that holds for some minutes only forgets within hours: there, for bursts that are no farther apart.
    if keep >= 120 or longest <= REOPENED_WITHIN * keep:
        assert (kinds[0], kinds[-1], len(numbers)) == (Kind.FIRED, Kind.RESOLVED, 1)
        assert set(kinds[2::2]) <= {Kind.REOPENED}
        assert set(kinds[1::2]) == {Kind.RESOLVED}
    assert kinds.count(Kind.RESOLVED) <= 6


def test_an_alert_that_somebody_ended_raises_nothing_until_it_would_have_ended_by_itself() -> None:
    rule = replace(RULE, for_minutes=0)
    alert = close_by_hand(fired(), NOW + 1, Why.DISMISSED, 5).alert
    assert (alert.state, alert.lingering, alert.followed) == (State.RESOLVED, True, True)
    for minute, what in ((2, spike), (3, hold), (4, quiet), (5, spike), (6, silent), (7, quiet), (36, quiet)):
        decision = step(rule, alert, replace(what(NOW + minute), observed=9.0), NOW + minute)
        assert (decision.transition, decision.alert.lingering) == (None, True)
        alert = decision.alert
    alert = step(rule, alert, quiet(NOW + 37), NOW + 37).alert
    assert (alert.lingering, alert.followed, alert.quiet_minute, alert.silent_minute) == (False, False, None, None)


@pytest.mark.parametrize(
    ("seen", "raised"),
    [
        ({"observed": 9.9}, False),
        ({"observed": 10.0}, True),
        ({"observed": 6.0, "grave": True}, True),
        ({"observed": 10.0, "beyond": False}, False),
        ({"observed": 10.0, "newest_minute": NOW - 100}, False),
    ],
)
def test_what_is_clearly_worse_than_what_somebody_ended_is_a_new_alert(seen: dict[str, Any], raised: bool) -> None:
    rule = replace(RULE, for_minutes=0)
    alert = replace(close_by_hand(fired(), NOW + 1, Why.CLOSED, 5).alert, id=7)
    decision = step(rule, alert, replace(spike(NOW + 2), **seen), NOW + 2)
    assert (decision.transition is not None) is raised
    assert (decision.alert.id is None, decision.alert.lingering) == (raised, not raised)


def test_what_is_open_can_be_closed_for_another_reason() -> None:
    assert close(fired(), NOW + 9, Why.RULE_GONE).transition == (Kind.RESOLVED, NOW + 9, Why.RULE_GONE)
    assert close(pending(), NOW + 9, Why.RULE_GONE).transition == (Kind.DROPPED, NOW + 9, Why.RULE_GONE)


def test_a_series_that_is_no_candidate_is_quiet() -> None:
    assert step(RULE, CALM, None, NOW).why is Why.QUIET
    assert step(RULE, fired(), None, NOW + 1).why is Why.KEEPING


AT_ONCE = replace(RULE, for_minutes=0)


def test_old_news_makes_a_stale_alert_that_ends_like_any_other() -> None:
    decision = step(AT_ONCE, CALM, stale(NOW), NOW)
    assert decision.transition == (Kind.FIRED, NOW, Why.STALE)
    assert (decision.alert.state, decision.alert.stale) == (State.FIRING, True)
    again = step(AT_ONCE, decision.alert, stale(NOW + 1), NOW + 1)
    assert (again.transition, again.alert.stale) == (None, True)
    calmed = step(AT_ONCE, again.alert, quiet(NOW + 2), NOW + 2).alert
    over = step(AT_ONCE, calmed, quiet(NOW + 32), NOW + 32)
    assert (over.transition, over.alert.stale) == ((Kind.RESOLVED, NOW + 32, Why.RECOVERED), True)


def test_old_news_keeps_an_alert_of_new_stories_alive_and_does_not_make_it_stale() -> None:
    decision = step(RULE, fired(), spike(NOW), NOW + 120)
    assert (decision.why, decision.alert.stale) == (Why.ALREADY_FIRING, False)


def test_what_waits_is_stale_or_not_by_what_it_is_when_it_fires() -> None:
    waiting = step(RULE, CALM, stale(NOW), NOW)
    assert (waiting.transition, waiting.alert.stale) == ((Kind.PENDING, NOW, Why.WAITING), True)
    fresh = step(RULE, waiting.alert, spike(NOW + 5), NOW + 5)
    assert (fresh.transition, fresh.alert.stale) == ((Kind.FIRED, NOW + 5, Why.BEYOND), False)
    aged = step(RULE, pending(), stale(NOW + 5), NOW + 5)
    assert (aged.transition, aged.alert.stale) == ((Kind.FIRED, NOW + 5, Why.STALE), True)


def test_new_stories_of_a_stale_alert_fire_it_anew_and_at_once() -> None:
    old = replace(step(AT_ONCE, CALM, stale(NOW), NOW).alert, id=7, quiet_minute=NOW)
    merely_holding = step(RULE, old, hold(NOW + 1), NOW + 1)
    assert (merely_holding.transition, merely_holding.alert.stale) == (None, True)
    fresh = step(RULE, old, spike(NOW + 1), NOW + 1)
    assert fresh.transition == (Kind.FIRED, NOW + 1, Why.BEYOND)
    assert (fresh.alert.id, fresh.alert.fired_minute, fresh.alert.quiet_minute) == (7, NOW + 1, None)
    assert not fresh.alert.stale


def test_silence_is_never_old_news() -> None:
    rule = SilenceRule(name="r")
    fired = step(rule, CALM, evaluation(newest=-1), NOW)
    assert (fired.transition is not None, fired.alert.stale) == (True, False)


def test_a_stale_alert_that_is_over_is_never_reopened() -> None:
    over = replace(close(step(AT_ONCE, CALM, stale(NOW), NOW).alert, NOW + 61, Why.RECOVERED).alert, id=7)
    for what in (spike, stale):
        new = step(AT_ONCE, over, what(NOW + 62), NOW + 62)
        assert new.transition is not None
        assert (new.transition.kind, new.alert.id, new.alert.stale) == (Kind.FIRED, None, what is stale)


# -- time that does not count -------------------------------------------------------------------


def test_a_silent_feed_changes_nothing() -> None:
    for alert in (CALM, fired(), pending()):
        decision = step(RULE, alert, silent(NOW + 500), NOW + 500)
        assert (decision.transition, decision.why) == (None, Why.NO_DATA)
        assert replace(decision.alert, decided_minute=alert.decided_minute, silent_minute=None) == alert


def test_an_alert_does_not_resolve_at_the_first_tick_after_two_silent_hours() -> None:
    alert = step(RULE, fired(), quiet(NOW + 1), NOW + 1).alert
    for now in range(NOW + 2, NOW + 122):
        alert = step(RULE, alert, silent(now), now).alert
    for now in range(NOW + 122, NOW + 151):
        decision = step(RULE, alert, quiet(now), now)
        assert (decision.transition, decision.why) == (None, Why.KEEPING), now
        alert = decision.alert
    assert step(RULE, alert, quiet(NOW + 151), NOW + 151).transition == (Kind.RESOLVED, NOW + 151, Why.RECOVERED)


def test_the_waiting_time_is_not_over_after_a_pause() -> None:
    after_a_pause = step(RULE, pending(), spike(NOW + 60), NOW + 60, missed=59)
    assert (after_a_pause.transition, after_a_pause.why) == (None, Why.WAITING)
    alert = after_a_pause.alert
    for now in range(NOW + 61, NOW + 64):
        alert = step(RULE, alert, spike(now), now).alert
    assert step(RULE, alert, spike(NOW + 64), NOW + 64).transition == (Kind.FIRED, NOW + 64, Why.BEYOND)


def test_minutes_that_nobody_decided_do_not_end_an_alert() -> None:
    alert = step(RULE, fired(), quiet(NOW + 1), NOW + 1).alert
    assert step(RULE, alert, quiet(NOW + 200), NOW + 200, missed=198).why is Why.KEEPING
    assert step(RULE, alert, quiet(NOW + 200), NOW + 200).why is Why.RECOVERED


def test_more_missed_minutes_than_there_were_are_not_believed() -> None:
    alert = step(RULE, fired(), quiet(NOW + 1), NOW + 1).alert
    for missed in (1000, -5):
        assert step(RULE, alert, quiet(NOW + 2), NOW + 2, missed).alert.quiet_minute == NOW + 1


grants = st.lists(st.tuples(st.sampled_from([silent, None]), st.integers(1, 90)), max_size=4)


@given(st.sampled_from([spike, quiet]), st.lists(grants, min_size=6, max_size=40))
def test_with_or_without_pauses_the_same_ticks_with_data_decide_the_same(
    what: object, pauses: list[list[tuple[object, int]]]
) -> None:
    """Silence and downtime between two ticks, in any mixture, count for nothing."""
    plain = broken = step(RULE, fired(), quiet(NOW + 1), NOW + 1).alert if what is quiet else pending()
    short = long = NOW + 1 if what is quiet else NOW
    for between in pauses:
        missed = 0
        for pause, minutes in between:
            if pause is None:  # nobody decides
                long, missed = long + minutes, missed + minutes
                continue
            for _ in range(minutes):  # nothing can be said
                long += 1
                broken, missed = step(RULE, broken, silent(long), long, missed).alert, 0
        short, long = short + 1, long + 1
        first = step(RULE, plain, what(short), short)  # type: ignore[operator]
        second = step(RULE, broken, what(long), long, missed)  # type: ignore[operator]
        assert (first.why, first.alert.state) == (second.why, second.alert.state)
        plain, broken = first.alert, second.alert


def test_an_alert_of_a_clock_that_was_a_day_ahead_goes_on_when_it_is_set_back() -> None:
    ahead = step(RULE, fired(NOW + 1440), quiet(NOW + 1441), NOW + 1441).alert
    assert step(RULE, ahead, quiet(NOW), NOW).why is Why.ALREADY_DECIDED
    back = rewound(ahead, NOW - 1)
    assert step(RULE, back, quiet(NOW), NOW).why is Why.KEEPING
    assert step(RULE, back, quiet(NOW + 40), NOW + 40).transition == (Kind.RESOLVED, NOW + 40, Why.RECOVERED)
    assert rewound(fired(), NOW) == fired()


# -- whatever comes -----------------------------------------------------------------------------


def test_a_restart_between_any_two_ticks_changes_nothing() -> None:
    script = [spike] * 8 + [hold] * 20 + [quiet] * 40 + [silent] * 9 + [spike] * 9
    straight, restarted = CALM, CALM
    for now, what in enumerate(script, start=NOW):
        straight = step(RULE, straight, what(now), now).alert
        columns: dict[str, Any] = json.loads(json.dumps(asdict(restarted)))
        loaded = Alert(**{**columns, "state": State(columns["state"]) if columns["state"] else None})
        restarted = step(RULE, loaded, what(now), now).alert
        assert restarted == straight


moves = st.lists(
    st.tuples(
        st.sampled_from([spike, hold, quiet, silent, stale, None]), st.integers(-20, 40), st.sampled_from([0, 0, 7])
    ),
    min_size=1,
    max_size=60,
)


@given(moves, st.sampled_from([0, 5]), st.sampled_from([0, 30]))
def test_repeated_and_backward_ticks_decide_nothing_and_alerts_alternate(
    script: list[tuple[object, int, int]], wait: int, keep: int
) -> None:
    rule = replace(RULE, for_minutes=wait, keep_firing_minutes=keep)
    alert, now = CALM, NOW
    kinds: list[Kind] = []
    newest = -1
    for what, jump, missed in script:
        now += jump
        seen = None if what is None else what(now)  # type: ignore[operator]
        decision = step(rule, alert, seen, now, missed)
        assert isinstance(decision, Decision)
        assert decision == step(rule, alert, seen, now, missed)
        if now <= newest:
            assert decision == (alert, None, Why.ALREADY_DECIDED)
        newest = max(newest, now)
        again = step(rule, decision.alert, seen, now)
        assert again == (decision.alert, None, Why.ALREADY_DECIDED)
        if decision.transition and decision.transition.kind in (Kind.FIRED, Kind.REOPENED, Kind.RESOLVED):
            if what is stale:  # nobody is told, and nothing that somebody was told of comes back
                assert (decision.transition.kind, decision.alert.stale) == (Kind.FIRED, True)
            over = decision.transition.kind is Kind.RESOLVED
            if not (alert.state is State.FIRING and alert.stale and not over):  # which new stories fire anew
                kinds.append(Kind.RESOLVED if over else Kind.FIRED)
        if decision.alert.state is State.FIRING and what is spike and decision.why is not Why.ALREADY_DECIDED:
            assert not decision.alert.stale
        alert = decision.alert
        noted = (alert.pending_minute, alert.fired_minute, alert.quiet_minute, alert.silent_minute)
        assert all(minute is None or minute <= newest for minute in noted)
        assert (alert.state is State.PENDING) <= (alert.fired_minute is None)
        assert (alert.state is State.FIRING) <= (alert.fired_minute is not None)
    assert kinds == [Kind.FIRED, Kind.RESOLVED] * (len(kinds) // 2) + [Kind.FIRED] * (len(kinds) % 2)


@pytest.mark.parametrize("now", [0, 1, 10**9])
def test_any_minute_is_a_minute(now: int) -> None:
    assert step(replace(RULE, for_minutes=0), CALM, evaluation(newest=now), now).alert.state is State.FIRING


def test_one_alert_grows_with_its_evidence_and_does_not_shrink_while_it_is_open() -> None:
    grave = replace(evaluation(), grave=True)
    rule = replace(RULE, for_minutes=0)
    alert = step(rule, Alert(rule.name, "ticker:ACME", rule.severity), evaluation(), 1000).alert
    assert alert.severity == "warning"
    alert = step(rule, alert, grave, 1001).alert
    assert (alert.state, alert.severity) == (State.FIRING, "critical")
    alert = step(rule, alert, evaluation(), 1002).alert
    assert alert.severity == "critical"
    over = step(replace(rule, keep_firing_minutes=0), alert, None, 1003).alert
    assert (over.state, over.severity) == (State.RESOLVED, "critical")
    assert step(rule, over, evaluation(newest=1004), 1004).alert.severity == "warning"
