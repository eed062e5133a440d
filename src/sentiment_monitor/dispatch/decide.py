"""Who is told what, now: each alert and receiver goes through an ordered list of stages, and each has its reason.

A stage answers why a message is held back, or None. What passes all of them is told. What a receiver has been told is
asked of the book, receiver by receiver: so one that is taken off a rule still hears that the alert it knows of is over,
and one that joins while an alert fires hears of it once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain import payload
from sentiment_monitor.domain.alert_states import Kind, State
from sentiment_monitor.domain.alerts import Alert, Transition
from sentiment_monitor.domain.people import People

Book = Mapping[int, Mapping[str, int]]
"""By alert and receiver: the minute of the newest event of which the receiver has been told."""


class Cause(StrEnum):
    """Why a receiver is told."""

    FIRED = "fired"
    JOINED = "joined"  # it fires already, and this receiver has not heard of it
    REPEATED = "repeated"
    RESOLVED = "resolved"


class Hold(StrEnum):
    """Why a receiver is not told."""

    NEVER_TOLD = "never_told"  # it is over, and this receiver has not heard that it began
    TAKEN_OFF = "taken_off"  # the rule no longer names this receiver
    QUIET = "quiet"  # what has calmed down, or cannot be seen, is not told again
    NOT_DUE = "not_due"  # told lately enough
    SILENCED = "silenced"  # by a silence of somebody's; told when that is over, if it still fires
    ACKNOWLEDGED = "acknowledged"  # somebody has it, and this receiver knows of it
    RECEIVER_GONE = "receiver_gone"  # the settings have no such receiver any more


@dataclass(frozen=True, slots=True)
class Message:
    """One receiver is to be told of one alert."""

    alert: Alert  # its value after this minute
    receiver: str
    notifiers: tuple[str, ...]  # each is told, on its own
    cause: Cause


@dataclass(frozen=True, slots=True)
class HeldBack:
    """One receiver is not told of one alert."""

    alert: Alert
    receiver: str
    reason: Hold


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Everything decided about one minute."""

    messages: tuple[Message, ...]
    held: tuple[HeldBack, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    alert: Alert
    resolved: bool  # in this minute
    receiver: str
    told_minute: int | None
    minute: int
    silenced: bool
    acknowledged: bool


Stage = Callable[[Routes, _Case], Hold | None]


def decide(
    minute: int, routes: Routes, book: Book, alerts: Iterable[tuple[Alert, Transition | None]], people: People
) -> Dispatch:
    """Decide who is told of these alerts at ``minute``.

    ``alerts`` are those that fire and those that this minute has resolved, each as it is afterwards, with the
    transition of this minute if there was one. Pure: the same arguments give the same answer.
    """
    messages: list[Message] = []
    held: list[HeldBack] = []
    for alert, transition in alerts:
        resolved = transition is not None and transition.kind is Kind.RESOLVED
        if alert.state is not State.FIRING and not resolved:
            continue
        labels = payload.labels(alert.rule, alert.series, alert.severity)
        silenced = any(silence.mutes(labels, minute) for silence in people.silences)
        told_minutes = book.get(alert.id, {}) if alert.id is not None else {}
        for receiver in dict.fromkeys((*routes.receivers(alert.rule), *told_minutes)):
            case = _Case(
                alert, resolved, receiver, told_minutes.get(receiver), minute, silenced, alert.id in people.acknowledged
            )
            reason = next((reason for stage in STAGES if (reason := stage(routes, case))), None)
            if reason:
                held.append(HeldBack(alert, receiver, reason))
            else:
                messages.append(Message(alert, receiver, routes.notifiers[receiver], _cause(case, transition)))
    return Dispatch(tuple(messages), tuple(held))


def _cause(case: _Case, transition: Transition | None) -> Cause:
    if case.resolved:
        return Cause.RESOLVED
    if case.told_minute is not None:
        return Cause.REPEATED
    return Cause.FIRED if transition is not None else Cause.JOINED


def _never_told(routes: Routes, case: _Case) -> Hold | None:
    return Hold.NEVER_TOLD if case.resolved and case.told_minute is None else None


def _taken_off(routes: Routes, case: _Case) -> Hold | None:
    named = case.receiver in routes.receivers(case.alert.rule)
    return Hold.TAKEN_OFF if not case.resolved and not named else None


def _quiet(routes: Routes, case: _Case) -> Hold | None:
    seen = case.alert.quiet_minute is None and case.alert.silent_minute is None
    return Hold.QUIET if not case.resolved and case.told_minute is not None and not seen else None


def _not_due(routes: Routes, case: _Case) -> Hold | None:
    if case.resolved or case.told_minute is None:
        return None
    repeat = routes.repeat_minutes(case.alert.rule)
    # Told at a minute that has yet to come: by a clock that was ahead, so nobody knows how long ago.
    due = case.minute - case.told_minute >= repeat or case.told_minute > case.minute
    return None if repeat and due else Hold.NOT_DUE


def _silenced(routes: Routes, case: _Case) -> Hold | None:
    # Whoever has heard that it began hears that it is over: what they opened for it would stay open for ever.
    return Hold.SILENCED if case.silenced and not case.resolved else None


def _acknowledged(routes: Routes, case: _Case) -> Hold | None:
    again = case.told_minute is not None and not case.resolved
    return Hold.ACKNOWLEDGED if case.acknowledged and again else None


def _receiver_gone(routes: Routes, case: _Case) -> Hold | None:
    return None if case.receiver in routes.notifiers else Hold.RECEIVER_GONE


STAGES: Sequence[Stage] = (_never_told, _taken_off, _silenced, _acknowledged, _quiet, _not_due, _receiver_gone)
