"""Times as feeds write them: ISO 8601, RFC 2822 and other notations, digits of a date, seconds to nanoseconds."""

from __future__ import annotations

import math
import re
import reprlib
from datetime import datetime

from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest.dates import PLAIN, Notation, written_ms
from sentiment_monitor.ingest.zones import local_ms

MAX_TIME_CHARACTERS = 100  # the longest real one, JavaScript's with the name of its zone, has some seventy

_DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}  # by their number
_SPELT = {8: "YYYYMMDD", 12: "YYYYMMDDhhmm", 14: "YYYYMMDDhhmmss", 17: "YYYYMMDDhhmmssmmm"}
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# Numbers count in the unit by which they lie between 1990 and 2100: no number does in two of them, and none that is
# small because it is something else (a year, days, zero) does at all.
_FIRST_NUMBER_MS = 631_152_000_000
_LAST_NUMBER_MS = 4_102_444_800_000
_TOO_LARGE = 1e20
_PER_MS = (0.001, 1, 1_000, 1_000_000)  # seconds, milliseconds, microseconds, nanoseconds
_DAY_MS = 86_400_000
_EARLIEST_MS = 2 * _DAY_MS  # before it lies the zero of computers' clocks, in every zone: no time of a story
_LATEST_MS = 253_402_300_799_000  # 9999-12-31: what every database and language on the way can hold
# Pairs of names under which libraries write seconds and nanoseconds since 1970.
_SECONDS_AND_NANOS = (
    ("seconds", "nanos"),
    ("seconds", "nanoseconds"),
    ("_seconds", "_nanoseconds"),
    ("epochSecond", "nano"),
)


def instant_ms(value: object, fallback_ms: int, notation: Notation = PLAIN) -> int:
    """Milliseconds since the epoch for a time in any notation of docs/data-contract.md.

    ``notation`` says what the feed leaves unsaid. Missing or blank gives ``fallback_ms``, the record's own time. What
    could be read in two ways is refused. Raises RecordError ``bad_time``.
    """
    if is_blank(value):
        if not 0 <= fallback_ms <= _LATEST_MS:  # -1: none; a producer may also have stamped microseconds
            raise RecordError("bad_time", f"no published_at, and the record's own time is {fallback_ms} ms")
        return fallback_ms
    if isinstance(value, str):
        text = value.strip()
        if len(text) > MAX_TIME_CHARACTERS:
            raise RecordError("bad_time", f"{len(text)} characters, at most {MAX_TIME_CHARACTERS} are read")
        # What most feeds send, without the price of a grammar. The library takes any character for the T.
        if text[4:5] == "-" and text[10:11] in "T ":
            try:
                moment = datetime.fromisoformat(text)
                if moment.tzinfo is None:
                    return _checked(local_ms(moment, notation.zone, fallback_ms), text)
                return _checked(round(moment.timestamp() * 1000), text)
            except (ValueError, OverflowError):
                pass
        if not _NUMBER.fullmatch(text):
            return _checked(written_ms(text, notation, fallback_ms), text)
        if text.isdigit():
            return _number_ms(int(text), notation, fallback_ms, text)
        value = float(text)
    if isinstance(value, bool):
        raise RecordError("bad_time", f"{value} is not a time")
    if isinstance(value, int | float):
        return _number_ms(value, notation, fallback_ms)
    if isinstance(value, list):
        return _list_ms(value, notation, fallback_ms)
    if isinstance(value, dict):
        return _object_ms(value, notation, fallback_ms)
    raise RecordError("bad_time", f"{reprlib.repr(value)} is not a time")


