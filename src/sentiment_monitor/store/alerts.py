"""Alerts and what happened to them. A decision and everything that follows from it is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from sqlalchemy import Column, ColumnElement, Connection, RowMapping, func, insert, select, update

from sentiment_monitor.domain.alert_states import OPEN_STATES, Kind, Listed, State
from sentiment_monitor.domain.alerts import Alert, AlertHistory, Event, Evidence, Notification
from sentiment_monitor.domain.hearing import Cause, Held, Ledger, Mention
from sentiment_monitor.domain.payload import another_key
from sentiment_monitor.store import hearing
from sentiment_monitor.store.database import Database, insert_new
from sentiment_monitor.store.hearing import HeldChange
from sentiment_monitor.store.leases import Lease, advance
from sentiment_monitor.store.outbox import delivery_record
from sentiment_monitor.store.people import acknowledged, sayings
from sentiment_monitor.store.schema import alert_events, alerts, closings, notification_alerts, notifications

_log = structlog.get_logger()
_evidence = msgspec.json.Decoder(Evidence)
_ALERT = (
    *("id", "rule", "series", "severity", "title"),
    *("pending_minute", "fired_minute", "quiet_minute", "silent_minute", "resolved_minute", "decided_minute"),
    *("closed_negatives", "reopened_minute", "reopenings", "stale"),
)
_EVENT = ("id", "minute", "reason", "observed", "volume", "expected", "p_value", "q_value", "explanation")


@dataclass(frozen=True, slots=True)
class Change:
    """What one tick does to one alert."""

    alert: Alert  # its value from now on; id None: a new one
    event: Event | None = None  # None: only its value moved
    notifications: Sequence[Notification] = ()  # that tell of the event first of all; without: of the newest there is
    held: Mapping[str, Held | None] = field(default_factory=dict)  # by receiver: held back from now on; None: no more


@dataclass(frozen=True, slots=True)
class Briefing:
    """What one receiver is told at its fixed time."""

    receiver: str
    minute: int  # for which it was due
    notifications: Sequence[Notification]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an alert and what happened to it is kept."""

    alert_id: int
    event_id: int | None  # of this change, or without one the newest; None: there is none
    told_before: bool = False  # this very event, of the same minute


