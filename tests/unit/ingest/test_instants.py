"""One instant in every notation, what is no time at all, and what could be two."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest.dates import Notation, Notations
from sentiment_monitor.ingest.instants import instant_ms
from sentiment_monitor.times import rfc3339

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
        "10 Mar 2023 12:21 PM EST",
        "2023-03-10 17:21:00 UTC",
        "2023-03-10T17:21:00Z[UTC]",
        "2023-03-10T18:21:00+01:00[Europe/Paris]",
        "2023-03-10T18:21:00[Europe/Paris]",
        "2023-03-10 12:21 America/New_York",
        "2023-03-10 17:21:00 +0000 UTC",
        "2023-03-10 17:21:00.000123 +0000 UTC m=+0.000042",
        "2023-03-10T17:21:00 +00",
        "2023-03-10 18:21:00 CET",
        "2023-03-10 12:21:00 PM ET",
        "2023-03-11 01:21 GMT+8",
        "2023-03-10t17:21:00z",
        "2023-03-10T17:20:60Z",
        "2023-03-10T12:21:00\u221205:00",
        "2023/03/10 17:21",
        "2023/3/10 5:21 pm",
        "2023.03.10 17:21:00",
        "10.3.2023 17:21",
        "10.03.2023, 17:21:00",
        "Friday, 10-Mar-23 17:21:00 GMT",
        "Fri Mar 10 17:21:00 2023",
        "Fri Mar 10 17:21:00 UTC 2023",
        "Fri Mar 10 17:21:00 +0000 2023",
        "Fri Mar 10 2023 17:21:00 GMT+0000 (Coordinated Universal Time)",
        "Mar 10, 2023, 5:21\u202fPM",
        "March 10th, 2023 at 12:21 p.m. EST",
        "10-MAR-2023 17:21:00.00",
        "20230310T172100Z",
        "20230310T122100-0500",
        "20230310 1721",
        "2023年3月10日 17:21",
        "2023年03月10日17时21分00秒",
        "2023년 3월 10일 17시 21분",
        "202303101721",
        202303101721,
        20230310172100000,
        1678468860_000_000,
        "1678468860000000000",
        [2023, 3, 10, 17, 21],
        [2023, 3, 10, 17, 21, 0, 400_000],
        {"$date": "2023-03-10T17:21:00Z"},
        {"$date": 1678468860000},
        {"$date": {"$numberLong": "1678468860000"}},
        {"seconds": "1678468860", "nanos": 999_999},
        {"epochSecond": 1678468860, "nano": 0},
        {"_seconds": 1678468860, "_nanoseconds": 0},
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
        "9999-12-31T23:59:59-14:00", "Fri, 10 Mar 99999 17:21:00 GMT", "1_7", "\u0663", "10:00", "Mar 2023", "Friday",
        "2023-03-10 25:00", "2023-03-10 24:01", "2023-03-10 13:21 PM", "2023-03-10 0:21 AM", "2023-03-10 17:21 QQT",
        "2023-03-10 17:21 +99:00", "Fri, 10 Mar 2023 17:21:00 +9900", "Foo, 10 Mar 2023 17:21:00 GMT",
        "2023-03-10 17:21 Europe/Atlantis", "2023-03-10 17:21 ../../etc/passwd",
        "10 Mrz 2023 17:21", "10 Mar 123", "Mar 10, 23", "10/3/23", "13/13/2023", "2023-03/10",
        "2023-03-10 soon",
        [2023, 3], [2023, 3, 10, 17], [2023, 2, 30], [2023, "3", 10], [True, 3, 10], [2023, 3, 10, 1, 1, 1, 1, 1],
        {"$date": None}, {"$date": True}, {"$date": {"$numberLong": "x"}}, {"seconds": "x"}, {"seconds": 5.5},
        {"seconds": 1678468860, "nanos": 10**12}, {"$date": {"$numberLong": "\u00b2"}}, {"seconds": "\u00b2"},
        {"$date": "1" * 5000},
        {"at": 1}, [[[[[[[[[[]]]]]]]]]],
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_what_is_no_time_is_refused(wrong: object) -> None:
    with pytest.raises(RecordError) as raised:
        instant_ms(wrong, STAMP)
    assert raised.value.code == "bad_time"


@pytest.mark.parametrize(
    "zero",
    [
        0, "0", 1, 2023, "2023", 20516, "20516", 45_000.5, 123_456_789, "123456789", 86_400_000, "1970-01-01",
        "1970-01-01T00:00:00Z", "1969-12-31T19:00:00-05:00", "1970-01-01 08:00:00", "Thu, 01 Jan 1970 00:00:00 GMT",
        "1/1/1970", [1970, 1, 1, 0, 0], {"$date": 0}, {"seconds": 0, "nanos": 0}, "30 Nov 89",
    ],
)  # fmt: skip
def test_no_time_comes_of_nothing(zero: object) -> None:
    """The zero of a computer's clock, a year, a number of days: they were stories of 1970."""
    with pytest.raises(RecordError, match="bad_time"):
        instant_ms(zero, STAMP)


