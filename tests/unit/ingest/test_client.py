"""kafka-python tamed: whom it asks when every broker that it knows is gone, and with which password."""

from __future__ import annotations

import gc
import importlib.util
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import errors as kafka_errors
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


def hang_up(connection: socket.socket) -> None:
    connection.close()


def answer_in_plain(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    connection.close()


@contextmanager
def listener(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """The port of a listener that gives this answer, whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as held:

        def answer_all() -> None:
            with suppress(OSError):  # closed: the end
                while True:
                    answer(held.enter_context(server.accept()[0]))

        thread = threading.Thread(target=answer_all)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def nothing() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield port


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
@pytest.mark.parametrize(
    "broker", [partial(listener, hang_up), partial(listener, answer_in_plain), partial(listener, id), nothing]
)
def test_a_connection_that_fails_leaves_no_socket_open(
    protocol: str, broker: Callable[[], AbstractContextManager[int]]
) -> None:
    """kafka-python leaves each to the garbage collector: a broker that is away for long would cost descriptors."""
    gc.collect()
    with broker() as port, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        options = {"bootstrap_servers": [f"127.0.0.1:{port}"], "security_protocol": protocol}
        with pytest.raises(kafka_errors.KafkaTimeoutError):
            client.Consumer(**client.client_arguments({**options, "bootstrap_timeout_ms": 400}))
        gc.collect()
    assert not [str(warning.message) for warning in caught]
