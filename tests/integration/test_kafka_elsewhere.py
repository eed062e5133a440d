"""Kafka as it is run elsewhere: compressed, transactional, damaged, by pattern, under a name that is wrong, away."""

from __future__ import annotations

import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from structlog.testing import capture_logs

from integration.harness import Apache, Results, invent, send, service, until
from sentiment_monitor.domain.news import Partition, UnreadableBatch
from sentiment_monitor.ingest.consumer import KafkaSource
from sentiment_monitor.ingest.embedded import EmbeddedBroker, free_port
from sentiment_monitor.ingest.publish import ensure_topic
from sentiment_monitor.ingest.source import Fetched
from sentiment_monitor.settings.feed import KafkaSettings

Broker = EmbeddedBroker | Apache


class Sql:
    """The table of positions, and the writer that moves them."""

    def __init__(self) -> None:
        self.offsets: dict[Partition, int] = {}

    def ask(self, starts: Mapping[Partition, int | None]) -> dict[Partition, int]:
        return {partition: self.offsets.setdefault(partition, start or 0) for partition, start in starts.items()}

    def store(self, fetched: Fetched) -> None:
        assert self.offsets[fetched.partition] == fetched.start_offset, "a gap, or twice"
        self.offsets[fetched.partition] = fetched.next_offset


class Reader:
    """A source whose records are stored as they come."""

    def __init__(self, source: KafkaSource, sql: Sql) -> None:
        self.source, self.sql = source, sql
        self.values: list[bytes | None] = []

    def until(self, true: Callable[[], Any], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"it did not happen: {self.values}, {self.sql.offsets}"
            for fetched in self.source.poll(50, hold=False):
                self.values += [record.value for record in fetched.records]
                self.sql.store(fetched)


@contextmanager
def reading(address: str, group: str, **options: Any) -> Iterator[Reader]:
    sql = Sql()
    options = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 500, **options}
    source = KafkaSource({"bootstrap_servers": [address]}, group=group, positions=sql.ask, **options)
    try:
        yield Reader(source, sql)
    finally:
        source.close()


@contextmanager
def producing(address: str, **options: Any) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=[address], acks="all", metrics_enabled=False, **options)
    try:
        yield producer
    finally:
        producer.close(timeout=5)


def put(producer: KafkaProducer, topic: str, *values: str) -> None:
    for value in values:
        producer.send(topic, partition=0, value=value.encode())
    producer.flush(timeout=20)


# -- compression ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_batches_of_every_compression_are_read(broker: Broker, name: str, compression: str) -> None:
    ensure_topic({"bootstrap_servers": [broker.address]}, name, 1)
    values = [f"Kestrel Bank {number} " * 20 for number in range(200)]
    with producing(broker.address, compression_type=compression, linger_ms=20) as producer:
        put(producer, name, *values)
    with reading(broker.address, name, topics=[name]) as reader:
        reader.until(lambda: len(reader.values) == len(values))
    assert reader.values == [value.encode() for value in values]


@pytest.mark.kafka
def test_a_batch_that_the_disk_has_damaged_is_put_aside_and_the_next_is_read(apache: Apache, name: str) -> None:
    ensure_topic({"bootstrap_servers": [apache.address]}, name, 1)
    with producing(apache.address, compression_type="zstd", linger_ms=20) as producer:
        for part in ("first", "second", "third"):
            put(producer, name, *(f"{part} {number}" for number in range(3)))
    log = next((apache.folder / "node1").glob(f"{name}-0/*.log"))
    with log.open("r+b") as file:
        content = file.read()
        second = 12 + int.from_bytes(content[8:12], "big")
        file.seek(second + 70)
        file.write(bytes([content[second + 70] ^ 0xFF]))
    with reading(apache.address, name, topics=[name]) as reader:
        reader.until(lambda: len(reader.values) == 7)
        reader.until(reader.source.caught_up)
    assert reader.values[:3] == [b"first 0", b"first 1", b"first 2"]
    assert isinstance(reader.values[3], UnreadableBatch)
    assert "offsets 3 to 5: " in reader.values[3].reason
    assert reader.values[4:] == [b"third 0", b"third 1", b"third 2"]


# -- transactions ---------------------------------------------------------------------------------------------------


@pytest.mark.kafka
def test_only_what_was_committed_is_read_and_nothing_else_keeps_the_end_away(apache: Apache, name: str) -> None:
    where = (name, 0)
    ensure_topic({"bootstrap_servers": [apache.address]}, name, 1)
    with producing(apache.address, transactional_id=name) as producer:
        producer.init_transactions()
        for word, end in (
            ("kept", producer.commit_transaction),
            ("dropped", producer.abort_transaction),
            ("kept too", producer.commit_transaction),
            ("dropped too", producer.abort_transaction),
        ):
            producer.begin_transaction()
            put(producer, name, word)
            end()
        with reading(apache.address, name, topics=[name]) as reader:
            reader.until(reader.source.caught_up)
            assert reader.values == [b"kept", b"kept too"]
            assert reader.source.lag() == {where: 0}
            # The log ends with what is not for us: SQL moves over it, or retention would take its position away.
            reader.until(lambda: reader.sql.offsets[where] == 8)
            producer.begin_transaction()
            put(producer, name, "open")
            with producing(apache.address) as other:
                put(other, name, "behind it")
            began = time.monotonic()
            reader.until(lambda: time.monotonic() - began > 2)
            assert reader.values == [b"kept", b"kept too"]
            assert reader.source.lag() == {where: 0}, "an open transaction ends what may be read"
            assert reader.source.caught_up()
            producer.commit_transaction()
            reader.until(lambda: len(reader.values) == 4)
            reader.until(lambda: reader.sql.offsets[where] == 11)
    assert reader.values[2:] == [b"open", b"behind it"]
    with reading(apache.address, f"{name}-all", topics=[name], isolation="read_uncommitted") as careless:
        careless.until(careless.source.caught_up)
    assert careless.values == [b"kept", b"dropped", b"kept too", b"dropped too", b"open", b"behind it"]


