"""Where each consumer group goes on reading: the next offset of every partition, in SQL and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from sentiment_monitor.domain.news import Partition
from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.database import Database, insert_missing
from sentiment_monitor.store.schema import consumer_offsets


@dataclass(frozen=True, slots=True)
class PositionStore:
    """The next offsets of one consumer group. Another group's do not matter to it."""

    database: Database
    group: str

    def ask(self, starts: Mapping[Partition, int | None], now_ms: int) -> dict[Partition, int]:
        """The next offset of each partition; one that is new to SQL begins at its start. Raises DatabaseAway."""
        with self.database.write() as connection:
            offsets = self._stored(connection, starts)
            new = {partition: start for partition, start in starts.items() if partition not in offsets}
            for (topic, number), start in new.items():
                if start is None:
                    raise ValueError(f"no start given for {topic}/{number}")
                self._begin(connection, (topic, number), start, now_ms)
                offsets[topic, number] = start
        return offsets

    def move(self, offsets: Mapping[Partition, tuple[int, int]], now_ms: int) -> dict[Partition, int]:
        """Moves each next offset from a position that the broker lost to another; returns those that stood there.

        Where SQL stands elsewhere nothing happens: what was fetched before is on its way. Raises DatabaseAway.
        """
        with self.database.write() as connection:
            return {
                partition: following
                for partition, (lost, following) in sorted(offsets.items())
                if self._moved(connection, partition, lost, following, now_ms)
            }

    def advance(self, connection: Connection, offsets: Mapping[Partition, tuple[int, int]], now_ms: int) -> None:
        """Moves each partition from its expected next offset to the one that follows.

        Raises Fenced when SQL is elsewhere, or does not know the partition.
        """
        for partition, (expected, following) in sorted(offsets.items()):
            if not self._moved(connection, partition, expected, following, now_ms):
                raise Fenced(f"{partition[0]}/{partition[1]}: SQL is no longer at offset {expected}")

    def _moved(self, connection: Connection, partition: Partition, expected: int, following: int, now_ms: int) -> bool:
        topic, number = partition
        result = connection.execute(
            update(consumer_offsets)
            .where(
                consumer_offsets.c.consumer_group == self.group,
                consumer_offsets.c.topic == topic,
                consumer_offsets.c.partition == number,
                consumer_offsets.c.next_offset == expected,
            )
            .values(next_offset=following, updated_ms=now_ms)
        )
        return result.rowcount == 1

    def _stored(self, connection: Connection, partitions: Iterable[Partition]) -> dict[Partition, int]:
        wanted = set(partitions)
        rows = connection.execute(
            select(consumer_offsets.c.topic, consumer_offsets.c.partition, consumer_offsets.c.next_offset).where(
                consumer_offsets.c.consumer_group == self.group
            )
        )
        return {(topic, number): offset for topic, number, offset in rows if (topic, number) in wanted}

    def _begin(self, connection: Connection, partition: Partition, offset: int, now_ms: int) -> None:
        # Two members may meet a new partition at the same moment: whoever is second keeps the first one's row.
        topic, number = partition
        key = {"consumer_group": self.group, "topic": topic, "partition": number}
        insert_missing(connection, consumer_offsets, [{**key, "next_offset": offset, "updated_ms": now_ms}])
