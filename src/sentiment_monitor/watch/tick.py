"""One turn of the tick loop: judge the minute, move the alerts, decide who is told, and store all of it at once.

A tick at minute ``now`` sees the complete minutes before ``now`` and nothing else, so that a replay of history at
full speed decides what the live service decided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from sentiment_monitor.detect import words
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.detect.states import close, close_by_hand, rewound, settled, step
from sentiment_monitor.dispatch.compose import Account, compose, kind_of, reason_of
from sentiment_monitor.dispatch.decide import Book, Cause, Hold, Message, decide
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain.alert_states import Kind, Why
from sentiment_monitor.domain.alerts import Alert, Evaluation, Event, Evidence, Transition
from sentiment_monitor.domain.people import Closing, People, Verdict
from sentiment_monitor.domain.series import value_of
from sentiment_monitor.store.alerts import AlertStore, Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.people import people
from sentiment_monitor.watch.judge import judge
from sentiment_monitor.watch.reader import Past, StoreReader

_log = structlog.get_logger()


@dataclass(slots=True)
class TickReport:
    """What one tick did, for its log line."""

    minute: int
    skipped: bool = False  # decided before
    candidates: int = 0
    open: int = 0  # alerts that the next tick must look at: pending, firing, or ended by somebody and not over yet
    fired: int = 0
    repeated: int = 0
    resolved: int = 0


@dataclass(frozen=True, slots=True)
class _Outcome:
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
        return replace(self.after, decided_minute=None) != replace(self.before, decided_minute=None)


class Ticker:
    """Decides minutes for the holder of the lease.

    ``names`` says what people call a ticker; links in notifications begin with ``external_url``.
    """

    def __init__(
        self,
        *,
        database: Database,
        alerts: AlertStore,
        rules: Sequence[Rule],
        routes: Routes,
        external_url: str,
        names: Mapping[str, str],
    ) -> None:
        self._database = database
        self._alerts = alerts
        self._rules = tuple(rules)
        self._routes = routes
        self._external_url = external_url
        self._names = names
        self._past = Past(alerts)
        self._open: tuple[int, list[Alert], Book] | None = None
        self._decided: int | None = None

    def tick(
        self,
        minute: int,
        lease: Lease,
        now_ms: int,
        *,
        changed: Collection[int] | None = None,
        note_quiet: bool = True,
    ) -> TickReport:
        """Decides minute ``minute``, unless it or a later one has been decided.

        ``changed`` are the window lengths whose content has changed since the last tick; rules with another one and
        without an open alert are passed over. Without ``note_quiet`` a tick that changes nothing is not noted as
        decided: running it again decides the same. Raises Fenced when the lease was lost, DatabaseAway; then nothing
        was stored and the same tick may run again.
        """
        report = TickReport(minute)
        if lease.progress_minute is not None and minute <= lease.progress_minute:
            report.skipped = True
            return report
        alerts, book = self._open_alerts(lease)
        missed = self._missed(minute, lease)
        with self._database.read() as connection:
            reader = StoreReader(connection, self._past)
            said = people(connection, minute, [alert.id for alert in alerts if alert.open and alert.id is not None])
            outcomes = [
                *self._judged(minute, reader, alerts, said, changed, missed, report),
                *self._gone(minute, alerts, said),
            ]
            decided = [(outcome.after, outcome.transition) for outcome in outcomes]
            dispatch = decide(minute, self._routes, book, decided, said)
            messages = _by_alert(dispatch.messages)
            changes = [self._change(reader, minute, outcome, messages) for outcome in outcomes]
        for held in dispatch.held:
            if held.reason is Hold.RECEIVER_GONE:
                _log.warning("alert.untold", rule=held.alert.rule, series=held.alert.series, receiver=held.receiver)
        stored = [change for change in changes if change is not None]
        if stored:
            self._open = None
        if stored or note_quiet:
            self._alerts.apply(lease, minute, stored, now_ms)
        self._decided = minute
        _report(report, outcomes, stored)
        return report

    def _open_alerts(self, lease: Lease) -> tuple[list[Alert], Book]:
        """Nobody else changes alerts while we hold the lease, so they are read again only after a change of ours."""
        if self._open is not None and self._open[0] != lease.token:
            self._decided = None  # others may have decided since, or nobody, by another clock
        if self._open is None or self._open[0] != lease.token:
            alerts = self._alerts.open()
            book = self._alerts.told([alert.id for alert in alerts if alert.id is not None]) if alerts else {}
            self._open = (lease.token, alerts, book)
        return self._open[1], self._open[2]

    def _missed(self, minute: int, lease: Lease) -> int:
        """Minutes just before this one that nobody decided."""
        decided = max(
            (known for known in (self._decided, lease.progress_minute) if known is not None), default=minute - 1
        )
        return max(0, minute - 1 - decided)

    def _judged(
        self,
        minute: int,
        reader: StoreReader,
        alerts: Sequence[Alert],
        said: People,
        changed: Collection[int] | None,
        missed: int,
        report: TickReport,
    ) -> Iterator[_Outcome]:
        watched: dict[str, dict[str, Alert]] = {rule.name: {} for rule in self._rules}
        for alert in alerts:
            if self._rule_of(alert) is not None:
                watched[alert.rule][alert.series] = alert
        rules = [
            rule for rule in self._rules if changed is None or watched[rule.name] or rule.window_minutes in changed
        ]
        for rule, evaluation in judge(minute, rules, reader, watched):
            report.candidates += 1
            series = evaluation.series
            before = watched[rule.name].get(series) or Alert(rule.name, series, rule.severity)
            # What it says of later minutes it has from a clock that was ahead: none of them is decided.
            known = rewound(before, minute - 1)
            closing = said.closed.get(before.id) if before.id is not None else None
            if closing is not None:
                after, transition, _ = close_by_hand(known, minute, _why(closing), self._seen(before, evaluation))
            else:
                after, transition, _ = step(rule, known, evaluation, minute, missed)
            if before.open or before.lingering or transition is not None:
                yield _Outcome(before, after, transition, evaluation, rule, closing=closing)

    def _seen(self, alert: Alert, evaluation: Evaluation) -> float:
        """The most negatives that whoever ended the alert can have seen: now, or when it was told last."""
        event = self._alerts.newest_events([alert.id]).get(alert.id) if alert.id is not None else None
        return max(evaluation.observed, event.observed if event else 0.0)

    def _gone(self, minute: int, alerts: Sequence[Alert], said: People) -> Iterator[_Outcome]:
        """Alerts that no rule watches any more: they end, and whoever was told of them hears it."""
        orphans = [alert for alert in alerts if self._rule_of(alert) is None]
        if not orphans:
            return
        events = self._alerts.newest_events([alert.id for alert in orphans if alert.id is not None])
        for alert in orphans:
            closing = said.closed.get(alert.id) if alert.id is not None else None
            transition: Transition | None = None
            if alert.open:
                after, transition, _ = close(alert, minute, Why.RULE_GONE if closing is None else _why(closing))
            else:
                after = settled(alert, minute)
            event = events.get(alert.id) if alert.id is not None else None
            evaluation, evidence = _as_last_seen(alert, event)
            yield _Outcome(alert, after, transition, evaluation, None, evidence, closing)

    def _rule_of(self, alert: Alert) -> Rule | None:
        return next((rule for rule in self._rules if rule.name == alert.rule and rule.matches(alert.series)), None)

    def _change(
        self, reader: StoreReader, minute: int, outcome: _Outcome, messages: Mapping[Alert, Sequence[Message]]
    ) -> Change | None:
        own_messages = messages.get(outcome.after, ())
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

    def _account(self, reader: StoreReader, minute: int, outcome: _Outcome, transition: Transition) -> Account:
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


def _why(closing: Closing) -> Why:
    return Why.DISMISSED if closing.verdict is Verdict.DISMISSED else Why.CLOSED


def _by_alert(messages: Sequence[Message]) -> dict[Alert, list[Message]]:
    grouped: dict[Alert, list[Message]] = {}
    for message in messages:
        grouped.setdefault(message.alert, []).append(message)
    return grouped


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


def _report(report: TickReport, outcomes: Sequence[_Outcome], changes: Sequence[Change]) -> None:
    report.open = sum(outcome.after.open or outcome.after.lingering for outcome in outcomes)
    for change in changes:
        event = change.event
        if event is None:
            continue
        report.fired += event.transition is Kind.FIRED
        report.repeated += event.transition is Kind.REPEATED
        report.resolved += event.transition is Kind.RESOLVED
        _log.info(
            "alert.decided",
            transition=event.transition,
            rule=change.alert.rule,
            series=change.alert.series,
            reason=event.reason,
            observed=event.observed,
            expected=round(event.expected, 3),
            p_value=event.p_value,
            told=sorted({notification.receiver for notification in change.notifications}),
        )
