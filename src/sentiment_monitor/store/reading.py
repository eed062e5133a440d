"""What the tick loop and people read of the buckets, and the stories behind them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, case, false, func, or_, select, true

from sentiment_monitor.domain.series import dimension_of, series_of
from sentiment_monitor.store.schema import buckets, dead_letters, scores, stories
from sentiment_monitor.store.stories.row import MICRO, split_tickers
from sentiment_monitor.times import DAY_MINUTES

_MANY_MINUTES = 7 * DAY_MINUTES

# Not "copy_of is null": SQLite would go through every original ever stored instead of the minutes that are asked for.
_ORIGINAL = func.coalesce(stories.c.copy_of, 0) == 0
# Asked at every tick, so it is built once.
_SERIES_WINDOWS = (
    select(buckets.c.series, func.sum(buckets.c.stories), func.sum(buckets.c.negative))
    .where(buckets.c.minute >= bindparam("start"), buckets.c.minute < bindparam("end"))
    .group_by(buckets.c.series)
    .having(func.sum(buckets.c.stories) > 0)
)


@dataclass(frozen=True, slots=True)
class SeriesWindow:
    """One series within one window, copies collapsed."""

    series: str
    stories: int
    negative: int


@dataclass(frozen=True, slots=True)
class Original:
    """A story of a window that is no copy: what floors on sources and staleness need."""

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


@dataclass(frozen=True, slots=True)
class SeriesChange:
    """One series in a span, and in the span of equal length before; copies collapsed, mean score in [-1, 1]."""

    series: str
    stories: int
    negative: int
    score: float
    stories_before: int
    negative_before: int


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One step of a series: counts without copies, and mean score in [-1, 1] (None without stories)."""

    minute: int
    stories: int
    negative: int
    neutral: int
    positive: int
    copies: int
    score: float | None


def series_windows(connection: Connection, start: int, end: int) -> list[SeriesWindow]:
    """Every series with a story in the minutes [start, end)."""
    rows = connection.execute(_SERIES_WINDOWS, {"start": start, "end": end})
    return [SeriesWindow(series, int(count), int(negative)) for series, count, negative in rows]


def originals(connection: Connection, start: int, end: int) -> list[Original]:
    """The originals of the minutes [start, end), each with the series it counts in."""
    rows = connection.execute(
        select(stories.c.minute, stories.c.source, stories.c.tickers, scores.c.topic, scores.c.label)
        .join(scores, scores.c.story_id == stories.c.id)
        .where(*_living(start, end), _ORIGINAL)
    )
    return [
        Original(minute, source, label == "negative", tuple(series_of(source, topic, split_tickers(tickers))))
        for minute, source, tickers, topic, label in rows
    ]


