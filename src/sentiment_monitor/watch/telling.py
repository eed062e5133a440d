"""What one minute's decisions make of each alert: its event, the words for it, the messages, and what is held back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sentiment_monitor.detect import words
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.dispatch.cases import Dispatch, Message
from sentiment_monitor.dispatch.compose import Account, compose
from sentiment_monitor.domain.alert_states import Kind, Why
from sentiment_monitor.domain.alerts import Alert, Evaluation, Event, Evidence, Transition
from sentiment_monitor.domain.hearing import Cause, Held, Ledger
from sentiment_monitor.domain.people import Closing
from sentiment_monitor.domain.series import name_of
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.watch.judge import Reader

# What is told without a transition makes an event too; of several causes the first of these names it.
_EVENTS: Mapping[Cause, tuple[Kind, Why]] = {
    Cause.WORSENED: (Kind.ESCALATED, Why.WORSENED),
    Cause.ESCALATED: (Kind.ESCALATED, Why.UNACKNOWLEDGED),
    Cause.LATE: (Kind.REPEATED, Why.HELD_UNTIL_NOW),
    Cause.JOINED: (Kind.REPEATED, Why.RECEIVER_JOINED),
    Cause.REPEATED: (Kind.REPEATED, Why.REPEAT_DUE),
}


class Witness(Reader, Protocol):
    """A reader that can also say what a decision rests on."""

    def evidence(self, rule: Rule, evaluation: Evaluation, start: int, end: int) -> Evidence:
        """What lies behind an evaluation of the window [start, end)."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """One alert before and after the minute, and what was seen of it."""

    before: Alert
    after: Alert
    transition: Transition | None
    evaluation: Evaluation
    rule: Rule | None  # None: it is gone
    evidence: Evidence | None = None  # None: still to be read
    closing: Closing | None = None  # somebody's, by which it ended
    words: str = ""  # of an end that was decided before

    @property
    def moved(self) -> bool:
        """Whether more than the time of the decision changed."""
        return differs(self.before, self.after)


def differs(before: Alert, after: Alert) -> bool:
    """Whether more than the time of the decision changed."""
    return replace(after, decided_minute=before.decided_minute) != before


class Teller:
    """Puts decisions into words and rows.

    ``names`` says what people call a ticker; links in notifications begin with ``external_url``.
    """

    def __init__(self, names: Mapping[str, str], external_url: str) -> None:
        self._names = names
        self._external_url = external_url

    def changes(
        self, minute: int, witness: Witness, outcomes: Sequence[Outcome], dispatch: Dispatch, book: Ledger
    ) -> list[Change]:
        """What is to be stored of the minute, and nothing of an alert of which there is nothing to store."""
        causes: dict[Alert, list[Cause]] = {}
        for message in dispatch.messages:
            for part in message.parts:
                causes.setdefault(part.alert, []).append(part.cause)
        held = held_changes(dispatch, book, [outcome.after for outcome in outcomes])
        accounts: dict[Alert, Account] = {}
        events: dict[Alert, Event] = {}
        for outcome in outcomes:
            told_as = causes.get(outcome.after, [])
            transition = outcome.transition or _transition(told_as, minute)
            if transition is None and not told_as:
                continue
            account = self._account(witness, minute, outcome, transition, told_as)
            accounts[outcome.after] = account
            if transition is not None:
                events[outcome.after] = _event(transition, minute, account)
        own: dict[Alert, list[Message]] = {}
        for message in dispatch.messages:
            own.setdefault(message.alert, []).append(message)
        return [
            Change(
                accounts[alert].alert if alert in accounts else alert,
                events.get(alert),
                tuple(
                    notification
                    for message in own.get(alert, ())
                    for notification in compose(message, accounts, self._external_url, minute)
                ),
                held.get(alert, {}),
            )
            for outcome in outcomes
            if (alert := outcome.after) in events or alert in own or alert in held or outcome.moved
        ]

    def _account(
        self,
        witness: Witness,
        minute: int,
        outcome: Outcome,
        transition: Transition | None,
        told_as: Sequence[Cause],
    ) -> Account:
        rule, evaluation, alert = outcome.rule, outcome.evaluation, outcome.after
        name = name_of(alert.series, self._names)
        kind = transition.kind if transition else Kind.RESOLVED if Cause.RESOLVED in told_as else Kind.REPEATED
        if rule is None:
            evidence = outcome.evidence or Evidence()
            explanation = words.explain_gone(alert, outcome.closing)
        else:
            seen = minute - evaluation.span_minutes(rule.window_minutes)
            evidence = outcome.evidence or witness.evidence(rule, evaluation, seen, minute)
            explanation = words.explain(rule, evaluation, evidence, alert, kind, name, closing=outcome.closing)
        begins = kind in (Kind.PENDING, Kind.FIRED, Kind.REOPENED)
        return Account(
            alert=replace(alert, title=explanation.title) if begins else alert,
            why=str(transition.why) if transition else evaluation.reason,
            minute=minute,
            evaluation=evaluation,
            evidence=evidence,
            window_minutes=evaluation.span_minutes(rule.window_minutes) if rule else None,
            title=explanation.title,
            text=outcome.words or explanation.text,
            name=name,
        )


def held_changes(dispatch: Dispatch, book: Ledger, alerts: Sequence[Alert]) -> dict[Alert, dict[str, Held | None]]:
    """By alert and receiver: what is held back otherwise than until now; None: nothing any more."""
    now: dict[Alert, dict[str, Held]] = {}
    for held in dispatch.held:
        if not held.reason.idle:
            now.setdefault(held.alert, {})[held.receiver] = Held(held.reason, held.detail)
    changes: dict[Alert, dict[str, Held | None]] = {}
    for alert in alerts:
        before = book.held.get(alert.id, {}) if alert.id is not None else {}
        after = now.get(alert, {})
        differing = {
            receiver: after.get(receiver)
            for receiver in (*before, *(receiver for receiver in after if receiver not in before))
            if before.get(receiver) != after.get(receiver)
        }
        if differing:
            changes[alert] = differing
    return changes


def as_last_seen(alert: Alert, event: Event | None) -> tuple[Evaluation, Evidence]:
    """The numbers of the newest event, for an alert that nothing can be measured of any more."""
    statistics = event.evidence.statistics if event else {}
    evaluation = Evaluation(
        series=alert.series,
        rule=alert.rule,
        observed=event.observed if event else 0.0,
        volume=event.volume if event else 0.0,
        sources=None,
        newest_minute=-1,
        expected=event.expected if event else 0.0,
        expected_share=statistics.get("expected_share", 0.0),
        effect=statistics.get("effect", 0.0),
        p_value=event.p_value if event else None,
        q_value=event.q_value if event else None,
        beyond=False,
        holds=False,
        reason=event.reason if event and alert.resolved_minute is not None else Why.RULE_GONE,
    )
    return evaluation, event.evidence if event else Evidence()


def _transition(told_as: Sequence[Cause], minute: int) -> Transition | None:
    """What is told of an alert that did not change, as an event of its own; None: there is none."""
    for cause, (kind, why) in _EVENTS.items():
        if cause in told_as:
            return Transition(kind, minute, why)
    return None


def _event(transition: Transition, minute: int, account: Account) -> Event:
    evaluation = account.evaluation
    return Event(
        transition=transition.kind,
        minute=minute,
        reason=evaluation.reason if transition.why is Why.BEYOND else transition.why,
        observed=evaluation.observed,
        volume=evaluation.volume,
        expected=evaluation.expected,
        p_value=evaluation.p_value,
        q_value=evaluation.q_value,
        evidence=account.evidence,
        explanation=account.text,
    )
