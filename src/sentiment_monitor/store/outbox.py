"""The outbox: notifications that are to be delivered, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, func, select, update

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


class Outbox:
    """Reads and writes the outbox for whoever delivers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, now_ms: int, limit: int = 50) -> list[Due]:
        """Queued notifications whose time has come, oldest first.

        One waits while the same notifier has not yet been told of an earlier event of the same alert: "resolved" must
        not overtake "fired".
        """
        before, event, earlier = notifications.alias(), alert_events.alias(), alert_events.alias()
        untold = (
            select(before.c.id)
            .join(earlier, earlier.c.id == before.c.event_id)
            .join(event, event.c.alert_id == earlier.c.alert_id)
            .where(
                event.c.id == notifications.c.event_id,
                before.c.event_id < notifications.c.event_id,
                before.c.receiver == notifications.c.receiver,
                before.c.notifier == notifications.c.notifier,
                before.c.state == "queued",
            )
        )
        with self._database.read() as connection:
            rows = connection.execute(
                select(notifications)
                .where(notifications.c.state == "queued", notifications.c.next_attempt_ms <= now_ms, ~untold.exists())
                .order_by(notifications.c.id)
                .limit(limit)
            ).mappings()
            return [Due(row["id"], row["attempts"], row["created_ms"], _notification(row)) for row in rows]

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


def _notification(row: RowMapping) -> Notification:
    return Notification(
        key=row["idempotency_key"],
        receiver=row["receiver"],
        notifier=row["notifier"],
        title=row["title"],
        text=row["body"],
        body=row["payload"].encode(),
    )
