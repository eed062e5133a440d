"""A consumer that cannot be made: what it says, and how soon. The broker is a socket that speaks four requests."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from sentiment_monitor.errors import FatalError
from sentiment_monitor.ingest.consumer import KafkaSource
from sentiment_monitor.ingest.publish import Publisher, ensure_topic

HANDSHAKE, API_VERSIONS, AUTHENTICATE = 17, 18, 36
UNSUPPORTED_VERSION, AUTHENTICATION_FAILED = 35, 58
KNOWN = {0: (0, 9), 1: (4, 11), 3: (0, 9), HANDSHAKE: (0, 1), API_VERSIONS: (0, 0), AUTHENTICATE: (0, 0)}


class Guard:
    """Lets nobody in. ``mechanism`` is the one that it offers; without one it hangs up at once.

    When ``hasty``, it hangs up together with its refusal.
    """

    def __init__(self, mechanism: str, *, hasty: bool = False) -> None:
        self._hasty = hasty
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
                if api == AUTHENTICATE and self._hasty:
                    return

    def _answer(self, api: int, version: int) -> bytes:
        if api == API_VERSIONS:
            apis = b"".join(struct.pack(">hhh", key, *versions) for key, versions in KNOWN.items())
            return struct.pack(">hi", UNSUPPORTED_VERSION if version else 0, len(KNOWN)) + apis
        if api == HANDSHAKE:
            return struct.pack(">hih", 0, 1, len(self._mechanism)) + self._mechanism
        assert api == AUTHENTICATE
        reason = b"invalid credentials"
        return struct.pack(">hh", AUTHENTICATION_FAILED, len(reason)) + reason + struct.pack(">i", 0)


@pytest.fixture(params=[("PLAIN", False), ("SCRAM-SHA-512", False), ("PLAIN", True)])
def guard(request: pytest.FixtureRequest) -> Iterator[Guard]:
    mechanism, hasty = request.param
    one = Guard(mechanism, hasty=hasty)
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


@contextmanager
def _source(address: str, **options: Any) -> Iterator[KafkaSource]:
    source = KafkaSource({**_options(address), **options}, topics=["news"], group="g", positions=lambda starts: {})
    yield source
    source.close()


def test_a_refused_password_ends_at_once_and_says_what_to_check(guard: Guard) -> None:
    started = time.monotonic()
    with _source(guard.address) as source, pytest.raises(FatalError, match="authentication failed") as raised:
        source.poll(10_000, hold=False)
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


def _away(source: KafkaSource) -> str:
    deadline = time.monotonic() + 20
    while source.away is None:
        assert time.monotonic() < deadline, "the outage was not noticed"
        assert source.poll(50, hold=False) == []
    return source.away


def test_a_broker_that_hangs_up_is_waited_for_and_said_once() -> None:
    guard = Guard("")
    with capture_logs() as logs, _source(guard.address, bootstrap_timeout_ms=300) as source:
        assert guard.address in _away(source)
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            assert source.poll(100, hold=False) == []
        assert not source.lag()
        assert not source.caught_up()
    (line,) = logs
    assert (line["event"], line["address"], line["log_level"]) == ("broker.away", guard.address, "warning")
    assert "a port without TLS" in line["error"]
    guard.close()


def test_a_host_name_that_nobody_knows_is_waited_for_too() -> None:
    options = {"bootstrap_timeout_ms": 300, "security_protocol": "PLAINTEXT"}
    with capture_logs() as logs, _source("broker.invalid:9092", **options) as source:
        assert "DNS" in _away(source)
    assert [line["event"] for line in logs] == ["broker.away"]


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_a_tls_handshake_that_nobody_answers_is_a_broker_that_is_away(protocol: str) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    options: dict[str, Any] = {"security_protocol": protocol, "bootstrap_timeout_ms": 1_000}
    if protocol == "SSL":
        options |= {"sasl_mechanism": None, "sasl_plain_username": None, "sasl_plain_password": None}
    address = f"127.0.0.1:{silent.getsockname()[1]}"
    with capture_logs() as logs, _source(address, **options) as source:
        _away(source)
    assert "a port without TLS" in logs[0]["error"]
    silent.close()
