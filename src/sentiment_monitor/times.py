"""Durations, instants and spans as people write them, in event-time minutes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import overload

from sentiment_monitor.errors import UsageError

MINUTE_MS = 60_000
HOUR_MINUTES = 60
DAY_MINUTES = 24 * 60

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d|w)", re.IGNORECASE)
_MINUTES = {"s": 1 / 60, "sec": 1 / 60, "m": 1, "min": 1, "h": 60, "d": DAY_MINUTES, "w": 7 * DAY_MINUTES}
_STEPS = (1, 5, 15, 30, 60, 180, 360, 720, 1440, 10_080)
_WIDTH = 60
_MOST_STEPS = 100_000
_LONGEST_MINUTES = 10_000 * 366 * DAY_MINUTES  # from the first year to the last that is written with four digits
_LAST_MINUTE = 4_223_371_679  # of the year 9999


def pauses(first: float = 0.05, most: float = 10.0) -> Iterator[float]:
    """Seconds to wait between attempts: each pause twice the one before, up to ``most``."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, most)


def duration_minutes(text: str) -> float | None:
    """``90s``, ``15m``, ``2h``, ``7d`` in minutes; None when it is no duration."""
    match = _DURATION.fullmatch(text.strip())
    return min(float(match[1]) * _MINUTES[match[2].lower()], _LONGEST_MINUTES) if match else None


def spell_minutes(minutes: int) -> str:
    """``45 min``, ``6 h``, ``24 h``, ``3 d``, ``1 d 1 h 5 min``."""
    if minutes == DAY_MINUTES:
        return "24 h"
    days, rest = divmod(minutes, DAY_MINUTES)
    hours, left = divmod(rest, HOUR_MINUTES)
    parts = ((days, "d"), (hours, "h"), (left, "min"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 min"


def spell_age(minutes: int) -> str:
    """``5 min ago``, ``3 h ago``, ``2 days ago``: roughly, for people."""
    for unit, size in (("days", DAY_MINUTES), ("h", HOUR_MINUTES)):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit} ago"
    return f"{max(0, minutes)} min ago"


def clock(minute: int | None) -> str:
    """``2023-03-10 17:21`` UTC for an event-time minute, a dash for None."""
    if minute is None:
        return "-"
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%d %H:%M")


@overload
def iso(minute: int) -> str: ...
@overload
def iso(minute: int | None) -> str | None: ...
def iso(minute: int | None) -> str | None:
    """RFC 3339 for an event-time minute."""
    return None if minute is None else rfc3339(minute * MINUTE_MS)


def rfc3339(instant_ms: int) -> str:
    """``2023-03-10T17:21:00Z``; milliseconds only when there are some."""
    at = datetime.fromtimestamp(instant_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    rest = instant_ms % 1000
    return f"{at}.{rest:03d}Z" if rest else f"{at}Z"


def clock_of(instant: str) -> str:
    """``2023-03-10 17:21`` of an instant that :func:`rfc3339` wrote."""
    return instant[:16].replace("T", " ")


def span(
    since: str, until: str | None, step: str | None, last_minute: int, *, dashes: str = ""
) -> tuple[int, int, int]:
    """(start, end, step) in minutes; ``end`` is exclusive.

    ``since`` is a time or a duration back from the end, ``until`` a time (None: the last minute there is). UsageError
    names them as they are called where they come from, on a command line with ``dashes``.
    """
    end = instant(f"{dashes}until", until) if until else last_minute + 1
    back = duration_minutes(since)
    start = end - round(back) if back is not None else instant(f"{dashes}since", since)
    start = max(0, start)  # no story is older than 1970
    if start >= end:
        raise UsageError(f"{dashes}since {since}: must lie before the end, {clock(end)}")
    if step is None:
        fitting = (width for width in _STEPS if (end - start) / width <= _WIDTH)
        return start, end, next(fitting, -(-(end - start) // (_WIDTH * 10_080)) * 10_080)
    minutes = duration_minutes(step)
    if minutes is None or minutes < 1:
        raise UsageError(f"{dashes}step {step}: write a duration of at least 1m, such as 15m or 6h")
    if (end - start) / minutes > _MOST_STEPS:
        raise UsageError(f"{dashes}step {step}: that makes more than {_MOST_STEPS:,} steps; choose a wider one")
    return start, end, min(round(minutes), end - start)


def instant(name: str, text: str) -> int:
    """The minute of ``2023-03-09`` or ``2023-03-09T20:00Z``; UTC without a zone. UsageError calls it ``name``."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name} {text}: write a time such as 2023-03-09 or 2023-03-09T20:00Z") from None
    minute = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) // 60
    return min(max(0, minute), _LAST_MINUTE)  # no story is older or newer
