"""Letting a notifier that was stopped deliver again."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment_monitor.store import audit, stops
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.stops import Lane, Resumed


def resume(
    database: Database, actor: str, lanes: Sequence[Lane], now_ms: int, *, give_up_ms: int
) -> dict[Lane, Resumed | None]:
    """Lets notifiers deliver again what is queued for them, in one transaction with its audit; None: was not stopped.

    The process that leads delivers within seconds. What was decided more than ``give_up_ms`` ago fails instead.
    """
    with database.write() as connection:
        resumed = {lane: stops.remove(connection, lane, now_ms - give_up_ms) for lane in lanes}
        entries = [
            audit.Entry(
                now_ms,
                actor,
                "notifier.resume",
                f"notifier:{lane.receiver}/{lane.notifier}",
                {"waiting": queue.waiting, "given_up": queue.given_up},
            )
            for lane, queue in resumed.items()
            if queue is not None
        ]
        if entries:
            audit.note(connection, entries)
    return resumed
