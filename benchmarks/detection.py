"""python benchmarks/detection.py DATABASE {replay|spikes|daily}: what the built-in rules make of a stored feed.

``replay`` prints every alert of the history. ``spikes`` pours invented bad news into it and prints how much of it is
found, and how late, for each detector. ``daily`` prints negatives by day and series as CSV, for ``surveillance.R``.
The figures are in docs/experiments/rules-of-2023.md.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from worlds import Told, columns_of, found, poured, replay, stored

from sentiment_monitor.detect.rules import DEFAULT_RULES, CountRule, CusumRule, Rule
from sentiment_monitor.times import DAY_MINUTES, clock

SIZES = {"thin": (0.02, 0.1), "middling": (0.1, 0.3), "giant": (0.3, 1e9)}  # usual negatives a day
DETECTORS: dict[str, Rule] = {
    "count": CountRule(
        name="count", window_minutes=DAY_MINUTES, alpha=0.005, warmup_minutes=3 * DAY_MINUTES,
        max_staleness_minutes=360, keep_firing_minutes=360,
    ),
    "cusum": CusumRule(
        name="cusum", window_minutes=DAY_MINUTES, memory_windows=2, alpha=0.02, warmup_minutes=3 * DAY_MINUTES,
        max_staleness_minutes=360, keep_firing_minutes=360,
    ),
}  # fmt: skip


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database", type=Path)
    parser.add_argument("what", choices=("replay", "spikes", "daily"))
    parser.add_argument("--watchlist", type=Path, default=Path("deploy/watchlist.csv"))
    parser.add_argument("--every", type=int, default=15, help="minutes between two decisions")
    parser.add_argument("--worlds", type=int, default=1, help="spikes: feeds with twenty spikes each")
    chosen = parser.parse_args()
    stories = stored(chosen.database, chosen.watchlist)
    if chosen.what == "replay":
        show_alerts(stories, chosen.every)
    elif chosen.what == "spikes":
        show_spikes(stories, chosen.watchlist, chosen.every, chosen.worlds)
    else:
        show_days(stories)


def show_alerts(stories: Sequence[Told], every: int) -> None:
    """One line an alert of the built-in rules."""
    for alert in replay(columns_of(stories), DEFAULT_RULES, every=every):
        seen = alert.evaluation
        print(
            f"{clock(alert.minute)}  {alert.rule:14} {alert.series:24} {seen.observed:3.0f} of {seen.volume:3.0f}"
            f"  expected {seen.expected:5.2f}  q {seen.q_value or 0:.1g}  {seen.reason}"
        )


def show_spikes(stories: Sequence[Told], watchlist: Path, every: int, worlds: int) -> None:
    """A table: how many spikes each detector finds while they last, and after how many hours."""
    print("| detector | spike | size | times | found | median hours |\n|---|---|---|---|---|---|")
    for name, rule in DETECTORS.items():
        for creeping in (False, True):
            for size, usually in SIZES.items():
                for factor in (2, 3, 5, 10):
                    delays: list[int | None] = []
                    for seed in range(worlds):
                        feed, spikes = poured(
                            stories, watchlist, seed=seed, spikes=20, factor=factor, creeping=creeping,
                            dimension="ticker", usually=usually,
                        )  # fmt: skip
                        fired = replay(columns_of(feed), [rule], every=every)
                        delays += [found(fired, spike) for spike in spikes]
                    hits = [delay for delay in delays if delay is not None]
                    hours = f"{statistics.median(hits) / 60:.0f}" if hits else "-"
                    kind = "creeping" if creeping else "sudden"
                    part = f"{len(hits) / max(1, len(delays)):.0%} of {len(delays)}"
                    print(f"| {name} | {kind} | {size} | {factor} | {part} | {hours} |", flush=True)


def show_days(stories: Sequence[Told]) -> None:
    """``day,series,negative,stories`` for every company and day, also those without a story."""
    days = range(stories[0].minute // DAY_MINUTES, stories[-1].minute // DAY_MINUTES + 1)
    counts: dict[tuple[str, int], list[int]] = {}
    for story in stories:
        for series in story.series:
            if series.startswith("ticker:"):
                count = counts.setdefault((series, story.minute // DAY_MINUTES), [0, 0])
                count[0] += story.negative
                count[1] += 1
    writer = csv.writer(sys.stdout)
    writer.writerow(("day", "series", "negative", "stories"))
    for series in sorted({series for series, _ in counts}):
        for day in days:
            writer.writerow((day, series, *counts.get((series, day), (0, 0))))


if __name__ == "__main__":
    main()
