"""Stretches of time that come back: office hours, nights, weekends, holidays, each by the clocks of its own zone.

Words and notation are those of Alertmanager's ``time_intervals``, with lists of dates added for holidays.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sentiment_monitor.times import DAY_MINUTES

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_TIMES = re.compile(r"(\d\d?):(\d\d) ?- ?(\d\d?):(\d\d)")
_LONGEST_MONTH = 31

Span = tuple[int, int]  # both ends belong to it, except where it says otherwise
Dates = tuple[date, date]  # both days belong to it


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """When all of its conditions hold; of the values of one condition any is enough, and none given means any time.

    Minutes are event-time minutes since 1970-01-01 UTC; conditions are read off the clocks and calendars of ``zone``.
    """

    times: tuple[Span, ...] = ()  # minutes of the day, the end exclusive; an end before the start lies on the next day
    weekdays: tuple[Span, ...] = ()  # 1 is Monday
    days_of_month: tuple[Span, ...] = ()  # from 1; -1 is the last
    months: tuple[Span, ...] = ()
    years: tuple[Span, ...] = ()
    dates: tuple[Dates, ...] = ()
    except_dates: tuple[Dates, ...] = ()  # days on which it never holds
    zone: tzinfo = UTC

    def holds(self, minute: int) -> bool:
        """Whether the minute lies within. What begins before midnight and ends after it belongs to the earlier day."""
        moment = datetime.fromtimestamp(minute * 60, self.zone)
        of_day = moment.hour * 60 + moment.minute
        if not self.times:
            return self._on(moment.date())
        for start, end in self.times:
            if start < end and start <= of_day < end and self._on(moment.date()):
                return True
            if end <= start and of_day >= start and self._on(moment.date()):
                return True
            if end <= start and of_day < end and self._on(moment.date() - timedelta(days=1)):
                return True
        return False

    def _on(self, day: date) -> bool:
        length = monthrange(day.year, day.month)[1]
        return (
            _within(day.isoweekday(), self.weekdays)
            and (
                not self.days_of_month
                or any(
                    _from_start(first, length) <= day.day <= _from_start(last, length)
                    for first, last in self.days_of_month
                )
            )
            and _within(day.month, self.months)
            and _within(day.year, self.years)
            and (not self.dates or _among(day, self.dates))
            and not _among(day, self.except_dates)
        )


def any_holds(intervals: Iterable[TimeInterval], minute: int) -> bool:
    """Whether the minute lies within one of them at least."""
    return any(interval.holds(minute) for interval in intervals)


def interval_of(written: Mapping[str, Sequence[str]], location: str) -> TimeInterval:
    """Reads the conditions by their names, each a list of texts, in the zone ``location``. Raises ValueError.

    ``times``: ``09:00-17:30``, ``22:00-06:00``. ``weekdays``: ``monday:friday``, ``sat``. ``days_of_month``: ``1:5``,
    ``-3:-1``. ``months``: ``april:june``, ``12``. ``years``: ``2026``, ``2026:2028``. ``dates`` and ``except_dates``:
    ``2026-12-24``, ``2026-12-24:2027-01-01``.
    """
    return TimeInterval(
        times=tuple(map(_times, written.get("times", ()))),
        weekdays=tuple(_span(text, _WEEKDAYS) for text in written.get("weekdays", ())),
        days_of_month=tuple(map(_days_of_month, written.get("days_of_month", ()))),
        months=tuple(_span(text, _MONTHS) for text in written.get("months", ())),
        years=tuple(map(_years, written.get("years", ()))),
        dates=tuple(map(_dates, written.get("dates", ()))),
        except_dates=tuple(map(_dates, written.get("except_dates", ()))),
        zone=zone_of(location),
    )


def zone_of(location: str) -> tzinfo:
    """The zone that the database of zones calls so. Raises ValueError."""
    try:
        return ZoneInfo(location)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{location!r} is no time zone; one is written Europe/Berlin or UTC") from None


def minute_of_day(text: str) -> int:
    """``08:30`` as minutes since midnight. Raises ValueError."""
    hour, colon, minute = text.strip().partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and len(minute) == 2):
        raise ValueError(f"{text!r} is no time of day; one is written 08:30")
    of_day = int(hour) * 60 + int(minute)
    if int(minute) > 59 or of_day > DAY_MINUTES:
        raise ValueError(f"{text!r}: there is no such time of day")
    return of_day


def _within(value: int, spans: tuple[Span, ...]) -> bool:
    """Spans may go round: Saturday to Monday, November to February."""
    return not spans or any(
        first <= value <= last if first <= last else value >= first or value <= last for first, last in spans
    )


def _among(day: date, dates: tuple[Dates, ...]) -> bool:
    return any(first <= day <= last for first, last in dates)


def _from_start(day: int, length: int) -> int:
    return day if day > 0 else length + 1 + day


def _times(text: str) -> Span:
    match = _TIMES.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no stretch of a day; one is written 09:00-17:30")
    start, end = minute_of_day(f"{match[1]}:{match[2]}"), minute_of_day(f"{match[3]}:{match[4]}")
    if start in (end, DAY_MINUTES):
        raise ValueError(f"{text!r} is empty; the whole day is 00:00-24:00")
    return start, end


def _ends(text: str) -> tuple[str, str]:
    first, _, last = text.strip().casefold().partition(":")
    return first.strip(), (last or first).strip()


def _span(text: str, names: tuple[str, ...]) -> Span:
    """Names, their first three letters, or numbers from 1."""

    def number(word: str) -> int:
        if word.isdecimal() and 1 <= int(word) <= len(names):
            return int(word)
        fitting = [place for place, name in enumerate(names, 1) if word in (name, name[:3])]
        if not fitting:
            raise ValueError(f"{text!r}: there is no {word!r}; write {names[0]} or {names[0]}:{names[2]}")
        return fitting[0]

    first, last = _ends(text)
    return number(first), number(last)


def _days_of_month(text: str) -> Span:
    first, last = (_whole(word, text) for word in _ends(text))
    if not all(1 <= abs(day) <= _LONGEST_MONTH for day in (first, last)):
        raise ValueError(f"{text!r}: days of a month are 1 to 31, or -31 to -1 from its end")
    if (first > 0) == (last > 0) and first > last:
        raise ValueError(f"{text!r} ends before it begins")
    return first, last


def _years(text: str) -> Span:
    first, last = (_whole(word, text) for word in _ends(text))
    if first > last:
        raise ValueError(f"{text!r} ends before it begins")
    return first, last


def _whole(word: str, text: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise ValueError(f"{text!r}: {word!r} is no number") from None


def _dates(text: str) -> Dates:
    try:
        first, last = (date.fromisoformat(word) for word in _ends(text))
    except ValueError:
        raise ValueError(f"{text!r} is no date; one is written 2026-12-24, several 2026-12-24:2027-01-01") from None
    if first > last:
        raise ValueError(f"{text!r} ends before it begins")
    return first, last
