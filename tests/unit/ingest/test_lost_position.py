"""A position that the broker no longer holds: when it is moved, and what becomes of records already fetched."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors

from sentiment_monitor.domain.news import Partition
from sentiment_monitor.errors import DatabaseAway, PositionLost
from sentiment_monitor.ingest import connecting, consumer
from sentiment_monitor.ingest.consumer import KafkaSource

P0 = TopicPartition("news", 0)
WHERE = ("news", 0)


class Client:
    """A kafka-python consumer that was given one partition, of which the broker holds ``begins`` to ``ends``."""

    def __init__(self, **options: Any) -> None:
        self.begins, self.ends, self.reached = 0, 10, 0
        self.away = 0  # so many times the broker does not answer
        self.trouble: Exception | None = None  # at the next poll
        self._paused = False
        self._coordinator = SimpleNamespace(rejoining=False)
        self._cluster = SimpleNamespace(
            unauthorized_topics=set(), partitions_for_topic=lambda topic: {0, 1}, set_topics=lambda names: None
        )

    def subscribe(self, topics: list[str], listener: Any) -> None:
        listener.on_partitions_assigned({P0})

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused = True

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused = not partitions

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.reached = offset

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        if self.trouble:
            trouble, self.trouble = self.trouble, None
            raise trouble
        if self._paused or self.reached == self.ends:
            return {}
        if not self.begins <= self.reached < self.ends:
            raise kafka_errors.OffsetOutOfRangeError({P0: self.reached})
        offsets, self.reached = range(self.reached, self.ends), self.ends
        return {P0: [SimpleNamespace(offset=offset, key=None, value=b"{}", timestamp=0) for offset in offsets]}

    def beginning_offsets(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        if self.away:
            self.away -= 1
            raise kafka_errors.KafkaTimeoutError
        return {P0: self.begins}

    def highwater(self, partition: TopicPartition) -> int:
        return self.ends

    stable_end = highwater

    def commit_async(self, offsets: Mapping[TopicPartition, Any], callback: Any) -> None:
        pass

    def position(self, partition: TopicPartition, timeout_ms: int) -> int:
        return self.reached


class Sql:
    """The table of positions, of one partition."""

    def __init__(self) -> None:
        self.offset = 0
        self.asked_to_move = 0
        self.away = 0  # so many times the database does not answer

    def ask(self, starts: Mapping[Partition, int | None]) -> dict[Partition, int]:
        return {WHERE: self.offset}

    def move(self, offsets: Mapping[Partition, Any]) -> dict[Partition, int]:
        self.asked_to_move += 1
        if self.away:
            self.away -= 1
            raise DatabaseAway("not now")
        lost, following = offsets[WHERE]
        if lost != self.offset:
            return {}
        self.offset = following
        return {WHERE: following}


@pytest.fixture
def sql() -> Sql:
    return Sql()


@pytest.fixture
def source(sql: Sql, monkeypatch: pytest.MonkeyPatch) -> KafkaSource:
    monkeypatch.setattr(connecting, "Consumer", Client)
    monkeypatch.setattr(consumer, "_LOST_RETRY_SECONDS", 0.0)
    source = KafkaSource({}, topics=["news"], group="g", positions=sql.ask, on_lost="earliest", move_position=sql.move)
    assert source._connect(5) is not None
    return source


def client_of(source: KafkaSource) -> Client:
    client: object = source._consumer
    assert isinstance(client, Client)
    return client


def retention_passes(source: KafkaSource) -> None:
    client = client_of(source)
    client.begins, client.ends = 50, 60


def test_records_fetched_before_the_position_was_lost_are_stored_before_it_is_moved(
    source: KafkaSource, sql: Sql
) -> None:
    (fetched,) = source.poll(0, hold=False)
    retention_passes(source)
    for _ in range(3):
        assert source.poll(0, hold=False) == []
    assert sql.offset == 0
    assert source.epoch(WHERE) == fetched.epoch, "what waits for the writer is dropped under a new epoch"
    assert source.lag() == {WHERE: None}
    assert not source.caught_up()
    sql.offset = fetched.next_offset  # the writer has stored them
    for _ in range(3):
        if following := source.poll(0, hold=False):
            break
    assert (following[0].start_offset, following[0].next_offset) == (50, 60)
    assert following[0].epoch == source.epoch(WHERE) != fetched.epoch


@pytest.mark.parametrize("away", ["broker", "database"])
def test_a_broker_or_database_that_is_away_meanwhile_is_waited_for(source: KafkaSource, sql: Sql, away: str) -> None:
    (fetched,) = source.poll(0, hold=False)
    sql.offset = fetched.next_offset
    retention_passes(source)
    if away == "broker":
        client_of(source).away = 2
    else:
        sql.away = 2
    for _ in range(6):
        if following := source.poll(0, hold=False):
            break
    assert (following[0].start_offset, sql.offset) == (50, 50)


def test_holding_back_does_not_read_on_at_a_lost_position(source: KafkaSource, sql: Sql) -> None:
    source.poll(0, hold=False)
    retention_passes(source)
    source.poll(0, hold=False)
    source.poll(0, hold=True)
    assert source.poll(0, hold=False) == []
    assert sql.offset == 0


def test_placing_the_partition_anew_forgets_that_it_was_lost(source: KafkaSource, sql: Sql) -> None:
    """Fenced: another process has moved on in SQL."""
    source.poll(0, hold=False)
    retention_passes(source)
    source.poll(0, hold=False)
    sql.offset = 55
    source.reposition(WHERE)
    for _ in range(2):
        if following := source.poll(0, hold=False):
            break
    assert (following[0].start_offset, following[0].next_offset) == (55, 60)


def test_without_a_wish_of_the_operator_a_lost_position_stops_the_process(
    sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "Consumer", Client)
    source = KafkaSource({}, topics=["news"], group="g", positions=sql.ask)
    assert source._connect(5) is not None
    source.poll(0, hold=False)
    retention_passes(source)
    with pytest.raises(PositionLost, match="on_lost_position"):
        source.poll(0, hold=False)


def test_a_position_that_somebody_set_back_in_sql_is_followed_though_it_was_fetched_once(
    source: KafkaSource, sql: Sql
) -> None:
    """All that was fetched is stored, so what SQL says now cannot be on its way: the partition waited for ever."""
    (fetched,) = source.poll(0, hold=False)
    sql.offset = fetched.next_offset
    source.commit({WHERE: fetched.next_offset})
    sql.offset = 5  # by hand
    client_of(source).begins = client_of(source).reached = 5
    client_of(source).trouble = kafka_errors.OffsetOutOfRangeError({P0: 10})
    for _ in range(6):
        if following := source.poll(0, hold=False):
            break
    assert (following[0].start_offset, following[0].next_offset) == (5, 10)


@pytest.mark.parametrize("taken", [ValueError("Unassigned partition"), KeyError(P0), kafka_errors.IllegalStateError()])
def test_a_partition_taken_away_while_it_is_placed_ends_nothing(
    source: KafkaSource, taken: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seek(partition: TopicPartition, offset: int = 0) -> None:
        raise taken

    source.poll(0, hold=False)
    source.reposition(WHERE)
    monkeypatch.setattr(client_of(source), "seek", seek)
    source.poll(0, hold=False)
    monkeypatch.setattr(client_of(source), "pause", seek)
    source.reposition(WHERE)
    source.poll(0, hold=True)