class AlertStore:
    """Reads alerts, and writes them for the holder of the lease."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- for the tick loop ------------------------------------------------------------------------

    def open(self) -> list[Alert]:
        """Alerts that are pending or firing, and those that somebody ended while what raised them may go on."""
        with self._database.read() as connection:
            return alerts_where(connection, alerts.c.state.in_(OPEN_STATES) | alerts.c.closed_negatives.is_not(None))

    def ended_since(self, minute: int) -> list[Alert]:
        """Alerts that were told, and resolved by themselves at ``minute`` or later, oldest first."""
        by_hand = select(closings.c.id).where(closings.c.alert_id == alerts.c.id)
        with self._database.read() as connection:
            return alerts_where(
                connection,
                (alerts.c.state == State.RESOLVED)
                & (alerts.c.resolved_minute >= minute)
                & ~alerts.c.stale
                & ~by_hand.exists(),
            )

    def fired_since(self, minute: int) -> list[Alert]:
        """Alerts that fired and were not resolved before ``minute``: windows that a baseline must leave out."""
        with self._database.read() as connection:
            return alerts_where(
                connection,
                alerts.c.fired_minute.is_not(None)
                & (alerts.c.resolved_minute.is_(None) | (alerts.c.resolved_minute >= minute)),
            )

    def unheard_ends(self, minute: int) -> list[Alert]:
        """Alerts that are resolved while somebody who knows of them has not heard it, unless that is long ago."""
        with self._database.read() as connection:
            ids = hearing.unheard_ends(connection, minute)
            return alerts_where(connection, alerts.c.id.in_(ids)) if ids else []

    def book(self, alert_ids: Collection[int], minute: int) -> Ledger:
        """What everybody has heard of these alerts, and what is held back of them, as the tick at ``minute`` needs it.

        The order in which it was stored counts, whatever the clock said. What could not be handed over because the
        settings no longer had the notifier was told to nobody.
        """
        with self._database.read() as connection:
            return hearing.book(connection, alert_ids, minute)

    def newest_events(self, alert_ids: Collection[int]) -> dict[int, Event]:
        """The newest event of each alert that has one."""
        newest = select(func.max(alert_events.c.id)).group_by(alert_events.c.alert_id)
        query = select(alert_events).where(
            alert_events.c.id.in_(newest.where(alert_events.c.alert_id.in_(alert_ids)).scalar_subquery())
        )
        with self._database.read() as connection:
            return {row["alert_id"]: _event(row) for row in connection.execute(query).mappings()}

    def apply(
        self, lease: Lease, minute: int, changes: Sequence[Change], now_ms: int, briefings: Sequence[Briefing] = ()
    ) -> None:
        """Stores one tick: alerts, events, notifications, what is held back and the tick's minute, or nothing.

        Raises Fenced when the lease was lost, DatabaseAway.
        """
        with self._database.write() as connection:
            advance(connection, lease, minute)
            kept = {change.alert: _keep(connection, change, minute) for change in changes}
            for change in changes:
                place = kept[change.alert]
                _queue(connection, change, place, kept, minute, now_ms)
                hearing.note_held(
                    connection,
                    minute,
                    [HeldChange(place.alert_id, receiver, held) for receiver, held in change.held.items()],
                )
            for briefing in briefings:
                if hearing.note_briefing(connection, briefing.receiver, briefing.minute):
                    _insert(connection, briefing.notifications, None, now_ms)

    # -- for people -------------------------------------------------------------------------------

    def listing(self, *, state: str | None = None, limit: int = 50) -> list[Alert]:
        """Alerts that fired, newest first; ``state``, one of ``Listed``, narrows."""
        condition: ColumnElement[bool]
        if state is None:
            condition = alerts.c.fired_minute.is_not(None)
        elif state == Listed.RECOVERING:
            condition = (alerts.c.state == State.FIRING) & alerts.c.quiet_minute.is_not(None)
        else:
            condition = alerts.c.state == state
        with self._database.read() as connection:
            return alerts_where(connection, condition, newest_first=True, limit=limit)

    def owners(self, alert_ids: Collection[int]) -> dict[int, str]:
        """Who has taken on which of these alerts."""
        with self._database.read() as connection:
            return {number: kept.owner for number, kept in acknowledged(connection, alert_ids).items()}

    def of_series(self, series: str, start: int, end: int) -> list[Alert]:
        """Alerts of one series that were firing at some time of the minutes [start, end), oldest first."""
        with self._database.read() as connection:
            return alerts_where(
                connection,
                (alerts.c.series == series)
                & (alerts.c.fired_minute < end)
                & (alerts.c.resolved_minute.is_(None) | (alerts.c.resolved_minute >= start)),
            )

    def by_id(self, alert_ids: Collection[int]) -> dict[int, Alert]:
        """These alerts, as far as they exist."""
        with self._database.read() as connection:
            rows = alerts_where(connection, alerts.c.id.in_(alert_ids))
        return {alert.id: alert for alert in rows if alert.id is not None}

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

    def history(self, alert_id: int) -> AlertHistory | None:
        """One alert with its events and the deliveries that told of them; None when there is none."""
        with self._database.read() as connection:
            rows = alerts_where(connection, alerts.c.id == alert_id)
            if not rows:
                return None
            events = connection.execute(
                select(alert_events).where(alert_events.c.alert_id == alert_id).order_by(alert_events.c.id)
            ).mappings()
            deliveries = connection.execute(
                select(notifications)
                .join(notification_alerts, notification_alerts.c.notification_id == notifications.c.id)
                .where(notification_alerts.c.alert_id == alert_id)
                .order_by(notifications.c.id)
            ).mappings()
            return AlertHistory(
                rows[0],
                tuple(map(_event, events)),
                tuple(map(delivery_record, deliveries)),
                tuple(sayings(connection, alert_id)),
                hearing.held_of(connection, alert_id),
                next((kept.owner for kept in acknowledged(connection, [alert_id]).values()), None),
            )


def ended_between(connection: Connection, start: int, end: int) -> list[Alert]:
    """Alerts that fired and were resolved in the minutes [start, end)."""
    resolved = alerts.c.resolved_minute
    return alerts_where(connection, (alerts.c.state == State.RESOLVED) & (resolved >= start) & (resolved < end))


def _keep(connection: Connection, change: Change, minute: int) -> _Place:
    """Stores the alert, and its event."""
    alert = change.alert
    values = {name: getattr(alert, name) for name in _ALERT if name != "id"}
    values |= {"fingerprint": alert.fingerprint, "state": alert.state, "decided_minute": minute}
    alert_id = alert.id
    if alert_id is None:
        # It is worse than what somebody ended, or comes after it: nothing of that needs watching any more.
        connection.execute(
            update(alerts)
            .where(alerts.c.fingerprint == alert.fingerprint, alerts.c.closed_negatives.is_not(None))
            .values(closed_negatives=None)
        )
        alert_id = connection.scalar(insert(alerts).values(values).returning(alerts.c.id))
    else:
        connection.execute(update(alerts).where(alerts.c.id == alert_id).values(values))
    if alert_id is None:
        raise AssertionError("an insertion gives the row's number")
    if change.event is None:
        newest = select(func.max(alert_events.c.id)).where(alert_events.c.alert_id == alert_id)
        return _Place(alert_id, connection.scalar(newest) if change.notifications else None)
    event = {name: getattr(change.event, name) for name in _EVENT if name != "id"}
    event |= {"alert_id": alert_id, "transition": change.event.transition}
    event["evidence"] = msgspec.json.encode(change.event.evidence).decode()
    # After a clock that went back a minute may be decided a second time. What was told of it is not told again.
    event_id = connection.scalar(insert_new(connection, alert_events).values(event).returning(alert_events.c.id))
    return _Place(alert_id, event_id, told_before=event_id is None)


def _queue(
    connection: Connection, change: Change, place: _Place, kept: Mapping[Alert, _Place], minute: int, now_ms: int
) -> None:
    """Stores what is to be delivered, and of which alerts it tells."""
    if not change.notifications or place.told_before:
        return
    ids = _insert(connection, change.notifications, place.event_id, now_ms)
    mentions: list[dict[str, Any]] = []
    for notification_id, notification in zip(ids, change.notifications, strict=True):
        for alert, mention in notification.mentions or ((change.alert, _own_mention(change, notification, minute)),):
            mentions.append(
                {
                    "notification_id": notification_id,
                    "alert_id": kept[alert].alert_id if alert in kept else alert.id,
                    "minute": mention.minute,
                    "cause": mention.cause,
                    "severity": mention.severity,
                }
            )
    connection.execute(insert(notification_alerts), mentions)


def _own_mention(change: Change, notification: Notification, minute: int) -> Mention:
    event = change.event
    if event is None:
        return Mention(notification.receiver, minute, Cause.REPEATED, change.alert.severity)
    return Mention(notification.receiver, event.minute, Cause(event.transition), change.alert.severity)


def _insert(
    connection: Connection, outgoing: Sequence[Notification], event_id: int | None, now_ms: int
) -> Sequence[int]:
    """Queues notifications; their numbers, in the same order."""
    keys = [notification.key for notification in outgoing]
    used = set(
        connection.scalars(select(notifications.c.idempotency_key).where(notifications.c.idempotency_key.in_(keys)))
    )
    return connection.scalars(
        insert(notifications).returning(notifications.c.id, sort_by_parameter_order=True),
        [
            {
                "event_id": event_id,
                "receiver": notification.receiver,
                "notifier": notification.notifier,
                # Another alert of the series told of the same minute, by the clock as it was then: a receiver must
                # not take this one for that.
                "idempotency_key": another_key(notification.key, event_id or 0)
                if notification.key in used
                else notification.key,
                "payload": notification.body.decode(),
                "title": notification.title,
                "body": notification.text,
                "state": "queued",
                "attempts": 0,
                "created_ms": now_ms,
                "next_attempt_ms": now_ms,
            }
            for notification in outgoing
        ],
    ).all()


def _count_by(connection: Connection, column: Column[str]) -> dict[str, int]:
    return {name: int(count) for name, count in connection.execute(select(column, func.count()).group_by(column))}


def alerts_where(
    connection: Connection, condition: Any, *, newest_first: bool = False, limit: int | None = None
) -> list[Alert]:
    """The alerts that fit an SQL condition; in the order they were stored, or newest first, at most ``limit``."""
    began = func.coalesce(alerts.c.reopened_minute, alerts.c.fired_minute, alerts.c.pending_minute)
    order = (began.desc(), alerts.c.id.desc())
    query = select(alerts).where(condition).order_by(*order if newest_first else (alerts.c.id,)).limit(limit)
    return [
        Alert(**{name: row[name] for name in _ALERT}, state=State(row["state"]))
        for row in connection.execute(query).mappings()
    ]


def evidence_of(event_id: int, text: str) -> Evidence:
    """The evidence that an event was stored with."""
    try:
        return _evidence.decode(text)
    except msgspec.DecodeError as error:  # somebody's hand was here: the alert itself is sound
        _log.warning("evidence.unreadable", event_id=event_id, error=str(error))
        return Evidence(sentence="What this rests on cannot be read any more.")


def _event(row: RowMapping | Mapping[str, Any]) -> Event:
    values = {name: row[name] for name in _EVENT}
    return Event(**values, transition=Kind(row["transition"]), evidence=evidence_of(row["id"], row["evidence"]))
