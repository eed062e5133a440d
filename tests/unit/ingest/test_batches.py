"""Batches that cannot be read: fetched again, then one record that says so; what lies behind is read."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder
from kafka.record.util import calc_crc32c

from sentiment_monitor.domain.news import Position, Record, UnreadableBatch
from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest import batches
from sentiment_monitor.ingest.decode import Decoder

P0 = TopicPartition("news", 0)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HEADER_BYTES = DefaultRecordBatch.HEADER_STRUCT.size
LAST_OFFSET_DELTA_AT = 23


def batch(first: int, count: int, codec: int = 0, value: bytes = b"x" * 100) -> bytearray:
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for number in range(count):
        builder.append(number, 1_000, None, value, [])
    content = bytearray(builder.build())
    content[:8] = struct.pack(">q", first)
    return content


def with_right_checksum(content: bytearray) -> bytearray:
    content[17:21] = struct.pack(">I", calc_crc32c(bytes(content[21:])))
    return content


class Reading:
    """Fetches answers of the same bytes, as a consumer that stands at ``offset`` does."""

    def __init__(self, *content: bytearray, log_end: int = 100) -> None:
        self._content = bytes(b"".join(content))
        self._log_end = log_end
        self._failures: Counter[tuple[TopicPartition, int]] = Counter()

    def fetch(self, offset: int) -> list[Any]:
        answer = MemoryRecords(self._content)
        readable = batches._Readable(offset, self._log_end, self._failures, P0, answer)
        found = []
        while (whole := readable.next_batch()) is not None:
            found += [record for record in whole if record.offset >= offset]
        return found


@pytest.mark.parametrize("codec", CODECS)
def test_records_of_every_compression_come_whole(codec: str) -> None:
    records = Reading(batch(0, 3, CODECS[codec]), batch(3, 2, CODECS[codec])).fetch(1)
    assert [(record.offset, record.value) for record in records] == [(n, b"x" * 100) for n in range(1, 5)]


def _flipped(content: bytearray) -> bytearray:
    content[HEADER_BYTES + 5] ^= 0xFF
    return content


def _truncated_inside(content: bytearray) -> bytearray:
    content[HEADER_BYTES + 4 :] = bytes(len(content) - HEADER_BYTES - 4)
    return with_right_checksum(content)


def _unknown_codec(content: bytearray) -> bytearray:
    content[22] = 6
    return with_right_checksum(content)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda: _flipped(batch(2, 3)), "checksum"),
        (lambda: _truncated_inside(batch(2, 3)), "CorruptRecordError"),
        (lambda: _truncated_inside(batch(2, 3, CODECS["gzip"])), ""),
        (lambda: _truncated_inside(batch(2, 3, CODECS["snappy"])), ""),
        (lambda: _truncated_inside(batch(2, 3, CODECS["lz4"])), ""),
        (lambda: _truncated_inside(batch(2, 3, CODECS["zstd"])), ""),
        (lambda: _unknown_codec(batch(2, 3)), "codec 6"),
    ],
)
def test_a_batch_that_nobody_can_read_becomes_one_dead_letter_and_the_next_is_read(
    broken: Callable[[], bytearray], said: str
) -> None:
    reading = Reading(batch(0, 2), broken(), batch(5, 1))
    assert [record.offset for record in reading.fetch(0)] == [0, 1]
    assert reading.fetch(2) == [], "the wire may be at fault: it is fetched again"
    unreadable, following = reading.fetch(2)
    assert (unreadable.offset, following.offset) == (2, 5)
    assert isinstance(unreadable.value, UnreadableBatch)
    assert unreadable.value.reason.startswith("offsets 2 to 4: ")
    assert said in unreadable.value.reason
    with pytest.raises(RecordError) as raised:
        Decoder().decode(Record(Position("news", 0, 2), None, unreadable.value, 0))
    assert (raised.value.code, raised.value.detail) == ("unreadable_batch", unreadable.value.reason)


def test_what_was_broken_on_the_wire_alone_is_read_at_the_next_fetch() -> None:
    good = batch(0, 2)
    reading = Reading(_flipped(bytearray(good)))
    assert reading.fetch(0) == []
    reading._content = bytes(good)
    assert [record.offset for record in reading.fetch(0)] == [0, 1]
    assert not reading._failures


def test_a_small_batch_that_holds_a_flood_costs_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_MOST_BYTES", 100_000)
    for codec in ("gzip", "lz4", "zstd"):
        reading = Reading(batch(0, 1, CODECS[codec], value=bytes(500_000)))
        (unreadable,) = [record for _ in range(3) for record in reading.fetch(0)]
        assert "once decompressed" in unreadable.value.reason


def claiming(content: bytearray, last_delta: int, count: int | None = None, attributes: int = 0) -> bytearray:
    content[LAST_OFFSET_DELTA_AT : LAST_OFFSET_DELTA_AT + 4] = struct.pack(">i", last_delta)
    content[21:23] = struct.pack(">h", attributes)
    if count is not None:
        content[HEADER_BYTES - 4 : HEADER_BYTES] = struct.pack(">i", count)
    return content


@pytest.mark.parametrize("attributes", [0, 0x20, 0x10])  # control, transactional: not believed either
@pytest.mark.parametrize("content", [(20, None), (20, 21), (1_000_000, None), (-5, None), (1, 2), (0, None)])
def test_where_a_damaged_batch_ends_is_believed_to_nobody_but_the_batch_behind_it(
    content: tuple[int, int | None], attributes: int
) -> None:
    damaged = claiming(batch(0, 3), *content, attributes=attributes)
    reading = Reading(damaged, batch(3, 18))
    reading.fetch(0)
    reading.fetch(0)
    unreadable, *good = reading.fetch(0)
    assert [record.offset for record in good] == list(range(3, 21))
    assert isinstance(unreadable.value, UnreadableBatch)
    again = [record.offset for record in reading.fetch(3)]
    assert again == list(range(3, 21)), "a broker that believes the damaged end sends the batch once more"
    answer = MemoryRecords(bytes(damaged) + bytes(batch(3, 1))[:20])  # cut within the batch behind
    readable = batches._Readable(0, 100, Counter({(P0, 0): 2}), P0, answer)
    dead = readable.next_batch()
    assert dead is not None
    assert dead.next_offset <= 3


def test_a_damaged_batch_with_nothing_behind_it_costs_one_offset_at_a_time() -> None:
    reading = Reading(claiming(batch(0, 3), 20))
    for offset in (0, 1):
        (unreadable,) = [record for _ in range(3) for record in reading.fetch(offset)]
        assert unreadable.value.reason.startswith(f"offsets {offset} to {offset}: ")


def test_a_batch_of_the_old_format_that_is_damaged_stops_loudly() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    builder.append(0, 1_000, None, b"x" * 100)
    content = bytearray(builder.build())
    content[-1] ^= 0xFF
    reading = Reading(content)
    reading.fetch(0)
    reading.fetch(0)
    with pytest.raises(kafka_errors.CorruptRecordError, match=r"news/0: the batch at offset 0 .*where it ends"):
        reading.fetch(0)
