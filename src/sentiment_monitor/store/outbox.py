"""The outbox: notifications that are to be delivered, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, func, select, update

from sentiment_monitor.domain.alerts import DeliveryRecord, Notification
from sentiment_monitor.store import stops
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import notification_alerts, notifications, stopped_notifiers
from sentiment_monitor.store.stops import Lane, Resumed, Stop

_QUEUED = notifications.c.state == "queued"
_BY_TIME = (notifications.c.next_attempt_ms, notifications.c.id)
_ERROR_LETTERS = 1_000
_DELIVERY = ("receiver", "notifier", "title", "state", "attempts", "created_ms", "sent_ms", "last_error")
_STOPPED = (
    select(stopped_notifiers.c.receiver)
    .where(
        stopped_notifiers.c.receiver == notifications.c.receiver,
        stopped_notifiers.c.notifier == notifications.c.notifier,
    )
    .exists()
)


@dataclass(frozen=True, slots=True)
class Due:
    """A notification whose time has come."""

    id: int
    attempts: int  # that have failed
    created_ms: int
    notification: Notification


@dataclass(frozen=True, slots=True)
class LaneCount:
    """How many notifications of one notifier are in each state, and when it last took one."""

    lane: Lane
    queued: int
    sent: int
    failed: int
    last_sent_ms: int | None


class Outbox:
    """Reads and writes the outbox for whoever delivers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lanes(self, now_ms: int) -> list[Lane]:
        """Notifiers for whom something is due, and that are not stopped."""
        waiting = select(notifications.c.receiver, notifications.c.notifier).distinct()
        chosen = waiting.where(_QUEUED, _time_has_come(now_ms), ~_STOPPED)
        with self._database.read() as connection:
            lanes = [Lane(*row) for row in connection.execute(chosen)]
            return [lane for lane in lanes if connection.scalar(_next_in_turn(now_ms, lane, 1)) is not None]

    def due(self, now_ms: int, lane: Lane, limit: int = 50) -> list[Due]:
        """Queued notifications of one notifier whose time has come, in the order in which it came; none if stopped.

        One waits while an earlier message about one of its alerts is not yet handed over to the notifier: "resolved"
        must not overtake "fired".
        """
        chosen = _next_in_turn(now_ms, lane, limit).scalar_subquery()
        query = select(notifications).where(notifications.c.id.in_(chosen)).order_by(*_BY_TIME)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings()
            return [Due(row["id"], row["attempts"], row["created_ms"], _notification(row)) for row in rows]

    def places(self) -> list[Lane]:
        """Notifiers for whom something is queued, due or not, under a place (``#0``) from before there were names."""
        query = select(notifications.c.receiver, notifications.c.notifier).distinct()
        with self._database.read() as connection:
            rows = connection.execute(query.where(_QUEUED, notifications.c.notifier.startswith("#")))
            return [Lane(*row) for row in rows]

    def rename(self, lane: Lane, notifier: str) -> None:
        """What is queued for the one goes to the other, which is the same under a new name."""
        with self._database.write() as connection:
            connection.execute(update(notifications).where(_QUEUED, *_of(lane)).values(notifier=notifier))

    def refuse(self, lane: Lane, error: str) -> int:
        """All that is queued for a notifier, due or not, fails; how many those are."""
        with self._database.write() as connection:
            failed = connection.execute(
                update(notifications)
                .where(_QUEUED, *_of(lane))
                .values(attempts=notifications.c.attempts + 1, state="failed", last_error=error[:_ERROR_LETTERS])
            )
            return failed.rowcount

    def stop(self, notification_id: int, stop: Stop) -> None:
        """The receiver does not let us in: the attempt is noted, and nothing more is due for the notifier."""
        with self._database.write() as connection:
            connection.execute(
                update(notifications)
                .where(notifications.c.id == notification_id, _QUEUED)
                .values(
                    attempts=notifications.c.attempts + 1,
                    last_error=stop.error[:_ERROR_LETTERS],
                    next_attempt_ms=stop.since_ms,
                )
            )
            stops.add(connection, stop)

    def stops(self) -> list[Stop]:
        """The notifiers that are stopped."""
        with self._database.read() as connection:
            return stops.listing(connection)

    def resume(self, lane: Lane, since_ms: int, created_after_ms: int) -> Resumed | None:
        """See :func:`stops.remove`."""
        with self._database.write() as connection:
            return stops.remove(connection, lane, created_after_ms, since_ms=since_ms)

    def counts(self) -> list[LaneCount]:
        """What there is of each notifier that was ever told something, by name."""
        state = notifications.c.state
        query = (
            select(
                notifications.c.receiver,
                notifications.c.notifier,
                *(func.count().filter(state == name) for name in ("queued", "sent", "failed")),
                func.max(notifications.c.sent_ms),
            )
            .group_by(notifications.c.receiver, notifications.c.notifier)
            .order_by(notifications.c.receiver, notifications.c.notifier)
        )
        with self._database.read() as connection:
            return [
                LaneCount(Lane(receiver, notifier), *rest) for receiver, notifier, *rest in connection.execute(query)
            ]

    def log(
        self, limit: int, *, receiver: str | None = None, notifier: str | None = None, state: str | None = None
    ) -> list[DeliveryRecord]:
        """The newest notifications and what became of them, newest first."""
        wanted = {"receiver": receiver, "notifier": notifier, "state": state}
        query = (
            select(notifications)
            .where(*(notifications.c[name] == value for name, value in wanted.items() if value is not None))
            .order_by(notifications.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [delivery_record(row) for row in connection.execute(query).mappings()]

    def queued(self) -> int:
        """How many notifications are still to be delivered."""
        with self._database.read() as connection:
            count = select(func.count()).select_from(notifications).where(_QUEUED)
            return int(connection.scalar(count) or 0)

    def record_sent(self, notification_id: int, now_ms: int) -> None:
        """The notification was delivered, whatever another process has noted meanwhile."""
        with self._database.write() as connection:
            connection.execute(
                update(notifications)
                .where(notifications.c.id == notification_id)
                .values(attempts=notifications.c.attempts + 1, state="sent", sent_ms=now_ms, last_error=None)
            )

    def record_failure(self, notification_id: int, error: str, next_attempt_ms: int | None) -> bool:
        """An attempt failed; None gives up. False, and nothing noted, for what is no longer queued."""
        values: dict[str, Any] = {"last_error": error[:_ERROR_LETTERS]}
        values |= {"state": "failed"} if next_attempt_ms is None else {"next_attempt_ms": next_attempt_ms}
        with self._database.write() as connection:
            noted = connection.execute(
                update(notifications)
                .where(notifications.c.id == notification_id, _QUEUED)
                .values(attempts=notifications.c.attempts + 1, **values)
            )
            return noted.rowcount == 1


def delivery_record(row: RowMapping) -> DeliveryRecord:
    """What became of a notification, of its whole row."""
    return DeliveryRecord(**{name: row[name] for name in _DELIVERY}, key=row["idempotency_key"])


def _of(lane: Lane) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return notifications.c.receiver == lane.receiver, notifications.c.notifier == lane.notifier


def _time_has_come(now_ms: int) -> ColumnElement[bool]:
    return notifications.c.next_attempt_ms <= now_ms


def _next_in_turn(now_ms: int, lane: Lane, limit: int) -> Select[Any]:
    """Ids of what is due for a notifier and waits for no earlier message about one of its alerts.

    Read along an index in the order asked for, and no further than to the limit: what else is queued costs nothing.
    """
    own, earlier, before = notification_alerts, notifications.alias("earlier"), notification_alerts.alias("before")
    untold = (
        select(earlier.c.id)
        .select_from(own)
        .join(before, before.c.alert_id == own.c.alert_id)
        .join(earlier, earlier.c.id == before.c.notification_id)
        .where(
            own.c.notification_id == notifications.c.id,
            before.c.notification_id < notifications.c.id,
            earlier.c.event_id != notifications.c.event_id,
            earlier.c.receiver == lane.receiver,
            earlier.c.notifier == lane.notifier,
            # Not "= queued": SQLite would look through all that is queued for each, not the alert's few messages.
            earlier.c.state.not_in(("sent", "failed")),
        )
        .correlate(notifications)
    )
    return (
        select(notifications.c.id)
        .where(_QUEUED, *_of(lane), _time_has_come(now_ms), ~_STOPPED, ~untold.exists())
        .order_by(*_BY_TIME)
        .limit(limit)
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
