"""One instant in every notation, and what is no time at all."""

from __future__ import annotations

import time

import pytest

from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest.instants import instant_ms

STAMP = 1_678_468_860_000  # 2023-03-10T17:21:00Z


@pytest.mark.parametrize(
    "text",
    [
        "2023-03-10T17:21:00Z",
        "2023-03-10T17:21:00+00:00",
        "2023-03-10 17:21:00",
        "2023-03-10T12:21:00-05:00",
        "2023-03-10T17:21:00.000Z",
        "Fri, 10 Mar 2023 17:21:00 GMT",
        "Fri, 10 Mar 2023 17:21:00 +0000",
        "Fri, 10 Mar 2023 17:21:00 -0000",
        "Fri, 10 Mar 2023 17:21:00 +0000 (UTC)",
        "10 Mar 2023 17:21:00",
        "10 Mar 2023 12:21:00 EST",
        1678468860,
        "1678468860",
        1678468860.0,
        1678468860000,
        "1678468860000",
    ],
)
def test_one_instant_in_every_notation(text: object) -> None:
    assert instant_ms(text, 0) == STAMP


@pytest.mark.parametrize("missing", [None, "", "   "])
def test_without_a_time_the_records_own_counts_if_it_is_one(missing: object) -> None:
    assert instant_ms(missing, STAMP) == STAMP
    for none_or_microseconds in (-1, STAMP * 1000, 2**60):
        with pytest.raises(RecordError, match="bad_time"):
            instant_ms(missing, none_or_microseconds)


@pytest.mark.parametrize(
    "wrong",
    [
        "yesterday", "2023-13-01", "2023-02-30T00:00:00Z", "nan", "inf", "-inf", "1e999", True, [], {}, -1, -1e18,
        10**400, 253_402_300_800_000, "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00", "Fri, 10 Mar 99999 17:21:00 GMT", "Mar 10 2023 05:21 PM",
        "Fri, 10 Mar 2023 05:21:00 PM", "10 Mar 2023 18:21:00 CET", "1_7", "\u0663",
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_what_is_no_time_between_1970_and_9999_is_refused(wrong: object) -> None:
    with pytest.raises(RecordError) as raised:
        instant_ms(wrong, STAMP)
    assert raised.value.code == "bad_time"


@pytest.mark.parametrize("compact", ["20230310", 20230310, " 20230310 "])
def test_eight_digits_are_a_date_and_not_seconds_of_the_seventies(compact: object) -> None:
    assert instant_ms(compact, 0) == STAMP - (17 * 60 + 21) * 60_000


@pytest.mark.parametrize("compact", ["20230310172100", 20230310172100])
def test_fourteen_digits_are_a_date_and_a_time(compact: object) -> None:
    assert instant_ms(compact, 0) == STAMP


@pytest.mark.parametrize("wrong", ["20231310", 20230230, "00000000", "20230310250000", 16784688600000])
def test_digits_that_are_no_date_are_refused_and_the_reason_says_how_they_are_read(wrong: object) -> None:
    with pytest.raises(RecordError, match="are read as YYYYMMDD") as raised:
        instant_ms(wrong, STAMP)
    assert raised.value.code == "bad_time"


@pytest.mark.parametrize(
    ("given", "seconds"), [("0", 0), (86_400, 86_400), ("123456789", 123_456_789), ("123e-2", 1.23)]
)
def test_other_numbers_are_seconds(given: object, seconds: float) -> None:
    assert instant_ms(given, STAMP) == seconds * 1000


def test_the_last_second_of_9999_is_read() -> None:
    assert instant_ms("9999-12-31T23:59:59Z", 0) == 253_402_300_799_000


@pytest.mark.parametrize("digits", [40_000, 900_000])
def test_a_time_of_endless_digits_is_refused_at_once(digits: int) -> None:
    began = time.process_time()
    with pytest.raises(RecordError, match="at most 100 are read"):
        instant_ms("1" * digits + "x", 0)
    assert time.process_time() - began < 1  # it took minutes, and hours
