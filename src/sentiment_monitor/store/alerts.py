"""Alert state. A decision and everything that follows from it is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, func, insert, select, update

from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease, advance
from sentiment_monitor.store.schema import alert_events, alerts, notifications

CLOSED_STATES = ("resolved", "dropped")


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """One alert as the tick loop continues it."""

    id: int
    fingerprint: str
    rule: str
    series: str
    severity: str
    state: str
    state_json: str
    title: str
    pending_minute: int
    fired_minute: int | None
    resolved_minute: int | None
    updated_minute: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A notification to put into the outbox."""

    receiver: str
    notifier: int
    idempotency_key: str
    payload: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One transition, with the numbers it was decided on."""

    transition: str
    reason: str
    observed: float
    volume: float
    expected: float
    p_value: float
    q_value: float
    evidence: str  # JSON
    explanation: str
    outgoing: Sequence[Outgoing] = ()


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What one tick does to one alert. ``alert_id`` None makes a new one."""

    alert_id: int | None
    fingerprint: str
    rule: str
    series: str
    severity: str
    state: str
    state_json: str
    title: str
    pending_minute: int
    fired_minute: int | None
    resolved_minute: int | None
    event: AlertEvent | None  # None: only the state machine's value moved


class AlertStore:
    """Reads and writes alerts for the holder of the ``detect`` lease."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- alerts -----------------------------------------------------------------------------------

    def open(self) -> list[StoredAlert]:
        """Alerts that are pending or firing."""
        with self._database.read() as connection:
            return _alerts(connection, alerts.c.state.not_in(CLOSED_STATES))

    def fired_since(self, minute: int) -> list[StoredAlert]:
        """Alerts that fired and were not resolved before ``minute``: windows that a baseline must leave out."""
        with self._database.read() as connection:
            return _alerts(
                connection,
                alerts.c.fired_minute.is_not(None)
                & (alerts.c.resolved_minute.is_(None) | (alerts.c.resolved_minute >= minute)),
            )

    def apply(self, lease: Lease, minute: int, changes: Sequence[AlertChange], now_ms: int) -> None:
        """Stores one tick: states, events, notifications and the tick's minute, or nothing.

        Raises Fenced when the lease was lost, DatabaseAway.
        """
        with self._database.write() as connection:
            advance(connection, lease, minute)
            for change in changes:
                self._apply(connection, change, minute, now_ms)

    def _apply(self, connection: Connection, change: AlertChange, minute: int, now_ms: int) -> None:
        values = {
            "fingerprint": change.fingerprint,
            "rule": change.rule,
            "series": change.series,
            "severity": change.severity,
            "state": change.state,
            "state_json": change.state_json,
            "title": change.title,
            "pending_minute": change.pending_minute,
            "fired_minute": change.fired_minute,
            "resolved_minute": change.resolved_minute,
            "updated_minute": minute,
        }
        alert_id = change.alert_id
        if alert_id is None:
            alert_id = connection.scalar(insert(alerts).values(values).returning(alerts.c.id))
        else:
            connection.execute(update(alerts).where(alerts.c.id == alert_id).values(values))
        event = change.event
        if event is None:
            return
        event_id = connection.scalar(
            insert(alert_events)
            .values(
                alert_id=alert_id,
                minute=minute,
                transition=event.transition,
                reason=event.reason,
                observed=event.observed,
                volume=event.volume,
                expected=event.expected,
                p_value=event.p_value,
                q_value=event.q_value,
                evidence=event.evidence,
                explanation=event.explanation,
            )
            .returning(alert_events.c.id)
        )
        if event.outgoing:
            connection.execute(
                insert(notifications),
                [
                    {
                        "event_id": event_id,
                        "receiver": one.receiver,
                        "notifier": one.notifier,
                        "idempotency_key": one.idempotency_key,
                        "payload": one.payload,
                        "title": one.title,
                        "body": one.body,
                        "state": "queued",
                        "attempts": 0,
                        "created_ms": now_ms,
                        "next_attempt_ms": now_ms,
                    }
                    for one in event.outgoing
                ],
            )

    # -- for people -------------------------------------------------------------------------------

    def listing(self, *, state: str | None = None, limit: int = 50) -> list[StoredAlert]:
        """Alerts that fired, newest first; ``state`` narrows (``pending`` shows those that have not fired yet)."""
        condition = alerts.c.fired_minute.is_not(None) if state is None else alerts.c.state == state
        with self._database.read() as connection:
            return _alerts(connection, condition, newest_first=True, limit=limit)

    def of_series(self, series: str, start: int, end: int) -> list[StoredAlert]:
        """Alerts of one series that were firing at some time of the minutes [start, end), oldest first."""
        with self._database.read() as connection:
            return _alerts(
                connection,
                (alerts.c.series == series)
                & (alerts.c.fired_minute < end)
                & (alerts.c.resolved_minute.is_(None) | (alerts.c.resolved_minute >= start)),
            )

    def newest_of(self, fingerprint: str) -> int | None:
        """The id of the newest alert with this fingerprint; None when there is none."""
        with self._database.read() as connection:
            newest: int | None = connection.scalar(
                select(func.max(alerts.c.id)).where(alerts.c.fingerprint == fingerprint)
            )
        return newest

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """How many alerts, and how many notifications, are in each state."""
        with self._database.read() as connection:
            return _count_by(connection, alerts.c.state), _count_by(connection, notifications.c.state)

    def show(self, alert_id: int) -> tuple[StoredAlert, list[dict[str, Any]], list[dict[str, Any]]] | None:
        """One alert with its events and its notifications, oldest first; None when there is none."""
        with self._database.read() as connection:
            found = _alerts(connection, alerts.c.id == alert_id)
            if not found:
                return None
            events = connection.execute(
                select(alert_events).where(alert_events.c.alert_id == alert_id).order_by(alert_events.c.id)
            ).mappings()
            sent = connection.execute(
                select(notifications)
                .join(alert_events, alert_events.c.id == notifications.c.event_id)
                .where(alert_events.c.alert_id == alert_id)
                .order_by(notifications.c.id)
            ).mappings()
            return found[0], [dict(event) for event in events], [dict(row) for row in sent]


def _count_by(connection: Connection, column: Column[str]) -> dict[str, int]:
    return {name: int(count) for name, count in connection.execute(select(column, func.count()).group_by(column))}


def _alerts(
    connection: Connection, condition: Any, *, newest_first: bool = False, limit: int | None = None
) -> list[StoredAlert]:
    order = (func.coalesce(alerts.c.fired_minute, alerts.c.pending_minute).desc(), alerts.c.id.desc())
    query = select(alerts).where(condition).order_by(*order if newest_first else (alerts.c.id,)).limit(limit)
    return [
        StoredAlert(**{name: row[name] for name in StoredAlert.__dataclass_fields__})
        for row in connection.execute(query).mappings()
    ]
