"""A database's history in arrays: buckets by minute, and who told what, for a reader that asks SQL for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.detect.baseline import Floats, Ints
from sentiment_monitor.domain.series import dimension_of
from sentiment_monitor.store import buckets, reading
from sentiment_monitor.store.database import Connection
from sentiment_monitor.watch.window import SeriesPlaces


@dataclass(frozen=True, slots=True, eq=False)
class BucketColumns:
    """Buckets with a story, ordered by minute: B of them. ``series`` is the place of a name."""

    series: Ints  # (B,)
    minute: Ints  # (B,)
    stories: Floats  # (B,) copies collapsed
    negative: Floats  # (B,) likewise

    def __len__(self) -> int:
        return len(self.minute)

    def before(self, minute: int) -> int:
        """How many buckets are older than ``minute``."""
        return int(np.searchsorted(self.minute, minute))

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int, int]]) -> BucketColumns:
        """From rows of series' place, minute, stories and negatives, in any order."""
        values = np.array(list(rows), np.int64).reshape(-1, 4)
        values = values[np.lexsort((values[:, 0], values[:, 1]))]
        return cls(values[:, 0], values[:, 1], values[:, 2].astype(np.float64), values[:, 3].astype(np.float64))

    def only(self, chosen: NDArray[np.bool_]) -> BucketColumns:
        """Some of the buckets, in their order."""
        return BucketColumns(self.series[chosen], self.minute[chosen], self.stories[chosen], self.negative[chosen])


TellingRow = tuple[int, int, bool]
"""Of one original: its minute, the number of its source, and whether it is negative."""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Originals of one series, ordered by minute: (N,) each."""

    minute: Ints
    source: Ints  # a number for each source
    negative: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Iterable[TellingRow]) -> Told:
        """From rows in any order."""
        values = np.array(sorted(rows), np.int64).reshape(-1, 3)
        return cls(values[:, 0], values[:, 1], values[:, 2].astype(np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """All of a history that detection looks at."""

    names: SeriesPlaces
    buckets: BucketColumns
    by_dimension: Mapping[str, BucketColumns]
    tellings: Mapping[str, Told]  # by series
    feed: Told  # every original, and every copy that counts somewhere

    @classmethod
    def of(
        cls,
        names: SeriesPlaces,
        counted: BucketColumns,
        tellings: Mapping[str, Iterable[TellingRow]],
        feed: Iterable[TellingRow],
    ) -> Columns:
        """From buckets and who told what."""
        dimensions = np.array([dimension_of(names[place]) for place in range(len(names))], object)
        return cls(
            names,
            counted,
            {name: counted.only((dimensions == name)[counted.series]) for name in set(dimensions.tolist())},
            {series: Told.of(rows) for series, rows in tellings.items()},
            Told.of(feed),
        )

    @property
    def first_minute(self) -> int | None:
        """Of the oldest bucket; None of a history without one."""
        return int(self.buckets.minute[0]) if len(self.buckets) else None

    @property
    def last_minute(self) -> int | None:
        """Of the newest bucket."""
        return int(self.buckets.minute[-1]) if len(self.buckets) else None

    def active(self) -> list[int]:
        """Minutes with a story, ascending."""
        feed = self.by_dimension.get("all")
        return [] if feed is None else list(map(int, feed.minute))


def load(connection: Connection, start: int, end: int) -> Columns:
    """Reads the buckets and stories of the minutes [start, end). Memory grows with both: some 200 bytes a bucket."""
    names = SeriesPlaces()
    counted = BucketColumns.of(
        (names.place(series), minute, stories, negative)
        for series, minute, stories, negative in buckets.counted(connection, start, end)
    )
    tellings: dict[str, list[TellingRow]] = {}
    feed: list[TellingRow] = []
    sources: dict[str, int] = {}
    for story in reading.originals(connection, start, end):
        row = (story.minute, sources.setdefault(story.source, len(sources)), story.negative)
        feed.append(row)
        for series in story.series:
            tellings.setdefault(series, []).append(row)
    return Columns.of(names, counted, tellings, feed)
