"""What one minute decides: the pure middle of a tick, the same for the live service and for a backtest.

What is read comes from a reader, and what is decided is returned: storing it is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.states import close, close_by_hand, rewound, settled, step
from sentiment_monitor.dispatch.cases import Dispatch
from sentiment_monitor.dispatch.decide import decide
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain.alert_states import Why
from sentiment_monitor.domain.alerts import Alert, Evaluation, Event, Transition
from sentiment_monitor.domain.hearing import NOTHING_HEARD, Ledger
from sentiment_monitor.domain.people import Closing, People, Verdict
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.hearing import END_MINUTES
from sentiment_monitor.watch.judge import Reader, judge
from sentiment_monitor.watch.telling import Outcome, Teller, Witness, as_last_seen, differs, held_changes


@dataclass(frozen=True, slots=True)
class Situation:
    """What one minute finds: alerts that must be looked at, and who has heard what of them."""

    alerts: Sequence[Alert] = ()
    unheard: Sequence[Alert] = ()  # over, while somebody who knows of them has not heard it
    ended: Sequence[Alert] = ()  # over by themselves within a day, oldest first: a spike may reopen them
    book: Ledger = NOTHING_HEARD


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
        followed = (outcome for outcome in self.outcomes if outcome.after.followed)
        return {(outcome.after.rule, outcome.after.series): outcome.evaluation for outcome in followed}


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
        self._teller = Teller(names, external_url)

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
        judged = list(self._judged(minute, situation, said, reader, last_events, changed, missed))
        outcomes = [outcome for outcome in judged if outcome.before.followed or outcome.transition is not None]
        outcomes += self._gone(minute, situation.alerts, said, last_events)
        back = {outcome.before.id for outcome in outcomes}
        over = [alert for alert in _still_news(situation.unheard, minute) if alert.id not in back]
        outcomes += self._ended(minute, over, last_events)
        decided = [(outcome.after, outcome.transition) for outcome in outcomes]
        dispatch = decide(minute, self._routes, situation.book, decided, said)
        changes = self._teller.changes(minute, reader, outcomes, dispatch, situation.book)
        return Turn(len(judged), outcomes, dispatch, changes)

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
        alerts = [*situation.alerts, *_still_news(situation.unheard, minute)]
        dispatch = decide(minute, self._routes, situation.book, [(alert, None) for alert in alerts], said)
        return not dispatch.messages and not held_changes(dispatch, situation.book, alerts)

    def _judged(
        self,
        minute: int,
        situation: Situation,
        said: People,
        reader: Reader,
        last_events: LastEvents,
        changed: Collection[int] | None,
        missed: int,
    ) -> Iterator[Outcome]:
        watched: dict[str, dict[str, Alert]] = {rule.name: {} for rule in self.rules}
        for alert in situation.alerts:
            if self.rule_of(alert) is not None:
                watched[alert.rule][alert.series] = alert
        ended = {(alert.rule, alert.series): alert for alert in situation.ended}
        rules = [rule for rule in self.rules if changed is None or watched[rule.name] or rule.window_minutes in changed]
        for rule, evaluation in judge(minute, rules, reader, watched):
            series = evaluation.series
            before = (
                watched[rule.name].get(series)
                or ended.get((rule.name, series))
                or Alert(rule.name, series, rule.severity)
            )
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
            evaluation, evidence = as_last_seen(alert, event)
            yield Outcome(alert, after, transition, evaluation, None, evidence, closing)

    def _ended(self, minute: int, alerts: Sequence[Alert], last_events: LastEvents) -> Iterator[Outcome]:
        """Alerts that are over while not everybody has heard it, as they were last seen."""
        if not alerts:
            return
        events = last_events([alert.id for alert in alerts if alert.id is not None])
        for alert in alerts:
            event = events.get(alert.id) if alert.id is not None else None
            evaluation, evidence = as_last_seen(alert, event)
            # Who ended it, and why, stands in the event's words; the title says how.
            by_hand = alert.id is not None and event is not None and event.reason == Why.DISMISSED
            closing = Closing(alert.id or 0, minute, "", Verdict.DISMISSED, "") if by_hand else None
            words = event.explanation if event else ""
            yield Outcome(alert, alert, None, evaluation, self.rule_of(alert), evidence, closing, words)


def _most_seen(alert: Alert, evaluation: Evaluation, last_events: LastEvents) -> float:
    """The most negatives that whoever ended the alert can have seen: now, or when it was told last."""
    event = last_events([alert.id]).get(alert.id) if alert.id is not None else None
    return max(evaluation.observed, event.observed if event else 0.0)


def _why(closing: Closing) -> Why:
    return Why.DISMISSED if closing.verdict is Verdict.DISMISSED else Why.CLOSED


def _still_news(alerts: Sequence[Alert], minute: int) -> list[Alert]:
    """Those whose end is not so long ago that nobody waits for it any more."""
    return [alert for alert in alerts if minute - (alert.resolved_minute or 0) < END_MINUTES]
