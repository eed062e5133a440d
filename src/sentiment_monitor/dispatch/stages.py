"""The stages that each alert and receiver go through, in order: each lets through, or holds back with a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sentiment_monitor.dispatch.cases import Case, Deliberation, HeldBack, Hold, Ready
from sentiment_monitor.dispatch.inhibit import inhibited, repeated_by, wider
from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.domain.hearing import Cause, rank
from sentiment_monitor.times import clock

GRAVE = "critical"

Obstacle = tuple[Hold, str]
"""Why a case is held back, and whose silence, which other alert or until when."""

Standing = Callable[[Deliberation, Case], Obstacle | None]
"""A stage that holds for as long as it lasts, whether or not there is something to tell just now."""

Passing = Callable[[Deliberation, Case, Cause], Obstacle | None]
"""A stage for what there is to tell now."""


def settle(turn: Deliberation, case: Case) -> Ready | HeldBack:
    """Sends one case through all stages."""
    for standing in STANDING:
        if obstacle := standing(turn, case):
            return HeldBack(case.alert, case.receiver, *obstacle)
    cause = cause_of(turn, case)
    if isinstance(cause, Hold):
        return HeldBack(case.alert, case.receiver, cause)
    for passing in PASSING:
        if obstacle := passing(turn, case, cause):
            return HeldBack(case.alert, case.receiver, *obstacle)
    return Ready(case, cause)


def cause_of(turn: Deliberation, case: Case) -> Cause | Hold:
    """What there is to tell, or why there is nothing."""
    alert, heard = case.alert, case.heard
    if case.over:
        return Cause.RESOLVED
    quiet = alert.quiet_minute is not None or alert.silent_minute is not None
    if heard is None:
        if case.next_in_line:
            return Hold.QUIET if quiet else Cause.ESCALATED
        if any(_heard_less(turn, case, other) for other in _same_story(turn, case)):
            return Cause.WORSENED
        if case.fired_now:
            return Cause.FIRED
        return Cause.LATE if case.held_before else Cause.JOINED
    if rank(alert.severity) > rank(heard.severity):
        return Cause.WORSENED
    if quiet:
        return Hold.QUIET
    due = case.due_minute
    return Hold.NOT_DUE if due is None or due > turn.minute else Cause.REPEATED


def _never_told(turn: Deliberation, case: Case) -> Obstacle | None:
    return (Hold.NEVER_TOLD, "") if case.over and case.heard is None else None


def _taken_off(turn: Deliberation, case: Case) -> Obstacle | None:
    return (Hold.TAKEN_OFF, "") if case.taken_off and not case.over else None


def _not_wanted(turn: Deliberation, case: Case) -> Obstacle | None:
    return None if case.over or case.wishes.include(case.alert) else (Hold.NOT_WANTED, "")


def _stale(turn: Deliberation, case: Case) -> Obstacle | None:
    return (Hold.STALE, "") if case.alert.stale and not case.over else None


def _receiver_gone(turn: Deliberation, case: Case) -> Obstacle | None:
    return None if case.receiver in turn.routes.notifiers else (Hold.RECEIVER_GONE, "")


def _silenced(turn: Deliberation, case: Case) -> Obstacle | None:
    # Whoever has heard that it began hears that it is over: what they opened for it would stay open for ever.
    if case.over:
        return None
    for silence in turn.people.silences:
        if silence.mutes(case.labels, turn.minute):
            return Hold.SILENCED, f"silence {silence.id} by {silence.author} until {clock(silence.ends_minute)}"
    return None


def _acknowledged(turn: Deliberation, case: Case) -> Obstacle | None:
    if case.over or case.heard is None or case.alert.id is None:
        return None
    if rank(case.alert.severity) > rank(case.heard.severity):  # whoever took it on knows less of it
        return None
    acknowledgement = turn.people.acknowledged.get(case.alert.id)
    return None if acknowledgement is None else (Hold.ACKNOWLEDGED, f"by {acknowledgement.owner}")


def _inhibited(turn: Deliberation, case: Case, cause: Cause) -> Obstacle | None:
    if case.over:
        return None
    routes = turn.routes
    known = [other for other in turn.known.get(case.receiver, ()) if other != case.alert]
    other = wider(case.alert, known, routes.watches, routes.groups) or inhibited(
        case.alert, case.labels, [(other, routes.labels(other)) for other in known], routes.inhibit_rules
    )
    return None if other is None else (Hold.INHIBITED, f"by {_named(other)}")


def _covered(turn: Deliberation, case: Case, cause: Cause) -> Obstacle | None:
    """Of two alerts that say the same, the one that the receiver knows is repeated as usual."""
    if case.over or cause is Cause.REPEATED:
        return None
    for other in _same_story(turn, case):
        if not _heard_less(turn, case, other) and _lately(turn, case, other):
            return Hold.COVERED, f"by {_named(other)}"
    return None


def _muted(turn: Deliberation, case: Case, cause: Cause) -> Obstacle | None:
    closed = case.way.timetable.closed_by(turn.minute)
    if closed is None and case.alert.severity not in case.wishes.always:
        closed = case.wishes.timetable.closed_by(turn.minute)
    return None if closed is None else (Hold.MUTED, closed)


def _over_budget(turn: Deliberation, case: Case, cause: Cause) -> Obstacle | None:
    most = case.wishes.most_a_day
    if not most or case.over or case.heard is not None:
        return None
    if case.alert.severity == GRAVE or case.wishes.gathers(case.alert):
        return None
    spent = turn.spent(case.receiver)
    return (Hold.OVER_BUDGET, f"{spent} of {most} alerts told within 24 h") if spent >= most else None


def _same_story(turn: Deliberation, case: Case) -> list[Alert]:
    """Alerts of the same series under other rules that the receiver knows."""
    return [other for other in turn.known.get(case.receiver, ()) if repeated_by(case.alert, other, turn.routes.watches)]


def _heard_less(turn: Deliberation, case: Case, other: Alert) -> bool:
    """Whether what was told of the other alert is less grave than this one."""
    heard = turn.heard(other, case.receiver)
    return rank(case.alert.severity) > rank(other.severity if heard is None else heard.severity)


def _lately(turn: Deliberation, case: Case, other: Alert) -> bool:
    """Whether the other was told so lately that this one, were it the same, would not be due to be repeated."""
    heard, pause = turn.heard(other, case.receiver), case.way.pause(0)
    return heard is None or pause is None or turn.minute - heard.minute < pause


def _named(alert: Alert) -> str:
    number = "" if alert.id is None else f"alert {alert.id}, "
    return f"{number}{alert.rule} on {alert.series}"


STANDING: Sequence[Standing] = (
    _never_told,
    _taken_off,
    _not_wanted,
    _stale,
    _receiver_gone,
    _silenced,
    _acknowledged,
)
PASSING: Sequence[Passing] = (_inhibited, _covered, _muted, _over_budget)