@pytest.mark.parametrize(
    "twofold",
    [
        "03/04/2023", "3/4/2023 10:00", "03-04-2023", 2023031017, "2023031017", "2023-03-10 17:21 IST",
        "Fri Mar 10 17:21:00 CST 2023", "2023-03-10-05:00", "2023-03-10+02:00", "2023-03-10117:21", "2023-03-1017:21",
    ],
)  # fmt: skip
def test_what_could_be_two_times_is_none(twofold: object) -> None:
    with pytest.raises(RecordError, match="bad_time"):
        instant_ms(twofold, STAMP)


def test_ten_digits_that_are_also_an_hour_are_seconds_once_their_time_has_come() -> None:
    assert instant_ms(2023031017, 2_023_031_100_000) == 2_023_031_017_000
    assert instant_ms(1999999999, STAMP) == 1_999_999_999_000  # no hour: month 99


@pytest.mark.parametrize(
    ("order", "text", "read"),
    [
        (None, "10/11/2023", None),
        (None, "13/11/2023", "2023-11-13T00:00:00Z"),
        (None, "11/13/2023", "2023-11-13T00:00:00Z"),
        (None, "11/11/2023", "2023-11-11T00:00:00Z"),
        ("day_first", "10/11/2023", "2023-11-10T00:00:00Z"),
        ("day_first", "10-11-2023 9:30", "2023-11-10T09:30:00Z"),
        ("day_first", "11/13/2023", None),
        ("month_first", "10/11/2023", "2023-10-11T00:00:00Z"),
        ("month_first", "13/11/2023", None),
        ("month_first", "10.11.2023", "2023-11-10T00:00:00Z"),
    ],
)
def test_the_order_of_day_and_month_is_known_or_said(order: str | None, text: str, read: str | None) -> None:
    notation = Notations.of("UTC", {}, order).usual  # type: ignore[arg-type]
    if read is None:
        with pytest.raises(RecordError, match="bad_time"):
            instant_ms(text, STAMP, notation)
    else:
        assert rfc3339(instant_ms(text, STAMP, notation)) == read


