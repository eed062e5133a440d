"""A feed whose clock is hours away is said, once; one that is late, replayed or caught up with is not."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from structlog.testing import capture_logs

from sentiment_monitor.domain.news import Action, DeadLetter, Position, Record, Story
from sentiment_monitor.ingest.dates import Notations
from sentiment_monitor.stream.feed_clocks import MAX_SOURCES, FeedClocks

NOON = 1_796_040_000_000  # 2026-11-30T12:00:00Z
MINUTE, HOUR = 60_000, 3_600_000


def _clocks(zone: str = "UTC") -> tuple[FeedClocks, dict[str, float]]:
    shown: dict[str, float] = {}
    return FeedClocks(Notations.of(zone, {}, None), shown.update), shown


def _said(clocks: FeedClocks, stories: Iterable[tuple[int, int]], source: str = "norwick wire") -> list[dict[str, Any]]:
    """What the log says to (record's time, how long before it the story is dated)."""
    with capture_logs() as lines:
        for record_ms, behind_ms in stories:
            clocks.see(source, record_ms, record_ms - behind_ms)
    return [dict(line) for line in lines]


def _live(hours: float, seed: int = 1, minutes: int = 120, late: int = 3 * MINUTE) -> list[tuple[int, int]]:
    """A story a minute or so, each some minutes late, dated ``hours`` before that."""
    chance = random.Random(seed)
    return [
        (NOON + minute * MINUTE, round(hours * HOUR) + 1 + round(chance.expovariate(1 / late)))
        for minute in range(minutes)
        if chance.random() < 0.7
    ]


@pytest.mark.parametrize(
    ("zone", "hours", "offset", "likely"),
    [
        ("UTC", 5, "UTC-05:00", "America/New_York"),
        ("UTC", -8, "UTC+08:00", "Asia/Shanghai"),
        ("UTC", -1, "UTC+01:00", "Europe/Berlin"),
        ("UTC", -5.5, "UTC+05:30", "Asia/Kolkata"),
        ("UTC", -5.75, "UTC+05:45", None),
        ("America/New_York", -5, "UTC+00:00", "Europe/London"),
        ("Europe/Berlin", 6, "UTC-05:00", "America/New_York"),
    ],
)
def test_a_feed_read_in_another_zone_is_said_once_with_the_zone_it_likely_is_in(
    zone: str, hours: float, offset: str, likely: str | None
) -> None:
    clocks, shown = _clocks(zone)
    (line,) = _said(clocks, _live(hours, minutes=600))
    assert (line["event"], line["source"]) == ("feed.clock_differs", "norwick wire")
    assert (line["likely_offset"], line["likely_zone"]) == (offset, likely)
    assert f'news.time_zones."norwick wire" = "{likely or "…"}"' in line["hint"]
    assert line["hours"] == pytest.approx(hours, abs=0.1)
    assert shown["norwick wire"] == pytest.approx(hours * 3600, abs=360)


def _outage() -> list[tuple[int, int]]:
    """The producer was away for five hours and then sends in a minute what it has."""
    return [(NOON + n * 100, 5 * HOUR - n * 30_000) for n in range(600)] + _live(0)


def _archive() -> list[tuple[int, int]]:
    return [(NOON + n * MINUTE, 24 * 365 * HOUR - n * 7 * MINUTE) for n in range(2_000)]


def _late_by_chance() -> list[tuple[int, int]]:
    return _live(0, late=25 * MINUTE, minutes=600)


def _misdated_by_chance() -> list[tuple[int, int]]:
    return [(at, -5 * HOUR if n % 8 == 0 else behind) for n, (at, behind) in enumerate(_live(0, minutes=600))]


def _without_times() -> list[tuple[int, int]]:
    return [(NOON + n * MINUTE, 0) for n in range(600)]


def _few() -> list[tuple[int, int]]:
    return [(NOON + n * HOUR, 5 * HOUR) for n in range(9)]


@pytest.mark.parametrize(
    "feed",
    [_outage, _archive, _late_by_chance, _misdated_by_chance, _without_times, _few],
    ids=lambda feed: feed.__name__,
)
def test_what_is_late_old_or_misdated_by_chance_is_no_wrong_clock(feed: Any) -> None:
    assert _said(_clocks()[0], feed()) == []


def test_a_wrong_clock_shows_among_stories_that_give_no_time_and_bear_their_records() -> None:
    wrong = [(at, behind if n % 2 else 0) for n, (at, behind) in enumerate(_live(5, minutes=300))]
    assert [line["event"] for line in _said(_clocks()[0], wrong)] == ["feed.clock_differs"]


def test_another_difference_is_said_anew_and_so_is_its_end() -> None:
    clocks, shown = _clocks()
    day = [(at + shift * HOUR, behind) for shift, hours in ((0, 5), (10, 4), (20, 0)) for at, behind in _live(hours)]
    lines = _said(clocks, day)
    assert [(line["event"], line.get("likely_offset")) for line in lines] == [
        ("feed.clock_differs", "UTC-05:00"), ("feed.clock_differs", "UTC-04:00"), ("feed.clock_agrees", None),
    ]  # fmt: skip
    assert abs(shown["norwick wire"]) < 300


def test_so_many_sources_are_followed_and_no_more() -> None:
    clocks, shown = _clocks()
    feed = _live(5, minutes=60)
    for number in range(MAX_SOURCES + 50):
        _said(clocks, feed, f"source {number}")
    assert len(shown) == MAX_SOURCES
    assert _said(clocks, [(at + 48 * HOUR, behind) for at, behind in feed], "a new one") != []


@pytest.mark.parametrize("action", Action)
def test_only_new_stories_are_looked_at(action: Action) -> None:
    """An update or a deletion may bear the time of a story of this morning."""
    clocks, _ = _clocks()
    record = Record(Position("news", 0, 0), None, b"", NOON)
    story = Story("a", "1", action, None, "Kestrel Bank", "", "", NOON - 5 * HOUR, (), None, record.position)
    letter = DeadLetter(record, "no_headline", "", part=1)
    seen: list[tuple[str, int, int]] = []
    clocks.see = lambda *story: seen.append(story)  # type: ignore[method-assign]
    assert clocks.following(lambda given: [story, letter])(record) == [story, letter]
    assert seen == ([("a", NOON, NOON - 5 * HOUR)] if action is Action.CREATED else [])
