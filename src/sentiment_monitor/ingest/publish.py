"""Rows of files onto a Kafka topic, as fast as it goes or in the rhythm of their timestamps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from sentiment_monitor.domain.news import DeadLetter, Position, Record, Story
from sentiment_monitor.errors import BrokerAway, MonitorError, RecordError, UsageError, meant
from sentiment_monitor.ingest.client import REFUSED, client_arguments, connection_error, refusal
from sentiment_monitor.ingest.fields import FIELDS

_LONGEST_SLEEP = 366 * 86_400.0  # seconds; the operating system refuses centuries
_LOOKED_AT = 100  # rows of a file, before anything is sent
_AHEAD_MS = 10 * 60_000  # a broker refuses records stamped an hour ahead, and with them their batch

_NO_HEADLINE = {"no_headline", "mapping_failed", "no_stories"}

Reading = Callable[[Record], Sequence[Story | DeadLetter]]
"""How the service will read a record. Raises RecordError."""


def map_row(row: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """The message for one row: ``mapping`` says which column fills which field, other columns keep their names."""
    for field, column in mapping.items():
        if column not in row:
            raise UsageError(f"--map {field}={column}: there is no column {column!r}; columns are {', '.join(row)}")
    used = set(mapping.values())
    message = {name: value for name, value in row.items() if name not in used or name in FIELDS}
    return message | {field: row[column] for field, column in mapping.items()}


def check_rows(messages: Iterable[Mapping[str, Any]], read: Reading) -> None:
    """Raises UsageError if ``read`` finds a headline in none of the first rows: the service would refuse them all."""
    first = list(islice(messages, _LOOKED_AT))
    refusals: list[str] = []
    for message in first:
        try:
            readings = read(Encoded.of(message).record())
            refused = {reading.code: reading.detail for reading in readings if isinstance(reading, DeadLetter)}
        except RecordError as error:
            refused = {error.code: error.detail}
        if _NO_HEADLINE.isdisjoint(refused):
            return
        refusals.extend(refused.values())
    if first:
        raise UsageError(
            f"none of its first {len(first)} rows has a headline ({refusals[0]}); columns are "
            f"{', '.join(map(str, first[0]))}: say which it is with --map headline=COLUMN, or in news.mapping"
        )


class Encoded(NamedTuple):
    """A message as it is sent."""

    value: bytes
    key: bytes | None = None

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Encoded:
        """JSON under a key that is the same for all revisions of a story. Raises UsageError for infinite numbers."""
        identity = str(message.get("id") or message.get("url") or message.get("headline") or "")
        try:
            value = json.dumps(message, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        except ValueError:
            raise UsageError(f"{identity!r:.60}: a number that is not finite cannot be sent as JSON") from None
        return cls(value, f"{message.get('source', '')}|{identity}".encode("utf-8", "replace"))

    def record(self) -> Record:
        """The record that the service will read, but for its time and its place."""
        return Record(Position("", 0, 0), None, self.value, -1)


@dataclass(frozen=True, slots=True)
class Topic:
    """What publishing needs to know of a topic."""

    partitions: int
    keeps_ms: int | None = None  # how long it keeps records, by their own time; None: for ever, or not said


def look_up(client_options: Mapping[str, Any], topic: str, *, wait_s: float = 0) -> Topic:
    """Asks for a topic. Raises UsageError, and makes nothing, when there is none of that name.

    ``wait_s`` is for one that was just made: of several brokers some hear of it later.
    """
    try:
        admin = KafkaAdminClient(**client_arguments(client_options))
    except kafka_errors.KafkaError as error:
        raise connection_error(error, client_options) from error
    try:
        until = time.monotonic() + wait_s
        while topic not in (topics := admin.list_topics()) and time.monotonic() < until:
            time.sleep(0.1)
        if topic in topics:
            return Topic(len(admin.describe_topics([topic])[0]["partitions"]), _keeps_ms(admin, topic))
    except kafka_errors.KafkaError as error:
        raise _unsent(error, f"cannot ask for topic {topic}") from error
    finally:
        admin.close()
    others = sorted(name for name in topics if not name.startswith("__"))
    near = meant(topic, others) or (f"there are: {', '.join(others[:10])}." if others else "")
    raise UsageError(" ".join(filter(None, (f"there is no topic {topic};", near, "--create makes it"))))


def _keeps_ms(admin: KafkaAdminClient, topic: str) -> int | None:
    try:
        facts = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    except kafka_errors.KafkaError:  # a right that few have and publishing does not need; or a broker that cannot say
        return None
    configured = facts.get("topic", {}).get(topic, {})
    if "delete" not in str(configured.get("cleanup.policy", {}).get("value")):
        return None
    keeps_ms = int(configured.get("retention.ms", {}).get("value", -1))
    return keeps_ms if keeps_ms >= 0 else None


def ensure_topic(client_options: Mapping[str, Any], topic: str, partitions: int) -> int:
    """Makes the topic with so many partitions unless it exists; returns how many it has."""
    try:
        admin = KafkaAdminClient(**client_arguments(client_options))
    except kafka_errors.KafkaError as error:
        raise connection_error(error, client_options) from error
    try:
        try:
            admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": -1}})
            return partitions
        except kafka_errors.TopicAlreadyExistsError:
            return len(admin.describe_topics([topic])[0]["partitions"])
    except kafka_errors.KafkaError as error:
        raise _unsent(error, f"cannot make topic {topic}") from error
    finally:
        admin.close()


class Publisher:
    """Sends messages durably: acknowledged by every in-sync replica, in order per key, without duplicates."""

    def __init__(self, client_options: Mapping[str, Any], topic: str) -> None:
        self._topic = topic
        self._failed: list[Exception] = []
        self._producer = _producer(client_options, linger_ms=5, batch_size=256 * 1024)

    def send(self, message: Mapping[str, Any] | Encoded, *, timestamp_ms: int | None = None) -> None:
        """Queues one message. Blocks while the client's buffer is full."""
        value, key = message if isinstance(message, Encoded) else Encoded.of(message)
        try:
            sending = self._producer.send(self._topic, key=key, value=value, timestamp_ms=timestamp_ms)
        except kafka_errors.MessageSizeTooLargeError as error:
            raise UsageError(f"{len(value):,} bytes are too large a message: {error}") from error
        except kafka_errors.KafkaError as error:
            raise _unsent(error, f"cannot send to {self._topic}") from error
        sending.add_errback(self._failed.append)
        self._raise_failed()

    def flush(self) -> None:
        """Returns when the broker has acknowledged everything sent so far."""
        try:
            self._producer.flush(timeout=120)
        except kafka_errors.KafkaError as error:
            raise _unsent(error, "the broker did not acknowledge") from error
        self._raise_failed()

    def _raise_failed(self) -> None:
        if self._failed:
            raise _unsent(self._failed[0], f"{len(self._failed)} messages were not acknowledged")

    def close(self) -> None:
        """Closes the connection without waiting for what was not flushed."""
        self._producer.close(timeout=5)


