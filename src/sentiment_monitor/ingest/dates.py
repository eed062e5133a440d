"""Dates and times in words and digits: a day, a time of day and a zone, in every order that feeds write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest.zones import local_ms, named, offset

DateOrder = Literal["day_first", "month_first"]


@dataclass(frozen=True, slots=True)
class Notation:
    """What a feed leaves unsaid: the zone of times without one, and whether 3/4/2026 is in March or in April."""

    zone: tzinfo = UTC
    order: DateOrder | None = None  # None: refused where both readings are possible


PLAIN = Notation()


@dataclass(frozen=True, slots=True)
class Notations:
    """The notation of every source."""

    usual: Notation = PLAIN
    by_source: Mapping[str, Notation] = field(default_factory=dict)  # in lower case

    @classmethod
    def of(cls, time_zone: str, time_zones: Mapping[str, str], date_order: DateOrder | None) -> Notations:
        """Of settings: the zone of all sources but those that ``time_zones`` names. Raises KeyError for no zone."""
        usual = Notation(UTC if time_zone == "UTC" else ZoneInfo(time_zone), date_order)
        zones = {source.strip().lower(): ZoneInfo(zone) for source, zone in time_zones.items()}
        return cls(usual, {source: Notation(zone, date_order) for source, zone in zones.items()})

    def of_source(self, source: str) -> Notation:
        """How ``source`` writes times."""
        return self.by_source.get(source, self.usual)


_MONTHS = {
    "JANUARY": 1, "FEBRUARY": 2, "MARCH": 3, "APRIL": 4, "MAY": 5, "JUNE": 6, "JULY": 7, "AUGUST": 8, "SEPTEMBER": 9,
    "OCTOBER": 10, "NOVEMBER": 11, "DECEMBER": 12, "JAN": 1, "FEB": 2, "MAR": 3, "APR": 4, "JUN": 6, "JUL": 7, "AUG": 8,
    "SEP": 9, "SEPT": 9, "OCT": 10, "NOV": 11, "DEC": 12,
}  # fmt: skip
# All of them read upper case, and are linear.
_WEEKDAY = re.compile(r"(?:MON|TUE|WED|THU|FRI|SAT|SUN)[A-Z]{0,6}\.?,? ")
_MONTH = r"(?P<month>[A-Z]{3,9})\.?"
_DAY = r"(?P<day>\d{1,2})"
_NTH_DAY = rf"{_DAY}(?:ST|ND|RD|TH)?"
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,30}))?)?"
_DENSE_CLOCK = r"(?P<hour>\d{2})(?P<minute>\d{2})(?:(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,30}))?)?"
_REST = r"(?: ?(?P<half>[AP])\.?M\b\.?)?(?: ?(?P<zone>[^ ].*))?"
_YEAR_FIRST = re.compile(rf"(?P<year>\d{{4}})(?P<mark>[-/.])(?P<month>\d{{1,2}})(?P=mark){_DAY}", re.ASCII)
_DENSE = re.compile(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})(?=[T ]|$)", re.ASCII)
_DAY_NAME = re.compile(rf"{_NTH_DAY}[ -]?{_MONTH},?[ -]?(?P<year>\d{{4}}|\d{{2}})(?![\d:])", re.ASCII)
_YEAR_LAST = re.compile(r"(?P<left>\d{1,2})(?P<mark>[-/.])(?P<right>\d{1,2})(?P=mark)(?P<year>\d{4})", re.ASCII)
_NAME_DAY = re.compile(rf"{_MONTH} ?{_NTH_DAY},? (?P<year>\d{{4}})(?![\d:])", re.ASCII)
_TIME = re.compile(rf"(?:[T_ ]|, ?| AT | - ){_CLOCK}{_REST}", re.ASCII)
_DENSE_TIME = re.compile(rf"[T ]{_DENSE_CLOCK}{_REST}", re.ASCII)
# What date(1), ctime and Java's Date print: the year comes last.
_CTIME = re.compile(rf"{_MONTH} {_DAY} {_CLOCK}(?: (?P<zone>[^ ]{{1,10}}))? (?P<year>\d{{4}})", re.ASCII)
# RFC 2822 as nearly all write it: at once, since half of all feeds do.
_RFC_2822 = re.compile(
    r"(?:(?:MON|TUE|WED|THU|FRI|SAT|SUN), )?(\d{1,2}) ([A-Z]{3}) (\d{4}) (\d\d):(\d\d):([0-5]\d) "
    r"(?:GMT|([+-](?:0\d|1[0-4]))([0-5]\d))",
    re.ASCII,
)
# An offset with its name (+0000 UTC, GMT+0000 (…), +01:00[Europe/Paris]), or a name alone; Go adds its monotonic clock.
_ZONE = re.compile(
    r"(?P<offset>(?:UTC?|GMT)? ?[+-]\d{1,2}(?::?\d{2})?)?(?: ?(?P<name>[A-Za-z_]+(?:/[A-Za-z0-9_+/-]+)?))?"
    r"(?: ?\[(?P<place>[^\[\]]+)\]| ?\([^()]*\))?(?: m=[+-][\d.]+)?",
    re.ASCII,
)
# Of 2026年11月30日 10时30分 and its kin, and of typographic spaces and signs.
_PLAIN_SIGNS = str.maketrans(
    {"年": "-", "년": "-", "月": "-", "월": "-", "日": " ", "일": " ", "时": ":", "時": ":", "시": ":", "点": ":",
     "點": ":", "分": ":", "분": ":", "秒": "", "초": "", "\u2212": "-", "\u2013": "-"}
)  # fmt: skip
_AROUND_SIGN = re.compile(r"(?<=[-:]) +| +(?=[-:])")
_ONE_DIGIT = re.compile(r":(\d)(?!\d)", re.ASCII)  # 8时5分


def written_ms(text: str, notation: Notation, record_ms: int) -> int:
    """Milliseconds since 1970 for a written date, with a time or without. Raises RecordError ``bad_time``.

    ``text`` is bounded by the caller. A date alone is its first moment in the feed's zone.
    """
    plain = " ".join(text.split()) if text.isascii() else _simplified(text)
    try:
        if not plain.isascii():
            raise ValueError("no notation that is read")
        return _written_ms(plain, notation, record_ms)
    except (ValueError, OverflowError) as error:
        raise RecordError("bad_time", f"{text!r:.60}: {error}") from None


def _simplified(text: str) -> str:
    simple = " ".join(text.translate(_PLAIN_SIGNS).split())
    return simple if simple == text else _ONE_DIGIT.sub(r":0\1", _AROUND_SIGN.sub("", simple).rstrip(":"))


def _written_ms(plain: str, notation: Notation, record_ms: int) -> int:
    upper = plain.upper()
    if (rfc := _RFC_2822.fullmatch(upper)) and rfc[2] in _MONTHS:
        day, name, year, hour, minute, second, hours, minutes = rfc.groups()
        moment = datetime(int(year), _MONTHS[name], int(day), int(hour), int(minute), int(second), tzinfo=UTC)
        behind = (int(hours) * 60 + int(hours[0] + minutes)) * 60 if hours else 0
        return (round(moment.timestamp()) - behind) * 1000
    weekday = _WEEKDAY.match(upper)
    start = weekday.end() if weekday else 0
    letters = upper[start : start + 1].isalpha()
    digits = upper[start : start + 4].isdigit()
    for pattern, day_of in _NAME_FORMS if letters else _YEAR_FORMS if digits else _DAY_FORMS:
        if match := pattern.match(upper, start):
            date_read = day_of(match, notation)
            end = match.end()
            if end == len(upper):
                midnight = datetime(date_read.year, date_read.month, date_read.day)  # noqa: DTZ001
                return local_ms(midnight, notation.zone, record_ms)
            time = _TIME.fullmatch(upper, end) or (_DENSE_TIME.fullmatch(upper, end) if pattern is _DENSE else None)
            if time is None:
                raise ValueError(f"{upper[end:]!r:.40} is no time of day")
            return _clock_ms(date_read, time, plain, notation, record_ms, by_rfc=pattern is _DAY_NAME)
    if match := _CTIME.fullmatch(upper, start):
        return _clock_ms(_by_name(match, notation), match, plain, notation, record_ms)
    raise ValueError("no notation that is read")


def _clock_ms(
    day: date, match: re.Match[str], plain: str, notation: Notation, record_ms: int, *, by_rfc: bool = False
) -> int:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    if match.re is not _CTIME and match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of twelve")
        hour = hour % 12 + (12 if match["half"] == "P" else 0)
    later = timedelta()
    if (hour, minute, second) == (24, 0, 0):  # the next day's first moment
        hour, later = 0, timedelta(days=1)
    elif second == 60:  # a leap second is the one after it, as on every computer's clock
        second, later = 59, timedelta(seconds=1)
    microseconds = int(match["fraction"][:6].ljust(6, "0")) if match["fraction"] else 0
    moment = datetime(day.year, day.month, day.day, hour, minute, second, microseconds) + later  # noqa: DTZ001
    begin, end = match.span("zone")  # in the text as it is written: names of zones have small letters
    zone = _zone(plain[begin:end], moment, notation.zone, by_rfc=by_rfc) if begin >= 0 else notation.zone
    return local_ms(moment, zone, record_ms)


def _zone(text: str, moment: datetime, home: tzinfo, *, by_rfc: bool) -> tzinfo:
    if (zone := offset(text)) is not None:
        return zone
    match = _ZONE.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r:.40} is no time zone")
    if match["offset"] is None:
        return named(match["name"] or match["place"], moment, home, by_rfc=by_rfc)
    if (zone := offset(match["offset"])) is None:
        raise ValueError(f"{match['offset']!r} is no offset of a time zone")
    return zone


def _year_first(match: re.Match[str], notation: Notation) -> date:
    return date(int(match["year"]), int(match["month"]), int(match["day"]))


def _year_last(match: re.Match[str], notation: Notation) -> date:
    left, right, year = int(match["left"]), int(match["right"]), int(match["year"])
    if match["mark"] == ".":  # nobody who writes dots writes the month first
        return date(year, right, left)
    if notation.order == "month_first":
        return date(year, left, right)
    if notation.order == "day_first" or left > 12:
        return date(year, right, left)
    if right > 12 or left == right:
        return date(year, left, right)
    raise ValueError("the first number may be the day or the month; news.date_order says which")


def _by_name(match: re.Match[str], notation: Notation) -> date:
    month = _MONTHS.get(match["month"])
    if month is None:
        raise ValueError(f"{match['month']!r} is no month")
    year = int(match["year"])
    if len(match["year"]) == 2:  # RFC 822 and 850
        year += 2000 if year < 50 else 1900
        if year < 1990:
            raise ValueError(f"a year of two digits cannot be {year}")
    return date(year, month, int(match["day"]))


_Form = tuple[re.Pattern[str], Callable[[re.Match[str], Notation], date]]
# By what stands first: the year, another number, a name.
_YEAR_FORMS: tuple[_Form, ...] = ((_YEAR_FIRST, _year_first), (_DENSE, _year_first))
_DAY_FORMS: tuple[_Form, ...] = ((_DAY_NAME, _by_name), (_YEAR_LAST, _year_last))
_NAME_FORMS: tuple[_Form, ...] = ((_NAME_DAY, _by_name),)
