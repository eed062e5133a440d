"""Rows of files onto a Kafka topic, as fast as it goes or in the rhythm of their timestamps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors
from kafka.admin import KafkaAdminClient

from sentiment_monitor.domain.news import Record
from sentiment_monitor.errors import BrokerAway, RecordError, UsageError
from sentiment_monitor.ingest.client import connection_error, strict_client
from sentiment_monitor.ingest.decode import FIELDS
from sentiment_monitor.ingest.instants import instant_ms

_LONGEST_SLEEP = 366 * 86_400.0  # seconds; the operating system refuses centuries


def map_row(row: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """The message for one row: ``mapping`` says which column fills which field, other columns keep their names."""
    for field, column in mapping.items():
        if column not in row:
            raise UsageError(f"--map {field}={column}: there is no column {column!r}; columns are {', '.join(row)}")
    used = set(mapping.values())
    message = {name: value for name, value in row.items() if name not in used or name in FIELDS}
    return message | {field: row[column] for field, column in mapping.items()}


def ensure_topic(client_options: Mapping[str, Any], topic: str, partitions: int) -> int:
    """Makes the topic with so many partitions unless it exists; returns how many it has."""
    try:
        admin = KafkaAdminClient(**client_options, kafka_client=strict_client)
    except kafka_errors.KafkaError as error:
        raise connection_error(error, client_options) from error
    try:
        try:
            admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": -1}})
            return partitions
        except kafka_errors.TopicAlreadyExistsError:
            return len(admin.describe_topics([topic])[0]["partitions"])
    except kafka_errors.KafkaError as error:
        raise BrokerAway(f"cannot make topic {topic}: {error}") from error
    finally:
        admin.close()


class Publisher:
    """Sends messages durably: acknowledged by every in-sync replica, in order per key, without duplicates."""

    def __init__(self, client_options: Mapping[str, Any], topic: str) -> None:
        self._topic = topic
        self._failed: list[BaseException] = []
        try:
            self._producer = KafkaProducer(
                **client_options,
                kafka_client=strict_client,
                acks="all",
                linger_ms=5,
                batch_size=256 * 1024,
                metrics_enabled=False,
            )
        except kafka_errors.KafkaError as error:
            raise connection_error(error, client_options) from error

    def send(self, message: Mapping[str, Any] | bytes, *, timestamp_ms: int | None = None) -> None:
        """Queues one message; bytes go as they are. Blocks while the client's buffer is full."""
        key = None
        value = message
        if not isinstance(message, bytes):
            identity = str(message.get("id") or message.get("url") or message.get("headline") or "")
            key = f"{message.get('source', '')}|{identity}".encode("utf-8", "replace")
            try:
                value = json.dumps(message, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
            except ValueError:
                raise UsageError(f"{identity!r:.60}: a number that is not finite cannot be sent as JSON") from None
        self._send(key, value, timestamp_ms=timestamp_ms)

    def send_again(self, record: Record) -> None:
        """Queues a record as it was: key, bytes and time, and its partition where the topic still has so many."""
        partition = record.position.partition
        try:
            known = self._producer.partitions_for(self._topic) or ()
        except kafka_errors.KafkaError as error:
            raise BrokerAway(f"cannot send to {self._topic}: {error}") from error
        place = partition if partition in known else None
        self._send(record.key, record.value, partition=place, timestamp_ms=record.timestamp_ms)

    def _send(self, key: bytes | None, value: Any, **place: int | None) -> None:
        try:
            self._producer.send(self._topic, key=key, value=value, **place).add_errback(self._failed.append)
        except kafka_errors.MessageSizeTooLargeError as error:
            raise UsageError(f"{len(value):,} bytes are too large a message: {error}") from error
        except kafka_errors.KafkaError as error:
            raise BrokerAway(f"cannot send to {self._topic}: {error}") from error
        self._raise_failed()

    def flush(self) -> None:
        """Returns when the broker has acknowledged everything sent so far."""
        try:
            self._producer.flush(timeout=120)
        except kafka_errors.KafkaError as error:
            raise BrokerAway(f"the broker did not acknowledge: {error}") from error
        self._raise_failed()

    def _raise_failed(self) -> None:
        if self._failed:
            raise BrokerAway(f"{len(self._failed)} messages were not acknowledged: {self._failed[0]}")

    def close(self) -> None:
        """Closes the connection without waiting for what was not flushed."""
        self._producer.close(timeout=5)


def publish_again(client_options: Mapping[str, Any], records: Sequence[Record]) -> None:
    """Sends records once more, in their order; returns when the broker has acknowledged all. Raises BrokerAway."""
    for topic in dict.fromkeys(record.position.topic for record in records):
        publisher = Publisher(client_options, topic)
        try:
            for record in records:
                if record.position.topic == topic:
                    publisher.send_again(record)
            publisher.flush()
        finally:
            publisher.close()


def publish(
    publisher: Publisher,
    rows: Iterator[dict[str, Any]],
    *,
    speed: float | None = None,
    progress: Callable[[int], None] = lambda count: None,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> int:
    """Sends every message and returns how many.

    ``speed`` replays in the rhythm of ``published_at``, so many times real time; None sends without waiting.
    Records bear their story's time, so that a feed without ``published_at`` and its replay agree. Raises UsageError for
    a row that cannot be sent; those before it were.
    """
    sent = 0
    first: tuple[float, int] | None = None
    try:
        for message in rows:
            try:
                at = instant_ms(message.get("published_at"), -1)
            except RecordError:
                at = -1  # sent all the same: saying what is wrong with a record is the consumer's work
            if speed and at > 0:
                first = first or (monotonic(), at)
                ahead = (at - first[1]) / 1000 / speed - (monotonic() - first[0])
                if ahead > 0:
                    publisher.flush()
                    sleep(min(ahead, _LONGEST_SLEEP))
            publisher.send(message, timestamp_ms=at if at > 0 else None)
            sent += 1
            progress(sent)
    except UsageError as error:
        publisher.flush()
        raise UsageError(f"{error}; the {sent:,} records before it were published") from error
    publisher.flush()
    return sent