@pytest.mark.parametrize(
    ("zone", "local", "read"),
    [
        ("America/New_York", "2023-03-10 12:21", "2023-03-10T17:21:00Z"),
        ("America/New_York", "2023-07-10 12:21", "2023-07-10T16:21:00Z"),
        ("America/New_York", "20230710122100", "2023-07-10T16:21:00Z"),
        ("America/New_York", [2023, 7, 10, 12, 21], "2023-07-10T16:21:00Z"),
        ("America/New_York", "Jul 10, 2023 12:21 PM", "2023-07-10T16:21:00Z"),
        ("America/New_York", "2023-07-10", "2023-07-10T04:00:00Z"),
        ("America/New_York", "2023-07-10 12:21 EST", "2023-07-10T17:21:00Z"),
        ("America/New_York", "2023-07-10 12:21:00Z", "2023-07-10T12:21:00Z"),
        ("America/New_York", 1688991660, "2023-07-10T12:21:00Z"),
        ("America/New_York", "2023-03-12 02:30", "2023-03-12T07:30:00Z"),  # clocks skip it: 03:30 EDT
        ("Asia/Shanghai", "2023-03-10 17:21 CST", "2023-03-10T09:21:00Z"),
        ("Asia/Shanghai", "Fri, 10 Mar 2023 17:21:00 CST", "2023-03-10T09:21:00Z"),
        ("UTC", "Fri, 10 Mar 2023 17:21:00 CST", "2023-03-10T23:21:00Z"),  # as RFC 2822 defines it
        ("America/Chicago", "Fri Jul 07 17:21:00 CST 2023", "2023-07-07T23:21:00Z"),
        ("Asia/Kolkata", "2023-03-10 17:21 IST", "2023-03-10T11:51:00Z"),
        ("Asia/Jerusalem", "2023-03-10 17:21 IST", "2023-03-10T15:21:00Z"),
        ("Europe/Dublin", "2023-07-10 17:21 IST", "2023-07-10T16:21:00Z"),
        ("UTC", "2023-07-10 17:21 BST", "2023-07-10T16:21:00Z"),
        ("UTC", "2023-07-10 12:21 ET", "2023-07-10T16:21:00Z"),
    ],
)
def test_a_time_without_a_zone_is_in_the_feeds(zone: str, local: object, read: str) -> None:
    assert rfc3339(instant_ms(local, STAMP, Notation(ZoneInfo(zone)))) == read


@pytest.mark.parametrize(("received", "read"), [("05:31", "05:30"), ("06:31", "06:30")])
def test_in_the_hour_that_comes_twice_the_records_own_time_decides(received: str, read: str) -> None:
    record_ms = instant_ms(f"2023-11-05T{received}:00Z", 0)
    notation = Notation(ZoneInfo("America/New_York"))
    assert rfc3339(instant_ms("2023-11-05 01:30", record_ms, notation)) == f"2023-11-05T{read}:00Z"


def test_each_source_may_have_a_zone() -> None:
    notations = Notations.of("America/New_York", {" Norwick Wire ": "Asia/Tokyo"}, None)
    assert str(notations.of_source("norwick wire").zone) == "Asia/Tokyo"
    assert str(notations.of_source("halden").zone) == "America/New_York"


_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def _twelve(at: datetime) -> str:
    return f"{at.hour % 12 or 12}:{at:%M:%S} {'PM' if at.hour >= 12 else 'AM'}"