def _producer(client_options: Mapping[str, Any], **more: Any) -> KafkaProducer:
    try:
        return KafkaProducer(**client_arguments(client_options), acks="all", metrics_enabled=False, **more)
    except kafka_errors.KafkaError as error:
        raise connection_error(error, client_options) from error


def patient_producer(client_options: Mapping[str, Any], timeout_s: float) -> KafkaProducer:
    """A producer that has found a broker, and gives up each thing it does after so many seconds.

    Raises BrokerAway, BrokerRefused and SettingsError.
    """
    bounds = ("bootstrap_timeout_ms", "max_block_ms", "request_timeout_ms", "delivery_timeout_ms")
    return _producer(client_options, **dict.fromkeys(bounds, int(timeout_s * 1000)))


def _unsent(error: Exception, what: str) -> MonitorError:
    """What to raise when Kafka did not do ``what``: BrokerAway only when trying again can help."""
    return refusal(error) if isinstance(error, REFUSED) else BrokerAway(f"{what}: {error}")


@dataclass(frozen=True, slots=True)
class Published:
    """What was sent: how many records, and how many of them bear the present instead of their story's time."""

    records: int = 0
    restamped: int = 0


def publish(
    publisher: Publisher,
    rows: Iterator[dict[str, Any]],
    read: Reading,
    *,
    keeps_ms: int | None = None,
    speed: float | None = None,
    progress: Callable[[int], None] = lambda count: None,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> Published:
    """Sends every message.

    ``speed`` replays in the rhythm of the stories' times as ``read`` finds them, so many times real time; None sends
    without waiting. Records bear their story's time, so that a feed without times and its replay agree; or the present
    where Kafka would refuse that time, which lies ahead, or delete the record, being older than the topic keeps any
    (``keeps_ms``). Raises UsageError for a row that cannot be sent; those before it were.
    """
    sent = restamped = 0
    first: tuple[float, int] | None = None
    try:
        for row in rows:
            message = Encoded.of(row)
            at = _published_ms(message.record(), read)
            if speed and at is not None:
                first = first or (monotonic(), at)
                early = (at - first[1]) / 1000 / speed - (monotonic() - first[0])
                if early > 0:
                    publisher.flush()
                    sleep(min(early, _LONGEST_SLEEP))
            if at is not None and not _is_acceptable(at, now_ms(), keeps_ms):
                at = None
                restamped += 1
            publisher.send(message, timestamp_ms=at)
            sent += 1
            progress(sent)
    except UsageError as error:
        publisher.flush()
        raise UsageError(f"{error}; the {sent:,} records before it were published") from error
    publisher.flush()
    return Published(sent, restamped)


def _published_ms(record: Record, read: Reading) -> int | None:
    """When a record's story says that it was published; None where it does not, or is broken: the consumer says so."""
    try:
        readings = read(record)
    except RecordError:
        return None
    return next((reading.published_ms for reading in readings if isinstance(reading, Story)), None)


def _is_acceptable(at: int, now: int, keeps_ms: int | None) -> bool:
    return at <= now + _AHEAD_MS and (keeps_ms is None or at > now - keeps_ms)
