"""Batches as a broker holds them: up to where they may be read, and past one that nobody can read.

Reaches behind kafka-python's public names; pyproject.toml bounds its version for that.
"""

from __future__ import annotations

import gzip
import io
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import lz4.frame
import zstandard
from kafka import TopicPartition
from kafka import codec as codecs
from kafka import errors as kafka_errors
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch

from sentiment_monitor.domain.news import UnreadableBatch

_FETCHES = 3  # of a batch that cannot be read: the wire or one replica may be at fault
_MOST_BYTES = 256 << 20  # of a batch once decompressed: a megabyte can be made to hold gigabytes
_KEPT_BYTES = 1_000_000
_OFFSET_BYTES = 8


class Batches(Fetcher):  # type: ignore[misc]  # the client publishes no types
    """kafka-python's fetcher, which also says where the records end that may be read, and which no batch stops.

    A batch that fails its checksum, cannot be decompressed or holds no records is fetched again, and then becomes
    one record whose value is an UnreadableBatch. Raises CorruptRecordError when its end cannot be told.
    """

    def __init__(self, client: Any, subscriptions: Any, **options: Any) -> None:
        super().__init__(client, subscriptions, **{**options, "check_crcs": False})  # checked in _Readable
        self._stable_ends: dict[TopicPartition, int] = {}
        self._log_end = 0  # of the partition whose answer is being read
        self._failures: Counter[tuple[TopicPartition, int]] = Counter()
        self.PartitionRecords = partial(_Run, self)  # the fetcher makes one for each answer

    def stable_end(self, partition: TopicPartition) -> int | None:
        """The offset before which every record may be read, None while it is not known.

        With read_committed that is the last stable offset: an open transaction ends what may be read.
        """
        end = self._subscriptions.assignment[partition].highwater  # forgotten when the partition is assigned anew
        return None if end is None else min(end, self._stable_ends.get(partition, end))

    def _parse_fetched_data(self, completed_fetch: Any) -> Any:
        answer = completed_fetch.partition_data
        self._log_end = answer.high_watermark
        records = super()._parse_fetched_data(completed_fetch)
        if records is not None and self._isolation_level == IsolationLevel.READ_COMMITTED:
            partition = completed_fetch.topic_partition
            if answer.last_stable_offset >= 0:
                self._stable_ends[partition] = answer.last_stable_offset
            else:
                self._stable_ends.pop(partition, None)  # a broker that knows no transactions
        return records


class _Run(Fetcher.PartitionRecords):  # type: ignore[misc]  # the client publishes no types
    """The records of one answer for one partition."""

    def __init__(self, fetcher: Batches, fetch_offset: int, *arguments: Any, **options: Any) -> None:
        self._readable = partial(_Readable, fetch_offset, fetcher._log_end, fetcher._failures)
        super().__init__(fetch_offset, *arguments, **options)

    def _unpack_records(self, partition: TopicPartition, records: Any, *deserializers: Any) -> Any:
        return super()._unpack_records(partition, self._readable(partition, records), *deserializers)


