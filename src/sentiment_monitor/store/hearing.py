"""What receivers have heard of alerts, and what was held back from them: written with a tick, read by the next."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import Connection, case, func, insert, select, update

from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.hearing import Cause, Held, Ledger, Mention, Withholding, heard_of
from sentiment_monitor.store.database import insert_new
from sentiment_monitor.store.schema import alerts, briefings, held_back, notification_alerts, notifications
from sentiment_monitor.times import DAY_MINUTES

END_MINUTES = 7 * DAY_MINUTES  # so long the end of an alert is news
_FIRST = (Cause.FIRED, Cause.JOINED, Cause.LATE, Cause.WORSENED, Cause.ESCALATED)
# What could not be handed over because the settings no longer had the notifier was told to nobody.
_REACHED = func.coalesce(
    ~((notifications.c.state == "failed") & notifications.c.last_error.startswith("no_such_notifier")), True
)


@dataclass(frozen=True, slots=True)
class HeldChange:
    """What is held back from a receiver of an alert from now on; None: nothing any more."""

    alert_id: int
    receiver: str
    held: Held | None


def unheard_ends(connection: Connection, minute: int) -> list[int]:
    """Alerts that ended not long before ``minute`` while somebody who has heard of them has not heard that."""
    mention, queue = notification_alerts.c, notifications.c
    deaf = (
        select(mention.alert_id)
        .join(notifications, queue.id == mention.notification_id)
        .join(alerts, alerts.c.id == mention.alert_id)
        .where(alerts.c.state == State.RESOLVED, alerts.c.resolved_minute > minute - END_MINUTES, _REACHED)
        .group_by(mention.alert_id, queue.receiver)
        .having(func.sum(case((mention.cause == Cause.RESOLVED, 1), else_=0)) == 0)
    )
    return sorted(set(connection.scalars(deaf)))


def book(connection: Connection, alert_ids: Collection[int], minute: int) -> Ledger:
    """What everybody has heard of these alerts, and what receivers were told of within a day before ``minute``."""
    mention, queue = notification_alerts.c, notifications.c
    rows = connection.execute(
        select(mention.alert_id, queue.receiver, mention.minute, mention.cause, mention.severity)
        .join(notifications, queue.id == mention.notification_id)
        .where(mention.alert_id.in_(alert_ids), _REACHED)
        .order_by(mention.alert_id, queue.id)
    )
    heard = {
        alert_id: heard_of(_each_once(Mention(row[1], row[2], Cause(row[3]), row[4]) for row in mentions))
        for alert_id, mentions in groupby(rows, key=lambda row: row[0])
    }
    held: dict[int, dict[str, Held]] = {}
    standing = select(held_back).where(held_back.c.alert_id.in_(alert_ids), held_back.c.until_minute.is_(None))
    for row in connection.execute(standing):
        held.setdefault(row.alert_id, {})[row.receiver] = Held(row.reason, row.detail)
    return Ledger(heard, _spent(connection, minute), held, _briefed(connection))


def note_held(connection: Connection, minute: int, changes: Sequence[HeldChange]) -> None:
    """Ends what was held back until now, and begins what is from now on."""
    for change in changes:
        connection.execute(
            update(held_back)
            .where(
                held_back.c.alert_id == change.alert_id,
                held_back.c.receiver == change.receiver,
                held_back.c.until_minute.is_(None),
            )
            .values(until_minute=minute)
        )
        if change.held is not None:
            connection.execute(
                insert(held_back).values(
                    alert_id=change.alert_id,
                    receiver=change.receiver,
                    reason=change.held.reason,
                    detail=change.held.detail,
                    since_minute=minute,
                )
            )


def note_briefing(connection: Connection, receiver: str, minute: int) -> bool:
    """That a briefing was given; False when it had been before."""
    noted = connection.execute(insert_new(connection, briefings).values(receiver=receiver, minute=minute))
    return noted.rowcount == 1


def held_of(connection: Connection, alert_id: int) -> tuple[Withholding, ...]:
    """What was held back of an alert, oldest first."""
    rows = connection.execute(select(held_back).where(held_back.c.alert_id == alert_id).order_by(held_back.c.id))
    return tuple(Withholding(row.receiver, row.reason, row.detail, row.since_minute, row.until_minute) for row in rows)


def _each_once(mentions: Iterator[Mention]) -> Iterator[Mention]:
    """A message goes to each notifier of its receiver: those are one mention."""
    return (mention for mention, _ in groupby(mentions))


def _spent(connection: Connection, minute: int) -> dict[str, tuple[int, ...]]:
    mention, queue = notification_alerts.c, notifications.c
    first = (
        select(queue.receiver, func.min(mention.minute).label("minute"))
        .select_from(notification_alerts)
        .join(notifications, queue.id == mention.notification_id)
        .where(mention.minute > minute - DAY_MINUTES, mention.cause.in_(_FIRST), _REACHED)
        .group_by(queue.receiver, mention.alert_id)
        .order_by("minute")
    )
    spent: dict[str, tuple[int, ...]] = {}
    for receiver, told_at in connection.execute(first):
        spent[receiver] = (*spent.get(receiver, ()), told_at)
    return spent


def _briefed(connection: Connection) -> dict[str, int]:
    newest = func.max(briefings.c.minute).label("minute")
    rows = connection.execute(select(briefings.c.receiver, newest).group_by(briefings.c.receiver))
    return {row.receiver: row.minute for row in rows}
