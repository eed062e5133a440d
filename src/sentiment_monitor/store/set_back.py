"""Back to the present: what a clock that ran ahead has written no longer keeps us from going on."""

from __future__ import annotations

from sqlalchemy import update

from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import Lease
from sentiment_monitor.store.schema import leases, notifications


def set_back(database: Database, lease: Lease, minute: int, now_ms: int) -> Lease:
    """Makes ``minute`` the newest one decided, and due now what was to be delivered later. One transaction.

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
    return Lease(lease.name, lease.token + 1, minute)
