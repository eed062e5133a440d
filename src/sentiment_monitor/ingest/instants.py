"""Times as feeds write them: ISO 8601, RFC 2822, digits of a date, seconds and milliseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from sentiment_monitor.errors import RecordError

MAX_TIME_CHARACTERS = 100  # the longest real one, RFC 2822 with a comment, has some forty

_COMPACT = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}  # by number of digits
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# RFC 2822, section 3.3, with its obsolete zones. The library's own parser passes over what it does not know (PM, CET).
_RFC_2822 = re.compile(
    r"(?:[a-z]{3,9},\s*)?\d{1,2}[ -][a-z]{3}[ -]\d{2,4}\s+\d{1,2}:\d{2}(?::\d{2})?"
    r"(?:\s*(?:[+-]\d{4}|UTC?|GMT|Z|[ECMP][SD]T))?(?:\s*\([^()]*\))?",
    re.ASCII | re.IGNORECASE,
)
_EARLIEST_MS = 0
_LATEST_MS = 253_402_300_799_000  # 9999-12-31: what every database and language on the way can hold


def instant_ms(value: object, fallback_ms: int) -> int:
    """Milliseconds since the epoch for ISO 8601, RFC 2822, epoch seconds or epoch milliseconds.

    Eight digits are a date (20230310) and fourteen a date and a time, also as a number: as seconds the first would
    lie before 1974, as milliseconds the second after 2286. Other numbers from 10^11 up are milliseconds (10^11
    seconds is the year 5138, 10^11 ms is 1973). Text without a zone is UTC. Missing or blank gives ``fallback_ms``,
    the time of the record itself. Raises RecordError ``bad_time``.
    """
    if is_blank(value):
        if not _EARLIEST_MS <= fallback_ms <= _LATEST_MS:  # -1: none; a producer may also have stamped microseconds
            raise RecordError("bad_time", f"no published_at, and the record's own time is {fallback_ms} ms")
        return fallback_ms
    if isinstance(value, str):
        text = value.strip()
        if len(text) > MAX_TIME_CHARACTERS:
            raise RecordError("bad_time", f"{len(text)} characters, at most {MAX_TIME_CHARACTERS} are read")
        if text[4:5] == "-":  # what most feeds send, without the price of an exception
            try:
                return _checked(_moment_ms(datetime.fromisoformat(text), text), text)
            except ValueError:
                pass
        if len(text) in _COMPACT and text.isascii() and text.isdigit():
            return _compact_ms(text)
        if not _NUMBER.fullmatch(text):
            return _checked(_text_ms(text), text)
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecordError("bad_time", f"{value!r:.60} is not a time")
    if not -_LATEST_MS <= value <= _LATEST_MS:  # also NaN, and integers that no float can hold
        raise RecordError("bad_time", f"{value!r:.60} is out of range")
    if isinstance(value, int) and value > 0 and len(str(value)) in _COMPACT:
        return _compact_ms(str(value))
    return _checked(round(value if abs(value) >= 1e11 else value * 1000), value)


def _compact_ms(digits: str) -> int:
    try:
        moment = datetime.strptime(digits, _COMPACT[len(digits)]).replace(tzinfo=UTC)
    except ValueError:
        expected = "YYYYMMDD" if len(digits) == 8 else "YYYYMMDDhhmmss"
        raise RecordError("bad_time", f"{digits}: {len(digits)} digits are read as {expected}, this is none") from None
    return _checked(_moment_ms(moment, digits), digits)


def _text_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            if not _RFC_2822.fullmatch(text):
                raise ValueError
            moment = parsedate_to_datetime(text)
        except (ValueError, IndexError, TypeError, OverflowError):
            raise RecordError("bad_time", f"{text!r:.60} is neither RFC 3339 nor RFC 2822") from None
    return _moment_ms(moment, text)


def _moment_ms(moment: datetime, given: str) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return round(moment.timestamp() * 1000)
    except (OverflowError, ValueError):
        raise RecordError("bad_time", f"{given!r:.60} is out of range") from None


def _checked(milliseconds: int, given: object) -> int:
    if not _EARLIEST_MS <= milliseconds <= _LATEST_MS:
        raise RecordError("bad_time", f"{given!r:.60} is out of range")
    return milliseconds


def is_blank(value: object) -> bool:
    """Whether a message says nothing: null, or text without a letter."""
    return value is None or (isinstance(value, str) and not value.strip())
