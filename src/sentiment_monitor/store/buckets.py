"""The buckets: what the tick loop and people read of them, and what stories and scores say they must be."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, or_, select

from sentiment_monitor.domain.series import series_of, ticker_series
from sentiment_monitor.store.schema import buckets, scores, stories
from sentiment_monitor.store.stories.row import COUNTERS, MICRO, BucketKey, Counters, counters_of, split_tickers
from sentiment_monitor.times import DAY_MINUTES

_MANY_MINUTES = 7 * DAY_MINUTES
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


def counted(connection: Connection, start: int, end: int) -> Iterator[tuple[str, int, int, int]]:
    """(series, minute, stories, negative) of every bucket with a story in the minutes [start, end), in any order."""
    rows = connection.execute(
        select(buckets.c.series, buckets.c.minute, buckets.c.stories, buckets.c.negative)
        .where(buckets.c.minute >= start, buckets.c.minute < end, buckets.c.stories > 0)
        .execution_options(yield_per=10_000)
    )
    yield from ((row.series, row.minute, row.stories, row.negative) for row in rows)


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


def copies(connection: Connection, series: str, start: int, end: int) -> int:
    """How many copies a series had in the minutes [start, end)."""
    query = select(func.coalesce(func.sum(buckets.c.copies), 0)).where(
        buckets.c.series == series, buckets.c.minute >= start, buckets.c.minute < end
    )
    return int(connection.scalar(query) or 0)


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


def recompute_buckets(connection: Connection) -> dict[BucketKey, Counters]:
    """The buckets as stories and scores say they must be: the oracle of the increments."""
    totals: dict[BucketKey, list[int]] = {}
    query = (
        select(
            *(stories.c[name] for name in ("source", "tickers", "minute", "copy_of", "counts_for")),
            *(scores.c[name] for name in ("label", "topic", "negative", "score")),
        )
        .select_from(stories.join(scores, scores.c.story_id == stories.c.id))
        .where(stories.c.deleted.is_(False))
        .execution_options(yield_per=5_000)
    )
    for source, tickers, minute, copy_of, counts_for, label, topic, negative, signed in connection.execute(query):
        counted_for = {ticker_series(ticker) for ticker in split_tickers(counts_for)}
        for series in series_of(source, topic, split_tickers(tickers)):
            is_copy = copy_of is not None and series not in counted_for
            total = totals.setdefault((series, minute), [0] * len(COUNTERS))
            for place, value in enumerate(counters_of(label, negative, signed, is_copy=is_copy)):
                total[place] += value
    return {key: tuple(total) for key, total in totals.items()}  # type: ignore[misc]  # the length is len(COUNTERS)


def stored_buckets(connection: Connection) -> dict[BucketKey, Counters]:
    """The buckets as they are."""
    columns = [buckets.c[name] for name in COUNTERS]
    rows = connection.execute(select(buckets.c.series, buckets.c.minute, *columns))
    return {(series, minute): tuple(counters) for series, minute, *counters in rows}


def _of_dimension(dimension: str) -> ColumnElement[bool]:
    return buckets.c.series == "all" if dimension == "all" else buckets.c.series.like(f"{dimension}:%")
