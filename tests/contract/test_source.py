"""One behaviour of every source of records: the one in memory and Kafka on the embedded broker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import pytest

from sentiment_monitor.domain.news import Partition, Record
from sentiment_monitor.errors import DatabaseAway
from sentiment_monitor.ingest.embedded import CONSUMER_PROFILE
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.ingest.source import Fetched, Positions, Source

PARTITIONS = 2


class Feed(Protocol):
    """A topic with two partitions, and a source that reads it."""

    topic: str

    def fill(self, values: Mapping[int, list[bytes]]) -> None: ...

    def source(self, positions: Positions) -> Source: ...


class _MemoryFeed:
    topic = "news"

    def __init__(self) -> None:
        self._values: dict[int, list[bytes]] = {n: [] for n in range(PARTITIONS)}

    def fill(self, values: Mapping[int, list[bytes]]) -> None:
        for partition, some in values.items():
            self._values[partition] += some

    def source(self, positions: Positions) -> Source:
        made = MemorySource(positions, max_poll_records=10)
        for partition, values in self._values.items():
            made.append((self.topic, partition), values)
        return made


class _KafkaFeed:
    def __init__(self, address: str) -> None:
        from sentiment_monitor.ingest.publish import ensure_topic

        self.topic = f"contract-{uuid.uuid4().hex[:8]}"
        self._options: dict[str, Any] = {"bootstrap_servers": [address]}
        ensure_topic(self._options, self.topic, PARTITIONS)

    def fill(self, values: Mapping[int, list[bytes]]) -> None:
        from kafka import KafkaProducer

        producer = KafkaProducer(**self._options, acks="all", metrics_enabled=False)
        for partition, some in values.items():
            for value in some:
                producer.send(self.topic, partition=partition, value=value)
        producer.flush(timeout=30)
        producer.close(timeout=5)

    def source(self, positions: Positions) -> Source:
        from sentiment_monitor.ingest.consumer import KafkaSource

        return KafkaSource(
            self._options,
            topics=[self.topic],
            group=f"group-{self.topic}",
            positions=positions,
            max_poll_records=10,
            **CONSUMER_PROFILE,
        )


class Sql:
    """Stands for the table of positions."""

    def __init__(self) -> None:
        self.offsets: dict[Partition, int] = {}
        self.asked: list[set[Partition]] = []
        self.away = 0

    def __call__(self, starts: Mapping[Partition, int | None]) -> Mapping[Partition, int]:
        if self.away:
            self.away -= 1
            raise DatabaseAway("not now")
        self.asked.append(set(starts))
        return {partition: self.offsets.get(partition, start or 0) for partition, start in starts.items()}


@pytest.fixture(params=["memory", "kafka"])
def feed(request: pytest.FixtureRequest) -> Feed:
    if request.param == "memory":
        return _MemoryFeed()
    return _KafkaFeed(request.getfixturevalue("embedded_broker").address)


@pytest.fixture
def sql() -> Sql:
    return Sql()


@pytest.fixture
def opened(feed: Feed, sql: Sql) -> Iterator[Callable[[], Source]]:
    made: list[Source] = []

    def open_() -> Source:
        made.append(feed.source(sql))
        return made[-1]

    yield open_
    for source in made:
        source.close()


def values(count: int) -> dict[int, list[bytes]]:
    return {partition: [f"{partition}-{n}".encode() for n in range(count)] for partition in range(PARTITIONS)}


def poll_until(source: Source, done: Callable[[list[Fetched]], bool], *, hold: bool = False) -> list[Fetched]:
    fetched: list[Fetched] = []
    deadline = time.monotonic() + 60
    while not done(fetched):
        assert time.monotonic() < deadline, "it did not happen"
        fetched += source.poll(50, hold=hold)
    return fetched


def records(fetched: list[Fetched]) -> dict[Partition, list[Record]]:
    found: dict[Partition, list[Record]] = {}
    for one in fetched:
        found.setdefault(one.partition, []).extend(one.records)
    return found


def test_every_record_comes_once_in_order_and_offsets_join_without_a_gap(
    feed: Feed, opened: Callable[[], Source]
) -> None:
    feed.fill(values(25))
    source = opened()
    fetched = poll_until(source, lambda got: sum(len(one.records) for one in got) >= 50)
    for (_, partition), found in records(fetched).items():
        assert [record.value for record in found] == values(25)[partition]
        assert [record.position.offset for record in found] == list(range(25))
        assert {(record.position.topic, record.position.partition) for record in found} == {(feed.topic, partition)}
    following: dict[Partition, int] = {}
    for one in fetched:
        assert one.start_offset == following.get(one.partition, 0)
        assert one.next_offset == one.records[-1].position.offset + 1
        assert one.epoch == source.epoch(one.partition)
        following[one.partition] = one.next_offset
    assert sum(len(one.records) for one in fetched) == 50
    poll_until(source, lambda got: source.caught_up())
    assert source.lag() == {(feed.topic, n): 0 for n in range(PARTITIONS)}


def test_reading_begins_where_sql_says(feed: Feed, sql: Sql, opened: Callable[[], Source]) -> None:
    feed.fill(values(10))
    sql.offsets = {(feed.topic, 0): 7, (feed.topic, 1): 10}
    source = opened()
    fetched = poll_until(source, lambda got: source.caught_up())
    assert {p: [r.position.offset for r in found] for p, found in records(fetched).items()} == {
        (feed.topic, 0): [7, 8, 9]
    }
    assert fetched[0].start_offset == 7


def test_on_hold_nothing_is_fetched_and_afterwards_nothing_is_missing(feed: Feed, opened: Callable[[], Source]) -> None:
    feed.fill(values(15))
    source = opened()
    first = poll_until(source, lambda got: bool(got))
    source.poll(50, hold=True)  # what the client had already in hand may still come with the switch
    held = [one for _ in range(10) for one in source.poll(20, hold=True)]
    assert held == []
    assert not source.caught_up()
    rest = poll_until(source, lambda got: source.caught_up())
    assert sum(len(one.records) for one in (*first, *rest)) == 30


def test_a_repositioned_partition_is_asked_for_again_under_a_new_epoch(
    feed: Feed, sql: Sql, opened: Callable[[], Source]
) -> None:
    feed.fill(values(5))
    source = opened()
    poll_until(source, lambda got: source.caught_up())
    zero, one = (feed.topic, 0), (feed.topic, 1)
    before = {partition: source.epoch(partition) for partition in (zero, one)}
    sql.offsets = {zero: 3}
    source.reposition(zero)
    epoch = source.epoch(zero)
    assert epoch is not None
    assert epoch != before[zero]
    assert source.epoch(one) == before[one]
    assert not source.caught_up()
    assert source.lag()[zero] is None
    fetched = poll_until(source, lambda got: source.caught_up())
    assert {p: [r.position.offset for r in found] for p, found in records(fetched).items()} == {zero: [3, 4]}
    assert sql.asked[-1] == {zero}


def test_while_sql_is_away_nothing_is_fetched_and_then_everything(
    feed: Feed, sql: Sql, opened: Callable[[], Source]
) -> None:
    feed.fill(values(5))
    sql.away = 3
    source = opened()
    fetched = poll_until(source, lambda got: source.caught_up())
    assert sql.away == 0
    assert sum(len(one.records) for one in fetched) == 10


def test_a_partition_that_is_not_ours_has_no_epoch(feed: Feed, opened: Callable[[], Source]) -> None:
    source = opened()
    assert source.epoch(("elsewhere", 0)) is None
    source.reposition(("elsewhere", 0))
    source.commit({("elsewhere", 0): 5})


def test_an_empty_topic_is_caught_up(feed: Feed, opened: Callable[[], Source]) -> None:
    source = opened()
    assert poll_until(source, lambda got: source.caught_up()) == []
    assert source.lag() == {(feed.topic, n): 0 for n in range(PARTITIONS)}
