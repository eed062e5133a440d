"""Fields of messages that could not be read: how often, by day, source, field and reason, with an example."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from sentiment_monitor.domain.news import ScoredStory
from sentiment_monitor.store.schema import dropped_fields
from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS

_KEY = ("day", "source", "field", "reason")


@dataclass(frozen=True, slots=True)
class DroppedCount:
    """Stories of one day and source that were stored without a field, or with part of it, for one reason."""

    day: int  # days since 1970-01-01 UTC
    source: str
    field: str
    reason: str
    stories: int
    example: str


def count(connection: Connection, scored: Iterable[ScoredStory], now_ms: int) -> None:
    """Adds what the stories' messages held in vain, in the caller's transaction; one row a source, field and reason."""
    counts: dict[tuple[str, str, str], tuple[int, str]] = {}
    for item in scored:
        story = item.enriched.story
        for lost in story.dropped:
            key = (story.source, lost.field, lost.reason)
            counts[key] = (counts.get(key, (0, ""))[0] + 1, lost.example)
    if not counts:
        return
    day = now_ms // (DAY_MINUTES * MINUTE_MS)
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    addition = insert(dropped_fields)
    connection.execute(
        addition.on_conflict_do_update(
            index_elements=_KEY,
            set_={
                "stories": dropped_fields.c.stories + addition.excluded.stories,
                "example": addition.excluded.example,
                "updated_ms": addition.excluded.updated_ms,
            },
        ),
        # In one order, so that two writers cannot wait for each other's rows.
        [
            {"day": day, "source": source, "field": field, "reason": reason, "stories": stories, "example": example,
             "updated_ms": now_ms}
            for (source, field, reason), (stories, example) in sorted(counts.items())
        ],
    )  # fmt: skip


def counts(connection: Connection, first_day: int, limit: int) -> list[DroppedCount]:
    """The counts from ``first_day`` (days since 1970) on: newest day first, then most stories first."""
    columns = dropped_fields.c
    rows = connection.execute(
        select(*(columns[name] for name in (*_KEY, "stories", "example")))
        .where(columns.day >= first_day)
        .order_by(columns.day.desc(), columns.stories.desc(), columns.source, columns.field, columns.reason)
        .limit(limit)
    )
    return [DroppedCount(*row) for row in rows]
