"""What publish does with a topic that is not there, and with news from the day after tomorrow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from sentiment_monitor.errors import UsageError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.publish import Published, Publisher, Topic, ensure_topic, look_up, publish

if TYPE_CHECKING:
    from integration.harness import Apache
    from sentiment_monitor.ingest.embedded import EmbeddedBroker


@pytest.fixture
def options(broker: EmbeddedBroker | Apache) -> dict[str, Any]:
    return {"bootstrap_servers": [broker.address]}


def _topics(options: dict[str, Any]) -> set[str]:
    admin = KafkaAdminClient(**options)
    try:
        return set(admin.list_topics())
    finally:
        admin.close()


def test_a_topic_that_is_not_there_is_said_and_not_made(options: dict[str, Any], name: str) -> None:
    ensure_topic(options, name, 3)
    assert look_up(options, name).partitions == 3
    with pytest.raises(UsageError, match=f"there is no topic {name}s; is {name} meant\\? --create makes it"):
        look_up(options, f"{name}s")
    assert f"{name}s" not in _topics(options)


@pytest.mark.kafka
def test_news_from_the_day_after_tomorrow_keeps_no_other_from_being_sent(apache: Apache, name: str) -> None:
    options = {"bootstrap_servers": [apache.address]}
    ensure_topic(options, name, 1)
    now = time.time_ns() // 1_000_000
    rows = [{"headline": f"Story {n}", "published_at": now + (172_800_000 if n == 1 else -n)} for n in range(3)]
    publisher = Publisher(options, name)
    try:
        assert publish(publisher, iter(rows), Decoder().decode) == Published(3, restamped=1)
    finally:
        publisher.close()
    consumer = KafkaConsumer(**options)
    try:
        partition = TopicPartition(name, 0)
        assert consumer.end_offsets([partition]) == {partition: 3}
    finally:
        consumer.close()


@pytest.mark.kafka
def test_how_long_a_topic_keeps_records_is_known(apache: Apache, name: str) -> None:
    options = {"bootstrap_servers": [apache.address]}
    configured = {
        "week": {"retention.ms": "604800000"},
        "ever": {"retention.ms": "-1"},
        "keys": {"retention.ms": "604800000", "cleanup.policy": "compact"},
    }
    admin = KafkaAdminClient(**options)
    try:
        for what, configs in configured.items():
            admin.create_topics({f"{name}{what}": {"num_partitions": 2, "configs": configs}})
    finally:
        admin.close()
    known = {what: look_up(options, f"{name}{what}", wait_s=5) for what in configured}
    assert known == {"week": Topic(2, keeps_ms=7 * 86_400_000), "ever": Topic(2), "keys": Topic(2)}
