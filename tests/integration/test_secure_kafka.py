"""Apache Kafka over TLS with SCRAM-SHA-512 and OAUTHBEARER; logins that end while we read."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, UserScramCredentialUpsertion
from structlog.testing import capture_logs

from integration.harness import Apache, Monitor, Results, invent, service
from sentiment_monitor.domain.logins import ClientCredentials
from sentiment_monitor.errors import BrokerRefused
from sentiment_monitor.ingest.consumer import KafkaSource
from sentiment_monitor.ingest.embedded import free_port
from sentiment_monitor.ingest.publish import ensure_topic
from token_server import TokenServer

pytestmark = pytest.mark.kafka

USER, PASSWORD = "newsroom", "correct-horse"
# A login ends after three seconds and is asked for again on the same connection.
LISTENER = """\
sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.sasl_ssl.oauthbearer.connections.max.reauth.ms=3000
listener.name.sasl_ssl.scram-sha-512.connections.max.reauth.ms=3000
"""


@pytest.fixture(scope="module")
def secure(kafka_script: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apache]:
    folder = tmp_path_factory.mktemp("secure") / "node"
    node = Apache(kafka_script, folder, secure=f"{USER}:{PASSWORD}", properties=LISTENER)
    yield node
    node.stop()


def _settings(node: Apache, password: str = PASSWORD) -> dict[str, Any]:
    return {
        "kafka__security_protocol": "SASL_SSL",
        "kafka__sasl_mechanism": "SCRAM-SHA-512",
        "kafka__sasl_username": USER,
        "kafka__sasl_password": password,
        "kafka__ssl_cafile": str(node.folder / "tls" / "ca.pem"),
        # This node keeps the broker's own floor.
        "kafka__session_timeout_ms": "6000",
    }


def _publish(node: Apache, topic: str, file: Path, **settings: str) -> Monitor:
    return Monitor(
        file.with_suffix(f".{len(settings)}.log"),
        *("publish", str(file), "--bootstrap", node.address, "--topic", topic, "--create"),
        settings={f"MONITOR_{key.upper()}": value for key, value in settings.items()},
    )


def test_publishes_and_consumes_over_tls_with_scram(secure: Apache, tmp_path: Path, name: str) -> None:
    feed = invent(500, seed=11, broken=0)
    file = tmp_path / "news.jsonl"
    file.write_bytes(b"\n".join(message.value or b"" for message in feed.messages))
    publisher = _publish(secure, name, file, **_settings(secure))
    assert publisher.wait(60) == 0, repr(publisher)
    assert "500 records published" in publisher.text()
    url = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    with service(tmp_path, secure.address, name, name, url, **_settings(secure)) as replicas:
        replicas.drain()
        assert PASSWORD not in "".join(monitor.text() for monitor in replicas.started)
    with Results(url, name) as results:
        contents = results.check()
    assert set(contents["stories"]) == feed.stories
    assert sum(contents["offsets"].values()) == 500


def test_refusals_are_clear_errors_and_end_the_process(secure: Apache, tmp_path: Path, name: str) -> None:
    good, wrong = _settings(secure), _settings(secure, password="wrong-horse")
    stranger = {key: value for key, value in good.items() if key != "kafka__ssl_cafile"}  # the machine's own CAs
    file = tmp_path / "news.jsonl"
    file.write_bytes(invent(5, seed=1, broken=0).messages[0].value or b"")
    with service(tmp_path, secure.address, name, name, f"sqlite:///{tmp_path / 'monitor.sqlite'}") as replicas:
        password = replicas.run(**wrong)
        authority = replicas.run(**stranger)
        publisher = _publish(secure, name, file, **wrong)
        # The service waits where the broker hangs up together with its refusal, as Apache Kafka does at times, and
        # hears it at the next attempt. The publisher ends: 4, the broker is away.
        assert [password.wait(60), authority.wait(60)] == [1, 1]
        assert publisher.wait(60) in {1, 4}
        for one in (password, authority, publisher):
            assert "Traceback" not in one.text(), repr(one)
            assert "-horse" not in one.text()
            assert one.text().strip().splitlines()[-1].startswith("monitor: "), repr(one)
        assert "authentication failed" in password.text()
        assert "is not who it should be" in authority.text()


# -- logins that end while we read ----------------------------------------------------------------------------------


def _tls(node: Apache) -> dict[str, Any]:
    return {
        "bootstrap_servers": [node.address],
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(node.folder / "tls" / "ca.pem"),
    }


def _scram(node: Apache, user: str, password: str | Callable[[], str]) -> dict[str, Any]:
    login = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": user, "sasl_plain_password": password}
    return _tls(node) | login


def _oauth(node: Apache, server: TokenServer) -> dict[str, Any]:
    login = ClientCredentials(server.url, "newsroom", lambda: "correct-horse")
    return _tls(node) | {"sasl_mechanism": "OAUTHBEARER", "token_login": login}


@contextmanager
def _reading(options: dict[str, Any], topic: str) -> Iterator[tuple[KafkaSource, list[bytes | None]]]:
    source = KafkaSource(
        options,
        topics=[topic],
        group=topic,
        positions=lambda starts: dict.fromkeys(starts, 0),
        session_timeout_ms=6_000,
        heartbeat_interval_ms=500,
    )
    try:
        yield source, []
    finally:
        source.close()


def _poll(source: KafkaSource, values: list[bytes | None], true: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"it did not happen: {values}, {source.away}"
        values += [record.value for fetched in source.poll(50, hold=False) for record in fetched.records]


@pytest.fixture
def put(secure: Apache, name: str) -> Iterator[Callable[[str], None]]:
    options = _scram(secure, USER, PASSWORD)
    ensure_topic(options, name, 1)
    producer = KafkaProducer(**options, acks="all", metrics_enabled=False)

    def send(value: str) -> None:
        producer.send(name, partition=0, value=value.encode()).get(timeout=20)

    yield send
    producer.close(timeout=5)


def _unsigned(seconds: int) -> str:
    """A token that this broker believes, of so many seconds."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": "newsroom", "iat": min(now, now + seconds - 1), "exp": now + seconds})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


