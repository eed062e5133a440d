"""The stories behind the buckets: those that alerts and pages show, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, false, func, or_, select

from sentiment_monitor.domain.series import dimension_of, series_of, ticker_series, value_of
from sentiment_monitor.store.schema import dead_letters, scores, stories
from sentiment_monitor.store.stories.row import split_tickers

# Not "copy_of is null": SQLite would go through every original ever stored instead of the minutes that are asked for.
_ORIGINAL = func.coalesce(stories.c.copy_of, 0) == 0


@dataclass(frozen=True, slots=True)
class Original:
    """A story of a window that is no copy, at least not for ``series``: what floors on sources and staleness need."""

    minute: int
    source: str
    negative: bool
    series: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoryFact:
    """A story as evidence shows it."""

    id: int
    headline: str
    source: str
    url: str
    published_ms: int
    minute: int
    label: str
    negative: float
    positive: float
    uncertain: bool
    topic: str | None
    tickers: tuple[str, ...]
    copies: int


def originals(connection: Connection, start: int, end: int) -> list[Original]:
    """What counts as a story in the minutes [start, end), each with the series it counts in."""
    story = stories.c
    rows = connection.execute(
        select(
            story.minute, story.source, story.tickers, story.copy_of, story.counts_for, scores.c.topic, scores.c.label
        )
        .join(scores, scores.c.story_id == stories.c.id)
        .where(*_living(start, end), or_(_ORIGINAL, stories.c.counts_for != ""))
    )
    return [
        Original(
            minute,
            source,
            label == "negative",
            tuple(
                series_of(source, topic, split_tickers(tickers))
                if copy_of is None
                else map(ticker_series, split_tickers(counts_for))
            ),
        )
        for minute, source, tickers, copy_of, counts_for, topic, label in rows
    ]


def top_negative(connection: Connection, series: str, start: int, end: int, limit: int) -> list[StoryFact]:
    """The most negative originals of a series in [start, end), newest of equals first."""
    chosen = _facts(series, start, end, "negative")
    order = (scores.c.negative.desc(), stories.c.minute.desc(), stories.c.id)
    return _read_facts(connection, chosen.order_by(*order).limit(limit))


def first_negative(connection: Connection, series: str, start: int, end: int) -> StoryFact | None:
    """The earliest negative original of a series in [start, end)."""
    order = (stories.c.minute, stories.c.published_ms, stories.c.id)
    facts = _read_facts(connection, _facts(series, start, end, "negative").order_by(*order).limit(1))
    return facts[0] if facts else None


def negative_sources(connection: Connection, series: str, start: int, end: int) -> list[str]:
    """The sources of all negative originals of a series in [start, end), most frequent first."""
    query = (
        select(stories.c.source)
        .join(scores, scores.c.story_id == stories.c.id)
        .where(*_living(start, end), _counts_in(series), scores.c.label == "negative")
        .group_by(stories.c.source)
        .order_by(func.count().desc(), stories.c.source)
    )
    return list(connection.scalars(query))


def latest(
    connection: Connection, series: str, start: int, end: int, limit: int, label: str | None = None
) -> list[StoryFact]:
    """The newest originals of a series in [start, end), of one label if given."""
    order = (stories.c.minute.desc(), stories.c.published_ms.desc(), stories.c.id.desc())
    return _read_facts(connection, _facts(series, start, end, label).order_by(*order).limit(limit))


def _facts(series: str, start: int, end: int, label: str | None) -> Select[Any]:
    copies = stories.alias("copies")
    count = (
        select(func.count())
        .select_from(copies)
        .where(copies.c.copy_of == stories.c.id, copies.c.deleted.is_(False))
        .scalar_subquery()
    )
    chosen = (
        select(
            *(stories.c[name] for name in ("id", "headline", "source", "url", "published_ms", "minute", "tickers")),
            *(scores.c[name] for name in ("label", "negative", "positive", "uncertain", "topic")),
            count.label("copies"),
        )
        .join(scores, scores.c.story_id == stories.c.id)
        .where(*_living(start, end), _counts_in(series))
    )  # fmt: skip
    return chosen if label is None else chosen.where(scores.c.label == label)


def _read_facts(connection: Connection, query: Select[Any]) -> list[StoryFact]:
    return [
        StoryFact(
            id=row["id"],
            headline=row["headline"],
            source=row["source"],
            url=row["url"],
            published_ms=row["published_ms"],
            minute=row["minute"],
            label=row["label"],
            negative=row["negative"],
            positive=row["positive"],
            uncertain=row["uncertain"],
            topic=row["topic"],
            tickers=split_tickers(row["tickers"]),
            copies=row["copies"],
        )
        for row in connection.execute(query).mappings()
    ]


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is, for summaries."""

    stories: int
    copies: int
    deleted: int
    negative: int
    dead_letters: int


def totals(connection: Connection) -> Totals:
    """Counts over everything stored."""

    def count(query: Select[int]) -> int:
        return int(connection.scalar(query) or 0)

    everything = select(func.count()).select_from(stories)
    return Totals(
        stories=count(everything),
        copies=count(everything.where(stories.c.copy_of.is_not(None))),
        deleted=count(everything.where(stories.c.deleted.is_(True))),
        negative=count(select(func.count()).select_from(scores).where(scores.c.label == "negative")),
        dead_letters=count(select(func.count()).select_from(dead_letters)),
    )


def _living(start: int, end: int) -> tuple[ColumnElement[bool], ...]:
    return (stories.c.minute >= start, stories.c.minute < end, stories.c.deleted.is_(False))


def _counts_in(series: str) -> ColumnElement[bool]:
    """Stories that count as such in the series: originals, and for a company copies that name it first."""
    value = value_of(series)
    match dimension_of(series):
        case "all":
            return _ORIGINAL
        case "topic":
            return _ORIGINAL & (scores.c.topic == value)
        case "ticker":
            return (_ORIGINAL & _holds(stories.c.tickers, value)) | _holds(stories.c.counts_for, value)
        case "source":
            return _ORIGINAL & (stories.c.source == value)
        case _:
            return false()


def _holds(tickers: Column[str], value: str) -> ColumnElement[bool]:
    # Not LIKE, which in SQLite takes small letters for capitals.
    return func.replace(tickers, f",{value},", "") != tickers
