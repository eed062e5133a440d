"""What one tick costs with thousands of series and weeks of minute buckets, on SQLite and PostgreSQL.

CPU seconds of this process (with SQLite that is everything, with PostgreSQL the server's are its own) and wall seconds,
of ticks within an hour and of the first of an hour, which fits what is usual anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import rig
from sqlalchemy import insert

from sentiment_monitor.detect.rules import DEFAULT_RULES
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import LeaseStore
from sentiment_monitor.store.schema import buckets
from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS
from sentiment_monitor.watch.tick import Ticker

START = 27_973_440  # 2023-03-10 00:00 UTC
NEGATIVE = 0.15  # of the stories
_AT_ONCE = 50_000  # rows of a statement


def main() -> None:
    options = rig.parser(__doc__)
    options.add_argument("--series", type=int, default=10_000)
    options.add_argument("--days", type=int, default=28)
    options.add_argument(
        "--buckets-a-day", type=float, default=3.0, help="minutes with a story, of a series, on average"
    )
    options.add_argument("--databases", default="sqlite,postgresql", help="comma-separated")
    options.add_argument("--seed", type=int, default=5)
    chosen = options.parse_args()
    rig.quiet()
    print(f"load average {os.getloadavg()[0]:.2f}")
    for kind in chosen.databases.split(","):
        with rig.database(kind) as url:
            measure(url, kind, chosen.series, chosen.days, chosen.buckets_a_day, chosen.seed)


def measure(url: str, kind: str, series: int, days: int, a_day: float, seed: int) -> None:
    """Fills a database, and ticks over an hour of it."""
    database = Database(url)
    database.migrate()
    count = 0
    with database.write() as connection:
        for rows in _rows(series, days, a_day, seed):
            connection.execute(insert(buckets), rows)
            count += len(rows)
    print(f"{kind}: {series:,} series, {days} days, {count:,} buckets")
    ticker = Ticker(
        database=database, alerts=AlertStore(database), rules=DEFAULT_RULES, routes=Routes({}, {}), external_url="",
        names={},
    )  # fmt: skip
    lease = LeaseStore(database).acquire("benchmark", 0, 3_600_000)
    assert lease is not None
    last = START + days * DAY_MINUTES
    first_of_hour: list[tuple[float, float]] = []
    others: list[tuple[float, float]] = []
    for minute in (*range(last - 61, last - 55), *range(last, last + 6)):
        cpu, wall = time.process_time(), time.perf_counter()
        report = ticker.tick(minute, lease, minute * MINUTE_MS)
        spent = (time.process_time() - cpu, time.perf_counter() - wall)
        (first_of_hour if minute % 60 == 0 or minute == last - 61 else others).append(spent)
        assert not report.skipped
    for what, spents in (("first of an hour", first_of_hour), ("other ticks", others)):
        cpu_s, wall_s = np.median([cpu for cpu, _ in spents]), np.median([wall for _, wall in spents])
        print(f"  {what}: {cpu_s:.2f} s CPU, {wall_s:.2f} s by the clock (median of {len(spents)})")
    database.close()


def _rows(series: int, days: int, a_day: float, seed: int) -> Iterator[list[dict[str, object]]]:
    """The buckets of so many companies and of the whole feed, one story each."""
    random = np.random.default_rng(seed)
    count = round(series * days * a_day)
    where = random.integers(0, series, count)
    minutes = START + random.integers(0, days * DAY_MINUTES, count)
    keys = np.unique(where.astype(np.int64) << 32 | minutes)
    negative = random.random(len(keys)) < NEGATIVE
    names, times = keys >> 32, keys & 0xFFFFFFFF
    feed, place = np.unique(times, return_inverse=True)
    totals, bad = np.bincount(place), np.bincount(place, negative)
    rows = [_row("all", *values) for values in zip(feed.tolist(), totals.tolist(), bad.tolist(), strict=True)]
    for name, minute, is_negative in zip(names.tolist(), times.tolist(), negative.tolist(), strict=True):
        rows.append(_row(f"ticker:T{name:05d}", minute, 1, int(is_negative)))
        if len(rows) >= _AT_ONCE:
            yield rows
            rows = []
    yield rows


def _row(series: str, minute: int, stories: int, negative: float) -> dict[str, object]:
    return {
        "series": series, "minute": minute, "stories": stories, "negative": int(negative), "positive": 0,
        "neutral": stories - int(negative), "copies": 0, "negative_micro": 0, "score_micro": 0,
    }  # fmt: skip


if __name__ == "__main__":
    main()