@pytest.fixture
def _unsecured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # a token server without certificates


@pytest.mark.usefixtures("_unsecured")
def test_a_token_is_fetched_and_renewed_while_we_read(secure: Apache, name: str, put: Callable[[str], None]) -> None:
    server = TokenServer(token=lambda number: _unsigned(60), seconds=4)
    put("first")
    with capture_logs() as logs, _reading(_oauth(secure, server), name) as (source, values):
        _poll(source, values, lambda: values == [b"first"])
        began = time.monotonic()
        _poll(source, values, lambda: time.monotonic() - began > 6)  # longer than token and login
        put("second")
        # Nobody stores here: if the session was lost on the way, what was read before comes again.
        _poll(source, values, lambda: values[-1] == b"second")
    assert 2 <= len(server.asked) <= 8, "renewed by what the token server says of its life"
    assert not [line for line in logs if line["event"] in ("broker.refuses", "token.not_renewed")]
    server.close()


@pytest.mark.usefixtures("_unsecured")
def test_a_token_server_that_is_away_is_waited_out(secure: Apache, name: str, put: Callable[[str], None]) -> None:
    port = free_port()
    away = TokenServer(port)
    away.close()
    put("first")
    with capture_logs() as logs, _reading(_oauth(secure, away), name) as (source, values):
        _poll(source, values, lambda: source.away)
        assert "does not answer" in (source.away or "")
        back = TokenServer(port, token=lambda number: _unsigned(60))
        _poll(source, values, lambda: values == [b"first"])
        back.close()
    assert [line["event"] for line in logs].count("broker.away") == 1


@pytest.mark.usefixtures("_unsecured")
def test_a_token_that_the_broker_refuses_ends_the_process(secure: Apache, name: str) -> None:
    server = TokenServer(token=lambda number: _unsigned(-60))
    refused = pytest.raises(BrokerRefused, match="authentication failed")
    with _reading(_oauth(secure, server), name) as (source, values), refused:
        _poll(source, values, lambda: values)
    server.close()


def test_a_password_that_is_rotated_while_we_read_is_taken_from_its_file(
    secure: Apache, tmp_path: Path, name: str, put: Callable[[str], None]
) -> None:
    file = tmp_path / "password"
    file.write_text("old-horse")
    admin = KafkaAdminClient(**_scram(secure, USER, PASSWORD))
    _set_password(admin, name, "old-horse")
    put("first")
    with capture_logs() as logs, _reading(_scram(secure, name, file.read_text), name) as (source, values):
        _poll(source, values, lambda: values == [b"first"])
        _set_password(admin, name, "new-horse")
        _poll(source, values, lambda: any(line["event"] == "broker.refuses" for line in logs))
        file.write_text("new-horse")
        put("second")
        _poll(source, values, lambda: values[-1:] == [b"second"])
        _poll(source, values, lambda: any(line["event"] == "broker.back" for line in logs))
    admin.close()


def _set_password(admin: KafkaAdminClient, user: str, password: str) -> None:
    errors = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, "SCRAM-SHA-512", password)])
    assert errors == {user: None}
