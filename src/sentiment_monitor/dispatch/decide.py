"""Who is told what, now: each alert and receiver goes through an ordered list of stages, and each has its reason.

What a receiver has heard is asked of the book, receiver by receiver: so one that is taken off still hears that the
alert it knows of is over, one that joins while an alert fires hears of it once, and one that was spared it for a while
hears of it when that is over. What passes all stages is told in the rhythm of its group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sentiment_monitor.dispatch.cases import Case, Deliberation, Dispatch, HeldBack, Hold, Ready
from sentiment_monitor.dispatch.groups import gather
from sentiment_monitor.dispatch.inhibit import breadth
from sentiment_monitor.dispatch.routes import Route, Routes
from sentiment_monitor.dispatch.stages import settle
from sentiment_monitor.domain.alert_states import Kind, State, Why
from sentiment_monitor.domain.alerts import Alert, Transition
from sentiment_monitor.domain.hearing import Ledger, rank
from sentiment_monitor.domain.people import NOBODY_SAID, People

_CONCERNED = (State.FIRING, State.RESOLVED)
_BY_HAND = (Why.CLOSED, Why.DISMISSED)


def decide(
    minute: int,
    routes: Routes,
    book: Ledger,
    alerts: Iterable[tuple[Alert, Transition | None]],
    people: People = NOBODY_SAID,
) -> Dispatch:
    """Decide who is told of these alerts at ``minute``.

    ``alerts`` are those that fire, those that this minute has resolved, and those that are resolved while not everybody
    has heard it; each as it is afterwards, with the transition of this minute if there was one. Others are passed over.
    Pure: the same arguments give the same answer, whatever the order of the alerts.
    """
    turn = Deliberation(minute, routes, book, people)
    concerned = sorted(
        ((alert, transition) for alert, transition in alerts if alert.state in _CONCERNED),
        key=lambda pair: _before_others(routes, pair[0]),
    )
    for alert, _ in concerned:
        for receiver in _knowing(book, alert):
            if alert.state is State.FIRING and turn.heard(alert, receiver) is not None:
                turn.known.setdefault(receiver, []).append(alert)
    ready: list[Ready] = []
    held: list[HeldBack] = []
    for alert, transition in concerned:
        obstacles: set[Hold] = set()
        ways = routes.ways(alert)
        for case in _addressed(turn, alert, transition, ways):
            _note(turn, settle(turn, case), ready, held, obstacles)
        for case in _next_in_line(turn, alert, ways, obstacles):
            _note(turn, settle(turn, case), ready, held, obstacles)
    messages, waiting = gather(turn, ready, [alert for alert, _ in concerned])
    return Dispatch(tuple(messages), (*held, *waiting))


def _before_others(routes: Routes, alert: Alert) -> tuple[int, int, int, int, str, str, int]:
    """What may make others needless comes before them: the wider, the graver, the longer window, the older."""
    watch = routes.watches.get(alert.rule)
    return (
        -breadth(alert.series),
        -rank(alert.severity),
        -(watch.window_minutes if watch else 0),
        alert.fired_minute or 0,
        alert.rule,
        alert.series,
        alert.id or 0,
    )


def _knowing(book: Ledger, alert: Alert) -> Iterable[str]:
    return book.heard.get(alert.id, {}) if alert.id is not None else ()


def _addressed(
    turn: Deliberation, alert: Alert, transition: Transition | None, ways: Sequence[Route]
) -> Iterator[Case]:
    """The receivers to whom routes lead, and those who have heard of the alert."""
    way_to = {way.receiver: way for way in ways}
    in_line = {step.receiver for way in ways for step in way.escalate} - set(way_to)
    for receiver in dict.fromkeys((*way_to, *_knowing(turn.book, alert))):
        if receiver not in in_line:
            yield replace(
                _case(turn, alert, way_to.get(receiver, Route(receiver))),
                fired_now=transition is not None and transition.kind in (Kind.FIRED, Kind.REOPENED),
                by_hand=transition is not None and transition.why in _BY_HAND,
                taken_off=receiver not in way_to,
            )


def _next_in_line(turn: Deliberation, alert: Alert, ways: Sequence[Route], obstacles: set[Hold]) -> Iterator[Case]:
    """The receivers whose turn comes, or has come, because nobody has acknowledged the alert.

    Time runs from the first message about it. Where there was none only because nobody may be told at this time (or the
    receiver is no more), it runs from the firing: an alert at night must find the one who is awake.
    """
    addressed = {way.receiver for way in ways}
    yielded: set[str] = set()
    heard = [turn.heard(alert, receiver) for receiver in _knowing(turn.book, alert)]
    first = min((known.first_minute for known in heard if known is not None), default=None)
    if first is None and obstacles & {Hold.MUTED, Hold.RECEIVER_GONE}:
        first = alert.firing_minute
    acknowledged = alert.id is not None and alert.id in turn.people.acknowledged
    for way in ways:
        for step in way.escalate:
            known = turn.heard(alert, step.receiver) is not None
            due = first is not None and turn.minute - first >= step.after_minutes and not acknowledged
            if step.receiver in addressed | yielded or not (known or (due and alert.state is State.FIRING)):
                continue
            yielded.add(step.receiver)
            yield replace(_case(turn, alert, replace(way, receiver=step.receiver)), next_in_line=True)


def _case(turn: Deliberation, alert: Alert, way: Route) -> Case:
    held = turn.book.held.get(alert.id, {}) if alert.id is not None else {}
    return Case(
        alert=alert,
        labels=turn.routes.labels(alert),
        receiver=way.receiver,
        way=way,
        wishes=turn.routes.wishes_of(way.receiver),
        heard=turn.heard(alert, way.receiver),
        minute=turn.minute,
        held_before=way.receiver in held,
    )


def _note(
    turn: Deliberation, outcome: Ready | HeldBack, ready: list[Ready], held: list[HeldBack], obstacles: set[Hold]
) -> None:
    if isinstance(outcome, HeldBack):
        held.append(outcome)
        obstacles.add(outcome.reason)
        return
    ready.append(outcome)
    case = outcome.case
    if case.heard is None and not case.over:
        turn.known.setdefault(case.receiver, []).append(case.alert)
        if not case.wishes.gathers(case.alert):
            turn.begun[case.receiver] = turn.begun.get(case.receiver, 0) + 1
