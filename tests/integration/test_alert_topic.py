"""Alerts on a real Kafka topic: the embedded broker, and Apache Kafka where it lies beside the checkout."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer

from integration.harness import Apache
from mail_server import free_port
from receiver import alert, notification
from sentiment_monitor.domain.alerts import Notification
from sentiment_monitor.domain.payload import encode, group
from sentiment_monitor.ingest.embedded import EmbeddedBroker
from sentiment_monitor.ingest.publish import ensure_topic, patient_producer
from sentiment_monitor.notify.contract import DeliveryLater, NotifyRejected
from sentiment_monitor.notify.kafka import KafkaNotifier

NOW_MS = 1_678_468_900_000


@pytest.fixture(params=["embedded", "apache"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "embedded":
        broker: EmbeddedBroker = request.getfixturevalue("embedded_broker")
        yield broker.address
        return
    node = Apache(request.getfixturevalue("kafka_script"), request.getfixturevalue("tmp_path") / "kafka")
    node.start()
    try:
        yield node.address
    finally:
        node.kill()


def _notifier(address: str, topic: str, *, timeout_s: float = 20.0) -> KafkaNotifier:
    options = {"bootstrap_servers": [address]}
    return KafkaNotifier(
        lambda seconds: patient_producer(options, seconds), topic, access=lambda: address, timeout_s=timeout_s
    )


def _records(address: str, topic: str, count: int) -> list[tuple[bytes, bytes, dict[str, bytes]]]:
    """All records of a topic, of which so many are awaited: key, value, headers."""
    consumer = KafkaConsumer(topic, bootstrap_servers=[address], auto_offset_reset="earliest", group_id=None)
    try:
        records: list[tuple[bytes, bytes, dict[str, bytes]]] = []
        deadline = time.monotonic() + 20
        while len(records) < count and time.monotonic() < deadline:
            for batch in consumer.poll(timeout_ms=500).values():
                records += [(record.key, record.value, dict(record.headers)) for record in batch]
        return records
    finally:
        consumer.close()


def test_a_notification_is_a_record_under_its_group_with_its_key(address: str) -> None:
    ensure_topic({"bootstrap_servers": [address]}, "alerts", 3)
    notifier = _notifier(address, "alerts")
    notifier.send(notification(), NOW_MS)
    notifier.send(notification(resolved=True), NOW_MS)
    notifier.close()
    fired, over = _records(address, "alerts", 2)
    assert fired[0] == over[0] == b'{}:{alertname="company-day", series="ticker:ACME"}'
    assert fired[1] == notification().body
    assert json.loads(over[1])["status"] == "resolved"
    assert fired[2] == {
        "idempotency-key": notification().key.encode(), "receiver": b"desk", "content-type": b"application/json",
    }  # fmt: skip


def test_a_record_that_is_too_large_is_rejected_and_the_next_is_taken(address: str) -> None:
    ensure_topic({"bootstrap_servers": [address]}, "large", 1)
    notifier = _notifier(address, "large")
    body = encode(group("desk", [alert() for _ in range(2_000)]))
    with pytest.raises(NotifyRejected, match="too_large"):
        notifier.send(Notification("key", "desk", "topic", "title", "text", body), NOW_MS)
    notifier.send(notification(), NOW_MS)
    notifier.close()
    assert len(_records(address, "large", 1)) == 1


def test_no_broker_is_tried_again_later_within_the_timeout() -> None:
    notifier = _notifier(f"127.0.0.1:{free_port()}", "alerts", timeout_s=1.0)
    began = time.monotonic()
    with pytest.raises(DeliveryLater):
        notifier.send(notification(), NOW_MS)
    assert time.monotonic() - began < 5
    notifier.close()
    threads = [thread.name for thread in threading.enumerate() if "kafka" in thread.name.lower()]
    assert not threads, threads


def test_a_broker_that_ends_and_comes_back_is_sent_what_is_due_then(tmp_path: Path, kafka_script: Path) -> None:
    node = Apache(kafka_script, tmp_path / "kafka")
    node.start()
    try:
        ensure_topic({"bootstrap_servers": [node.address]}, "alerts", 1)
        notifier = _notifier(node.address, "alerts", timeout_s=5.0)
        notifier.send(notification(), NOW_MS)
        node.kill()
        with pytest.raises(DeliveryLater):
            notifier.send(notification(resolved=True), NOW_MS)
        node.start()
        deadline = time.monotonic() + 60
        while True:
            try:
                notifier.send(notification(resolved=True), NOW_MS)
                break
            except DeliveryLater:
                assert time.monotonic() < deadline
        notifier.close()
        records = _records(node.address, "alerts", 2)
        assert [json.loads(value)["status"] for _, value, _ in records] == ["firing", "resolved"]
    finally:
        node.kill()