def history(
    connection: Connection, dimensions: Collection[str], end: int, width: int, bins: int
) -> list[tuple[str, int, int, int]]:
    """(series, bin, negative, stories) for the ``bins`` windows of ``width`` minutes that end at ``end``.

    Bin 0 is the oldest; bins without a story are left out.
    """
    first = end - width * bins
    place = ((buckets.c.minute - first) // width).label("bin")
    wanted = [_of_dimension(dimension) for dimension in dimensions]
    total = func.sum(buckets.c.stories)
    rows = connection.execute(
        select(buckets.c.series, place, func.sum(buckets.c.negative), total)
        .where(buckets.c.minute >= first, buckets.c.minute < end, or_(*wanted))
        .group_by(buckets.c.series, place)
        .having(total > 0)
    )
    return [(series, int(where), int(negative), int(count)) for series, where, negative, count in rows]


def last_minute(connection: Connection) -> int | None:
    """The newest minute with a bucket, or None."""
    minute: int | None = connection.scalar(select(func.max(buckets.c.minute)))
    return minute


def active_minutes(connection: Connection, start: int, end: int) -> list[int]:
    """Minutes in [start, end) that have a bucket of series ``all``, oldest first."""
    rows = connection.scalars(
        select(buckets.c.minute)
        .where(buckets.c.series == "all", buckets.c.minute >= start, buckets.c.minute < end)
        .order_by(buckets.c.minute)
    )
    return list(rows)


def top_negative(connection: Connection, series: str, start: int, end: int, limit: int) -> list[StoryFact]:
    """The most negative originals of a series in [start, end), newest of equals first."""
    chosen = _facts(series, start, end, "negative")
    order = (scores.c.negative.desc(), stories.c.minute.desc(), stories.c.id)
    return _read_facts(connection, chosen.order_by(*order).limit(limit))


def negative_sources(connection: Connection, series: str, start: int, end: int) -> list[str]:
    """The sources of all negative originals of a series in [start, end), most frequent first."""
    query = (
        select(stories.c.source)
        .join(scores, scores.c.story_id == stories.c.id)
        .where(*_living(start, end), _ORIGINAL, _in_series(series), scores.c.label == "negative")
        .group_by(stories.c.source)
        .order_by(func.count().desc(), stories.c.source)
    )
    return list(connection.scalars(query))


def copies(connection: Connection, series: str, start: int, end: int) -> int:
    """How many copies a series had in the minutes [start, end)."""
    query = select(func.coalesce(func.sum(buckets.c.copies), 0)).where(
        buckets.c.series == series, buckets.c.minute >= start, buckets.c.minute < end
    )
    return int(connection.scalar(query) or 0)


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
        .where(*_living(start, end), _ORIGINAL, _in_series(series))
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


def changes(connection: Connection, dimension: str, start: int, end: int, limit: int) -> list[SeriesChange]:
    """The series of a dimension with the most negatives in [start, end), beside the span of equal length before."""
    # Of many minutes SQLite does better with the dimension's own part of the primary key, which it does not see in a
    # LIKE: 0.1 s instead of 0.5 for 30 days in 1.2 million buckets. Of few it does better with the index by minute.
    bytewise = connection.dialect.name == "sqlite" and dimension != "all" and end - start > _MANY_MINUTES
    name = buckets.c.series
    chosen = (name >= f"{dimension}:") & (name < f"{dimension};") if bytewise else _of_dimension(dimension)
    inside = buckets.c.minute >= start

    def sums(column: ColumnElement[int], where: ColumnElement[bool]) -> ColumnElement[int]:
        return func.sum(case((where, column), else_=0))

    now, negative = sums(buckets.c.stories, inside), sums(buckets.c.negative, inside)
    rows = connection.execute(
        select(
            buckets.c.series,
            now,
            negative,
            sums(buckets.c.score_micro, inside),
            sums(buckets.c.stories, ~inside),
            sums(buckets.c.negative, ~inside),
        )
        .where(buckets.c.minute >= 2 * start - end, buckets.c.minute < end, chosen)
        .group_by(buckets.c.series)
        .having(now > 0)
        .order_by(negative.desc(), now.desc(), buckets.c.series)
        .limit(limit)
    )
    return [
        SeriesChange(series, int(count), int(bad), int(micro) / MICRO / int(count), int(before), int(bad_before))
        for series, count, bad, micro, before, bad_before in rows
    ]


def trend(connection: Connection, series: str, start: int, end: int, step: int) -> list[TrendPoint]:
    """The series in steps of ``step`` minutes over [start, end); steps without a story are there, with zeros."""
    rows = connection.execute(
        select(
            ((buckets.c.minute - start) // step).label("place"),
            *(
                func.sum(column)
                for column in (
                    buckets.c.stories,
                    buckets.c.negative,
                    buckets.c.neutral,
                    buckets.c.positive,
                    buckets.c.copies,
                    buckets.c.score_micro,
                )
            ),
        )
        .where(buckets.c.series == series, buckets.c.minute >= start, buckets.c.minute < end)
        .group_by("place")
    )
    sums = {int(place): [int(value) for value in values] for place, *values in rows}
    points = []
    for place in range(-(-(end - start) // step)):
        count, negative, neutral, positive, copies, micro = sums.get(place, [0] * 6)
        score = micro / MICRO / count if count else None
        points.append(TrendPoint(start + place * step, count, negative, neutral, positive, copies, score))
    return points


def negatives(connection: Connection, series: Collection[str], start: int, end: int, step: int) -> dict[str, list[int]]:
    """Negatives of several series in steps of ``step`` minutes over [start, end): what sparklines are drawn of."""
    steps = -(-(end - start) // step)
    counts = {name: [0] * steps for name in series}
    rows = connection.execute(
        select(buckets.c.series, ((buckets.c.minute - start) // step).label("place"), func.sum(buckets.c.negative))
        .where(buckets.c.series.in_(series), buckets.c.minute >= start, buckets.c.minute < end)
        .group_by(buckets.c.series, "place")
    )
    for name, place, count in rows:
        counts[name][int(place)] = int(count)
    return counts


def exists(connection: Connection, series: str) -> bool:
    """Whether any story counts in the series."""
    return connection.scalar(select(buckets.c.minute).where(buckets.c.series == series).limit(1)) is not None


def series_like(connection: Connection, text: str, limit: int = 10) -> list[str]:
    """Names of series that contain ``text``, for a helpful error."""
    return list(
        connection.scalars(
            select(buckets.c.series)
            .where(func.lower(buckets.c.series).contains(text.lower(), autoescape=True))
            .group_by(buckets.c.series)
            .order_by(func.sum(buckets.c.stories).desc())
            .limit(limit)
        )
    )


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


def _of_dimension(dimension: str) -> ColumnElement[bool]:
    return buckets.c.series == "all" if dimension == "all" else buckets.c.series.like(f"{dimension}:%")


def _living(start: int, end: int) -> tuple[ColumnElement[bool], ...]:
    return (stories.c.minute >= start, stories.c.minute < end, stories.c.deleted.is_(False))


def _in_series(series: str) -> ColumnElement[bool]:
    value = series.partition(":")[2]
    match dimension_of(series):
        case "all":
            return true()
        case "topic":
            return scores.c.topic == value
        case "ticker":
            # Not LIKE, which in SQLite takes small letters for capitals.
            return func.replace(stories.c.tickers, f",{value},", "") != stories.c.tickers
        case "source":
            return stories.c.source == value
        case _:
            return false()