def _number_ms(value: float, notation: Notation, fallback_ms: int, text: str = "") -> int:
    if not -_TOO_LARGE < value < _TOO_LARGE:  # also NaN
        raise RecordError("bad_time", f"{value!r:.60} is out of range")
    for per_ms in _PER_MS:
        milliseconds = round(value * 1000) if per_ms < 1 else math.floor(value // per_ms)
        if _FIRST_NUMBER_MS <= milliseconds < _LAST_NUMBER_MS:
            if per_ms < 1 and milliseconds > fallback_ms + _DAY_MS and fallback_ms > _EARLIEST_MS:
                _refuse_an_hour(str(value))
            return milliseconds
    digits = text or str(int(value) if value == int(value) else value)
    if len(digits) in _DIGITS and digits.isdigit():
        return _digits_ms(digits, notation, fallback_ms)
    raise RecordError("bad_time", f"{value!r:.60} is no time since 1970 in any unit, nor the digits of a date")


def _refuse_an_hour(digits: str) -> None:
    """Raises RecordError for seconds, in the future of their record, that are an hour as well (2026113010)."""
    if len(digits) != 10 or not "1990" <= digits[:4] < "2100":
        return
    try:
        datetime.strptime(digits, "%Y%m%d%H")  # noqa: DTZ007
    except ValueError:
        return
    raise RecordError("bad_time", f"{digits} may be YYYYMMDDhh or seconds since 1970")


def _digits_ms(digits: str, notation: Notation, fallback_ms: int) -> int:
    try:
        if digits >= "21":  # a hundred years ahead: a number that means something else
            raise ValueError
        moment = datetime.strptime(digits, _DIGITS[len(digits)])  # noqa: DTZ007
        return _checked(local_ms(moment, notation.zone, fallback_ms), digits)
    except (ValueError, OverflowError):
        spelt = _SPELT[len(digits)]
        raise RecordError("bad_time", f"{digits}: {len(digits)} digits are read as {spelt}, this is none") from None


def _list_ms(numbers: list[object], notation: Notation, fallback_ms: int) -> int:
    """``[2026, 11, 30, 10, 0, 0, 500000000]``, as Java writes a local time: from the year down to nanoseconds."""
    whole = [number for number in numbers[:8] if isinstance(number, int) and not isinstance(number, bool)]
    try:
        if len(whole) != len(numbers) or len(whole) not in (3, 5, 6, 7):
            raise ValueError
        moment = datetime(*whole[:6], microsecond=whole[6] // 1000 if len(whole) == 7 else 0)  # type: ignore[arg-type,misc]  # noqa: DTZ001
        return _checked(local_ms(moment, notation.zone, fallback_ms), numbers)
    except (ValueError, OverflowError):
        raise RecordError(
            "bad_time", f"{reprlib.repr(numbers)} is not year, month, day, hour, minute, second"
        ) from None


def _object_ms(value: dict[object, object], notation: Notation, fallback_ms: int) -> int:
    """``{"$date": …}`` of MongoDB, and seconds with nanoseconds as protobuf, Firestore and Java write them."""
    match value:
        case {"$date": {"$numberLong": str(digits)}} if _is_number(digits):
            return _checked(int(digits), value)
        case {"$date": str(text)}:
            return instant_ms(text, fallback_ms, notation)
        case {"$date": int(milliseconds)} if not isinstance(milliseconds, bool):
            return _checked(milliseconds, value)
    for names in _SECONDS_AND_NANOS:
        if set(value) <= set(names) and names[0] in value:
            seconds, nanos = (value.get(name, 0) for name in names)
            if isinstance(seconds, str) and _is_number(seconds):
                seconds = int(seconds)  # protobuf's JSON writes 64 bits as text
            if type(seconds) is int and type(nanos) is int and 0 <= nanos < 1_000_000_000:
                return instant_ms(seconds, fallback_ms, notation) + nanos // 1_000_000
    raise RecordError("bad_time", f"{reprlib.repr(value)} is not a time")


def _is_number(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= MAX_TIME_CHARACTERS


def _checked(milliseconds: int, given: object) -> int:
    if not _EARLIEST_MS <= milliseconds <= _LATEST_MS:
        raise RecordError("bad_time", f"{reprlib.repr(given)} is out of range")
    return milliseconds


def is_blank(value: object) -> bool:
    """Whether a message says nothing: null, or text without a letter."""
    return value is None or (isinstance(value, str) and not value.strip())
