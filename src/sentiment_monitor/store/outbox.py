"""The outbox: notifications that are to be delivered, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, RowMapping, Select, Subquery, func, select, update

from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import alert_events, notifications


@dataclass(frozen=True, slots=True)
class Due:
    """A notification whose time has come."""

    id: int
    attempts: int  # that have failed
    created_ms: int
    notification: Notification


class Lane(NamedTuple):
    """One notifier of one receiver, by their names: what is queued for it is delivered in a row, beside all others."""

    receiver: str
    notifier: str


class Outbox:
    """Reads and writes the outbox for whoever delivers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lanes(self, now_ms: int) -> list[Lane]:
        """Notifiers for whom something is due."""
        due = _next_in_turn().subquery()
        with self._database.read() as connection:
            rows = connection.execute(
                select(due.c.receiver, due.c.notifier).distinct().where(due.c.next_attempt_ms <= now_ms, _first(due))
            )
            return [Lane(*row) for row in rows]

    def due(self, now_ms: int, lane: Lane, limit: int = 50) -> list[Due]:
        """Queued notifications of one notifier whose time has come, oldest first.

        One waits while the notifier has not yet been told of an earlier event of the same alert: "resolved" must not
        overtake "fired".
        """
        due = _next_in_turn(lane).subquery()
        with self._database.read() as connection:
            rows = connection.execute(
                select(due).where(due.c.next_attempt_ms <= now_ms, _first(due)).order_by(due.c.id).limit(limit)
            ).mappings()
            return [Due(row["id"], row["attempts"], row["created_ms"], _notification(row)) for row in rows]

    def rename(self, lane: Lane, notifier: str) -> None:
        """What is queued for the one goes to the other, which is the same under a new name."""
        with self._database.write() as connection:
            connection.execute(
                update(notifications)
                .where(
                    notifications.c.state == "queued",
                    notifications.c.receiver == lane.receiver,
                    notifications.c.notifier == lane.notifier,
                )
                .values(notifier=notifier)
            )

    def queued(self) -> int:
        """How many notifications are still to be delivered."""
        with self._database.read() as connection:
            count = select(func.count()).select_from(notifications).where(notifications.c.state == "queued")
            return int(connection.scalar(count) or 0)

    def record_sent(self, notification_id: int, now_ms: int) -> None:
        """The notification was delivered."""
        self._record(notification_id, state="sent", sent_ms=now_ms, last_error=None)

    def record_failure(self, notification_id: int, error: str, next_attempt_ms: int | None) -> None:
        """An attempt failed; None gives up."""
        values: dict[str, Any] = {"last_error": error[:1_000]}
        values |= {"state": "failed"} if next_attempt_ms is None else {"next_attempt_ms": next_attempt_ms}
        self._record(notification_id, **values)

    def _record(self, notification_id: int, **values: Any) -> None:
        with self._database.write() as connection:
            connection.execute(
                update(notifications)
                .where(notifications.c.id == notification_id)
                .values(attempts=notifications.c.attempts + 1, **values)
            )


def _next_in_turn(lane: Lane | None = None) -> Select[Any]:
    """What is queued, with the earliest event of the same alert that its notifier has not been told of."""
    turn = (notifications.c.receiver, notifications.c.notifier, alert_events.c.alert_id)
    earliest = func.min(notifications.c.event_id).over(partition_by=turn).label("earliest_event_id")
    queued = (
        select(notifications, earliest)
        .join(alert_events, alert_events.c.id == notifications.c.event_id)
        .where(notifications.c.state == "queued")
    )
    if lane is None:
        return queued
    return queued.where(notifications.c.receiver == lane.receiver, notifications.c.notifier == lane.notifier)


def _first(queued: Subquery) -> ColumnElement[bool]:
    return queued.c.event_id == queued.c.earliest_event_id


def _notification(row: RowMapping) -> Notification:
    return Notification(
        key=row["idempotency_key"],
        receiver=row["receiver"],
        notifier=row["notifier"],
        title=row["title"],
        text=row["body"],
        body=row["payload"].encode(),
    )