@pytest.mark.kafka
def test_a_run_until_idle_ends_behind_an_aborted_and_before_an_open_transaction(
    apache: Apache, name: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    kept, dropped = invent(20, seed=61, broken=0), invent(40, seed=63, broken=0)
    ensure_topic({"bootstrap_servers": [apache.address]}, name, 1)
    with producing(apache.address, transactional_id=name) as producer:
        producer.init_transactions()
        for feed, end in ((kept, producer.commit_transaction), (dropped, producer.abort_transaction)):
            producer.begin_transaction()
            for message in feed.messages:
                producer.send(name, partition=0, value=message.value, timestamp_ms=message.at_ms)
            end()
        producer.begin_transaction()
        put(producer, name, "{}")
        with service(tmp_path, apache.address, name, name, url) as replicas, Results(url, name) as results:
            replicas.drain()
            contents = results.check()
            assert set(contents["stories"]) == kept.stories
            assert contents["dead_letters"] == {}
        producer.abort_transaction()


# -- topics ---------------------------------------------------------------------------------------------------------


def test_topics_by_pattern_are_read_and_new_ones_picked_up(broker: Broker, name: str) -> None:
    options = {"bootstrap_servers": [broker.address]}
    for topic in (f"{name}-wire", f"{name}-wire-old", f"x{name}-wire"):
        ensure_topic(options, topic, 1)
    settings = KafkaSettings(topic_pattern=f"{name}-(wire|rss[0-9])")
    with producing(broker.address) as producer, reading(
        broker.address, name, topics=[], fits=settings.chooses, session_timeout_ms=2_000
    ) as reader:  # fmt: skip
        put(producer, f"{name}-wire", "one")
        put(producer, f"{name}-wire-old", "not this")
        put(producer, f"x{name}-wire", "nor this")
        reader.until(lambda: reader.values == [b"one"], 40)
        ensure_topic(options, f"{name}-rss1", 1)
        put(producer, f"{name}-rss1", "two")
        reader.until(lambda: sorted(filter(None, reader.values)) == [b"one", b"two"], 40)
        reader.until(reader.source.caught_up)
    assert set(reader.sql.offsets) == {(f"{name}-wire", 0), (f"{name}-rss1", 0)}


@pytest.mark.kafka
def test_a_topic_of_a_mistyped_name_is_not_made_but_waited_for_and_the_nearest_is_named(
    apache: Apache, name: str
) -> None:
    options = {"bootstrap_servers": [apache.address]}
    ensure_topic(options, name, 1)
    mistyped = name[:-1] + "_"
    with capture_logs() as logs, reading(apache.address, name, topics=[mistyped]) as reader:
        reader.until(lambda: any(line["event"] == "topic.missing" for line in logs))
        began = time.monotonic()
        reader.until(lambda: time.monotonic() - began > 2.5)
        (line,) = (line for line in logs if line["event"] == "topic.missing")
        assert (line["topic"], line["hint"]) == (mistyped, f"is {name} meant?")
        admin = KafkaAdminClient(**options)
        assert mistyped not in admin.list_topics()
        admin.close()
        ensure_topic(options, mistyped, 1)
        with producing(apache.address) as producer:
            put(producer, mistyped, "there now")
        reader.until(lambda: reader.values == [b"there now"])
        reader.until(lambda: any(line["event"] == "topic.found" for line in logs))


# -- away -----------------------------------------------------------------------------------------------------------


def test_a_broker_that_is_away_at_the_start_is_waited_out_in_one_line(tmp_path: Path, name: str) -> None:
    broker = EmbeddedBroker(free_port())
    address = broker.address
    url = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    with service(tmp_path, address, name, name, url) as replicas, Results(url, name) as results:
        monitor = replicas.run()
        monitor.await_event("broker.away", 60)
        page = monitor.await_event("web.listening", 60)["url"]
        assert _ready(page) == (503, f"broker away: {address}: KafkaConnectionError: 111 ECONNREFUSED\n")
        time.sleep(3)
        assert monitor.alive, repr(monitor)
        broker.start()
        try:
            send(address, name, invent(30, seed=62, broken=0).messages)
            until(lambda: results.position() == 30, "the feed to be read", 40, of=monitor)
            assert _ready(page) == (200, "ok\n")
            monitor.signal(signal.SIGTERM)
            assert monitor.wait(15) == 0, repr(monitor)
        finally:
            broker.stop()
        assert len(monitor.events("broker.away")) == 1, repr(monitor)
        assert len(monitor.events("broker.back")) == 1, repr(monitor)
        assert "kafka" not in {event.get("logger", "") for event in monitor.events()}


def test_a_service_that_waits_for_its_first_broker_stops_when_it_is_asked_to(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    with service(tmp_path, f"127.0.0.1:{free_port()}", name, name, url) as replicas:
        monitor = replicas.run()
        monitor.await_event("broker.away", 60)
        monitor.signal(signal.SIGTERM)
        assert monitor.wait(10) == 0, repr(monitor)


def _ready(page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{page}/readyz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
