"""What a backtest has to say, in values that print as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentiment_monitor.backtest.book import Book, Raised
from sentiment_monitor.backtest.incidents import Incident, Marks, Page, incident_of, mark
from sentiment_monitor.backtest.peers import PEERS, PeerAlert
from sentiment_monitor.backtest.study import Study
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.domain.alert_states import Kind
from sentiment_monitor.domain.alerts import TopStory
from sentiment_monitor.times import iso


@dataclass(frozen=True, slots=True)
class ReplayedAlert:
    """One alert that fired."""

    rule: str
    series: str
    severity: str
    fired_at: str  # RFC 3339
    resolved_at: str | None  # None: it fires at the end still
    minutes: int  # how long it fired, so far
    observed: float
    volume: float
    expected: float
    p_value: float | None
    title: str
    receivers: tuple[str, ...]  # that were told, each once
    messages: int  # notifications, repetitions and the end included
    incident: str | None  # that it is about
    sentence: str = ""
    top_stories: tuple[TopStory, ...] = ()


@dataclass(frozen=True, slots=True)
class MetIncident:
    """How one incident was met."""

    name: str
    fired_at: str | None  # None: missed
    lead_minutes: int | None  # before its fifth story


@dataclass(frozen=True, slots=True)
class DetectorAccount:
    """How the rules, or a yardstick beside them, did."""

    name: str
    recall: float | None  # None: no incidents were given
    false_alerts_per_day: float  # about no incident; without incidents every alert
    median_lead_minutes: float | None
    incidents: tuple[MetIncident, ...]
    alerts: tuple[ReplayedAlert, ...]


@dataclass(frozen=True, slots=True)
class BacktestAccount:
    """A backtest as a whole."""

    since: str
    until: str
    days: float
    stories: int
    detectors: tuple[DetectorAccount, ...]


def account(study: Study, detectors: Sequence[DetectorAccount]) -> BacktestAccount:
    """Puts the parts together."""
    feed = study.columns.feed.minute
    stories = int(((feed >= study.first - 1) & (feed < study.last)).sum())
    since, until = iso(study.first), iso(study.last)
    return BacktestAccount(since, until, round(study.days, 3), stories, tuple(detectors))


def of_rules(name: str, book: Book, study: Study, incidents: Sequence[Incident]) -> DetectorAccount:
    """What the rules raised."""
    fired = sorted(book.fired(), key=lambda raised: (raised.alert.fired_minute or 0, raised.alert.series))
    pages = [Page(raised.alert.series, raised.alert.fired_minute or 0) for raised in fired]
    alerts = [_of_alert(raised, page, study, incidents) for raised, page in zip(fired, pages, strict=True)]
    return _detector(name, alerts, mark(pages, incidents, study.columns, study.first, study.last))


def of_peers(rules: Sequence[Rule], study: Study, incidents: Sequence[Incident]) -> list[DetectorAccount]:
    """What each yardstick raises with the series, windows and floors of these rules."""
    accounts = []
    for make in PEERS:
        peer = make()
        raised = [alert for rule in rules for alert in peer.alerts(study.columns, rule, study.first, study.last)]
        raised.sort(key=lambda alert: (alert.fired_minute, alert.series))
        pages = [Page(alert.series, alert.fired_minute) for alert in raised]
        alerts = [_of_peer(alert, page, study, incidents) for alert, page in zip(raised, pages, strict=True)]
        accounts.append(_detector(peer.name, alerts, mark(pages, incidents, study.columns, study.first, study.last)))
    return accounts


def _detector(name: str, alerts: Sequence[ReplayedAlert], marks: Marks) -> DetectorAccount:
    return DetectorAccount(
        name=name,
        recall=marks.recall,
        false_alerts_per_day=round(marks.others_a_day, 4),
        median_lead_minutes=marks.median_lead_minutes,
        incidents=tuple(
            MetIncident(meeting.incident.name, iso(meeting.fired_minute), meeting.lead_minutes)
            for meeting in marks.meetings
        ),
        alerts=tuple(alerts),
    )


def _of_alert(raised: Raised, page: Page, study: Study, incidents: Sequence[Incident]) -> ReplayedAlert:
    alert = raised.alert
    # One that fired of old news before fired anew with the stories that were told.
    event = next(event for event in reversed(raised.events) if event.transition is Kind.FIRED)
    incident = incident_of(page, incidents)
    return ReplayedAlert(
        rule=alert.rule,
        series=alert.series,
        severity=alert.severity,
        fired_at=iso(page.minute),
        resolved_at=iso(alert.resolved_minute),
        minutes=(study.last if alert.resolved_minute is None else alert.resolved_minute) - page.minute,
        observed=event.observed,
        volume=event.volume,
        expected=round(event.expected, 4),
        p_value=event.p_value,
        title=alert.title,
        receivers=tuple(sorted({notification.receiver for _, notification in raised.notifications})),
        messages=len(raised.notifications),
        incident=incident.name if incident else None,
        sentence=event.evidence.sentence,
        top_stories=event.evidence.top_stories,
    )


def _of_peer(alert: PeerAlert, page: Page, study: Study, incidents: Sequence[Incident]) -> ReplayedAlert:
    incident = incident_of(page, incidents)
    return ReplayedAlert(
        rule=alert.rule,
        series=alert.series,
        severity="",
        fired_at=iso(page.minute),
        resolved_at=iso(alert.resolved_minute),
        minutes=(study.last if alert.resolved_minute is None else alert.resolved_minute) - page.minute,
        observed=alert.observed,
        volume=alert.volume,
        expected=round(alert.expected, 4),
        p_value=None,
        title="",
        receivers=(),
        messages=0,
        incident=incident.name if incident else None,
    )
