"""Signs that the broker no longer holds a partition's next offset, before it says so or after it has said so once."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping

from kafka import TopicPartition
from kafka import errors as kafka_errors

from sentiment_monitor.errors import PositionLost

# A broker that answers a fetch beyond its log with silence instead of OffsetOutOfRange gives itself away by
# a high-water mark below our position; brokers also do that for a moment during a leader change.
_BEYOND_END_SECONDS = 10.0


class Signs:
    """What was seen of each partition since it was placed. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._beyond_since: dict[TopicPartition, float] = {}
        self._truncated: set[TopicPartition] = set()

    def measured(self, partition: TopicPartition, position: int | None, end: int | None) -> bool:
        """Whether the position has been beyond the end of the log for too long."""
        now = time.monotonic()
        with self._lock:
            if end is None or position is None or position <= end:
                self._beyond_since.pop(partition, None)
                return False
            return now - self._beyond_since.setdefault(partition, now) > _BEYOND_END_SECONDS

    def truncated(self, error: kafka_errors.LogTruncationError) -> None:
        """The client has said that a log was truncated; it says so once only, and then reads on."""
        with self._lock:
            self._truncated |= partitions_of(error)

    def take_truncated(self) -> set[TopicPartition]:
        """The partitions of which that was said since the last time."""
        with self._lock:
            partitions, self._truncated = self._truncated, set()
            return partitions

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """They are placed anew: what was seen before counts no more."""
        with self._lock:
            self._truncated.difference_update(partitions)
            for partition in partitions:
                self._beyond_since.pop(partition, None)


def partitions_of(error: Exception) -> set[TopicPartition]:
    """The partitions that an error of the client names, none if it names none."""
    if isinstance(error, kafka_errors.LogTruncationError):
        named = error.divergent_offsets  # its arguments are a text
    else:
        named = error.args[0] if error.args else None
    return {key for key in named if isinstance(key, TopicPartition)} if isinstance(named, Mapping) else set()


def names(partitions: Collection[TopicPartition]) -> list[str]:
    """Partitions as people read them."""
    return sorted(f"{p.topic}/{p.partition}" for p in partitions)


def position_lost(partitions: Collection[TopicPartition], detail: str) -> PositionLost:
    """What stops the process when nobody has said where to read on."""
    return PositionLost(
        f"{', '.join(names(partitions)) or 'a partition without a name'}: "
        "the broker does not hold the next offset recorded in SQL "
        f"({detail}). Either the topic was remade or its retention passed us. Check the topic, then start "
        "once with kafka.on_lost_position set to earliest (read what is left) or latest (skip it)."
    )
