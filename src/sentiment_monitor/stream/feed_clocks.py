"""Whether a source's stories bear about the time of their records, or stay hours away from it, as in a zone not set.

Compared is the story's time with its record's own, never with the present: catching up and replays differ by nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from sentiment_monitor.domain.news import Action, DeadLetter, Record, Story
from sentiment_monitor.ingest.dates import Notations
from sentiment_monitor.times import HOUR_MINUTES, MINUTE_MS

_log = structlog.get_logger()

MAX_SOURCES = 200
_FARTHEST_MS = 15 * HOUR_MINUTES * MINUTE_MS  # no zone is farther from another's usual reading: an old story, no clock
_DIFFERS_MS = 45 * MINUTE_MS
_STEP_MS = 15 * MINUTE_MS  # zones differ by quarters of an hour
_PUNCTUAL_MS = 5 * MINUTE_MS  # clocks of feeds may be ahead by so much
_MINUTES_KEPT = 60  # with a story each
_MINUTES_NEEDED = 10
_SPAN_MINUTES = 30  # a burst after an outage is over sooner
_JUDGED_EVERY = 5
_FORGOTTEN_MINUTES = 24 * HOUR_MINUTES  # a source that is silent for so long makes room for another
# Where news is made, to name an offset that people know.
_PLACES = (
    "America/New_York", "America/Chicago", "America/Los_Angeles", "America/Sao_Paulo", "Europe/London", "Europe/Berlin",
    "Europe/Helsinki", "Europe/Moscow", "Asia/Dubai", "Asia/Kolkata", "Asia/Shanghai", "Asia/Tokyo", "Australia/Sydney",
)  # fmt: skip

Decode = Callable[[Record], Sequence[Story | DeadLetter]]


@dataclass(slots=True)
class _Clock:
    """One source: how far its newest story of each minute of record time lies before its record."""

    minutes: deque[int] = field(default_factory=lambda: deque(maxlen=_MINUTES_KEPT))
    behind_ms: deque[int] = field(default_factory=lambda: deque(maxlen=_MINUTES_KEPT))
    since_judged: int = 0
    warned_ms: int | None = None  # of the difference that the log tells of


class FeedClocks:
    """Follows the clocks of at most ``MAX_SOURCES`` sources. Used by one thread.

    A source is judged by ten minutes with a story or more, half an hour apart or more: the lower quartile of how far
    the newest story of each lies before its record, so that neither late nor misdated stories decide. ``notations``
    are the zones set now; ``show`` takes seconds by source, for a metric. A difference is logged once until it changes.
    """

    def __init__(self, notations: Notations, show: Callable[[Mapping[str, float]], None]) -> None:
        self._notations = notations
        self._show = show
        self._clocks: dict[str, _Clock] = {}  # the one that was silent longest stands first
        self._seconds: dict[str, float] = {}

    def following(self, decode: Decode) -> Decode:
        """``decode`` with a look at what it gives."""

        def decode_and_see(record: Record) -> Sequence[Story | DeadLetter]:
            readings = decode(record)
            for reading in readings:
                if isinstance(reading, Story) and reading.action is Action.CREATED:
                    self.see(reading.source, record.timestamp_ms, reading.published_ms)
            return readings

        return decode_and_see

    def see(self, source: str, record_ms: int, published_ms: int) -> None:
        """One new story. Where the feed gives no time, it bears its record's, which says nothing."""
        behind_ms = record_ms - published_ms
        if not behind_ms or not -_FARTHEST_MS <= behind_ms <= _FARTHEST_MS:
            return
        minute = record_ms // MINUTE_MS
        clock = self._clocks.get(source) or self._followed(source, minute)
        if clock is None:
            return
        if clock.minutes and minute <= clock.minutes[-1]:
            if behind_ms < clock.behind_ms[-1]:
                clock.behind_ms[-1] = behind_ms
            return
        clock.minutes.append(minute)
        clock.behind_ms.append(behind_ms)
        clock.since_judged += 1
        if clock.since_judged >= _JUDGED_EVERY:
            clock.since_judged = 0
            self._clocks[source] = self._clocks.pop(source)
            if len(clock.minutes) >= _MINUTES_NEEDED and minute - clock.minutes[0] >= _SPAN_MINUTES:
                self._judge(source, clock, record_ms)

    def _followed(self, source: str, minute: int) -> _Clock | None:
        """The clock of a source seen for the first time; None while as many as are followed speak."""
        if len(self._clocks) >= MAX_SOURCES:
            silent = next(iter(self._clocks))
            if minute - self._clocks[silent].minutes[-1] < _FORGOTTEN_MINUTES:
                return None
            del self._clocks[silent]
            self._seconds.pop(silent, None)
        clock = self._clocks[source] = _Clock()
        return clock

    def _judge(self, source: str, clock: _Clock, record_ms: int) -> None:
        behind_ms = sorted(clock.behind_ms)[len(clock.behind_ms) // 4]
        self._seconds[source] = behind_ms / 1000
        self._show(dict(self._seconds))
        if abs(behind_ms) < _DIFFERS_MS:
            if clock.warned_ms is not None:
                clock.warned_ms = None
                _log.info("feed.clock_agrees", source=source)
        elif clock.warned_ms is None or abs(behind_ms - clock.warned_ms) >= 2 * _STEP_MS:
            clock.warned_ms = behind_ms
            self._warn(source, behind_ms, record_ms)

    def _warn(self, source: str, behind_ms: int, record_ms: int) -> None:
        difference = timedelta(milliseconds=(behind_ms + _PUNCTUAL_MS) // _STEP_MS * _STEP_MS)
        at = datetime.fromtimestamp(record_ms / 1000, UTC)
        present = at.astimezone(self._notations.of_source(source).zone).utcoffset() or timedelta()
        likely = present - difference
        place = next((name for name in _PLACES if at.astimezone(ZoneInfo(name)).utcoffset() == likely), None)
        setting = f'news.time_zones."{source}" = "{place or "…"}"'
        _log.warning(
            "feed.clock_differs",
            source=source,
            hours=round(behind_ms / 3_600_000, 2),
            likely_offset=_spelt(likely),
            likely_zone=place,
            hint=f"its stories are dated so many hours before their records; if its times name no zone, set {setting}",
        )


def _spelt(offset: timedelta) -> str:
    hours, minutes = divmod(abs(offset) // timedelta(minutes=1), 60)
    return f"UTC{'-' if offset < timedelta() else '+'}{hours:02}:{minutes:02}"
