"""What people have said and done about alerts, as people read it: acknowledgements, comments, closings in one order."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Select, Table, select

from sentiment_monitor.domain.people import Deed, Saying, Verdict
from sentiment_monitor.store.schema import acknowledgements, closings, comments

_DEEDS = {Verdict.RESOLVED: Deed.RESOLVED, Verdict.DISMISSED: Deed.DISMISSED}


def sayings(connection: Connection, alert_ids: Collection[int]) -> dict[int, tuple[Saying, ...]]:
    """By alert, what was said of it, oldest first; alerts of which nobody said anything are left out."""
    said: dict[int, list[Saying]] = {}
    for row in connection.execute(_of(acknowledgements, alert_ids)):
        deed = Deed.UNACKNOWLEDGED if row.owner is None else Deed.ACKNOWLEDGED
        said.setdefault(row.alert_id, []).append(Saying(row.at_ms, row.actor, deed, row.note, row.owner))
    for row in connection.execute(_of(comments, alert_ids)):
        said.setdefault(row.alert_id, []).append(Saying(row.at_ms, row.author, Deed.COMMENTED, row.text))
    for row in connection.execute(_of(closings, alert_ids)):
        deed = _DEEDS[Verdict(row.verdict)]
        said.setdefault(row.alert_id, []).append(Saying(row.at_ms, row.actor, deed, row.reason))
    return {alert: tuple(sorted(words, key=lambda saying: saying.at_ms)) for alert, words in said.items()}


def _of(table: Table, alert_ids: Collection[int]) -> Select[Any]:
    return select(table).where(table.c.alert_id.in_(alert_ids)).order_by(table.c.id)