class _Readable:
    """The batches of an answer, each read whole before it is handed on."""

    def __init__(
        self,
        fetch_offset: int,
        log_end: int,
        failures: Counter[tuple[TopicPartition, int]],
        partition: TopicPartition,
        batches: Any,
    ) -> None:
        self._fetch_offset = fetch_offset
        self._log_end = log_end
        self._failures = failures
        self._partition = partition
        self._batches = batches

    def next_batch(self) -> _Whole | _Dead | None:
        batch = self._batches.next_batch()
        if batch is None:
            return None
        if not batch.validate_crc():
            following = _first_offset_behind(self._batches)
            if following is not None and following <= self._fetch_offset:
                return self.next_batch()  # all of it lies before what is wanted
            return self._damaged(batch, following)
        try:
            whole = _Whole(batch, _records(batch))
        except Exception as error:  # noqa: BLE001  # whatever the libraries say of bytes that are not what they claim
            return self._unreadable(batch, f"{type(error).__name__}: {error}")
        if self._failures:
            self._failures.pop((self._partition, batch.base_offset), None)
        return whole

    def _unreadable(self, batch: Any, reason: str) -> _Whole | None:
        if not self._is_given_up(batch):
            return None
        first = max(batch.base_offset, self._fetch_offset)
        last = batch.last_offset if batch.magic == 2 else -1
        stamp = batch.max_timestamp if batch.max_timestamp > 0 else 0
        return _Whole(batch, [self._instead(batch, first, last, reason, stamp)])

    def _damaged(self, batch: Any, following: int | None) -> _Dead | None:
        """Whatever such a batch says of itself may be wrong, also where it ends; ``following`` begins the next one."""
        if not self._is_given_up(batch):
            return None
        first, last = max(batch.base_offset, self._fetch_offset), -1
        if following is not None and following <= first:
            following = None
        if batch.magic == 2:
            last = batch.last_offset
            agrees = last == batch.base_offset + batch.records_count - 1 and first <= last < (
                following or self._log_end
            )
            if not agrees:  # one step, and the broker says what comes then
                last = first if following is None else following - 1
        elif following is not None:
            last = following - 1
        record = self._instead(batch, first, last, "CorruptRecordError: the checksum does not match", 0)
        return _Dead(batch.leader_epoch if batch.magic == 2 else -1, record, last + 1)

    def _is_given_up(self, batch: Any) -> bool:
        """Whether it was fetched often enough; until then it is as if the answer ended before it."""
        key = (self._partition, batch.base_offset)
        self._failures[key] += 1
        if self._failures[key] < _FETCHES:
            return False
        del self._failures[key]
        return True

    def _instead(self, batch: Any, first: int, last: int, reason: str, stamp: int) -> DefaultRecord:
        if not first <= last < self._log_end:
            raise kafka_errors.CorruptRecordError(
                f"{self._partition.topic}/{self._partition.partition}: the batch at offset {first} cannot be read "
                f"({reason}), nor does it say where it ends"
            )
        value = UnreadableBatch(bytes(batch._buffer[:_KEPT_BYTES]), f"offsets {first} to {last}: {reason}")
        return DefaultRecord(len(value), first, stamp, 0, None, value, [])


def _first_offset_behind(batches: Any) -> int | None:
    """The first offset of the batch that comes next in an answer, which may end within that batch."""
    ahead = batches._next_slice if batches._next_slice is not None else memoryview(batches._buffer)[batches._pos :]
    return int.from_bytes(ahead[:_OFFSET_BYTES], "big") if len(ahead) >= _OFFSET_BYTES else None


class _Dead:
    """Stands for a damaged batch: one record, and where the next fetch begins."""

    magic = 2
    is_control_batch = False

    def __init__(self, leader_epoch: int, record: DefaultRecord, next_offset: int) -> None:
        self.leader_epoch = leader_epoch
        self.next_offset = next_offset
        self._record = record

    def has_producer_id(self) -> bool:
        return False

    def __iter__(self) -> Iterator[DefaultRecord]:
        return iter([self._record])


class _Whole:
    """A batch whose records have been read."""

    __slots__ = ("_batch", "_records")

    def __init__(self, batch: Any, records: list[Any]) -> None:
        self._batch = batch
        self._records = iter(records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        return self._records

    def __next__(self) -> Any:  # the mark of a transaction's end is taken so
        return next(self._records)


def _records(batch: Any) -> list[Any]:
    if batch.magic == 2 and batch.compression_type != DefaultRecordBatch.CODEC_NONE:
        data = bytes(memoryview(batch._buffer)[batch._pos :])
        batch._buffer = bytearray(_decompressed(batch.compression_type, data))
        batch._pos = 0
        batch._decompressed = True
    return list(batch)


def _decompressed(codec: int, data: bytes) -> bytes:
    """The records of a batch. Raises whatever the codec's library says, ValueError when they are too many."""
    match codec:
        case DefaultRecordBatch.CODEC_GZIP:
            content = gzip.GzipFile(fileobj=io.BytesIO(data)).read(_MOST_BYTES + 1)
        case DefaultRecordBatch.CODEC_LZ4:
            content = lz4.frame.LZ4FrameFile(io.BytesIO(data)).read(_MOST_BYTES + 1)
        case DefaultRecordBatch.CODEC_ZSTD:
            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
                content = reader.read(_MOST_BYTES + 1)
        case DefaultRecordBatch.CODEC_SNAPPY:  # holds 22 times its own size at most
            content = codecs.snappy_decode(data)
        case _:
            raise ValueError(f"compressed in a way that is not known here (codec {codec})")
    if len(content) > _MOST_BYTES:
        raise ValueError(f"holds more than {_MOST_BYTES >> 20} MB once decompressed")
    return bytes(content)
