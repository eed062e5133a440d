"""kill -9 at any moment, then a restart: what SQL holds equals an uninterrupted run."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.harness import Apache, Feed, Monitor, Results, Service, assert_same, invent, send, service, until
from sentiment_monitor.ingest.embedded import EmbeddedBroker

STORIES = 5_000
PARTITIONS = 3
KILLS = 21
STARTUP_KILLS = 4  # besides: a process that may not have got its partitions yet
BROKER_CRASHES = (6, 13)  # before the kill of this number, Apache Kafka only


@dataclass(frozen=True)
class Oracle:
    topic: str
    feed: Feed
    contents: Mapping[str, Mapping[Any, Any]]


_oracles: dict[str, Oracle] = {}


@pytest.fixture
def oracle(broker: EmbeddedBroker | Apache, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """The topic, and what one uninterrupted process makes of it; once per broker."""
    kind = type(broker).__name__
    if kind not in _oracles:
        feed = invent(STORIES, seed=20260302)
        topic = f"news-{kind.lower()}"
        send(broker.address, topic, feed.messages, PARTITIONS)
        folder = tmp_path_factory.mktemp("oracle")
        url = f"sqlite:///{folder / 'oracle.sqlite'}"
        with service(folder, broker.address, topic, "uninterrupted", url) as undisturbed:
            undisturbed.drain(cold=True)
        with Results(url, "uninterrupted") as results:
            _oracles[kind] = Oracle(topic, feed, results.check())
    return _oracles[kind]


def test_the_uninterrupted_run_tells_what_was_sent(oracle: Oracle) -> None:
    contents, feed = oracle.contents, oracle.feed
    assert set(contents["stories"]) == feed.stories
    assert sorted(row[0]["raw_value"] for row in contents["dead_letters"].values()) == sorted(feed.broken)
    assert sum(contents["offsets"].values()) == len(feed.messages)
    assert len(contents["offsets"]) == PARTITIONS
    copies = {key: row for key, row in contents["stories"].items() if row["copy_of"]}
    crossing = [
        key
        for key, row in copies.items()
        if row["kafka_partition"] != contents["stories"][row["copy_of"]]["kafka_partition"]
    ]
    assert len(crossing) > 100
    assert any(row["deleted"] for row in contents["stories"].values())


@pytest.mark.timeout(900)  # twenty-one kills; on a machine with other work each costs several times what it costs alone
def test_sigkill_at_random_moments_loses_and_doubles_nothing(
    broker: EmbeddedBroker | Apache, oracle: Oracle, database_url: str, tmp_path: Path, name: str
) -> None:
    crashes = BROKER_CRASHES if isinstance(broker, Apache) else ()
    rng = random.Random(f"{type(broker).__name__} {database_url.partition(':')[0]}")
    with (
        service(tmp_path, broker.address, oracle.topic, name, database_url, kafka__max_poll_records="20") as killed,
        Results(database_url, name) as results,
    ):
        hit = _kill_often(killed, results, rng, broker, crashes)
        left = len(oracle.feed.messages) - results.position()
        killed.kill_all()
        killed.drain(cold=True, seconds=90)
        assert hit >= 20
        assert left > 0, "the kills came after the work was done"
        assert_same(results.check(), oracle.contents)


def _reached(results: Results, goal: int) -> bool:
    return results.position() >= goal


def _kill_often(
    killed: Service, results: Results, rng: random.Random, broker: EmbeddedBroker | Apache, crashes: tuple[int, ...]
) -> int:
    """Two replicas, one of which dies whenever a share of the work is stored. Returns how many held partitions."""
    hit = 0
    startup = set(rng.sample(range(KILLS), STARTUP_KILLS))
    replicas = [_slow(killed), _slow(killed)]
    for number in range(KILLS):
        goal = STORIES * (number + 1) // (KILLS + 3)
        until(functools.partial(_reached, results, goal), f"{goal} records stored", 60, pause=0.03)
        if number in crashes:
            assert isinstance(broker, Apache)
            broker.kill()
            time.sleep(rng.uniform(0, 0.5))
            broker.start()
        time.sleep(rng.uniform(0, 0.3))
        victim = until(lambda: _victim(replicas, rng), "a replica with partitions", 60)
        hit += victim.alive and victim.assigned
        victim.kill()
        assert victim.code == -9, repr(victim)
        replicas.remove(victim)
        if number in startup:
            unlucky = _slow(killed)
            time.sleep(rng.uniform(0, 0.8))
            unlucky.kill()
        replicas.append(_slow(killed))
    return hit


def _slow(killed: Service) -> Monitor:
    return killed.run(ms_per_story=2)


def _victim(replicas: list[Monitor], rng: random.Random) -> Monitor | None:
    for replica in replicas:
        assert replica.alive, repr(replica)
    holding = [replica for replica in replicas if replica.assigned]
    return rng.choice(holding) if holding else None
