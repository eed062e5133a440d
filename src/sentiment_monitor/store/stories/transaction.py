"""The hot loop's one transaction: stories, scores, bucket increments, dead letters and the next offsets.

All of it or nothing. The offset update is conditional on the value it replaces, so a process that lost its
partition to another can write nothing (:class:`Fenced`), and a record is never counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Update, insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from sentiment_monitor.domain.news import DeadLetter, ScoredStory, Scorer
from sentiment_monitor.domain.series import series_of
from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import buckets, classifiers, consumer_offsets, dead_letters, scores, stories
from sentiment_monitor.store.stories.bulk import bulk_of
from sentiment_monitor.store.stories.changes import Changes, Copying, Written
from sentiment_monitor.store.stories.row import COUNTERS, Counters, counters_of, split_tickers
from sentiment_monitor.times import HOUR_MINUTES

__all__ = ["Batch", "StoryWriter", "Written", "recompute_buckets", "stored_buckets"]

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction stores.

    ``offsets`` maps each partition to (the next offset SQL must hold now, the next offset afterwards).
    """

    offsets: Mapping[Partition, tuple[int, int]]
    scored: Sequence[ScoredStory] = ()
    dead: Sequence[DeadLetter] = ()


@dataclass(slots=True)
class StoryWriter:
    """Stores batches for one consumer group.

    ``is_copy(headline, headline)`` decides about candidates that share a copy key.
    """

    database: Database
    group: str
    is_copy: Callable[[str, str], bool]
    copy_window_minutes: int = 72 * HOUR_MINUTES
    _registered: set[str] = field(default_factory=set, init=False)  # ids of classifiers that are in SQL

    def positions(self, starts: Mapping[Partition, int | None], now_ms: int) -> dict[Partition, int]:
        """The next offset of each partition; one that is new to SQL begins at its start. Raises DatabaseAway."""
        with self.database.write() as connection:
            found = self._offsets(connection, starts)
            for (topic, partition), start in starts.items():
                if (topic, partition) not in found:
                    if start is None:
                        raise ValueError(f"no start given for {topic}/{partition}")
                    self._set_offset(connection, topic, partition, start, now_ms)
                    found[topic, partition] = start
        return found

    def move(self, offsets: Mapping[Partition, int | None], now_ms: int) -> dict[Partition, int]:
        """Sets the next offsets without a condition; for a position that the broker lost. Raises DatabaseAway."""
        moved = {key: offset for key, offset in offsets.items() if offset is not None}
        with self.database.write() as connection:
            for (topic, partition), offset in moved.items():
                self._set_offset(connection, topic, partition, offset, now_ms)
                connection.execute(self._at(topic, partition).values(next_offset=offset, updated_ms=now_ms))
        return moved

    def commit(self, batch: Batch, now_ms: int) -> Written:
        """Stores one batch.

        Raises Fenced when SQL is not where the batch begins, DatabaseAway when nothing was written and the
        same call may succeed later. Any other error means that the batch holds something the database refuses.
        """
        with self.database.write() as connection:
            self._advance(connection, batch, now_ms)
            with closing(bulk_of(connection)) as bulk:
                bulk.take_turn()
                if scorers := self._unregistered(batch.scored):
                    self._register(connection, scorers, now_ms)
                if batch.dead:
                    connection.execute(insert(dead_letters), [_dead_values(letter, now_ms) for letter in batch.dead])
                changes = Changes(bulk, Copying(self.is_copy, self.copy_window_minutes))
                changes.apply(batch.scored)
                changes.write(now_ms)
        self._registered.update(scorer.classifier for scorer in scorers)
        changes.written.dead = len(batch.dead)
        return changes.written

    def _offsets(self, connection: Connection, partitions: Iterable[Partition]) -> dict[Partition, int]:
        wanted = set(partitions)
        rows = connection.execute(
            select(consumer_offsets.c.topic, consumer_offsets.c.partition, consumer_offsets.c.next_offset).where(
                consumer_offsets.c.consumer_group == self.group
            )
        )
        return {(topic, partition): offset for topic, partition, offset in rows if (topic, partition) in wanted}

    def _set_offset(self, connection: Connection, topic: str, partition: int, offset: int, now_ms: int) -> None:
        values = {
            "consumer_group": self.group,
            "topic": topic,
            "partition": partition,
            "next_offset": offset,
            "updated_ms": now_ms,
        }
        # Two members may meet a new partition at the same moment: whoever is second keeps the first one's row.
        connection.execute(self._insert(consumer_offsets).on_conflict_do_nothing(), values)

    def _advance(self, connection: Connection, batch: Batch, now_ms: int) -> None:
        for (topic, partition), (expected, following) in sorted(batch.offsets.items()):
            moved = connection.execute(
                self._at(topic, partition)
                .where(consumer_offsets.c.next_offset == expected)
                .values(next_offset=following, updated_ms=now_ms)
            )
            if moved.rowcount != 1:
                raise Fenced(f"{topic}/{partition}: SQL is no longer at offset {expected}")

    def _at(self, topic: str, partition: int) -> Update:
        return update(consumer_offsets).where(
            consumer_offsets.c.consumer_group == self.group,
            consumer_offsets.c.topic == topic,
            consumer_offsets.c.partition == partition,
        )

    def _unregistered(self, scored: Iterable[ScoredStory]) -> list[Scorer]:
        scorers = {item.score.by.classifier: item.score.by for item in scored if item.score is not None}
        return [scorer for classifier, scorer in scorers.items() if classifier not in self._registered]

    def _register(self, connection: Connection, scorers: Iterable[Scorer], now_ms: int) -> None:
        connection.execute(
            self._insert(classifiers).on_conflict_do_nothing(),
            [{"id": scorer.classifier, "first_used_ms": now_ms, "manifest": scorer.manifest} for scorer in scorers],
        )

    def _insert(self, table: Any) -> Any:
        return sqlite_insert(table) if self.database.is_sqlite else pg_insert(table)


