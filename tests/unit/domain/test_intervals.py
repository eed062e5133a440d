"""Stretches of time by the clocks of their zones: nights over midnight, holidays, summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.domain.intervals import any_holds, interval_of, minute_of_day

BERLIN = "Europe/Berlin"


def _minute(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) // 60


def _holds(written: dict[str, list[str]], location: str, *moments: str) -> list[bool]:
    interval = interval_of(written, location)
    return [interval.holds(_minute(moment)) for moment in moments]


def test_office_hours_are_those_of_the_zone_in_winter_and_in_summer() -> None:
    office = {"times": ["09:00-17:30"], "weekdays": ["monday:friday"]}
    winter = _holds(office, BERLIN, "2026-11-30T07:59Z", "2026-11-30T08:00Z", "2026-11-30T16:29Z", "2026-11-30T16:30Z")
    assert winter == [False, True, True, False]
    assert _holds(office, BERLIN, "2026-07-06T06:59Z", "2026-07-06T07:00Z") == [False, True]
    assert _holds(office, BERLIN, "2026-11-29T12:00Z") == [False]  # a Sunday


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    friday_night = {"times": ["22:00-06:00"], "weekdays": ["fri"]}
    moments = ("2026-11-27T05:00Z", "2026-11-27T22:00Z", "2026-11-28T05:59Z", "2026-11-28T06:00Z", "2026-11-28T23:00Z")
    assert _holds(friday_night, "UTC", *moments) == [False, True, True, False, False]


def test_holidays_are_taken_out_and_can_be_all_there_is() -> None:
    work = {"weekdays": ["monday:friday"], "except_dates": ["2026-12-24:2027-01-01"]}
    moments = ("2026-12-23T12:00Z", "2026-12-24T00:00Z", "2027-01-01T22:59Z", "2027-01-04T12:00Z")
    assert _holds(work, BERLIN, "2026-12-23T12:00Z", "2026-12-23T23:30Z", *moments[2:]) == [True, False, False, True]
    assert _holds({"dates": ["2026-12-25"]}, "UTC", "2026-12-24T23:59Z", "2026-12-25T00:00Z") == [False, True]


def test_days_of_a_month_count_from_its_end_too() -> None:
    last_three = {"days_of_month": ["-3:-1"]}
    assert _holds(last_three, "UTC", "2024-02-26T12:00Z", "2024-02-27T12:00Z", "2024-02-29T12:00Z") == [
        False, True, True,
    ]  # fmt: skip
    assert _holds({"months": ["november:february"], "years": ["2026"]}, "UTC", "2026-01-01T00:00Z") == [True]
    assert _holds({"months": ["nov"], "years": ["2025"]}, "UTC", "2026-11-01T00:00Z") == [False]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"times": ["9-17"]}, "one is written 09:00-17:30"),
        ({"times": ["24:30-25:00"]}, "no such time of day"),
        ({"times": ["09:00-09:00"]}, "is empty"),
        ({"weekdays": ["funday"]}, "there is no 'funday'"),
        ({"weekdays": ["8"]}, "there is no '8'"),
        ({"days_of_month": ["0"]}, "1 to 31"),
        ({"days_of_month": ["5:1"]}, "ends before it begins"),
        ({"months": ["13"]}, "there is no '13'"),
        ({"years": ["2027:2026"]}, "ends before it begins"),
        ({"years": ["soon"]}, "no number"),
        ({"dates": ["24.12.2026"]}, "is no date"),
        ({"except_dates": ["2026-12-31:2026-12-24"]}, "ends before it begins"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(written: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        interval_of(written, "UTC")


def test_a_zone_must_exist() -> None:
    for location in ("Mars/Phobos", "", "../etc/passwd"):
        with pytest.raises(ValueError, match="is no time zone"):
            interval_of({}, location)


@given(start=st.integers(0, 1439), length=st.integers(1, 1439), minute=st.integers(29_000_000, 29_100_000))
def test_a_stretch_of_the_day_lasts_its_length_each_day(start: int, length: int, minute: int) -> None:
    end = (start + length) % 1440
    text = f"{start // 60:02d}:{start % 60:02d}-{end // 60:02d}:{end % 60:02d}"
    interval = interval_of({"times": [text if end else text.replace("-00:00", "-24:00")]}, "UTC")
    first = minute - minute % 1440
    assert sum(interval.holds(each) for each in range(first, first + 1440)) == length


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001 (UTC is added below)
def test_every_minute_lies_in_the_interval_that_has_no_condition(moment: Any) -> None:
    minute = int((moment.replace(tzinfo=UTC) + timedelta()).timestamp()) // 60
    assert any_holds([interval_of({}, BERLIN)], minute)
    assert not any_holds([], minute)


def test_a_time_of_day_is_read_and_refused() -> None:
    assert [minute_of_day(text) for text in ("00:00", "8:30", "24:00")] == [0, 510, 1440]
    for text in ("830", "8:3", "25:00", "12:60", "", "a:bc"):
        with pytest.raises(ValueError, match="time of day"):
            minute_of_day(text)
