"""A member that has to join its group again, while every poll is shorter than a join."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from integration.harness import Apache
from sentiment_monitor.ingest.consumer import KafkaSource
from sentiment_monitor.ingest.embedded import CONSUMER_PROFILE, EmbeddedBroker
from sentiment_monitor.ingest.publish import ensure_topic


def test_a_join_that_outlasts_the_poll_that_began_it_is_finished(broker: EmbeddedBroker | Apache, name: str) -> None:
    """As when a topic gains partitions, or its first metadata come after the first join.

    The client then begins to join without noting that it must, and forgets the join once its leader's part is done.
    """
    options = {"bootstrap_servers": [broker.address]}
    ensure_topic(options, name, 2)
    source = _member(options, name)
    try:
        _poll(source, 50, lambda: set(source.lag()) == {(name, 0), (name, 1)})
        before = source.epoch((name, 0))
        # What the topics were like when their partitions were handed out.
        client: Any = source._consumer
        client._coordinator._assignment_snapshot = {}
        _poll(source, 1, lambda: source.epoch((name, 0)) not in (None, before))
    finally:
        source.close()


def test_a_service_stopped_in_the_midst_of_its_first_join_can_be_started_again(
    broker: EmbeddedBroker | Apache, name: str
) -> None:
    """The embedded broker answered nobody of that group any more."""
    options = {"bootstrap_servers": [broker.address]}
    ensure_topic(options, name, 2)
    first = _member(options, name)
    client: Any = first._consumer
    _poll(first, 10, lambda: client._coordinator._generation.has_member_id() or bool(first.lag()))
    first.close()
    second = _member(options, name)
    try:
        _poll(second, 50, lambda: set(second.lag()) == {(name, 0), (name, 1)}, seconds=40)
    finally:
        second.close()


def _member(options: dict[str, Any], name: str) -> KafkaSource:
    source = KafkaSource(
        options, topics=[name], group=name, positions=lambda starts: dict.fromkeys(starts, 0), **CONSUMER_PROFILE
    )
    assert source._connect(20) is not None
    return source


def _poll(source: KafkaSource, timeout_ms: int, done: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "the member never came back"
        source.poll(timeout_ms, hold=False)