# Whatever a second is written as, it is read as that second.
_WRITTEN: list[Callable[[datetime], object]] = [
    lambda at: at.isoformat(),
    lambda at: at.strftime("%Y-%m-%d %H:%M:%S"),
    lambda at: at.strftime("%Y-%m-%dt%H:%M:%Sz"),
    lambda at: at.strftime("%Y-%m-%d %H:%M:%S UTC"),
    lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ[UTC]"),
    lambda at: at.strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC"),
    lambda at: at.strftime("%Y/%m/%d %H:%M:%S"),
    lambda at: at.strftime("%d.%m.%Y %H:%M:%S"),
    lambda at: f"{at.day}.{at.month}.{at.year}, {at:%H:%M:%S}",
    lambda at: f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year} {at:%H:%M:%S} GMT",
    lambda at: f"{at.day} {_MONTHS[at.month - 1]} {at.year} {at.astimezone(ZoneInfo('UTC')):%H:%M:%S} +0000",
    lambda at: at.astimezone(ZoneInfo("Asia/Kolkata")).strftime("%d %b %Y %H:%M:%S %z"),
    lambda at: at.astimezone(ZoneInfo("America/St_Johns")).strftime("%a, %d %b %Y %H:%M:%S %z"),
    lambda at: f"{_DAYS[at.weekday()]} {_MONTHS[at.month - 1]} {at.day} {at:%H:%M:%S} UTC {at.year}",
    lambda at: f"{_DAYS[at.weekday()]} {_MONTHS[at.month - 1]} {at.day:02} {at.year} {at:%H:%M:%S} GMT+0000",
    lambda at: f"{_MONTHS[at.month - 1]} {at.day}, {at.year} {_twelve(at)}",
    lambda at: f"{at.year}年{at.month}月{at.day}日 {at:%H:%M:%S}",
    lambda at: f"{at.year}年{at.month}月{at.day}日{at.hour}时{at.minute}分{at.second}秒",
    lambda at: at.strftime("%Y%m%d%H%M%S"),
    lambda at: int(at.strftime("%Y%m%d%H%M%S")),
    lambda at: at.strftime("%Y%m%dT%H%M%SZ"),
    lambda at: [at.year, at.month, at.day, at.hour, at.minute, at.second],
    lambda at: {"$date": at.isoformat()},
    lambda at: {"seconds": str(int(at.timestamp())), "nanos": 0},
    *(lambda at, unit=unit: int(at.timestamp()) * unit for unit in (1, 1_000, 1_000_000, 1_000_000_000)),
    *(lambda at, unit=unit: str(int(at.timestamp()) * unit) for unit in (1, 1_000, 1_000_000, 1_000_000_000)),
    *(
        lambda at, zone=zone, name=name: at.astimezone(ZoneInfo(zone)).strftime(f"%Y-%m-%d %H:%M:%S {name}")
        for zone, name in (
            ("America/New_York", "%Z"), ("America/New_York", "America/New_York"), ("Europe/Berlin", "%Z"),
            ("Europe/London", "%Z"), ("Asia/Tokyo", "%Z"), ("Asia/Kolkata", "%z"), ("Asia/Shanghai", "GMT%z"),
            ("Australia/Sydney", "%Z"), ("Pacific/Auckland", "%z (%Z)"),
        )
    ),
]  # fmt: skip
_SECONDS = st.integers(
    int(datetime(1996, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2090, 1, 1, tzinfo=UTC).timestamp())
)


@given(_SECONDS)
def test_every_notation_is_read_as_what_was_written(seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    # A zone with its name has no hour twice, but America/New_York alone has: the record's own time decides there.
    assert [instant_ms(write(at), seconds * 1000) for write in _WRITTEN] == [seconds * 1000] * len(_WRITTEN)


_MARKS = st.sampled_from(["-", "/", ".", " ", ""])
_ENDS = st.sampled_from(["", "Z", " 10:00", " 9:59 PM CET", "T235960+14:00", " 0100"])


def _joined(parts: tuple[object, ...]) -> str:
    return "".join(map(str, parts))


@given(
    st.one_of(
        st.integers(-(10**20), 10**20),
        st.integers(0, 10**9),
        st.floats(),
        st.integers(0, 10**18).map(str),
        st.text("0123456789-/.: TZzJanPMeC+", max_size=24),
        st.lists(st.integers(0, 3000), max_size=8),
        st.tuples(st.integers(0, 3000), _MARKS, st.integers(0, 40), _MARKS, st.integers(0, 3000), _ENDS).map(_joined),
        st.tuples(st.integers(0, 40), st.sampled_from([" Jan ", "-Mar-"]), st.integers(0, 3000), _ENDS).map(_joined),
    )
)
def test_no_notation_gives_a_year_that_is_not_written(value: object) -> None:
    try:
        year = datetime.fromtimestamp(instant_ms(value, STAMP) / 1000, UTC).year
    except RecordError:
        return
    written = {str(year), str(year + 1), str(year - 1)}  # a zone may lie between
    assert 1990 <= year < 2100 or any(number in repr(value) for number in written)


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


def test_the_last_second_of_9999_is_read() -> None:
    assert instant_ms("9999-12-31T23:59:59Z", 0) == 253_402_300_799_000


@pytest.mark.parametrize("digits", [40_000, 900_000])
def test_a_time_of_endless_digits_is_refused_at_once(digits: int) -> None:
    began = time.process_time()
    with pytest.raises(RecordError, match="at most 100 are read"):
        instant_ms("1" * digits + "x", 0)
    assert time.process_time() - began < 1  # it took minutes, and hours
