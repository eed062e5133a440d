"""What is said of topics that do not exist or may not be read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import errors as kafka_errors
from structlog.testing import capture_logs

from sentiment_monitor.errors import BrokerRefused
from sentiment_monitor.ingest import topics
from sentiment_monitor.ingest.topics import Topics


class Cluster:
    """What the client knows of a cluster."""

    def __init__(self) -> None:
        self.existing = {"news-wire", "orders"}
        self.unauthorized_topics: set[str] = set()

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {0} if topic in self.existing else None

    def set_topics(self, names: list[str]) -> None:
        self.tracked = names

    def topics(self) -> set[str]:
        return self.existing


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def consumer(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(topics, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(topics, "existing_topics", lambda client, timeout_ms: set(cluster.existing))
    return SimpleNamespace(_cluster=cluster, subscription=set)


def test_a_missing_topic_is_named_once_with_the_nearest_and_again_when_it_is_there(
    consumer: Any, cluster: Cluster
) -> None:
    chosen = Topics(["orders", "new-wire", "zzz"])
    with capture_logs() as logs:
        for _ in range(3):
            chosen.look(consumer)
        cluster.existing.add("zzz")
        for _ in range(3):
            chosen.look(consumer)
    assert [(line["event"], line["topic"], line.get("hint")) for line in logs] == [
        ("topic.missing", "new-wire", "is news-wire meant?"),
        ("topic.missing", "zzz", "it is waited for, and read once somebody has made it"),
        ("topic.found", "zzz", None),
    ]


def test_the_group_is_joined_once_one_of_the_topics_exists(consumer: Any, cluster: Cluster) -> None:
    joined: list[list[str]] = []
    consumer.subscribe = lambda names, listener: joined.append(names)
    chosen = Topics(["later", "zzz"])
    listener: Any = None
    assert [chosen.join(consumer, listener) for _ in range(2)] == [False, False]
    assert cluster.tracked == ["later", "zzz"], "or its coming would not be noticed"
    cluster.existing.add("later")
    assert [chosen.join(consumer, listener) for _ in range(2)] == [True, True]
    assert joined == [["later", "zzz"]]


def test_a_broker_that_cannot_be_asked_is_asked_again(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(client: object, timeout_ms: int) -> set[str]:
        raise kafka_errors.KafkaTimeoutError

    chosen = Topics(["zzz"])
    with capture_logs() as logs:
        monkeypatch.setattr(topics, "existing_topics", away)
        chosen.look(consumer)
        assert logs == []
        monkeypatch.setattr(topics, "existing_topics", lambda client, timeout_ms: set())
        chosen.look(consumer)
    assert [line["event"] for line in logs] == ["topic.missing"]


def test_a_topic_that_may_not_be_read_ends_the_process(consumer: Any, cluster: Cluster) -> None:
    cluster.unauthorized_topics = {"orders"}
    with pytest.raises(BrokerRefused, match="no right to read topic orders"):
        Topics(["orders"]).look(consumer)


def test_a_pattern_that_fits_nothing_yet_is_said_once(consumer: Any) -> None:
    chosen = Topics([], lambda topic: False)
    with capture_logs() as logs:
        for _ in range(3):
            chosen.look(consumer)
    assert [line["event"] for line in logs] == ["topic.missing"]
