"""Histories in memory for the tests of backtests: an ordinary feed, and trouble where a test wants it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from sentiment_monitor.backtest.columns import BucketColumns, Columns
from sentiment_monitor.times import DAY_MINUTES
from sentiment_monitor.watch.window import SeriesPlaces

START = 27_973_440  # 2023-03-10 00:00 UTC
COMPANIES = "ABCDEFGH"


class Item(NamedTuple):
    """One story; minutes count from ``START``."""

    minute: int
    company: str
    source: str
    label: str


def ordinary(seed: int, days: int, every: int = 10) -> list[Item]:
    """One story each ``every`` minutes, one in ten of them negative, from three sources."""
    rng = random.Random(seed)
    return [
        Item(
            minute,
            rng.choice(COMPANIES),
            f"s{rng.randrange(3)}",
            rng.choices(("negative", "neutral", "positive"), (10, 70, 20))[0],
        )
        for minute in range(0, days * DAY_MINUTES, every)
    ]


def crisis(company: str, minute: int, stories: int = 8, every: int = 3) -> list[Item]:
    """Bad news of one company."""
    return [Item(minute + n * every, company, f"s{n % 3}", "negative") for n in range(stories)]


def columns_of(items: Sequence[Item]) -> Columns:
    """What ``columns.load`` would read of these stories."""
    names = SeriesPlaces()
    counts: dict[tuple[int, int], list[int]] = {}
    tellings: dict[str, list[tuple[int, int, bool]]] = {}
    for minute, company, source, label in items:
        for series in ("all", f"ticker:{company}", f"source:{source}"):
            count = counts.setdefault((names.place(series), START + minute), [0, 0])
            count[0] += 1
            count[1] += label == "negative"
            tellings.setdefault(series, []).append((START + minute, int(source[1:]), label == "negative"))
    buckets = BucketColumns.of((series, minute, count[0], count[1]) for (series, minute), count in counts.items())
    return Columns.of(names, buckets, tellings, tellings.get("all", []))
