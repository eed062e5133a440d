"""Notifiers that stand still because their receiver does not let us in: what is queued for them waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, update

from sentiment_monitor.store.database import insert_new
from sentiment_monitor.store.schema import notifications, stopped_notifiers


class Lane(NamedTuple):
    """One notifier of one receiver, by their names: what is queued for it is delivered in a row, beside all others."""

    receiver: str
    notifier: str


@dataclass(frozen=True, slots=True)
class Stop:
    """One notifier does not deliver since then, and why."""

    lane: Lane
    since_ms: int
    error: str
    access: str  # salted hash of the settings that were refused


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a notifier that delivers again finds."""

    waiting: int  # notifications that are delivered now
    given_up: int  # those that had become too old meanwhile


def add(connection: Connection, stop: Stop) -> None:
    """Notes that a notifier is stopped; one that is already stays as it is."""
    connection.execute(
        insert_new(connection, stopped_notifiers),
        {
            "receiver": stop.lane.receiver,
            "notifier": stop.lane.notifier,
            "since_ms": stop.since_ms,
            "error": stop.error[:1_000],
            "access": stop.access,
        },
    )


def listing(connection: Connection) -> list[Stop]:
    """The notifiers that are stopped, by name."""
    query = select(stopped_notifiers).order_by(stopped_notifiers.c.receiver, stopped_notifiers.c.notifier)
    return [
        Stop(Lane(row["receiver"], row["notifier"]), row["since_ms"], row["error"], row["access"])
        for row in connection.execute(query).mappings()
    ]


def remove(connection: Connection, lane: Lane, created_after_ms: int, *, since_ms: int | None = None) -> Resumed | None:
    """The notifier delivers again; None when it was not stopped, or not at ``since_ms``.

    What is queued for it since before ``created_after_ms`` fails: old news does not page.
    """
    of_lane = (stopped_notifiers.c.receiver == lane.receiver, stopped_notifiers.c.notifier == lane.notifier)
    of_stop = () if since_ms is None else (stopped_notifiers.c.since_ms == since_ms,)
    if not connection.execute(delete(stopped_notifiers).where(*of_lane, *of_stop)).rowcount:
        return None
    queued = (
        notifications.c.state == "queued",
        notifications.c.receiver == lane.receiver,
        notifications.c.notifier == lane.notifier,
    )
    given_up = connection.execute(
        update(notifications)
        .where(*queued, notifications.c.created_ms < created_after_ms)
        .values(state="failed", last_error="too_old: its notifier stood still for longer than detect.give_up_hours")
    ).rowcount
    waiting = connection.scalar(select(func.count()).select_from(notifications).where(*queued))
    return Resumed(int(waiting or 0), given_up)
