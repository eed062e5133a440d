"""What one minute decides: the pure middle of a tick, the same for the live service and for a backtest.

What is read comes from a reader, and what is decided is returned: storing it is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sentiment_monitor.detect import words
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.states import close, close_by_hand, rewound, settled, step
from sentiment_monitor.dispatch.compose import Account, compose, kind_of, reason_of
from sentiment_monitor.dispatch.decide import Book, Cause, Dispatch, Message, decide
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain.alert_states import Kind, Why
from sentiment_monitor.domain.alerts import Alert, Evaluation, Event, Evidence, Transition
from sentiment_monitor.domain.people import Closing, People, Verdict
from sentiment_monitor.domain.series import value_of
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.watch.judge import Reader, judge


class Witness(Reader, Protocol):
    """A reader that can also say what a decision rests on."""

    def evidence(self, rule: Rule, evaluation: Evaluation, start: int, end: int) -> Evidence:
        """What lies behind an evaluation of the window [start, end)."""
        ...


@dataclass(frozen=True, slots=True)
class Situation:
    """What one minute finds: alerts that must be looked at, and who has been told of them."""

    alerts: Sequence[Alert] = ()
    book: Book = field(default_factory=dict)


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

    @property
    def moved(self) -> bool:
        """Whether more than the time of the decision changed."""
        return differs(self.before, self.after)


Seen = Mapping[tuple[str, str], Evaluation]
"""What a turn saw of each alert that it looked at, by rule and series."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Everything that one minute decides."""

    candidates: int  # evaluations made
    outcomes: Sequence[Outcome]  # of what is open, was until now, or begins
    dispatch: Dispatch
    changes: Sequence[Change]  # to be stored

    @property
    def seen(self) -> Seen:
        """For ``Decider.stays``."""
        return {(outcome.after.rule, outcome.after.series): outcome.evaluation for outcome in self.outcomes}


def differs(before: Alert, after: Alert) -> bool:
    """Whether more than the time of the decision changed."""
    return replace(after, decided_minute=before.decided_minute) != before


LastEvents = Callable[[Collection[int]], Mapping[int, Event]]
"""The newest event of alerts, by their ids."""


