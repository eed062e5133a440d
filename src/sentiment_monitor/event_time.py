"""Event time: up to which minute every partition is stored, though they run at different speeds.

The poller says what is left of each partition, the writer what it has stored. Event time is complete up to the
slowest partition that still has something to say; one that has been read out for a while no longer holds it back.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from sentiment_monitor.ingest.source import Partition

_DRAINED_SECONDS = 5.0  # a partition that is read out this long no longer holds time back


class EventTime:
    """How far event time is complete, over partitions that run at different speeds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[Partition, int] = {}
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
            for partition, several in left.items():
                if several == 0:
                    self._read_out_since.setdefault(partition, now)
                else:
                    self._read_out_since.pop(partition, None)

    def stored(self, partition: Partition, minutes: Sequence[int]) -> None:
        """The writer's view: event-time minutes that are now in SQL."""
        if not minutes:
            return
        with self._lock:
            self._last[partition] = max(self._last.get(partition, 0), *minutes)
            self.newest = max(self.newest or 0, *minutes)
            self._read_out_since.pop(partition, None)

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
            return min(holding, default=self.newest)
