"""Brokers for the integration suite."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.harness import Apache

if TYPE_CHECKING:
    from sentiment_monitor.ingest.embedded import EmbeddedBroker


@pytest.fixture(scope="session")
def apache(kafka_script: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apache]:
    """One node of Apache Kafka for the whole run, short sessions allowed. Who kills it starts it again."""
    one = Apache(kafka_script, tmp_path_factory.mktemp("kafka") / "node")
    yield one
    one.stop()


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> EmbeddedBroker | Apache:
    """A broker with an ``address``, once the embedded one and once Apache Kafka."""
    one: EmbeddedBroker | Apache = request.getfixturevalue("apache" if request.param == "apache" else "embedded_broker")
    return one


@pytest.fixture(params=["embedded-postgresql", pytest.param("apache-sqlite", marks=pytest.mark.kafka)])
def broker_and_database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[EmbeddedBroker | Apache, str]:
    """A broker and the URL of an empty database: two pairs, so that each kind is met once."""
    if request.param == "apache-sqlite":
        return request.getfixturevalue("apache"), f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    return request.getfixturevalue("embedded_broker"), request.getfixturevalue("postgres_url")


@pytest.fixture
def name() -> str:
    """A topic and group name that nobody else has."""
    return f"t{uuid.uuid4().hex[:10]}"