class Decider:
    """Decides minutes by one set of rules and routes. It remembers nothing from one minute to the next.

    ``names`` says what people call a ticker; links in notifications begin with ``external_url``.
    """

    def __init__(self, *, rules: Sequence[Rule], routes: Routes, external_url: str, names: Mapping[str, str]) -> None:
        self.rules = tuple(rules)
        self._by_name = {rule.name: rule for rule in self.rules}
        self._routes = routes
        self._external_url = external_url
        self._names = names

    def turn(
        self,
        minute: int,
        situation: Situation,
        said: People,
        reader: Witness,
        last_events: LastEvents,
        *,
        changed: Collection[int] | None = None,
        missed: int = 0,
    ) -> Turn:
        """Decides ``minute``. Alters nothing.

        ``changed`` are the window lengths whose content has changed since the last turn (None: it is not known); rules
        with another one and without an open alert are passed over. ``missed`` is how many minutes just before this
        one nobody decided. ``said`` is what people have said by then.
        """
        judged = list(self._judged(minute, situation.alerts, said, reader, last_events, changed, missed))
        outcomes = [outcome for outcome in judged if outcome.before.followed or outcome.transition is not None]
        outcomes += self._gone(minute, situation.alerts, said, last_events)
        decided = [(outcome.after, outcome.transition) for outcome in outcomes]
        dispatch = decide(minute, self._routes, situation.book, decided, said)
        messages: dict[Alert, list[Message]] = {}
        for message in dispatch.messages:
            messages.setdefault(message.alert, []).append(message)
        changes = [self._change(reader, minute, outcome, messages.get(outcome.after, ())) for outcome in outcomes]
        return Turn(len(judged), outcomes, dispatch, [change for change in changes if change is not None])

    def rule_of(self, alert: Alert) -> Rule | None:
        """The rule that watches the alert's series under its name; None when there is none any more."""
        rule = self._by_name.get(alert.rule)
        return rule if rule is not None and rule.matches(alert.series) else None

    def stays(self, minute: int, situation: Situation, said: People, seen: Seen) -> bool:
        """Whether a turn at ``minute`` would decide nothing, given that it would see of each alert what was last seen.

        ``seen`` is what the last turn saw.
        """
        for alert in situation.alerts:
            rule = self.rule_of(alert)
            evaluation = seen.get((alert.rule, alert.series))
            if rule is None or evaluation is None or alert.id in said.closed:
                return False
            after, transition, _ = step(rule, rewound(alert, minute - 1), evaluation, minute)
            if transition is not None or differs(alert, after):
                return False
        unmoved = [(alert, None) for alert in situation.alerts]
        return not decide(minute, self._routes, situation.book, unmoved, said).messages

    def _judged(
        self,
        minute: int,
        alerts: Sequence[Alert],
        said: People,
        reader: Reader,
        last_events: LastEvents,
        changed: Collection[int] | None,
        missed: int,
    ) -> Iterator[Outcome]:
        watched: dict[str, dict[str, Alert]] = {rule.name: {} for rule in self.rules}
        for alert in alerts:
            if self.rule_of(alert) is not None:
                watched[alert.rule][alert.series] = alert
        rules = [rule for rule in self.rules if changed is None or watched[rule.name] or rule.window_minutes in changed]
        for rule, evaluation in judge(minute, rules, reader, watched):
            series = evaluation.series
            before = watched[rule.name].get(series) or Alert(rule.name, series, rule.severity)
            if not before.followed and not evaluation.beyond:  # most of them: nothing begins, and nothing goes on
                yield Outcome(before, before, None, evaluation, rule)
                continue
            # What it says of later minutes it has from a clock that was ahead: none of them is decided.
            known = rewound(before, minute - 1)
            closing = said.closed.get(before.id) if before.id is not None else None
            if closing is not None:
                negatives = _most_seen(before, evaluation, last_events)
                after, transition, _ = close_by_hand(known, minute, _why(closing), negatives)
            else:
                after, transition, _ = step(rule, known, evaluation, minute, missed)
            yield Outcome(before, after, transition, evaluation, rule, closing=closing)

    def _gone(self, minute: int, alerts: Sequence[Alert], said: People, last_events: LastEvents) -> Iterator[Outcome]:
        """Alerts that no rule watches any more: they end, and whoever was told of them hears it."""
        orphans = [alert for alert in alerts if self.rule_of(alert) is None]
        if not orphans:
            return
        events = last_events([alert.id for alert in orphans if alert.id is not None])
        for alert in orphans:
            closing = said.closed.get(alert.id) if alert.id is not None else None
            transition: Transition | None = None
            if alert.open:
                after, transition, _ = close(alert, minute, Why.RULE_GONE if closing is None else _why(closing))
            else:
                after = settled(alert, minute)
            event = events.get(alert.id) if alert.id is not None else None
            evaluation, evidence = _as_last_seen(alert, event)
            yield Outcome(alert, after, transition, evaluation, None, evidence, closing)

    def _change(self, reader: Witness, minute: int, outcome: Outcome, own_messages: Sequence[Message]) -> Change | None:
        if outcome.transition is None and not own_messages:
            return Change(outcome.after) if outcome.moved else None
        if outcome.transition is None:
            cause = own_messages[0].cause
            why = Why.REPEAT_DUE if cause is Cause.REPEATED else Why.RECEIVER_JOINED
            transition = Transition(kind_of(cause), minute, why)
        else:
            transition = outcome.transition
        account = self._account(reader, minute, outcome, transition)
        evaluation = account.evaluation
        event = Event(
            transition=transition.kind,
            minute=minute,
            reason=reason_of(transition.kind, transition.why, evaluation),
            observed=evaluation.observed,
            volume=evaluation.volume,
            expected=evaluation.expected,
            p_value=evaluation.p_value,
            q_value=evaluation.q_value,
            evidence=account.evidence,
            explanation=account.text,
        )
        begins = transition.kind in (Kind.PENDING, Kind.FIRED)
        return Change(
            replace(outcome.after, title=account.title) if begins else outcome.after,
            event,
            tuple(
                notification
                for message in own_messages
                for notification in compose(message, account, self._external_url)
            ),
        )

    def _account(self, reader: Witness, minute: int, outcome: Outcome, transition: Transition) -> Account:
        rule, evaluation, alert = outcome.rule, outcome.evaluation, outcome.after
        if rule is None:
            evidence = outcome.evidence or Evidence()
            explanation = words.explain_gone(alert, outcome.closing)
        else:
            evidence = reader.evidence(rule, evaluation, minute - rule.window_minutes, minute)
            name = self._names.get(value_of(evaluation.series), "")
            explanation = words.explain(
                rule, evaluation, evidence, alert, transition.kind, name, closing=outcome.closing
            )
        return Account(
            alert=alert,
            kind=transition.kind,
            why=transition.why,
            minute=minute,
            evaluation=evaluation,
            evidence=evidence,
            window_minutes=rule.window_minutes if rule else None,
            title=explanation.title,
            text=explanation.text,
        )


def _most_seen(alert: Alert, evaluation: Evaluation, last_events: LastEvents) -> float:
    """The most negatives that whoever ended the alert can have seen: now, or when it was told last."""
    event = last_events([alert.id]).get(alert.id) if alert.id is not None else None
    return max(evaluation.observed, event.observed if event else 0.0)


def _why(closing: Closing) -> Why:
    return Why.DISMISSED if closing.verdict is Verdict.DISMISSED else Why.CLOSED


def _as_last_seen(alert: Alert, event: Event | None) -> tuple[Evaluation, Evidence]:
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
        reason=Why.RULE_GONE,
    )
    return evaluation, event.evidence if event else Evidence()