def recompute_buckets(connection: Connection) -> dict[tuple[str, int], Counters]:
    """The buckets as stories and scores say they must be: the oracle of the increments."""
    totals: dict[tuple[str, int], list[int]] = {}
    query = (
        select(
            *(stories.c[name] for name in ("source", "tickers", "minute", "copy_of")),
            *(scores.c[name] for name in ("label", "topic", "negative", "score")),
        )
        .select_from(stories.join(scores, scores.c.story_id == stories.c.id))
        .where(stories.c.deleted.is_(False))
        .execution_options(yield_per=5_000)
    )
    for source, tickers, minute, copy_of, label, topic, negative, signed in connection.execute(query):
        counters = counters_of(label, negative, signed, is_copy=copy_of is not None)
        for series in series_of(source, topic, split_tickers(tickers)):
            total = totals.setdefault((series, minute), [0] * len(COUNTERS))
            for place, value in enumerate(counters):
                total[place] += value
    return {key: tuple(total) for key, total in totals.items()}  # type: ignore[misc]  # the length is len(COUNTERS)


def stored_buckets(connection: Connection) -> dict[tuple[str, int], Counters]:
    """The buckets as they are."""
    columns = [buckets.c[name] for name in COUNTERS]
    rows = connection.execute(select(buckets.c.series, buckets.c.minute, *columns))
    return {(series, minute): tuple(counters) for series, minute, *counters in rows}


def _dead_values(letter: DeadLetter, now_ms: int) -> dict[str, Any]:
    position = letter.record.position
    return {
        "kafka_topic": position.topic,
        "kafka_partition": position.partition,
        "kafka_offset": position.offset,
        "code": letter.code,
        "detail": letter.detail.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()[:2_000],
        "raw_key": letter.record.key,
        "raw_value": letter.record.value,
        "received_ms": now_ms,
    }
