"""Time zones as feeds name them (+01:00, CET, Asia/Tokyo), and which instant a local time is in one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from sentiment_monitor.errors import RecordError

# Abbreviations that have one meaning in news of markets, in hours. What has several (CST, IST, AST) is not among them.
_HOURS = {
    "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "MEZ": 1, "MESZ": 2,
    "EET": 2, "EEST": 3, "SAST": 2, "MSK": 3, "TRT": 3, "PKT": 5, "ICT": 7, "WIB": 7, "HKT": 8, "SGT": 8, "MYT": 8,
    "AWST": 8, "JST": 9, "KST": 9, "ACST": 9.5, "AEST": 10, "ACDT": 10.5, "AEDT": 11, "NZST": 12, "NZDT": 13,
    "BRT": -3, "ART": -3, "EDT": -4, "EST": -5, "CDT": -5, "MDT": -6, "MST": -7, "PDT": -7, "PST": -8, "AKDT": -8,
    "AKST": -9, "HST": -10,
}  # fmt: skip
_OFFSETS = {name: timezone(timedelta(hours=hours)) for name, hours in _HOURS.items()}
# Without the middle letter the clock on the wall is meant, in summer and in winter.
_CLOCKS = {"ET": "America/New_York", "CT": "America/Chicago", "MT": "America/Denver", "PT": "America/Los_Angeles"}
_UNIVERSAL = {"Z", "UT", "UTC", "GMT"}
_CENTRAL_STANDARD = timezone(timedelta(hours=-6))
_OFFSET = re.compile(r"(?:UTC?|GMT)? ?([+-])(\d{1,2})(?::?(\d{2}))?", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]{2,20}(?:/[A-Za-z0-9_+-]{2,20}){1,2}")
_FARTHEST = timedelta(hours=15)  # from UTC; Kiribati is 14 hours ahead


def offset(text: str) -> tzinfo | None:
    """The zone of ``+01:00``, ``-0500``, ``+8``, ``GMT+8`` or ``GMT``; None for what is none of them."""
    match = _OFFSET.fullmatch(text)
    if match is None:
        return UTC if text in _UNIVERSAL else None
    span = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    if span >= _FARTHEST or int(match[3] or 0) > 59:
        return None
    return timezone(-span if match[1] == "-" else span)


def named(name: str, moment: datetime, home: tzinfo, *, by_rfc: bool = False) -> tzinfo:
    """The zone that ``name`` means for ``moment``, a local time of a feed whose own zone is ``home``.

    What the feed's own zone is called there comes first, so that IST may be India's, Ireland's or Israel's. Otherwise
    abbreviations with several meanings are refused, but for CST where the notation is that of RFC 2822, which defines
    it (``by_rfc``). Raises RecordError ``bad_time``.
    """
    if "/" in name:
        place = _place(name) if _NAME.fullmatch(name) else None
        if place is None:
            raise RecordError("bad_time", f"{name!r:.40} is no time zone")
        return place
    abbreviation = name.upper()
    if abbreviation in _UNIVERSAL:
        return UTC
    if isinstance(home, ZoneInfo) and (zone := _as_at_home(abbreviation, moment, home)):
        return zone
    if abbreviation in _CLOCKS:
        return ZoneInfo(_CLOCKS[abbreviation])
    if abbreviation == "CST" and by_rfc:
        return _CENTRAL_STANDARD
    if abbreviation not in _OFFSETS:
        raise RecordError("bad_time", f"the zone {name!r:.20} has no one meaning; news.time_zone can give it one")
    return _OFFSETS[abbreviation]


def _as_at_home(abbreviation: str, moment: datetime, home: ZoneInfo) -> tzinfo | None:
    """What ``home`` is called at that moment, or in that year's winter or summer."""
    for day in (moment, moment.replace(month=1, day=1), moment.replace(month=7, day=1)):
        local = day.replace(tzinfo=home)
        if local.tzname() == abbreviation and (span := local.utcoffset()) is not None:
            return timezone(span)
    return None


def local_ms(moment: datetime, zone: tzinfo, record_ms: int) -> int:
    """Milliseconds since 1970 of the local time ``moment`` in ``zone``. Raises OverflowError, ValueError.

    Of an hour that clocks show twice, the reading nearer to ``record_ms`` counts, the record's own time. A time that
    clocks skip is read as on a clock that was not put forward.
    """
    first = _instant(moment.replace(tzinfo=zone))
    if not isinstance(zone, ZoneInfo):
        return first
    again = _instant(moment.replace(tzinfo=zone, fold=1))
    return min(first, again, key=lambda instant: abs(instant - record_ms)) if again > first else first


def _instant(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@lru_cache(256)
def _place(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; a path; a directory
        return None
