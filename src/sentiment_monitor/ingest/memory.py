"""A source that lives in memory, for tests and for trying things without a broker."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from sentiment_monitor.domain.news import Partition, Position, Record
from sentiment_monitor.errors import DatabaseAway
from sentiment_monitor.ingest.source import Fetched, Positions


class MemorySource:
    """Holds records per partition and behaves as the only member of its group.

    ``assign`` and ``revoke`` play a rebalance. See :class:`~sentiment_monitor.ingest.source.Source`.
    """

    def __init__(self, positions: Positions, *, max_poll_records: int = 500) -> None:
        self._positions = positions
        self._max = max_poll_records
        self._logs: dict[Partition, list[Record]] = {}
        self._next: dict[Partition, int] = {}
        self._epochs: dict[Partition, int] = {}
        self._owned: set[Partition] = set()
        self._waiting: set[Partition] = set()
        self.committed: dict[Partition, int] = {}

    def append(self, partition: Partition, values: Iterable[bytes | None], timestamp_ms: int = 0) -> None:
        """Adds records at the end of a partition and assigns it if it is new."""
        log = self._logs.setdefault(partition, [])
        for value in values:
            log.append(Record(Position(*partition, len(log)), None, value, timestamp_ms))
        if partition not in self._epochs:
            self.assign(partition)

    def assign(self, partition: Partition) -> None:
        """This member is given the partition."""
        self._logs.setdefault(partition, [])
        self._epochs[partition] = self._epochs.get(partition, 0) + 1
        self._owned.add(partition)
        self._waiting.add(partition)

    def revoke(self, partition: Partition) -> None:
        """This member loses the partition."""
        self._owned.discard(partition)
        self._waiting.discard(partition)

    def poll(self, timeout_ms: int, *, hold: bool) -> list[Fetched]:
        """See :meth:`Source.poll`. Waits the whole time when there is nothing."""
        if self._waiting:
            try:
                self._next.update(self._positions(dict.fromkeys(self._waiting, 0)))
                self._waiting.clear()
            except DatabaseAway:
                hold = True
        fetched, room = [], 0 if hold else self._max
        for partition in sorted(self._owned - self._waiting):
            start = self._next[partition]
            records = self._logs[partition][start : start + room]
            if records:
                self._next[partition] = start + len(records)
                room -= len(records)
                fetched.append(Fetched(partition, self._epochs[partition], records, start, start + len(records)))
        if not fetched:
            time.sleep(timeout_ms / 1000)
        return fetched

    def epoch(self, partition: Partition) -> int | None:
        """See :meth:`Source.epoch`."""
        return self._epochs[partition] if partition in self._owned else None

    def reposition(self, partition: Partition) -> None:
        """See :meth:`Source.reposition`."""
        if partition in self._owned:
            self._epochs[partition] += 1
            self._waiting.add(partition)

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """See :meth:`Source.commit`."""
        self.committed.update(offsets)

    def lag(self) -> Mapping[Partition, int | None]:
        """See :meth:`Source.lag`."""
        return {p: None if p in self._waiting else len(self._logs[p]) - self._next[p] for p in self._owned}

    @property
    def away(self) -> str | None:
        """See :attr:`Source.away`: never."""
        return None

    def caught_up(self) -> bool:
        """See :meth:`Source.caught_up`."""
        return bool(self._owned) and not self._waiting and not any(self.lag().values())

    def close(self) -> None:
        """See :meth:`Source.close`."""
        self._owned.clear()
