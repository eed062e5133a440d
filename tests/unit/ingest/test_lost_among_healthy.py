"""A lost position of one partition: what becomes of the other one, and of signs that are out of date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors

from sentiment_monitor.domain.news import Partition
from sentiment_monitor.errors import PositionLost
from sentiment_monitor.ingest import connecting, consumer, lost
from sentiment_monitor.ingest.consumer import KafkaSource

P0, P1 = TopicPartition("news", 0), TopicPartition("news", 1)


class Client:
    """A kafka-python consumer with two partitions of ten records; ``troubles`` come one at a poll."""

    def __init__(self, **options: Any) -> None:
        self.reached = {P0: 0, P1: 0}
        self.paused: set[TopicPartition] = set()
        self.ends = {P0: 10, P1: 10}
        self.troubles: list[Exception] = []
        self.truncation: Exception | None = None  # what the client says when it is asked for a position
        self.silent: set[TopicPartition] = set()  # whose leader answers nothing
        self._coordinator = SimpleNamespace(rejoining=False)
        self._cluster = SimpleNamespace(
            unauthorized_topics=set(), partitions_for_topic=lambda topic: {0, 1}, set_topics=lambda names: None
        )

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self.listener = listener
        listener.on_partitions_assigned({P0, P1})

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused -= set(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.reached[partition] = offset

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        if self.troubles:
            raise self.troubles.pop(0)
        batches = {}
        for partition in {P0, P1} - self.paused:
            if offsets := range(self.reached[partition], self.ends[partition]):
                self.reached[partition] = offsets.stop
                batches[partition] = [
                    SimpleNamespace(offset=offset, key=None, value=b"{}", timestamp=0) for offset in offsets
                ]
        return batches

    def end_offsets(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        if self.silent & set(partitions):
            raise kafka_errors.KafkaTimeoutError
        return dict.fromkeys(partitions, 100)

    def beginning_offsets(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def highwater(self, partition: TopicPartition) -> int:
        return self.ends[partition]

    stable_end = highwater

    def position(self, partition: TopicPartition, timeout_ms: int) -> int:
        trouble, self.truncation = self.truncation, None
        if trouble:
            raise trouble
        return self.reached[partition]


class Sql:
    """The table of positions."""

    def __init__(self) -> None:
        self.offsets: dict[Partition, int] = {tuple(P0): 0, tuple(P1): 0}
        self.moves = 0

    def ask(self, starts: Mapping[Partition, int | None]) -> dict[Partition, int]:
        return {partition: self.offsets[partition] for partition in starts}

    def move(self, offsets: Mapping[Partition, tuple[int, int]]) -> dict[Partition, int]:
        self.moves += 1
        moved = {p: following for p, (lost, following) in offsets.items() if self.offsets[p] == lost}
        self.offsets |= moved
        return moved


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(consumer, "time", clock)
    monkeypatch.setattr(lost, "time", clock)
    return clock


@pytest.fixture
def sql() -> Sql:
    return Sql()


def _source(sql: Sql, monkeypatch: pytest.MonkeyPatch, on_lost: Literal["stop", "latest"]) -> KafkaSource:
    monkeypatch.setattr(connecting, "Consumer", Client)
    source = KafkaSource({}, topics=["news"], group="g", positions=sql.ask, on_lost=on_lost, move_position=sql.move)
    assert source._connect(5) is not None
    assert len(source.poll(0, hold=False)) == 2
    sql.offsets = {tuple(P0): 10, tuple(P1): 10}  # the writer has stored them
    return source


@pytest.fixture
def source(sql: Sql, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> KafkaSource:
    return _source(sql, monkeypatch, "latest")


def client_of(source: KafkaSource) -> Client:
    client: object = source._consumer
    assert isinstance(client, Client)
    return client


def poll(source: KafkaSource, clock: Clock, times: int = 4) -> None:
    for _ in range(times):
        clock.now += 1.5
        source.poll(0, hold=False)


def test_a_truncated_log_moves_only_the_partition_that_it_names(source: KafkaSource, sql: Sql, clock: Clock) -> None:
    client_of(source).troubles = [kafka_errors.LogTruncationError({P0: None})]
    healthy = source.epoch(tuple(P1))
    poll(source, clock)
    assert sql.offsets == {tuple(P0): 100, tuple(P1): 10}
    assert source.epoch(tuple(P1)) == healthy


def test_a_truncation_told_when_the_position_is_asked_for_is_not_missed(
    source: KafkaSource, sql: Sql, clock: Clock
) -> None:
    client_of(source).truncation = kafka_errors.LogTruncationError({P0: None})
    source.lag()
    poll(source, clock)
    assert sql.offsets == {tuple(P0): 100, tuple(P1): 10}


def test_an_error_that_names_no_partition_moves_none(source: KafkaSource, sql: Sql, clock: Clock) -> None:
    client_of(source).troubles = [kafka_errors.OffsetOutOfRangeError("somewhere")]
    poll(source, clock)
    assert sql.offsets == {tuple(P0): 10, tuple(P1): 10}


@pytest.mark.parametrize(
    ("trouble", "named"),
    [
        (kafka_errors.LogTruncationError({P1: None}), "^news/1: "),
        (kafka_errors.OffsetOutOfRangeError("somewhere"), "^a partition without a name: "),
    ],
)
def test_who_wants_to_stop_hears_which_partition_it_is(
    sql: Sql, monkeypatch: pytest.MonkeyPatch, trouble: Exception, named: str
) -> None:
    source = _source(sql, monkeypatch, "stop")
    client_of(source).troubles = [trouble]
    with pytest.raises(PositionLost, match=named):
        source.poll(0, hold=False)


@pytest.mark.parametrize(
    "placed_anew",
    [
        lambda source: source.reposition(tuple(P0)),
        lambda source: (
            client_of(source).listener.on_partitions_revoked({P0}),
            client_of(source).listener.on_partitions_assigned({P0}),
        ),
    ],
)
def test_a_position_beyond_the_end_is_measured_anew_once_the_partition_was_placed_anew(
    source: KafkaSource, sql: Sql, clock: Clock, placed_anew: Callable[[KafkaSource], object]
) -> None:
    client_of(source).ends[P0] = 5
    poll(source, clock, 1)
    placed_anew(source)
    clock.now += 60
    source.poll(0, hold=False)
    poll(source, clock, 3)
    assert sql.offsets[tuple(P0)] == 10, "the time before counts no more"
    poll(source, clock, 10)
    assert sql.offsets[tuple(P0)] == 100


def test_a_lost_partition_without_a_leader_does_not_keep_the_others_waiting(
    source: KafkaSource, sql: Sql, clock: Clock
) -> None:
    client = client_of(source)
    client.troubles, client.silent = [kafka_errors.OffsetOutOfRangeError({P0: 10})], {P0}
    poll(source, clock)
    client.ends[P1] = 20
    source.reposition(tuple(P1))
    clock.now += 1.5
    (fetched,) = source.poll(0, hold=False)
    assert (fetched.partition, fetched.start_offset, fetched.next_offset) == (tuple(P1), 10, 20)


def test_a_lost_position_is_tried_once_a_second(source: KafkaSource, sql: Sql, clock: Clock) -> None:
    sql.offsets[tuple(P0)] = 5  # the writer has stored half
    client_of(source).troubles = [kafka_errors.OffsetOutOfRangeError({P0: 10})]
    for _ in range(31):
        source.poll(0, hold=False)
        clock.now += 0.1
    assert sql.moves == 3


@pytest.mark.parametrize("elsewhere", [7, 200])
def test_a_lost_position_that_somebody_else_has_moved_in_sql_is_followed(
    source: KafkaSource, sql: Sql, clock: Clock, elsewhere: int
) -> None:
    source.reposition(tuple(P0))  # placed at ten: nothing before that can be on its way
    poll(source, clock, 1)
    before = source.epoch(tuple(P0))
    client_of(source).troubles = [kafka_errors.OffsetOutOfRangeError({P0: 10})]
    sql.offsets[tuple(P0)] = elsewhere
    poll(source, clock)
    assert source.epoch(tuple(P0)) != before
    assert sql.offsets[tuple(P0)] == elsewhere
    assert client_of(source).reached[P0] >= elsewhere
