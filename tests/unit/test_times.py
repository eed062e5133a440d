"""Durations, instants and spans: what people write is read, and what is written says the same everywhere."""

from __future__ import annotations

import pytest

from sentiment_monitor.errors import UsageError
from sentiment_monitor.times import (
    clock,
    clock_of,
    duration_minutes,
    iso,
    rfc3339,
    span,
    spell_age,
    spell_minutes,
)

LAST = 27_974_481  # 2023-03-10 17:21


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90s", 1.5), ("15m", 15), ("15 min", 15), ("2h", 120), ("1.5H", 90), ("7d", 10_080), ("2w", 20_160), (" 1m ", 1),
     ("", None), ("7", None), ("-1h", None), ("1h30m", None), ("1y", None), ("nan h", None), ("h", None)],
)  # fmt: skip
def test_durations(text: str, minutes: float | None) -> None:
    assert duration_minutes(text) == minutes


def test_absurd_durations_are_long_ones_and_no_overflow() -> None:
    endless = "9" * 400 + "d"
    assert span(endless, None, endless, LAST) == (0, LAST + 1, LAST + 1)


@pytest.mark.parametrize(
    ("minutes", "spelt"),
    [(0, "0 min"), (45, "45 min"), (60, "1 h"), (1_440, "24 h"), (4_320, "3 d"), (1_505, "1 d 1 h 5 min")],
)
def test_durations_are_spelt_in_whole_units(minutes: int, spelt: str) -> None:
    assert spell_minutes(minutes) == spelt


@pytest.mark.parametrize(
    ("minutes", "spelt"),
    [(-1, "0 min ago"), (119, "119 min ago"), (120, "2 h ago"), (2_879, "47 h ago"), (2_880, "2 days ago")],
)
def test_ages_are_rough(minutes: int, spelt: str) -> None:
    assert spell_age(minutes) == spelt


def test_instants_are_rfc_3339_utc() -> None:
    instant_ms = LAST * 60_000
    assert rfc3339(instant_ms) == "2023-03-10T17:21:00Z"
    assert rfc3339(instant_ms + 7) == "2023-03-10T17:21:00.007Z"
    assert clock_of(rfc3339(instant_ms + 7)) == clock(LAST)


def test_minutes_are_shown_in_utc() -> None:
    assert (clock(LAST), iso(LAST)) == ("2023-03-10 17:21", "2023-03-10T17:21:00Z")
    assert (clock(None), iso(None)) == ("-", None)


@pytest.mark.parametrize(
    ("since", "until", "step", "expected"),
    [
        ("1h", None, None, (LAST - 59, LAST + 1, 1)),
        ("24h", None, "6h", (LAST + 1 - 1440, LAST + 1, 360)),
        ("2023-03-09", "2023-03-10", None, (27_972_000, 27_973_440, 30)),
        ("2023-03-09T20:00+02:00", "2023-03-09T20:00Z", None, (27_973_080, 27_973_200, 5)),
    ],
)
def test_a_span_is_from_times_or_back_from_the_end(
    since: str, until: str | None, step: str | None, expected: tuple[int, int, int]
) -> None:
    assert span(since, until, step, LAST, dashes="--") == expected


@pytest.mark.parametrize(
    ("since", "until", "step", "said"),
    [
        ("soon", None, None, "--since soon: write a time"),
        ("24h", "0001-01-01T00:00+14:00", None, "must lie before the end, 1970-01-01 00:00"),
        ("1h", "later", None, "--until later: write a time"),
        ("2030-01-01", None, None, "must lie before the end"),
        ("0h", None, None, "must lie before the end"),
        ("1h", "1960-01-01", None, "must lie before the end"),
        ("1h", None, "30s", "at least 1m"),
        ("1h", None, "soon", "at least 1m"),
        ("1000w", None, "1m", "more than 100,000 steps"),
    ],
)
def test_a_span_that_cannot_be_says_why(since: str, until: str | None, step: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        span(since, until, step, LAST, dashes="--")


@pytest.mark.parametrize("since", ["999999999999d", "0001-01-01", "1950-01-01"])
def test_a_span_never_begins_before_there_can_be_stories_and_fits_the_screen(since: str) -> None:
    start, end, step = span(since, None, None, LAST)
    assert start == 0
    assert (end - start) / step <= 60
