"""Back to the present: what a clock that ran ahead has written no longer keeps us from going on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select, update

from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.schema import leases, notification_alerts, notifications


def set_back(database: Database, lease: Lease, minute: int, now_ms: int) -> Lease:
    """Makes ``minute`` the newest one decided, and due now what was to be delivered later. One transaction.

    What failed while the clock ran ahead is tried again, unless its receiver has had a later message about the same
    alert: it may have been given up for its seeming age, or refused for a signature from the future.
    Returns the lease with its new token: whatever was read under the old one is to be read again. Raises Fenced when
    the lease was lost, DatabaseAway.
    """
    with database.write() as connection:
        held = connection.execute(
            update(leases)
            .where(leases.c.name == lease.name, leases.c.token == lease.token)
            .values(token=lease.token + 1, progress_minute=minute)
        )
        if held.rowcount != 1:
            raise Fenced("the detect lease was taken by another process")
        connection.execute(
            update(notifications)
            .where(notifications.c.state == "queued", notifications.c.next_attempt_ms > now_ms)
            .values(next_attempt_ms=now_ms)
        )
        connection.execute(
            update(notifications)
            .where(
                notifications.c.state == "failed",
                notifications.c.next_attempt_ms > now_ms,  # the last attempt was due then
                ~_told_of_a_later_event().exists(),
            )
            .values(state="queued", next_attempt_ms=now_ms)
        )
    return Lease(lease.name, lease.token + 1, minute)


def _told_of_a_later_event() -> Select[Any]:
    own, beside, later = notification_alerts, notification_alerts.alias("beside"), notifications.alias("later")
    return (
        select(later.c.id)
        .select_from(own)
        .join(beside, beside.c.alert_id == own.c.alert_id)
        .join(later, later.c.id == beside.c.notification_id)
        .where(
            own.c.notification_id == notifications.c.id,
            later.c.id > notifications.c.id,
            later.c.receiver == notifications.c.receiver,
            later.c.notifier == notifications.c.notifier,
            later.c.sent_ms.is_not(None),
        )
        .correlate(notifications)
    )
