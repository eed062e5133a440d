"""Who is told what, now: every message and everything held back has its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.dispatch.cases import Dispatch, Hold
from sentiment_monitor.dispatch.decide import decide
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain.alert_states import Kind, State, Why
from sentiment_monitor.domain.alerts import Alert, Telling, Transition
from sentiment_monitor.domain.hearing import NOTHING_HEARD, Cause, Heard, Ledger
from sentiment_monitor.domain.matchers import Matcher
from sentiment_monitor.domain.people import NOBODY_SAID, Acknowledgement, People, Silence
from writing import alert

NOTIFIERS = {"desk": ("log", "webhook"), "risk": ("log",)}
ROUTES = Routes({"rule": Telling(("desk", "risk"), repeat_minutes=60)}, NOTIFIERS)
FIRED = Transition(Kind.FIRED, 100, Why.BEYOND)
RESOLVED = Transition(Kind.RESOLVED, 200, Why.RECOVERED)
FIRING = alert(id=7)
OVER = alert(id=7, state=State.RESOLVED, resolved_minute=200)


def _decide(
    minute: int,
    kept: Alert,
    transition: Transition | None,
    told: Mapping[str, int],
    routes: Routes = ROUTES,
    people: People = NOBODY_SAID,
) -> Dispatch:
    heard = {receiver: Heard(told_at, told_at, "critical") for receiver, told_at in told.items()}
    return decide(minute, routes, Ledger({7: heard}), [(kept, transition)], people)


def _told(dispatch: Dispatch) -> dict[str, Cause]:
    return {message.receiver: message.cause for message in dispatch.messages}


def _held(dispatch: Dispatch) -> dict[str, Hold]:
    return {held.receiver: held.reason for held in dispatch.held}


def test_what_fires_is_told_to_every_receiver_by_each_of_its_notifiers() -> None:
    dispatch = decide(100, ROUTES, NOTHING_HEARD, [(alert(), FIRED)], NOBODY_SAID)
    assert _told(dispatch) == {"desk": Cause.FIRED, "risk": Cause.FIRED}
    assert [message.notifiers for message in dispatch.messages] == [("log", "webhook"), ("log",)]
    assert dispatch.held == ()


@pytest.mark.parametrize(
    ("kept", "transition"),
    [
        (alert(state=State.PENDING, fired_minute=None), Transition(Kind.PENDING, 100, Why.WAITING)),
        (alert(state=State.DROPPED, fired_minute=None), Transition(Kind.DROPPED, 100, Why.QUIET)),
    ],
)
def test_what_has_not_fired_is_told_to_nobody(kept: Alert, transition: Transition) -> None:
    assert decide(100, ROUTES, NOTHING_HEARD, [(kept, transition)], NOBODY_SAID) == Dispatch((), ())


@pytest.mark.parametrize(
    ("minute", "told", "held"),
    [
        (159, {}, {"desk": Hold.NOT_DUE, "risk": Hold.NOT_DUE}),
        (160, {"desk": Cause.REPEATED, "risk": Cause.REPEATED}, {}),
    ],
)
def test_a_repetition_is_due_after_its_time(minute: int, told: object, held: object) -> None:
    dispatch = _decide(minute, FIRING, None, {"desk": 100, "risk": 100})
    assert (_told(dispatch), _held(dispatch)) == (told, held)


def test_each_receiver_is_told_again_by_its_own_time() -> None:
    dispatch = _decide(170, FIRING, None, {"desk": 100, "risk": 150})
    assert (_told(dispatch), _held(dispatch)) == ({"desk": Cause.REPEATED}, {"risk": Hold.NOT_DUE})


def test_a_rule_that_repeats_never_is_told_once() -> None:
    once = Routes({"rule": Telling(("desk",), repeat_minutes=0)}, NOTIFIERS)
    assert _held(_decide(10_000, FIRING, None, {"desk": 100}, once)) == {"desk": Hold.NOT_DUE}


@pytest.mark.parametrize("values", [{"quiet_minute": 150}, {"silent_minute": 150}])
def test_what_has_calmed_down_or_cannot_be_seen_is_not_told_again(values: dict[str, Any]) -> None:
    dispatch = _decide(160, replace(FIRING, **values), None, {"desk": 100, "risk": 100})
    assert (_told(dispatch), _held(dispatch)) == ({}, {"desk": Hold.QUIET, "risk": Hold.QUIET})


def test_the_end_is_told_to_whoever_heard_of_the_beginning_and_to_nobody_else() -> None:
    dispatch = _decide(200, OVER, RESOLVED, {"desk": 100})
    assert _told(dispatch) == {"desk": Cause.RESOLVED}
    assert _held(dispatch) == {"risk": Hold.NEVER_TOLD}


def test_a_receiver_taken_off_the_rule_is_told_of_the_end_and_of_nothing_before_it() -> None:
    without = Routes({"rule": Telling(("desk",), repeat_minutes=60)}, NOTIFIERS)
    told = {"desk": 100, "risk": 100}
    assert _held(_decide(160, FIRING, None, told, without)) == {"risk": Hold.TAKEN_OFF}
    assert _told(_decide(200, OVER, RESOLVED, told, without)) == {"desk": Cause.RESOLVED, "risk": Cause.RESOLVED}


def test_when_the_rule_is_gone_those_who_were_told_hear_that_it_is_over() -> None:
    nothing = Routes({}, NOTIFIERS)
    gone = Transition(Kind.RESOLVED, 200, Why.RULE_GONE)
    assert _told(_decide(200, OVER, gone, {"desk": 100}, nothing)) == {"desk": Cause.RESOLVED}


def test_a_receiver_that_left_the_settings_is_held_back_and_said() -> None:
    alone = Routes({"rule": Telling(("desk",))}, {"desk": ("log",)})
    assert _held(_decide(200, OVER, RESOLVED, {"desk": 100, "risk": 100}, alone)) == {"risk": Hold.RECEIVER_GONE}


def test_a_receiver_that_joins_hears_of_what_fires_already_even_if_it_has_calmed_down() -> None:
    for kept in (FIRING, replace(FIRING, quiet_minute=150)):
        dispatch = _decide(160, kept, None, {"desk": 159})
        assert _told(dispatch)["risk"] is Cause.JOINED


def test_a_telling_by_a_clock_that_was_ahead_does_not_put_off_the_next() -> None:
    dispatch = _decide(160, FIRING, None, {"desk": 9_000, "risk": 159})
    assert (_told(dispatch), _held(dispatch)) == ({"desk": Cause.REPEATED}, {"risk": Hold.NOT_DUE})


ADA_HAS_IT = People(acknowledged={7: Acknowledgement(7, 105, "ada", "on it")})


def _silenced(matcher: str, start: int = 0, end: int = 1_000) -> People:
    return People((Silence(1, (Matcher.of(matcher),), start, end, "ada", "maintenance"),))


def test_what_somebody_has_taken_on_is_not_repeated_and_its_end_is_told() -> None:
    told = {"desk": 100, "risk": 100}
    dispatch = _decide(160, FIRING, None, told, people=ADA_HAS_IT)
    assert (_told(dispatch), _held(dispatch)) == ({}, {"desk": Hold.ACKNOWLEDGED, "risk": Hold.ACKNOWLEDGED})
    assert _told(_decide(200, OVER, RESOLVED, told, people=ADA_HAS_IT)) == dict.fromkeys(told, Cause.RESOLVED)


def test_a_receiver_that_has_not_heard_of_it_hears_though_somebody_has_it() -> None:
    assert _told(_decide(160, FIRING, None, {"desk": 100}, people=ADA_HAS_IT)) == {"risk": Cause.JOINED}


def test_what_is_silenced_is_told_once_the_silence_is_over_and_it_still_fires() -> None:
    people = _silenced("series=ticker:A", end=170)
    dispatch = decide(100, ROUTES, NOTHING_HEARD, [(alert(), FIRED)], people)
    assert (_told(dispatch), _held(dispatch)) == ({}, {"desk": Hold.SILENCED, "risk": Hold.SILENCED})
    assert _held(_decide(169, FIRING, None, {}, people=people)) == {"desk": Hold.SILENCED, "risk": Hold.SILENCED}
    assert _told(_decide(170, FIRING, None, {}, people=people)) == {"desk": Cause.JOINED, "risk": Cause.JOINED}


def test_a_silence_holds_back_repetitions_but_not_the_end_of_what_was_told() -> None:
    people = _silenced('severity=~"crit.*"')
    assert _held(_decide(160, FIRING, None, {"desk": 100, "risk": 159}, people=people)) == {
        "desk": Hold.SILENCED, "risk": Hold.SILENCED,
    }  # fmt: skip
    dispatch = _decide(200, OVER, RESOLVED, {"desk": 100}, people=people)
    assert (_told(dispatch), _held(dispatch)) == ({"desk": Cause.RESOLVED}, {"risk": Hold.NEVER_TOLD})


@pytest.mark.parametrize("matcher", ["series=ticker:B", "severity!=critical", 'team="x"'])
def test_a_silence_of_other_alerts_holds_nothing_back(matcher: str) -> None:
    dispatch = decide(100, ROUTES, NOTHING_HEARD, [(alert(), FIRED)], _silenced(matcher))
    assert _told(dispatch) == {"desk": Cause.FIRED, "risk": Cause.FIRED}


@given(
    state=st.sampled_from(State),
    transition=st.sampled_from([None, FIRED, RESOLVED]),
    told=st.dictionaries(st.sampled_from(["desk", "risk", "gone"]), st.integers(90, 200)),
    receivers=st.lists(st.sampled_from(["desk", "risk"]), unique=True),
    minute=st.integers(100, 400),
    people=st.sampled_from([NOBODY_SAID, ADA_HAS_IT, _silenced("series=ticker:A", 150, 300), _silenced("series=x")]),
)
def test_each_receiver_that_knows_or_should_know_is_told_or_held_back_once(
    state: State, transition: Transition | None, told: dict[str, int], receivers: list[str], minute: int, people: People
) -> None:
    routes = Routes({"rule": Telling(tuple(receivers), 60)}, NOTIFIERS)
    dispatch = _decide(minute, alert(id=7, state=state), transition, told, routes, people)
    spoken_of = [message.receiver for message in dispatch.messages] + [held.receiver for held in dispatch.held]
    concerned = {*receivers, *told} if state in (State.FIRING, State.RESOLVED) else set()
    assert sorted(spoken_of) == sorted(concerned)
    assert all(message.receiver in NOTIFIERS for message in dispatch.messages)
