from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.detect.detectors.count import Evaluation, Reason
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.states import AlertState, Decision, Kind, Status, Why, step
from simulate import evaluation

RULE = Rule(name="r", for_minutes=5, keep_firing_minutes=30, max_staleness_minutes=60, repeat_minutes=240)
NOW = 1000
CALM = AlertState()


def spike(now: int) -> Evaluation:
    return evaluation(newest=now - 1)


def hold(now: int) -> Evaluation:
    return evaluation(beyond=False, newest=now - 1, reason=Reason.NOT_UNUSUAL)


def quiet(now: int) -> Evaluation:
    return evaluation(beyond=False, holds=False, newest=now - 1, reason=Reason.TOO_FEW)


def fired(now: int = NOW) -> AlertState:
    decision = step(replace(RULE, for_minutes=0), CALM, spike(now), now)
    assert decision.transition is not None
    assert decision.transition.kind is Kind.FIRED
    return decision.state


def test_a_spike_waits_for_its_time_and_then_fires_once() -> None:
    first = step(RULE, CALM, spike(NOW), NOW)
    assert (first.state.status, first.why) == (Status.PENDING, Why.WAITING)
    assert first.transition is not None
    assert not first.transition.notifies
    early = step(RULE, first.state, spike(NOW + 4), NOW + 4)
    assert early.transition is None
    late = step(RULE, early.state, spike(NOW + 5), NOW + 5)
    assert late.transition == (Kind.FIRED, NOW + 5, Why.BEYOND)
    assert late.state.started_minute == NOW + 5
    again = step(RULE, late.state, spike(NOW + 6), NOW + 6)
    assert (again.transition, again.why) == (None, Why.ALREADY_FIRING)


def test_a_pending_spike_that_passes_is_dropped_silently() -> None:
    pending = step(RULE, CALM, spike(NOW), NOW).state
    decision = step(RULE, pending, hold(NOW + 1), NOW + 1)
    assert decision.state.status is Status.NORMAL
    assert decision.transition is not None
    assert (decision.transition.kind, decision.transition.notifies) == (Kind.DROPPED, False)


def test_no_waiting_time_fires_at_once() -> None:
    assert fired().status is Status.FIRING


def test_under_the_bar_to_fire_it_keeps_firing_until_the_bar_to_resolve() -> None:
    state = fired()
    for now in range(NOW + 1, NOW + 200):
        decision = step(RULE, state, hold(now), now)
        assert (decision.transition, decision.why) == (None, Why.HOLDING)
        state = decision.state


def test_it_resolves_only_after_a_quiet_time_without_a_break() -> None:
    state = fired()
    for now, what, why in (
        (NOW + 1, quiet, Why.KEEPING),
        (NOW + 29, quiet, Why.KEEPING),
        (NOW + 30, spike, Why.ALREADY_FIRING),
        (NOW + 31, quiet, Why.KEEPING),
        (NOW + 60, quiet, Why.KEEPING),
    ):
        decision = step(RULE, state, what(now), now)
        assert (decision.transition, decision.why) == (None, why)
        state = decision.state
    over = step(RULE, state, quiet(NOW + 61), NOW + 61)
    assert over.transition == (Kind.RESOLVED, NOW + 61, Why.RECOVERED)
    assert (over.state.status, over.state.ended_minute) == (Status.RESOLVED, NOW + 61)
    new = step(replace(RULE, for_minutes=0), over.state, spike(NOW + 99), NOW + 99)
    assert new.state.started_minute == NOW + 99
    assert new.state.ended_minute is None


def test_a_series_that_is_no_candidate_is_quiet() -> None:
    assert step(RULE, CALM, None, NOW).why is Why.QUIET
    assert step(RULE, fired(), None, NOW + 1).why is Why.KEEPING


def test_old_news_never_pages_but_keeps_an_alert_alive() -> None:
    old = evaluation(newest=NOW - RULE.max_staleness_minutes - 1)
    decision = step(replace(RULE, for_minutes=0), CALM, old, NOW)
    assert (decision.state.status, decision.transition, decision.why) == (Status.NORMAL, None, Why.STALE)
    pending = step(RULE, CALM, spike(NOW), NOW).state
    later = NOW + 120
    assert step(RULE, pending, spike(NOW), later).why is Why.STALE
    assert step(RULE, fired(), spike(NOW), later).why is Why.ALREADY_FIRING


def test_a_silent_feed_changes_nothing() -> None:
    silent = evaluation(beyond=False, holds=False, newest=-1, reason=Reason.NO_DATA)
    for state in (CALM, fired(), step(RULE, CALM, spike(NOW), NOW).state):
        decision = step(RULE, state, silent, NOW + 500)
        assert (decision.transition, decision.why) == (None, Why.NO_DATA)
        assert replace(decision.state, evaluated_minute=state.evaluated_minute) == state


def test_a_firing_alert_is_told_again_but_not_while_it_is_quiet() -> None:
    state = fired()
    decision = step(RULE, state, hold(NOW + 240), NOW + 240)
    assert decision.transition == (Kind.REPEATED, NOW + 240, Why.REPEAT_DUE)
    assert step(RULE, decision.state, hold(NOW + 479), NOW + 479).transition is None
    assert step(RULE, state, quiet(NOW + 240), NOW + 240).transition is None
    never = replace(RULE, repeat_minutes=0)
    assert step(never, state, hold(NOW + 9999), NOW + 9999).transition is None


def test_a_restart_between_any_two_ticks_changes_nothing() -> None:
    script = [spike] * 8 + [hold] * 20 + [quiet] * 40 + [spike] * 9
    straight, restarted = CALM, CALM
    for now, what in enumerate(script, start=NOW):
        straight = step(RULE, straight, what(now), now).state
        columns = {name: str(value) if value is not None else None for name, value in asdict(restarted).items()}
        loaded = AlertState(
            status=Status(str(columns.pop("status"))),
            **{name: None if value is None else int(value) for name, value in columns.items()},
        )
        restarted = step(RULE, loaded, what(now), now).state
        assert restarted == straight


moves = st.lists(
    st.tuples(st.sampled_from([spike, hold, quiet]), st.integers(-20, 40), st.booleans()), min_size=1, max_size=60
)


@given(moves, st.sampled_from([0, 5]), st.sampled_from([0, 30]))
def test_repeated_and_backward_ticks_decide_nothing_and_alerts_alternate(
    script: list[tuple[object, int, bool]], wait: int, keep: int
) -> None:
    rule = replace(RULE, for_minutes=wait, keep_firing_minutes=keep)
    state, now, told = CALM, NOW, []
    newest = -1
    for what, jump, absent in script:
        now += jump
        seen = None if absent else what(now)  # type: ignore[operator]
        decision = step(rule, state, seen, now)
        assert isinstance(decision, Decision)
        if now <= newest:
            assert decision == (state, None, Why.ALREADY_DECIDED)
        newest = max(newest, now)
        again = step(rule, decision.state, seen, now)
        assert (again.state, again.transition) == (decision.state, None)
        if decision.transition and decision.transition.kind in (Kind.FIRED, Kind.RESOLVED):
            told.append(decision.transition.kind)
        state = decision.state
    assert told == [Kind.FIRED, Kind.RESOLVED] * (len(told) // 2) + [Kind.FIRED] * (len(told) % 2)


@pytest.mark.parametrize("now", [0, 1, 10**9])
def test_any_minute_is_a_minute(now: int) -> None:
    assert step(replace(RULE, for_minutes=0), CALM, evaluation(newest=now), now).state.status is Status.FIRING
