"""What people say about alerts: silences, acknowledgements, closings. Rows are added; only a silence's end moves."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection

import structlog
from sqlalchemy import Connection, func, select

from sentiment_monitor.domain.matchers import Matcher
from sentiment_monitor.domain.people import Acknowledgement, Closing, People, Silence, Verdict
from sentiment_monitor.store.schema import acknowledgements, closings, silences

_log = structlog.get_logger()


def people(connection: Connection, minute: int, alert_ids: Collection[int]) -> People:
    """What the tick at ``minute`` must respect: silences that are not over, and what was said of these alerts.

    An acknowledgement or a closing counts from the first tick that sees it, whatever the clock said.
    """
    kept = silences.c
    rows = connection.execute(select(silences).where(kept.ends_minute > minute).order_by(kept.id)).mappings()
    standing = [
        Silence(
            id=row["id"],
            matchers=matchers,
            starts_minute=row["starts_minute"],
            ends_minute=row["ends_minute"],
            author=row["author"],
            comment=row["comment"],
        )
        for row in rows
        if (matchers := _matchers(row["matchers"]))
    ]
    if not alert_ids:
        return People(tuple(standing))
    return People(tuple(standing), _acknowledged(connection, alert_ids), _closed(connection, alert_ids))


def _acknowledged(connection: Connection, alert_ids: Collection[int]) -> dict[int, Acknowledgement]:
    newest = (
        select(func.max(acknowledgements.c.id))
        .where(acknowledgements.c.alert_id.in_(alert_ids))
        .group_by(acknowledgements.c.alert_id)
    )
    rows = connection.execute(select(acknowledgements).where(acknowledgements.c.id.in_(newest.scalar_subquery())))
    return {
        row.alert_id: Acknowledgement(row.alert_id, row.minute, row.owner, row.note)
        for row in rows
        if row.owner is not None
    }


def _closed(connection: Connection, alert_ids: Collection[int]) -> dict[int, Closing]:
    rows = connection.execute(select(closings).where(closings.c.alert_id.in_(alert_ids)))
    return {
        row.alert_id: Closing(row.alert_id, row.minute, row.actor, Verdict(row.verdict), row.reason) for row in rows
    }


@functools.lru_cache(maxsize=1_000)
def _matchers(text: str) -> tuple[Matcher, ...]:
    """The matchers of a silence; none, and it mutes nothing, for what somebody's hand has damaged."""
    try:
        return tuple(Matcher.of(written) for written in json.loads(text))
    except (TypeError, ValueError) as error:
        _log.warning("silence.unreadable", matchers=text, error=str(error))
        return ()
