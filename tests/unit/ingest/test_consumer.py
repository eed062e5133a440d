"""A consumer that cannot be made: what it says, and how soon. The broker is a socket that speaks four requests."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sentiment_monitor.errors import BrokerAway, FatalError
from sentiment_monitor.ingest.consumer import KafkaSource
from sentiment_monitor.ingest.publish import Publisher, ensure_topic

HANDSHAKE, API_VERSIONS, AUTHENTICATE = 17, 18, 36
UNSUPPORTED_VERSION, AUTHENTICATION_FAILED = 35, 58
KNOWN = {0: (0, 9), 1: (4, 11), 3: (0, 9), HANDSHAKE: (0, 1), API_VERSIONS: (0, 0), AUTHENTICATE: (0, 0)}


class Guard:
    """Lets nobody in. ``mechanism`` is the one that it offers; without one it hangs up at once."""

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism.encode()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                visitor = self._listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._talk, args=(visitor,), daemon=True).start()

    def _talk(self, visitor: socket.socket) -> None:
        with visitor, visitor.makefile("rb") as requests:
            while self._mechanism and (size := requests.read(4)):
                api, version, number = struct.unpack(">hhi", requests.read(struct.unpack(">i", size)[0])[:8])
                answer = struct.pack(">i", number) + self._answer(api, version)
                visitor.sendall(struct.pack(">i", len(answer)) + answer)

    def _answer(self, api: int, version: int) -> bytes:
        if api == API_VERSIONS:
            apis = b"".join(struct.pack(">hhh", key, *versions) for key, versions in KNOWN.items())
            return struct.pack(">hi", UNSUPPORTED_VERSION if version else 0, len(KNOWN)) + apis
        if api == HANDSHAKE:
            return struct.pack(">hih", 0, 1, len(self._mechanism)) + self._mechanism
        assert api == AUTHENTICATE
        reason = b"invalid credentials"
        return struct.pack(">hh", AUTHENTICATION_FAILED, len(reason)) + reason + struct.pack(">i", 0)


@pytest.fixture(params=["PLAIN", "SCRAM-SHA-512"])
def guard(request: pytest.FixtureRequest) -> Iterator[Guard]:
    one = Guard(request.param)
    yield one
    one.close()


def _options(address: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": [address],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "newsroom",
        "sasl_plain_password": "wrong-horse",
    }


def _source(address: str, **options: Any) -> KafkaSource:
    return KafkaSource({**_options(address), **options}, topics=["news"], group="g", positions=lambda starts: {})


def test_a_refused_password_ends_at_once_and_says_what_to_check(guard: Guard) -> None:
    started = time.monotonic()
    with pytest.raises(FatalError, match="authentication failed") as raised:
        _source(guard.address)
    assert time.monotonic() - started < 10
    assert raised.value.exit_code == 1
    for word in ("kafka.sasl_mechanism", "kafka.sasl_username", "MONITOR_KAFKA__SASL_PASSWORD"):
        assert word in str(raised.value)
    assert "wrong-horse" not in str(raised.value)


@pytest.mark.parametrize(
    "open_it", [lambda options: Publisher(options, "news"), lambda options: ensure_topic(options, "news", 2)]
)
def test_publishing_with_a_refused_password_ends_at_once_too(
    guard: Guard, open_it: Callable[[dict[str, Any]], object]
) -> None:
    started = time.monotonic()
    with pytest.raises(FatalError, match="authentication failed"):
        open_it(_options(guard.address))
    assert time.monotonic() - started < 10


def test_a_broker_that_hangs_up_is_waited_for() -> None:
    guard = Guard("")
    started = time.monotonic()
    with pytest.raises(BrokerAway, match="no Kafka broker answers"):
        _source(guard.address, bootstrap_timeout_ms=1_500)
    assert time.monotonic() - started > 1.4
    guard.close()


# The client's handshake keeps its socket until it is collected: nothing can take it away.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_a_tls_handshake_that_nobody_answers_is_a_broker_that_is_away(protocol: str) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    options = {
        "bootstrap_servers": [f"127.0.0.1:{silent.getsockname()[1]}"],
        "security_protocol": protocol,
        "bootstrap_timeout_ms": 1_000,
    }
    if protocol == "SASL_SSL":
        options |= {"sasl_mechanism": "PLAIN", "sasl_plain_username": "u", "sasl_plain_password": "p"}
    began = time.monotonic()
    with pytest.raises(BrokerAway, match="a port without TLS"):
        KafkaSource(options, topics=["news"], group="g", positions=lambda starts: {})
    assert time.monotonic() - began < 10
    silent.close()
