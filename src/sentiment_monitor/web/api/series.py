"""Trends, series and stories as JSON."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter

from sentiment_monitor.store import buckets, reading
from sentiment_monitor.web.answers import ErrorAnswer, SeriesAnswer, StoryAnswer, TrendAnswer
from sentiment_monitor.web.dependencies import Names, ReadDatabase, snapshot
from sentiment_monitor.web.parameters import Label, Limit, SeriesName, Since, Span, Step, Until

router = APIRouter(responses={404: {"model": ErrorAnswer, "description": "The database holds no story yet."}})


@router.get("/trend")
def trend(
    database: ReadDatabase, series: SeriesName, since: Since = "24h", until: Until = None, step: Step = None
) -> TrendAnswer:
    """One series over time: what ``monitor trend --json`` prints."""
    with snapshot(database) as (connection, last):
        span = Span.read(since, until, step, last)
        points = buckets.trend(connection, series, span.start, span.end, span.step)
    return TrendAnswer.of(series, points, span.step)


@router.get("/series")
def all_series(
    database: ReadDatabase,
    names: Names,
    dimension: Literal["ticker", "topic", "source", "all"] = "ticker",
    since: Since = "24h",
    until: Until = None,
    limit: Limit = 50,
) -> list[SeriesAnswer]:
    """Series with the most negatives of a span, each beside the span of equal length before."""
    with snapshot(database) as (connection, last):
        span = Span.read(since, until, None, last)
        changes = buckets.changes(connection, dimension, span.start, span.end, limit)
    return [SeriesAnswer.of(change, names.of(change.series)) for change in changes]


@router.get("/stories")
def stories(
    database: ReadDatabase,
    series: SeriesName = "all",
    since: Since = "24h",
    until: Until = None,
    label: Label = "",
    limit: Limit = 100,
) -> list[StoryAnswer]:
    """Stories of a series, newest first, without copies."""
    with snapshot(database) as (connection, last):
        span = Span.read(since, until, None, last)
        facts = reading.latest(connection, series, span.start, span.end, limit, label or None)
    return [StoryAnswer.of(fact) for fact in facts]
