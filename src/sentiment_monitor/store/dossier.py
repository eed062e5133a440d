"""Reads all that is known of one alert."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, select

from sentiment_monitor.domain.alerts import AlertHistory, Event, TopStory
from sentiment_monitor.domain.dossier import Dossier, Step, cause_of
from sentiment_monitor.domain.payload import decode
from sentiment_monitor.store import buckets, reading
from sentiment_monitor.store.schema import notifications
from sentiment_monitor.store.similar import similar
from sentiment_monitor.times import HOUR_MINUTES, rfc3339

BEFORE = 7  # steps that are shown of the time before the window that it fired on
MOST = 200  # steps at all


def dossier(connection: Connection, history: AlertHistory) -> Dossier:
    """What is known of the alert of ``history``. A step is the rule's window, an hour where that was not kept."""
    alert, cause = history.alert, cause_of(history)
    width = _window_minutes(connection, cause) or HOUR_MINUTES
    fired = cause.minute if cause else alert.pending_minute or 0
    last = buckets.last_minute(connection)
    present = fired if last is None else last + 1
    end = max(fired, min(present, alert.resolved_minute or present))
    following = min(MOST - BEFORE - 1, -(-(end - fired) // width))
    start = fired - (BEFORE + 1) * width
    first = reading.first_negative(connection, alert.series, fired - width, fired)
    (now,) = _steps(connection, history, present - width, present, width)
    return Dossier(
        history=history,
        steps=tuple(_steps(connection, history, start, fired + following * width, width)),
        now=now,
        first_story=None if first is None else top_story(first),
        similar=tuple(similar(connection, alert)),
    )


def top_story(fact: reading.StoryFact) -> TopStory:
    """A story of the store as alerts show it."""
    return TopStory(
        id=str(fact.id),
        headline=fact.headline,
        source=fact.source,
        url=fact.url,
        published_at=rfc3339(fact.published_ms),
        p_negative=fact.negative,
        copies=fact.copies,
    )


def _window_minutes(connection: Connection, cause: Event | None) -> int | None:
    """The rule's window; of an event from before it was kept with the evidence, as somebody was told of it."""
    if cause is None or cause.evidence.window_minutes:
        return cause.evidence.window_minutes if cause else None
    body = connection.scalar(select(notifications.c.payload).where(notifications.c.event_id == cause.id).limit(1))
    try:
        (alert, *_) = decode(body.encode()).alerts if body else ()
    except (msgspec.DecodeError, ValueError):
        return None
    return alert.sentiment.window_minutes


def _steps(connection: Connection, history: AlertHistory, start: int, end: int, width: int) -> list[Step]:
    return [
        Step(point.minute, width, point.stories, point.negative, _expected(history.events, point.minute + width))
        for point in buckets.trend(connection, history.alert.series, start, end, width)
    ]


def _expected(events: Sequence[Event], end: int) -> float:
    """Negatives that the newest event up to ``end`` expected of a window; the first one's before that."""
    known = [event for event in events if event.minute <= end] or list(events[:1])
    return known[-1].expected if known else 0.0
