"""The Kafka consumer: group membership from Kafka, positions from SQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors

from sentiment_monitor.domain.news import Partition, Position, Record
from sentiment_monitor.errors import (
    BrokerAway,
    DatabaseAway,
    FatalError,
    PositionLost,
)
from sentiment_monitor.ingest.client import (
    REFUSED,
    connection_error,
    finish_joining,
    forget_first_join,
    refusal,
    strict_client,
)
from sentiment_monitor.ingest.source import Fetched, Moves, Positions

_log = structlog.get_logger()

# A broker that answers a fetch beyond its log with silence instead of OffsetOutOfRange gives itself away by
# a high-water mark below our position; brokers also do that for a moment during a leader change.
_BEYOND_END_SECONDS = 10.0
_LOST_RETRY_SECONDS = 1.0
_LOST_ASK_MS = 1_000  # meanwhile nothing else is polled
_PLACE_ASK_MS = 10_000
_RECONNECT_MS = 3_000
_METADATA_MS = 5_000


class KafkaSource:
    """One member of the consumer group. See :class:`~sentiment_monitor.ingest.source.Source`.

    On every assignment the partition is paused, SQL is asked for its next offset, and only then is it read:
    Kafka's own committed offset is never trusted. ``start`` says where a partition begins that SQL does not
    know; ``on_lost`` what to do when the broker no longer has the next offset: stop, or read on at its first or last
    one as soon as SQL has all that was fetched before.
    """

    def __init__(
        self,
        client_options: Mapping[str, Any],
        *,
        topics: list[str],
        group: str,
        positions: Positions,
        start: Literal["earliest", "latest"] = "earliest",
        on_lost: Literal["stop", "earliest", "latest"] = "stop",
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
        self._beyond_since: dict[TopicPartition, float] = {}
        self._truncated: set[TopicPartition] = set()  # named by the client between two polls
        self._lost_tried_at = float("-inf")
        self._holding = False
        request_ms = max(30_000, session_timeout_ms + 5_000)
        try:
            self._consumer = KafkaConsumer(
                **client_options,
                kafka_client=strict_client,
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="none",
                session_timeout_ms=session_timeout_ms,
                heartbeat_interval_ms=heartbeat_interval_ms,
                max_poll_records=max_poll_records,
                request_timeout_ms=request_ms,
                connections_max_idle_ms=max(540_000, request_ms + 60_000),
                # A broker that is back is noticed within seconds; the client's own default is 30 s.
                reconnect_backoff_max_ms=_RECONNECT_MS,
                # kafka-python may join before it knows the topic and is then given nothing until it looks again,
                # by default in five minutes. New topics and partitions are noticed as soon.
                metadata_max_age_ms=_METADATA_MS,
                metrics_enabled=False,
            )
        except kafka_errors.KafkaError as error:
            raise connection_error(error, client_options) from error
        self._consumer.subscribe(list(topics), listener=_Listener(self))

    # -- group membership, on the client's thread -------------------------------------------------

    def _assigned(self, partitions: set[TopicPartition]) -> None:
        with self._lock:
            for partition in partitions:
                self._epochs[partition] = self._epochs.get(partition, 0) + 1
            self._owned |= partitions
            self._waiting |= partitions
            self._lost -= partitions
        # Paused with any valid position: nothing is fetched, and Kafka's committed offset is not asked for.
        self._consumer.pause(*partitions)
        for partition in partitions:
            self._consumer.seek(partition, 0)
        _log.info("partitions.assigned", partitions=_names(partitions))

    def _revoked(self, partitions: set[TopicPartition]) -> None:
        with self._lock:
            self._owned -= partitions
            self._waiting -= partitions
            self._lost -= partitions
            self._forget_signs(partitions)
        if partitions:
            _log.info("partitions.revoked", partitions=_names(partitions))

    # -- the poller's thread ----------------------------------------------------------------------

    def poll(self, timeout_ms: int, *, hold: bool) -> list[Fetched]:
        """See :meth:`Source.poll`."""
        for step in (self._place, self._leave_lost):  # each by itself: a lost partition must not keep others waiting
            try:
                step()
            except (DatabaseAway, BrokerAway) as error:
                # Not a reason to leave the group: the partitions stay paused and are placed at a later poll.
                _log.warning("positions.unavailable", error=str(error))
        with self._lock:
            truncated, self._truncated = self._truncated, set()
        if truncated:
            self._note_lost(truncated, "the log was truncated")
        self._apply_hold(hold)
        try:
            finish_joining(self._consumer)
            batches = self._consumer.poll(timeout_ms=timeout_ms)
        except (kafka_errors.OffsetOutOfRangeError, kafka_errors.LogTruncationError) as error:
            self._note_lost(_partitions_of(error), str(error))
            return []
        except REFUSED as error:
            raise refusal(error) from error
        except kafka_errors.RetriableError as error:
            _log.warning("broker.away", error=str(error) or type(error).__name__)
            return []
        except kafka_errors.KafkaError as error:
            raise FatalError(f"Kafka: {type(error).__name__}: {error}") from error
        fetched = []
        for partition, messages in batches.items():
            with self._lock:
                if partition not in self._ready():
                    continue  # fetched before SQL was asked: read again from the right position
                epoch = self._epochs[partition]
            where = (partition.topic, partition.partition)
            records = [
                Record(Position(*where, message.offset), message.key, message.value, message.timestamp)
                for message in messages
            ]
            following = messages[-1].offset + 1
            fetched.append(Fetched(where, epoch, records, self._next[partition], following))
            self._next[partition] = following
        self._check_ends()
        return fetched

    def _place(self) -> None:
        with self._lock:
            waiting = set(self._waiting)
        if not waiting:
            return
        starts = self._ends(waiting, self._start, _PLACE_ASK_MS)
        wanted = self._positions({(p.topic, p.partition): starts.get(p) for p in waiting})
        for partition in waiting:
            offset = wanted[partition.topic, partition.partition]
            with self._lock:
                if partition not in self._waiting:  # revoked meanwhile
                    continue
                self._waiting.discard(partition)
            self._next[partition] = self._placed_at[partition] = offset
            try:
                self._consumer.seek(partition, offset)
                if not self._holding:
                    self._consumer.resume(partition)
            except (AssertionError, kafka_errors.IllegalStateError):
                continue  # revoked between the two lines: the listener has said or will say so
            _log.info("partition.positioned", topic=partition.topic, partition=partition.partition, offset=offset)

    def _ends(self, partitions: set[TopicPartition], which: str, timeout_ms: int) -> dict[TopicPartition, int]:
        ask = self._consumer.beginning_offsets if which == "earliest" else self._consumer.end_offsets
        try:
            return dict(ask(list(partitions), timeout_ms=timeout_ms))
        except kafka_errors.KafkaError as error:
            raise BrokerAway(f"cannot read the {which} offsets: {error}") from error

    def _apply_hold(self, hold: bool) -> None:
        if hold == self._holding:
            return
        self._holding = hold
        with self._lock:
            ready = self._ready()
        try:
            (self._consumer.pause if hold else self._consumer.resume)(*ready)
        except (AssertionError, kafka_errors.IllegalStateError, KeyError):
            self._holding = not hold  # an assignment changed under us; the next poll tries again

    def _check_ends(self) -> None:
        now = time.monotonic()
        with self._lock:
            ready = self._ready()
        for partition in ready:
            end, position = self._end_and_position(partition)
            if end is None or position is None or position <= end:
                self._beyond_since.pop(partition, None)
            elif now - self._beyond_since.setdefault(partition, now) > _BEYOND_END_SECONDS:
                self._note_lost({partition}, f"next offset is {position}, the log ends at {end}")

    def _end_and_position(self, partition: TopicPartition) -> tuple[int | None, int | None]:
        try:
            end = self._consumer.highwater(partition)
            return end, self._consumer.position(partition, timeout_ms=0) if end is not None else None
        except kafka_errors.LogTruncationError as error:
            # The client says so once only, and then reads on: the next poll takes it up before it fetches.
            with self._lock:
                self._truncated |= _partitions_of(error)
            return None, None
        except (AssertionError, kafka_errors.KafkaError):
            return None, None

    def _ready(self) -> set[TopicPartition]:
        return self._owned - self._waiting - self._lost

    def _note_lost(self, partitions: set[TopicPartition], detail: str) -> None:
        if self._on_lost == "stop" or self._move_position is None:
            raise PositionLost(
                f"{', '.join(_names(partitions)) or 'a partition without a name'}: "
                "the broker does not hold the next offset recorded in SQL "
                f"({detail}). Either the topic was remade or its retention passed us. Check the topic, then start "
                "once with kafka.on_lost_position set to earliest (read what is left) or latest (skip it)."
            )
        if not partitions:
            # Whichever it is stays where it is: to move them all would skip or repeat what the others hold.
            _log.error("position.lost_unnamed", detail=detail)
        with self._lock:
            newly = partitions & self._ready()
            self._lost |= newly
            self._forget_signs(partitions)
        if newly:
            _log.error("position.lost", partitions=_names(newly), detail=detail, moved_to=self._on_lost)
        for partition in newly:
            self._pause(partition)

    def _forget_signs(self, partitions: set[TopicPartition]) -> None:
        self._truncated -= partitions
        for partition in partitions:
            self._beyond_since.pop(partition, None)

    def _leave_lost(self) -> None:
        """Reads on where ``on_lost`` says once SQL stands at the lost position: what was fetched before is stored."""
        with self._lock:
            lost = set(self._lost)
        if not lost or self._move_position is None or time.monotonic() - self._lost_tried_at < _LOST_RETRY_SECONDS:
            return
        try:
            ends = self._ends(lost, self._on_lost, _LOST_ASK_MS)
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
            if not self._placed_at[key] <= offset <= self._next[key]:
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
            self._forget_signs({key})
        self._pause(key)

    def _pause(self, partition: TopicPartition) -> None:
        try:
            self._consumer.pause(partition)
        except (AssertionError, kafka_errors.IllegalStateError, KeyError):
            return  # revoked meanwhile

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """See :meth:`Source.commit`."""
        with self._lock:
            owned = {
                TopicPartition(*partition): OffsetAndMetadata(offset, "", -1)
                for partition, offset in offsets.items()
                if TopicPartition(*partition) in self._owned
            }
        if owned:
            self._consumer.commit_async(owned, callback=_log_commit)

    def lag(self) -> Mapping[Partition, int | None]:
        """See :meth:`Source.lag`."""
        with self._lock:
            owned, ready = set(self._owned), self._ready()
        lags: dict[Partition, int | None] = {}
        for partition in owned:
            end, position = self._end_and_position(partition) if partition in ready else (None, None)
            left = None if end is None or position is None else end - position
            # Beyond the end nothing is known either: the position may be lost, see _check_ends.
            lags[partition.topic, partition.partition] = left if left is not None and left >= 0 else None
        return lags

    def caught_up(self) -> bool:
        """See :meth:`Source.caught_up`."""
        lags = self.lag()
        return bool(lags) and all(left == 0 for left in lags.values())

    def close(self) -> None:
        """See :meth:`Source.close`."""
        forget_first_join(self._consumer)
        try:
            self._consumer.close(autocommit=False, timeout_ms=5_000)
        except kafka_errors.KafkaError as error:
            _log.warning("consumer.close_failed", error=str(error))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client publishes no types
    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._source._assigned(set(assigned))

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._source._revoked(set(revoked))


def _partitions_of(error: Exception) -> set[TopicPartition]:
    if isinstance(error, kafka_errors.LogTruncationError):
        named = error.divergent_offsets  # its arguments are a text
    else:
        named = error.args[0] if error.args else None
    return {key for key in named if isinstance(key, TopicPartition)} if isinstance(named, Mapping) else set()


def _names(partitions: set[TopicPartition]) -> list[str]:
    return sorted(f"{p.topic}/{p.partition}" for p in partitions)


def _log_commit(offsets: object, response: object) -> None:
    if isinstance(response, Exception):
        # Only lag tools read this offset; SQL holds the one that counts.
        _log.debug("kafka_commit.failed", error=str(response))
