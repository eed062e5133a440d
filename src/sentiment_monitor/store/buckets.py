"""The buckets as they are, and as stories and scores say they must be."""

from __future__ import annotations

from sqlalchemy import Connection, select

from sentiment_monitor.domain.series import series_of
from sentiment_monitor.store.schema import buckets, scores, stories
from sentiment_monitor.store.stories.row import COUNTERS, BucketKey, Counters, counters_of, split_tickers


def recompute_buckets(connection: Connection) -> dict[BucketKey, Counters]:
    """The buckets as stories and scores say they must be: the oracle of the increments."""
    totals: dict[BucketKey, list[int]] = {}
    query = (
        select(
            *(stories.c[name] for name in ("source", "tickers", "minute", "copy_of")),
            *(scores.c[name] for name in ("label", "topic", "negative", "score")),
        )
        .select_from(stories.join(scores, scores.c.story_id == stories.c.id))
        .where(stories.c.deleted.is_(False))
        .execution_options(yield_per=5_000)
    )
    for source, tickers, minute, copy_of, label, topic, negative, signed in connection.execute(query):
        counters = counters_of(label, negative, signed, is_copy=copy_of is not None)
        for series in series_of(source, topic, split_tickers(tickers)):
            total = totals.setdefault((series, minute), [0] * len(COUNTERS))
            for place, value in enumerate(counters):
                total[place] += value
    return {key: tuple(total) for key, total in totals.items()}  # type: ignore[misc]  # the length is len(COUNTERS)


def stored_buckets(connection: Connection) -> dict[BucketKey, Counters]:
    """The buckets as they are."""
    columns = [buckets.c[name] for name in COUNTERS]
    rows = connection.execute(select(buckets.c.series, buckets.c.minute, *columns))
    return {(series, minute): tuple(counters) for series, minute, *counters in rows}
