"""When a spike becomes an alert, and when the alert is over: a pure state machine over frozen values.

The words are Prometheus's (``for``, ``keep_firing_for``) and the thresholds are two: an evaluation is *beyond* to
fire and merely *holds* to keep firing. Time counts only while something can be said: minutes of a silent feed, and
minutes that nobody decided, neither let an alert wait nor let it end. The value is all that the next tick needs: it
survives a restart, and a tick that runs twice, late or out of order decides nothing twice.

An alert that flaps is one alert. What fires again soon after its end is reopened, without waiting, and has to be quiet
for twice as long as the time before until it is over again: so routers damp routes that flap (RFC 2439).

A spike of old news, such as a feed brings after an outage, makes an alert like any other, which is *stale*. It is
never reopened, and becomes an ordinary one at the first spike of new stories.

Who is told, and how often, is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from sentiment_monitor.detect.detectors.contract import Reason
from sentiment_monitor.detect.rules import SEVERITIES, Rule
from sentiment_monitor.domain.alert_states import Kind, State, Why
from sentiment_monitor.domain.alerts import Alert, Evaluation, Transition
from sentiment_monitor.times import DAY_MINUTES, HOUR_MINUTES

REOPENED_WITHIN = 12  # times the rule's keep_firing, a day at most: what fires again so soon is the same alert
LONGEST_HOLD_MINUTES = 12 * HOUR_MINUTES  # of an alert that was reopened, unless its rule holds every alert for longer
CLEARLY_WORSE = 2.0  # times the negatives at which somebody ended an alert: that is news, whatever was said of it


class Decision(NamedTuple):
    """What one tick makes of one series."""

    alert: Alert  # from now on
    transition: Transition | None
    why: Why


def step(rule: Rule, alert: Alert, evaluation: Evaluation | None, minute: int, missed: int = 0) -> Decision:
    """Decide one series at one tick.

    ``alert`` is the newest of the series under the rule; the spike after one that has been over for long, or in no
    state yet, makes a new one. One that somebody ended is not passed in again once it no longer lingers.
    ``evaluation`` is None when the series was no candidate: nothing to see. The caller must keep open alerts among the
    candidates, and pass the evaluation with reason ``no_data`` when the feed is silent. ``missed`` is how many minutes
    before this one nobody decided.

    Never raises; the same arguments give the same decision, and a minute already decided gives the value back
    unchanged.
    """
    if alert.decided_minute is not None and minute <= alert.decided_minute:
        return Decision(alert, None, Why.ALREADY_DECIDED)
    if evaluation is not None and evaluation.reason == Reason.NO_DATA:
        return Decision(_silenced(alert, minute, missed), None, Why.NO_DATA)
    beyond = evaluation is not None and evaluation.beyond
    holds = beyond or (evaluation is not None and evaluation.holds)
    stale = beyond and _old(rule, evaluation, minute)
    severity = _severity(rule, alert, evaluation)
    if alert.state is State.FIRING:
        firing = replace(_resumed(alert, minute, missed), severity=severity)
        if alert.stale and beyond and not stale:
            return _news_after_all(firing, minute)
        return _while_firing(rule, firing, beyond, holds, minute)
    if alert.lingering and (stale or not beyond or not _clearly_worse(alert, evaluation)):
        return _while_lingering(rule, _resumed(alert, minute, missed), holds, minute)
    if beyond and not stale and _flaps(rule, alert, minute):
        return _reopened(alert, severity, minute)
    if beyond:
        return _while_beyond(rule, replace(_resumed(alert, minute, missed), severity=severity), minute, stale)
    if alert.state is State.PENDING:
        return close(alert, minute, Why.QUIET)
    return Decision(replace(alert, decided_minute=minute), None, Why.QUIET)


def hold_minutes(rule: Rule, alert: Alert) -> int:
    """How long a firing alert must be quiet until it is over: twice as long after each time that it came back."""
    kept = rule.keep_firing_minutes
    return max(kept, min(kept << min(alert.reopenings, 20), LONGEST_HOLD_MINUTES))


def close(alert: Alert, minute: int, why: Why) -> Decision:
    """End an open alert: a firing one is resolved, a pending one dropped."""
    fired = alert.state is State.FIRING
    state, kind = (State.RESOLVED, Kind.RESOLVED) if fired else (State.DROPPED, Kind.DROPPED)
    over = replace(
        alert, state=state, quiet_minute=None, silent_minute=None, resolved_minute=minute, decided_minute=minute
    )
    return Decision(over, Transition(kind, minute, why), why)


def close_by_hand(alert: Alert, minute: int, why: Why, negatives: float) -> Decision:
    """End an open alert because somebody said so, at so many negatives in its window.

    What raised it may go on. It raises nothing again until the alert would have ended by itself, or until there are
    ``CLEARLY_WORSE`` times as many negatives, or enough to be critical where it was not.
    """
    over, transition, _ = close(alert, minute, why)
    return Decision(replace(over, closed_negatives=negatives), transition, why)


def rewound(alert: Alert, minute: int) -> Alert:
    """The alert of a clock that was ahead and has been set back, as if all of it had come by ``minute``.

    Without this its minutes would count as decided, and it would neither hold nor end, until the clock was there again.
    """

    def bounded(noted: int | None) -> int | None:
        return None if noted is None else min(noted, minute)

    return replace(
        alert,
        pending_minute=bounded(alert.pending_minute),
        fired_minute=bounded(alert.fired_minute),
        quiet_minute=bounded(alert.quiet_minute),
        silent_minute=bounded(alert.silent_minute),
        resolved_minute=bounded(alert.resolved_minute),
        reopened_minute=bounded(alert.reopened_minute),
        decided_minute=bounded(alert.decided_minute),
    )


def _old(rule: Rule, evaluation: Evaluation | None, minute: int) -> bool:
    """Whether the newest negative story is older than the rule allows. What is no news cannot be old."""
    if evaluation is None or not rule.needs_news:
        return False
    return minute - evaluation.newest_minute > rule.max_staleness_minutes


def _flaps(rule: Rule, alert: Alert, minute: int) -> bool:
    """Whether a spike at ``minute`` is once more that of an alert that is over. Nobody has heard of one of old news."""
    if alert.state is not State.RESOLVED or alert.stale or alert.lingering or alert.resolved_minute is None:
        return False
    return minute - alert.resolved_minute <= min(REOPENED_WITHIN * rule.keep_firing_minutes, DAY_MINUTES)


def _reopened(alert: Alert, severity: str, minute: int) -> Decision:
    again = replace(
        alert,
        severity=severity,
        state=State.FIRING,
        quiet_minute=None,
        silent_minute=None,
        resolved_minute=None,
        decided_minute=minute,
        reopened_minute=minute,
        reopenings=alert.reopenings + 1,
    )
    return Decision(again, Transition(Kind.REOPENED, minute, Why.BEYOND), Why.BEYOND)


def _news_after_all(alert: Alert, minute: int) -> Decision:
    """New stories of a series whose alert fires for old ones: it fires anew, at once, and is told."""
    fired = replace(alert, stale=False, fired_minute=minute, quiet_minute=None, decided_minute=minute)
    return Decision(fired, Transition(Kind.FIRED, minute, Why.BEYOND), Why.BEYOND)


def _while_beyond(rule: Rule, alert: Alert, minute: int, stale: bool) -> Decision:
    if alert.state is State.PENDING and alert.pending_minute is not None:
        pending = replace(alert, stale=stale, decided_minute=minute)
        since = alert.pending_minute
    else:
        pending = Alert(
            rule=rule.name,
            series=alert.series,
            severity=alert.severity,
            state=State.PENDING,
            pending_minute=minute,
            decided_minute=minute,
            stale=stale,
        )
        since = minute
    if minute - since >= rule.for_minutes:
        fired = replace(pending, state=State.FIRING, fired_minute=minute)
        why = Why.STALE if stale else Why.BEYOND
        return Decision(fired, Transition(Kind.FIRED, minute, why), why)
    new = alert.state is not State.PENDING
    return Decision(pending, Transition(Kind.PENDING, minute, Why.WAITING) if new else None, Why.WAITING)


def _while_firing(rule: Rule, alert: Alert, beyond: bool, holds: bool, minute: int) -> Decision:
    if holds:
        firing = replace(alert, quiet_minute=None, decided_minute=minute)
        return Decision(firing, None, Why.ALREADY_FIRING if beyond else Why.HOLDING)
    quiet_minute = minute if alert.quiet_minute is None else alert.quiet_minute
    if minute - quiet_minute >= hold_minutes(rule, alert):
        return close(alert, minute, Why.RECOVERED)
    return Decision(replace(alert, quiet_minute=quiet_minute, decided_minute=minute), None, Why.KEEPING)


def _while_lingering(rule: Rule, alert: Alert, holds: bool, minute: int) -> Decision:
    if holds:
        return Decision(replace(alert, quiet_minute=None, decided_minute=minute), None, Why.CLOSED)
    quiet_minute = minute if alert.quiet_minute is None else alert.quiet_minute
    if minute - quiet_minute >= rule.keep_firing_minutes:
        return Decision(settled(alert, minute), None, Why.RECOVERED)
    return Decision(replace(alert, quiet_minute=quiet_minute, decided_minute=minute), None, Why.KEEPING)


def _clearly_worse(alert: Alert, evaluation: Evaluation | None) -> bool:
    closed = alert.closed_negatives
    if evaluation is None or closed is None:
        return False
    return evaluation.observed >= CLEARLY_WORSE * closed or (evaluation.grave and alert.severity != SEVERITIES[-1])


def settled(alert: Alert, minute: int) -> Alert:
    """An alert that somebody ended, once that needs no watching any more: the next spike raises a new one."""
    return replace(alert, closed_negatives=None, quiet_minute=None, silent_minute=None, decided_minute=minute)


def _silenced(alert: Alert, minute: int, missed: int) -> Alert:
    """Nothing can be said; what is followed remembers since when."""
    if not alert.open and not alert.lingering:
        return replace(alert, decided_minute=minute)
    since = minute - _undecided(alert, minute, missed) if alert.silent_minute is None else alert.silent_minute
    return replace(alert, silent_minute=since, decided_minute=minute)


def _severity(rule: Rule, alert: Alert, evaluation: Evaluation | None) -> str:
    """One alert grows with its evidence, instead of another that repeats it; while it is open it never shrinks."""
    if evaluation is not None and evaluation.grave:
        return SEVERITIES[-1]
    return max(rule.severity, alert.severity if alert.open else rule.severity, key=_rank)


def _rank(severity: str) -> int:
    return next((place for place, known in enumerate(SEVERITIES) if known == severity), -1)


def _resumed(alert: Alert, minute: int, missed: int) -> Alert:
    """The alert as if the minutes that do not count had not been: what it waits for begins later by as many."""
    if not alert.open and not alert.lingering:
        return alert
    silent = alert.silent_minute
    lost = _undecided(alert, minute, missed) if silent is None else minute - silent
    return replace(
        alert,
        pending_minute=_later(alert.pending_minute, lost) if alert.state is State.PENDING else alert.pending_minute,
        quiet_minute=_later(alert.quiet_minute, lost),
        silent_minute=None,
    )


def _undecided(alert: Alert, minute: int, missed: int) -> int:
    """``missed``, as far as the alert does not know better."""
    most = missed if alert.decided_minute is None else min(missed, minute - alert.decided_minute - 1)
    return max(0, most)


def _later(minute: int | None, by: int) -> int | None:
    return None if minute is None else minute + by
