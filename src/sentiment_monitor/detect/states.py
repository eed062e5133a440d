"""When a spike becomes an alert, and when the alert is over: a pure state machine over frozen values.

The words are Prometheus's (``for``, ``keep_firing_for``) and the thresholds are two: an evaluation is *beyond* to
fire and merely *holds* to keep firing. A state is all that the next tick needs: stored as columns it survives a
restart, and a tick that runs twice, late or out of order decides nothing twice.

It does not decide who is told: a transition with ``notifies`` is what the outbox turns into notifications.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from sentiment_monitor.detect.detectors.count import Evaluation, Reason
from sentiment_monitor.detect.rules import Rule


class Status(StrEnum):
    """Of one series under one rule."""

    NORMAL = "normal"
    PENDING = "pending"  # beyond, but not yet for ``for_minutes``
    FIRING = "firing"
    RESOLVED = "resolved"  # normal again after an alert


class Kind(StrEnum):
    """Of a transition."""

    PENDING = "pending"
    DROPPED = "dropped"  # pending came to nothing
    FIRED = "fired"
    REPEATED = "repeated"  # still firing, told again
    RESOLVED = "resolved"


class Why(StrEnum):
    """The reason of one decision."""

    QUIET = "quiet"
    STALE = "stale"  # a spike of old news: never pages
    WAITING = "waiting"  # pending, ``for`` is not over
    BEYOND = "beyond"
    ALREADY_FIRING = "already_firing"
    REPEAT_DUE = "repeat_due"
    HOLDING = "holding"  # under the bar to fire, over the bar to resolve
    KEEPING = "keeping"  # quiet, ``keep_firing`` is not over
    RECOVERED = "recovered"
    NO_DATA = "no_data"  # nothing can be said: the state stays as it is
    ALREADY_DECIDED = "already_decided"  # this minute, or a later one, has been decided before


@dataclass(frozen=True, slots=True)
class AlertState:
    """What is remembered of one series under one rule. Minutes since 1970-01-01 UTC; None: not in this state."""

    status: Status = Status.NORMAL
    evaluated_minute: int | None = None  # newest tick decided
    pending_minute: int | None = None  # beyond since, for the current pending or firing
    started_minute: int | None = None  # of the current or newest alert
    quiet_minute: int | None = None  # firing, but nothing holds it since
    notified_minute: int | None = None  # of the current or newest alert: last fired or repeated
    ended_minute: int | None = None  # of the newest alert


class Transition(NamedTuple):
    """A change of state, or a repetition, worth a row in ``alert_events``."""

    kind: Kind
    minute: int
    why: Why

    @property
    def notifies(self) -> bool:
        """Whether receivers are told."""
        return self.kind in (Kind.FIRED, Kind.REPEATED, Kind.RESOLVED)


class Decision(NamedTuple):
    """What one tick makes of one series."""

    state: AlertState
    transition: Transition | None
    why: Why


def step(rule: Rule, state: AlertState, evaluation: Evaluation | None, now_minute: int) -> Decision:
    """Decide one series at one tick.

    ``evaluation`` is None when the series was no candidate: nothing to see. The caller must keep pending and firing
    series among the candidates, and pass the evaluation with reason ``no_data`` when the feed is silent. Never
    raises; the same arguments give the same decision, and a minute already decided gives the state back unchanged.
    """
    if state.evaluated_minute is not None and now_minute <= state.evaluated_minute:
        return Decision(state, None, Why.ALREADY_DECIDED)
    seen = replace(state, evaluated_minute=now_minute)
    if evaluation is not None and evaluation.reason is Reason.NO_DATA:
        return Decision(seen, None, Why.NO_DATA)
    beyond = evaluation is not None and evaluation.beyond
    holds = beyond or (evaluation is not None and evaluation.holds)
    if state.status is Status.FIRING:
        return _while_firing(rule, seen, beyond, holds, now_minute)
    stale = beyond and evaluation is not None and now_minute - evaluation.newest_minute > rule.max_staleness_minutes
    return _while_calm(rule, seen, beyond and not stale, stale, now_minute)


def _while_calm(rule: Rule, state: AlertState, beyond: bool, stale: bool, now: int) -> Decision:
    pending = state.status is Status.PENDING
    if not beyond:
        why = Why.STALE if stale else Why.QUIET
        if not pending:
            return Decision(state, None, why)
        status = Status.NORMAL if state.ended_minute is None else Status.RESOLVED
        return _decide(replace(state, status=status, pending_minute=None), Kind.DROPPED, now, why)
    since = state.pending_minute if pending and state.pending_minute is not None else now
    if now - since >= rule.for_minutes:
        fired = AlertState(
            status=Status.FIRING,
            evaluated_minute=now,
            pending_minute=since,
            started_minute=now,
            notified_minute=now,
        )
        return _decide(fired, Kind.FIRED, now, Why.BEYOND)
    if pending:
        return Decision(state, None, Why.WAITING)
    return _decide(replace(state, status=Status.PENDING, pending_minute=now), Kind.PENDING, now, Why.WAITING)


def _while_firing(rule: Rule, state: AlertState, beyond: bool, holds: bool, now: int) -> Decision:
    if not holds:
        quiet = now if state.quiet_minute is None else state.quiet_minute
        if now - quiet < rule.keep_firing_minutes:
            return Decision(replace(state, quiet_minute=quiet), None, Why.KEEPING)
        over = replace(state, status=Status.RESOLVED, pending_minute=None, quiet_minute=None, ended_minute=now)
        return _decide(over, Kind.RESOLVED, now, Why.RECOVERED)
    state = replace(state, quiet_minute=None)
    told = state.notified_minute if state.notified_minute is not None else now
    if rule.repeat_minutes and now - told >= rule.repeat_minutes:
        return _decide(replace(state, notified_minute=now), Kind.REPEATED, now, Why.REPEAT_DUE)
    return Decision(state, None, Why.ALREADY_FIRING if beyond else Why.HOLDING)


def _decide(state: AlertState, kind: Kind, now: int, why: Why) -> Decision:
    return Decision(state, Transition(kind, now, why), why)
