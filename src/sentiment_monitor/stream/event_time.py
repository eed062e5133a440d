"""Event time: up to which minute every partition is stored, though they run at different speeds.

The poller says what is left of each partition, the writer what it has stored. Event time is complete up to the
slowest partition that still has something to say; one that has been read out for a while no longer holds it back.
One misdated story must not carry time forward, or all that follow would be history nobody decides about any more: a
story far ahead of its partition moves it when the next one is ahead as well.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from sentiment_monitor.domain.news import Partition
from sentiment_monitor.times import DAY_MINUTES

_LEAP_MINUTES = DAY_MINUTES  # further ahead than this a story needs a second one
_DRAINED_SECONDS = 5.0  # a partition that is read out this long no longer holds time back


class EventTime:
    """How far event time is complete, over partitions that run at different speeds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[Partition, int] = {}
        self._ahead: dict[Partition, int] = {}  # a leap that one story has made
        self._left: Mapping[Partition, int | None] = {}
        self._read_out_since: dict[Partition, float] = {}
        self._now = 0.0
        self.newest: int | None = None

    def seen(self, left: Mapping[Partition, int | None], now: float) -> None:
        """The poller's view: what is left to store of each assigned partition, in records; None: not known yet.

        ``now`` is in monotonic seconds.
        """
        with self._lock:
            self._left, self._now = dict(left), now
            for partition, records in left.items():
                if records == 0:
                    self._read_out_since.setdefault(partition, now)
                else:
                    self._read_out_since.pop(partition, None)

    def stored(self, partition: Partition, minutes: Sequence[int]) -> None:
        """The writer's view: event-time minutes that are now in SQL."""
        if not minutes:
            return
        with self._lock:
            for minute in minutes:
                self._move(partition, minute)
            self.newest = max(self.newest or 0, *minutes)
            self._read_out_since.pop(partition, None)

    def _move(self, partition: Partition, minute: int) -> None:
        last = self._last.setdefault(partition, minute)
        ahead = self._ahead.pop(partition, None)
        if minute <= last + _LEAP_MINUTES:
            self._last[partition] = max(last, minute)
        elif ahead is None:
            self._ahead[partition] = minute
        else:
            nearer, farther = sorted((ahead, minute))
            if farther > nearer + _LEAP_MINUTES:
                self._last[partition], self._ahead[partition] = nearer, farther
            else:
                self._last[partition] = farther

    def complete_before(self) -> int | None:
        """The minute before which every partition that still has something to say is stored."""
        with self._lock:
            holding = []
            for partition, left in self._left.items():
                since = self._read_out_since.get(partition)
                if since is not None and self._now - since > _DRAINED_SECONDS:
                    continue
                if partition not in self._last:
                    if left != 0:
                        return None
                    continue
                holding.append(self._last[partition])
            return min(holding, default=max(self._last.values(), default=None))
