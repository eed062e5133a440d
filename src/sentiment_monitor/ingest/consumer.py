"""The Kafka consumer: group membership from Kafka, positions from SQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import structlog
from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors

from sentiment_monitor.domain.news import Partition, Position, Record
from sentiment_monitor.errors import BrokerAway, DatabaseAway, FatalError
from sentiment_monitor.ingest.client import (
    REFUSED,
    UNAUTHENTICATED,
    Consumer,
    finish_joining,
    forget_first_join,
    hint,
    refusal,
)
from sentiment_monitor.ingest.connecting import Connecting
from sentiment_monitor.ingest.lost import Signs, names, partitions_of, position_lost
from sentiment_monitor.ingest.reach import Reach
from sentiment_monitor.ingest.source import Fetched, Moves, Positions
from sentiment_monitor.ingest.topics import Topics

_log = structlog.get_logger()

_LOST_RETRY_SECONDS = 1.0
_LOST_ASK_MS = 1_000  # meanwhile nothing else is polled
_PLACE_ASK_MS = 10_000
_TOPIC_SECONDS = 0.02  # between two looks whether a topic is there to join for
_SKIP_SECONDS = 1.0  # what follows a transaction's end mostly takes its position along
_ROTATION_SECONDS = 120.0  # a login that has worked: so long a new password may be on its way
# What the client says of a partition that was taken away meanwhile; the listener has said so or will say so.
_TAKEN_AWAY = (AssertionError, kafka_errors.IllegalStateError, KeyError, ValueError)


class KafkaSource:
    """One member of the consumer group. See :class:`~sentiment_monitor.ingest.source.Source`.

    On every assignment the partition is paused, SQL is asked for its next offset, and only then is it read:
    Kafka's own committed offset is never trusted. ``start`` says where a partition begins that SQL does not
    know; ``on_lost`` what to do when the broker no longer has the next offset: stop, or read on at its first or last
    one as soon as SQL has all that was fetched before. ``fits`` chooses topics by their names instead of ``topics``.
    A broker that is away is waited for, also at the start. Raises SettingsError.
    """

    def __init__(
        self,
        client_options: Mapping[str, Any],
        *,
        topics: Sequence[str],
        group: str,
        positions: Positions,
        fits: Callable[[str], bool] | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        on_lost: Literal["stop", "earliest", "latest"] = "stop",
        isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
        move_position: Moves | None = None,
        session_timeout_ms: int = 45_000,
        heartbeat_interval_ms: int = 3_000,
        max_poll_records: int = 500,
    ) -> None:
        self._positions = positions
        self._move_position = move_position
        self._start = start
        self._on_lost = on_lost
        self._lock = threading.Lock()  # the listener runs on the client's own thread
        self._epochs: dict[TopicPartition, int] = {}
        self._owned: set[TopicPartition] = set()
        self._waiting: set[TopicPartition] = set()  # assigned, position not yet asked for
        self._lost: set[TopicPartition] = set()  # waits for ``move_position``
        self._next: dict[TopicPartition, int] = {}  # SQL's next offset once everything fetched is stored
        self._placed_at: dict[TopicPartition, int] = {}  # SQL's next offset when it was last asked
        self._stored: dict[TopicPartition, int] = {}  # SQL's next offset as far as we have heard of it
        self._skipping_since: dict[TopicPartition, float] = {}
        self._signs = Signs()
        self._lost_tried_at = float("-inf")
        self._holding = False
        self._unplaced = ""  # why, and said so
        self._topics = Topics(topics, fits)
        self._reach = Reach(hint(client_options))
        self._consumer: Consumer | None = None
        self._connecting = Connecting(
            client_options,
            self._reach,
            group_id=group,
            isolation_level=isolation,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=heartbeat_interval_ms,
            max_poll_records=max_poll_records,
        )

    # -- group membership, on the client's thread -------------------------------------------------

    def _assigned(self, consumer: Consumer, partitions: set[TopicPartition]) -> None:
        with self._lock:
            for partition in partitions:
                self._epochs[partition] = self._epochs.get(partition, 0) + 1
            self._owned |= partitions
            self._waiting |= partitions
            self._lost -= partitions
        # Paused with any valid position: nothing is fetched, and Kafka's committed offset is not asked for.
        consumer.pause(*partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        _log.info("partitions.assigned", partitions=names(partitions))

    def _revoked(self, partitions: set[TopicPartition]) -> None:
        with self._lock:
            self._owned -= partitions
            self._waiting -= partitions
            self._lost -= partitions
        self._signs.forget(partitions)
        if partitions:
            _log.info("partitions.revoked", partitions=names(partitions))

    # -- the poller's thread ----------------------------------------------------------------------

    def poll(self, timeout_ms: int, *, hold: bool) -> list[Fetched]:
        """See :meth:`Source.poll`."""
        consumer = self._consumer or self._connect(timeout_ms / 1000)
        if consumer is None:
            return []
        if refused := self._reach.refused_for(_ROTATION_SECONDS):
            raise refusal(refused)
        self._topics.look(consumer)
        if not self._topics.join(consumer, _Listener(self, consumer)):
            time.sleep(min(timeout_ms / 1000, _TOPIC_SECONDS))
            return []
        self._place_all(consumer)
        if truncated := self._signs.take_truncated():
            self._note_lost(consumer, truncated, "the log was truncated")
        self._apply_hold(consumer, hold)
        try:
            finish_joining(consumer)
            batches = consumer.poll(timeout_ms=timeout_ms)
        except (kafka_errors.OffsetOutOfRangeError, kafka_errors.LogTruncationError) as error:
            self._note_lost(consumer, partitions_of(error), str(error))
            return []
        except UNAUTHENTICATED:
            return []  # the connections have said so; a new password is read at the next one
        except REFUSED as error:
            raise refusal(error) from error
        except kafka_errors.RetriableError as error:
            _log.debug("broker.retry", error=str(error) or type(error).__name__)
            return []
        except kafka_errors.CorruptRecordError as error:
            raise FatalError(
                f"Kafka: {error}. Repair the log at the broker, or move the partition's next offset in SQL "
                '(docs/operations.md, "A batch that nobody can read")'
            ) from error
        except kafka_errors.KafkaError as error:
            raise FatalError(f"Kafka: {type(error).__name__}: {error}") from error
        fetched = self._fetched(consumer, batches)
        return fetched + self._look_at_ends(consumer, batches.keys())

    def _connect(self, timeout: float) -> Consumer | None:
        self._consumer = self._connecting.consumer(timeout)
        return self._consumer

    def _fetched(self, consumer: Consumer, batches: Mapping[TopicPartition, Sequence[Any]]) -> list[Fetched]:
        fetched = []
        for partition, messages in batches.items():
            position = self._position(consumer, partition)
            with self._lock:
                if partition not in self._ready():
                    continue  # fetched before SQL was asked: read again from the right position
                epoch = self._epochs[partition]
            where = (partition.topic, partition.partition)
            records = [
                Record(Position(*where, message.offset), message.key, message.value, message.timestamp)
                for message in messages
            ]
            # Behind the last record there may be the marks of transactions, and records of aborted ones.
            following = max(messages[-1].offset + 1, position or 0)
            fetched.append(Fetched(where, epoch, records, self._next[partition], following))
            self._next[partition] = following
        return fetched

    def _look_at_ends(self, consumer: Consumer, fetched: Collection[TopicPartition]) -> list[Fetched]:
        """Notes positions beyond the end of the log; answers with moves over offsets that hold nothing for us.

        Without these SQL would stand for ever at an offset that the broker throws away one day.
        """
        skipped = []
        with self._lock:
            ready = {partition: self._epochs[partition] for partition in self._ready()}
        for partition, epoch in ready.items():
            position, end = self._position(consumer, partition), self._end(consumer.highwater, partition)
            if self._signs.measured(partition, position, end):
                self._note_lost(consumer, {partition}, f"next offset is {position}, the log ends at {end}")
            elif partition in fetched or position is None or position <= self._next[partition]:
                self._skipping_since.pop(partition, None)
            elif time.monotonic() - self._skipping_since.setdefault(partition, time.monotonic()) >= _SKIP_SECONDS:
                with self._lock:
                    if partition not in self._ready() or self._epochs[partition] != epoch:
                        continue  # assigned anew meanwhile: the position is another's
                where = (partition.topic, partition.partition)
                skipped.append(Fetched(where, epoch, [], self._next[partition], position))
                self._next[partition] = position
        return skipped

    def _place_all(self, consumer: Consumer) -> None:
        for step in (self._place, self._leave_lost):  # each by itself: a lost partition must not keep others waiting
            try:
                step(consumer)
            except (DatabaseAway, BrokerAway) as error:
                # Not a reason to leave the group: the partitions stay paused and are placed at a later poll.
                if type(error).__name__ != self._unplaced:
                    self._unplaced = type(error).__name__
                    _log.warning("positions.unavailable", error=str(error))

    def _place(self, consumer: Consumer) -> None:
        with self._lock:
            waiting = set(self._waiting)
        if not waiting:
            return
        starts = self._ends(consumer, waiting, self._start, _PLACE_ASK_MS)
        wanted = self._positions({(p.topic, p.partition): starts.get(p) for p in waiting})
        self._unplaced = ""
        for partition in waiting:
            offset = wanted[partition.topic, partition.partition]
            with self._lock:
                if partition not in self._waiting:  # revoked meanwhile
                    continue
                self._waiting.discard(partition)
            self._next[partition] = self._placed_at[partition] = self._stored[partition] = offset
            try:
                consumer.seek(partition, offset)
                if not self._holding:
                    consumer.resume(partition)
            except _TAKEN_AWAY:
                continue
            _log.info("partition.positioned", topic=partition.topic, partition=partition.partition, offset=offset)

    def _ends(
        self, consumer: Consumer, partitions: set[TopicPartition], which: str, timeout_ms: int
    ) -> dict[TopicPartition, int]:
        ask = consumer.beginning_offsets if which == "earliest" else consumer.end_offsets
        try:
            return dict(ask(list(partitions), timeout_ms=timeout_ms))
        except UNAUTHENTICATED as error:
            raise BrokerAway(f"cannot read the {which} offsets: {error}") from error
        except REFUSED as error:
            raise refusal(error) from error
        except kafka_errors.KafkaError as error:
            raise BrokerAway(f"cannot read the {which} offsets: {error}") from error

    def _apply_hold(self, consumer: Consumer, hold: bool) -> None:
        if hold == self._holding:
            return
        self._holding = hold
        with self._lock:
            ready = self._ready()
        try:
            (consumer.pause if hold else consumer.resume)(*ready)
        except _TAKEN_AWAY:
            self._holding = not hold  # an assignment changed under us; the next poll tries again

    def _position(self, consumer: Consumer, partition: TopicPartition) -> int | None:
        try:
            position: int | None = consumer.position(partition, timeout_ms=0)
        except kafka_errors.LogTruncationError as error:
            self._signs.truncated(error)  # the next poll takes it up before it fetches
            return None
        except (*_TAKEN_AWAY, kafka_errors.KafkaError):
            return None
        return position

    def _end(self, ask: Callable[[TopicPartition], int | None], partition: TopicPartition) -> int | None:
        try:
            return ask(partition)
        except _TAKEN_AWAY:
            return None

    def _ready(self) -> set[TopicPartition]:
        return self._owned - self._waiting - self._lost

    def _note_lost(self, consumer: Consumer, partitions: set[TopicPartition], detail: str) -> None:
        if self._on_lost == "stop" or self._move_position is None:
            raise position_lost(partitions, detail)
        if not partitions:
            # Whichever it is stays where it is: to move them all would skip or repeat what the others hold.
            _log.error("position.lost_unnamed", detail=detail)
        with self._lock:
            newly = partitions & self._ready()
            self._lost |= newly
        self._signs.forget(partitions)
        if newly:
            _log.error("position.lost", partitions=names(newly), detail=detail, moved_to=self._on_lost)
        for partition in newly:
            self._pause(consumer, partition)

    def _leave_lost(self, consumer: Consumer) -> None:
        """Reads on where ``on_lost`` says once SQL stands at the lost position: what was fetched before is stored."""
        with self._lock:
            lost = set(self._lost)
        if not lost or self._move_position is None or time.monotonic() - self._lost_tried_at < _LOST_RETRY_SECONDS:
            return
        try:
            ends = self._ends(consumer, lost, self._on_lost, _LOST_ASK_MS)
            moves = {(p.topic, p.partition): (self._next[p], end) for p, end in ends.items() if p in lost}
            moved = self._move_position(moves)
            for partition, offset in moved.items():
                _log.warning("position.moved", topic=partition[0], partition=partition[1], offset=offset)
                self.reposition(partition)
            self._follow_sql({partition: end for partition, (_, end) in moves.items() if partition not in moved})
        finally:
            self._lost_tried_at = time.monotonic()

    def _follow_sql(self, starts: Mapping[Partition, int | None]) -> None:
        """Places anew what somebody else has moved in SQL: nothing that we fetched can be stored there any more."""
        if not starts:
            return
        for partition, offset in self._positions(starts).items():
            key = TopicPartition(*partition)
            # Where all that was fetched has been stored, whatever else SQL says comes from elsewhere.
            on_its_way = self._stored[key] < self._next[key]
            if not (on_its_way and self._placed_at[key] <= offset <= self._next[key]):
                _log.warning("position.moved_elsewhere", topic=key.topic, partition=key.partition, offset=offset)
                self.reposition(partition)

    def epoch(self, partition: Partition) -> int | None:
        """See :meth:`Source.epoch`."""
        key = TopicPartition(*partition)
        with self._lock:
            return self._epochs[key] if key in self._owned else None

    def reposition(self, partition: Partition) -> None:
        """See :meth:`Source.reposition`."""
        key = TopicPartition(*partition)
        with self._lock:
            if key not in self._owned:
                return
            self._epochs[key] += 1
            self._waiting.add(key)
            self._lost.discard(key)
        self._signs.forget({key})
        if self._consumer is not None:
            self._pause(self._consumer, key)

    def _pause(self, consumer: Consumer, partition: TopicPartition) -> None:
        try:
            consumer.pause(partition)
        except _TAKEN_AWAY:
            return

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """See :meth:`Source.commit`."""
        with self._lock:
            owned = {
                TopicPartition(*partition): OffsetAndMetadata(offset, "", -1)
                for partition, offset in offsets.items()
                if TopicPartition(*partition) in self._owned
            }
        for partition, stored in owned.items():
            self._stored[partition] = max(stored.offset, self._stored.get(partition, 0))
        if owned and self._consumer is not None:
            self._consumer.commit_async(owned, callback=_log_commit)

    def lag(self) -> Mapping[Partition, int | None]:
        """See :meth:`Source.lag`."""
        with self._lock:
            owned, ready = set(self._owned), self._ready()
        return {(p.topic, p.partition): self._left(p) if p in ready else None for p in owned}

    def _left(self, partition: TopicPartition) -> int | None:
        consumer = self._consumer
        if consumer is None:
            return None
        position = self._position(consumer, partition)
        stable, end = self._end(consumer.stable_end, partition), self._end(consumer.highwater, partition)
        if position is None or stable is None or end is None or position > end:
            return None  # beyond the end nothing is known either: the position may be lost, see _look_at_ends
        return max(0, stable - position)

    @property
    def away(self) -> str | None:
        """See :attr:`Source.away`."""
        return self._reach.away

    def caught_up(self) -> bool:
        """See :meth:`Source.caught_up`."""
        lags = self.lag()
        return bool(lags) and all(left == 0 for left in lags.values())

    def close(self) -> None:
        """See :meth:`Source.close`."""
        if self._consumer is None:
            self._connecting.close()
            return
        forget_first_join(self._consumer)
        try:
            self._consumer.close(autocommit=False, timeout_ms=5_000)
        except kafka_errors.KafkaError as error:
            _log.warning("consumer.close_failed", error=str(error))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client publishes no types
    def __init__(self, source: KafkaSource, consumer: Consumer) -> None:
        self._source = source
        self._consumer = consumer

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._source._assigned(self._consumer, set(assigned))

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._source._revoked(set(revoked))


def _log_commit(offsets: object, response: object) -> None:
    if isinstance(response, Exception):
        # Only lag tools read this offset; SQL holds the one that counts.
        _log.debug("kafka_commit.failed", error=str(response))
