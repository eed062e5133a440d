"""What the hot loop asks of a source of records, whatever lies behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sentiment_monitor.domain.news import Partition, Record

Positions = Callable[[Mapping[Partition, int | None]], Mapping[Partition, int]]
"""Asks SQL for the next offset of each partition; the value is where to start when SQL has none.
May raise DatabaseAway; the source then holds the partitions and asks again."""

Moves = Callable[[Mapping[Partition, tuple[int, int]]], Mapping[Partition, int]]
"""Moves the next offset in SQL from the one that the broker lost to another; answers with those that stood there.
May raise DatabaseAway, as above."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records of one partition, in offset order.

    ``epoch`` counts how often this process was given or repositioned the partition; records of an older
    epoch than the source's current one are stale and must be dropped.
    """

    partition: Partition
    epoch: int
    records: Sequence[Record]  # none: what lay there is not for us
    start_offset: int  # where we stood before; the first record may lie beyond it (compaction, transactions)
    next_offset: int  # the offset after the last record


class Source(Protocol):
    """A consumer-group member. Only :meth:`epoch` and :attr:`away` may be asked from another thread than the poller."""

    def poll(self, timeout_ms: int, *, hold: bool) -> list[Fetched]:
        """Waits up to ``timeout_ms`` for records and keeps the membership alive.

        With ``hold`` nothing is fetched, but the source still takes part in the group. A broker or a database
        that is away is waited for. Raises PositionLost, and FatalError when the broker refuses us.
        """
        ...

    def epoch(self, partition: Partition) -> int | None:
        """The current epoch of a partition, or None when it is not ours."""
        ...

    def reposition(self, partition: Partition) -> None:
        """Forgets where we are in a partition; the next poll asks SQL again."""
        ...

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Tells Kafka how far we are, for lag tools only. Never blocks, never raises for a broker that is away."""
        ...

    def lag(self) -> Mapping[Partition, int | None]:
        """Records between our position and the end, for each partition that is ours; None while that is not known."""
        ...

    @property
    def away(self) -> str | None:
        """Why no broker can be reached; None while one can, or nothing is known yet."""
        ...

    def caught_up(self) -> bool:
        """True when we hold at least one partition and have read every assigned one to its known end."""
        ...

    def close(self) -> None:
        """Leaves the group."""
        ...
