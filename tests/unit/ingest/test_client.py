"""kafka-python tamed: whom it asks when every broker that it knows is gone, and with which password."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.net.selector import NetworkSelector
from kafka.protocol.metadata import MetadataResponse

from sentiment_monitor.errors import SettingsError
from sentiment_monitor.ingest import client
from sentiment_monitor.ingest.reach import Reach


@pytest.fixture
def connections() -> Any:
    net = NetworkSelector()
    passwords = iter(["old-horse", "new-horse"])
    connections = client._Connections(
        Reach(), net, bootstrap_servers=["broker.example:9092"], sasl_plain_password=lambda: next(passwords)
    )
    connections.cluster._brokers = {7: MetadataResponse.MetadataResponseBroker(7, "10.0.0.7", 9092, None)}
    yield connections
    net.close()


def test_the_configured_brokers_are_asked_again_once_those_that_are_known_fail(connections: Any) -> None:
    """All of a cluster's brokers may have moved to other addresses: their names are looked up anew."""
    assert {connections.least_loaded_node() for _ in range(20)} == {7}
    connections.update_backoff(7)
    assert connections.least_loaded_node() == "bootstrap-0"
    connections._backoff[7] = (1, 0.0, 10_000)  # its pause is over
    assert {connections.least_loaded_node() for _ in range(200)} == {7, "bootstrap-0"}
    connections.reset_backoff(7)
    assert {connections.least_loaded_node() for _ in range(20)} == {7}


def test_without_anybody_to_ask_nobody_is_asked(connections: Any) -> None:
    for node in (7, "bootstrap-0"):
        connections.update_backoff(node)
    assert connections.least_loaded_node() is None


def test_each_connection_reads_the_password_anew(connections: Any) -> None:
    passwords = [connections.get_connection(node).config["sasl_plain_password"] for node in (7, 7, "bootstrap-0")]
    assert passwords == ["old-horse", "old-horse", "new-horse"]


def test_what_comes_together_with_the_end_of_a_connection_is_heard() -> None:
    """A refusal: the client threw it away, and the broker seemed to have hung up."""
    end = ConnectionError("hung up")
    received = [(b"why", end), (b"", end)]
    transport = SimpleNamespace(_sock_recv=lambda: received.pop(0))
    receive = client._last_words(transport)._sock_recv
    assert [receive(), receive()] == [(b"why", None), (b"", end)]


def test_a_file_that_is_not_there_is_a_wrong_setting_and_no_broker_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TLS cannot be set up with .*gone.pem: .*No such file"):
        client.client_arguments({"security_protocol": "SSL", "ssl_cafile": str(tmp_path / "gone.pem")})


def test_a_file_that_holds_no_certificate_is_one_too(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(SettingsError, match="TLS cannot be set up"):
        client.client_arguments({"security_protocol": "SASL_SSL", "ssl_cafile": str(file)})


def test_kerberos_without_its_package_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="the package gssapi is not installed"):
        client.client_arguments({"security_protocol": "SASL_SSL", "sasl_mechanism": "GSSAPI"})
