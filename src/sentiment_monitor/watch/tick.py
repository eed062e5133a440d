"""One turn of the tick loop: judge the minute, move the alerts, decide who is told, and store all of it at once.

A tick at minute ``now`` sees the complete minutes before ``now`` and nothing else, so that a replay of history at
full speed decides what the live service decided.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.dispatch.cases import UNTIL_LATER, Hold
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain.alert_states import Kind
from sentiment_monitor.domain.alerts import Alert
from sentiment_monitor.domain.hearing import Held
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.people import people
from sentiment_monitor.times import DAY_MINUTES
from sentiment_monitor.watch.briefer import Briefer
from sentiment_monitor.watch.past import Past
from sentiment_monitor.watch.reader import StoreReader
from sentiment_monitor.watch.turn import Decider, Seen, Situation, Turn
from sentiment_monitor.watch.window import SeriesPlaces

_log = structlog.get_logger()


@dataclass(slots=True)
class TickReport:
    """What one tick did, for its log line."""

    minute: int
    skipped: bool = False  # decided before
    candidates: int = 0
    open: int = 0  # alerts that the next tick must look at: pending, firing, or ended by somebody and not over yet
    fired: int = 0
    stale: int = 0  # fired of old news, and told to nobody
    reopened: int = 0
    repeated: int = 0
    resolved: int = 0
    messages: int = 0  # one a receiver and group


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
        self._decider = Decider(rules=rules, routes=routes, external_url=external_url, names=names)
        self._briefer = Briefer(routes, external_url, names)
        self._past = Past()
        self._names = SeriesPlaces()
        self._open: tuple[int, Situation] | None = None
        self._decided: int | None = None
        self._seen: Seen = {}

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
        situation = self._situation(minute, lease)
        missed = self._missed(minute, lease)
        with self._database.read() as connection:
            reader = StoreReader(connection, self._alerts, self._past, self._names)
            said = people(connection, minute, _open_ids(situation))
            turn = self._decider.turn(
                minute, situation, said, reader, self._alerts.newest_events, changed=changed, missed=missed
            )
            # History that is replayed briefs nobody.
            briefings = self._briefer.due(connection, minute, situation) if changed is None else []
        if turn.changes or briefings:
            self._open = None
        if turn.changes or briefings or note_quiet:
            self._alerts.apply(lease, minute, turn.changes, now_ms, briefings)
        self._decided = minute
        self._seen = turn.seen
        _note(report, turn)
        return report

    def stays(self, minute: int, lease: Lease) -> bool:
        """Whether a tick at ``minute`` would decide nothing, if no story came or went since the last.

        Such a minute counts as decided. Raises DatabaseAway.
        """
        situation = self._situation(minute, lease)
        with self._database.read() as connection:
            said = people(connection, minute, _open_ids(situation))
        if not self._decider.stays(minute, situation, said, self._seen):
            return False
        self._decided = minute
        return True

    def _situation(self, minute: int, lease: Lease) -> Situation:
        """Nobody else changes alerts while we hold the lease, so they are read again only after a change of ours."""
        if self._open is not None and self._open[0] != lease.token:
            self._decided = None  # others may have decided since, or nobody, by another clock
            self._seen = {}
        if self._open is None or self._open[0] != lease.token:
            alerts = self._alerts.open()
            known = {alert.id for alert in alerts}
            unheard = [alert for alert in self._alerts.unheard_ends(minute) if alert.id not in known]
            ended = self._alerts.ended_since(minute - DAY_MINUTES)
            ids = list({alert.id: None for alert in (*alerts, *unheard, *ended) if alert.id is not None})
            self._open = (lease.token, Situation(alerts, unheard, ended, self._alerts.book(ids, minute)))
        return self._open[1]

    def _missed(self, minute: int, lease: Lease) -> int:
        """Minutes just before this one that nobody decided."""
        decided = max(
            (known for known in (self._decided, lease.progress_minute) if known is not None), default=minute - 1
        )
        return max(0, minute - 1 - decided)


def _open_ids(situation: Situation) -> list[int]:
    return [alert.id for alert in situation.alerts if alert.open and alert.id is not None]


def _note(report: TickReport, turn: Turn) -> None:
    waiting = {held.alert for held in turn.dispatch.held if held.reason in UNTIL_LATER}
    report.open = sum(outcome.after.followed or outcome.after in waiting for outcome in turn.outcomes)
    report.candidates = turn.candidates
    report.messages = len(turn.dispatch.messages)
    receivers: dict[tuple[str, str], set[str]] = {}
    for message in turn.dispatch.messages:
        for part in message.parts:
            receivers.setdefault((part.alert.rule, part.alert.series), set()).add(message.receiver)
    for change in turn.changes:
        for receiver, spell in change.held.items():
            _log_held(change.alert, receiver, spell)
        event = change.event
        if event is None:
            continue
        report.fired += event.transition is Kind.FIRED and not change.alert.stale
        report.stale += event.transition is Kind.FIRED and change.alert.stale
        report.reopened += event.transition is Kind.REOPENED
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
            told=sorted(receivers.get((change.alert.rule, change.alert.series), ())),
        )


def _log_held(alert: Alert, receiver: str, held: Held | None) -> None:
    if held is None or held.reason == Hold.GROUP_WAITS:  # for minutes, and for no reason of anybody's
        return
    log = _log.warning if held.reason == Hold.RECEIVER_GONE else _log.info
    log(
        "alert.untold",
        rule=alert.rule,
        series=alert.series,
        receiver=receiver,
        reason=str(held.reason),
        detail=held.detail,
    )
