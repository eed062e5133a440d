"""Apache Kafka with SCRAM-SHA-512 over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.harness import Apache, Monitor, Results, invent, service

pytestmark = pytest.mark.kafka

USER, PASSWORD = "newsroom", "correct-horse"


@pytest.fixture(scope="module")
def secure(kafka_script: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apache]:
    node = Apache(kafka_script, tmp_path_factory.mktemp("secure") / "node", secure=f"{USER}:{PASSWORD}")
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
        refused = (password, authority, publisher)
        # 4: the broker is away. A certificate that does not verify looks like a broker that hung up; so does a refusal
        # when the broker hangs up with the same bytes, which Apache Kafka does at times.
        codes = [one.wait(60) for one in refused]
        assert codes[1] == 4
        assert {codes[0], codes[2]} <= {1, 4}
        for one in refused:
            assert "Traceback" not in one.text(), repr(one)
            assert "-horse" not in one.text()
            assert one.text().strip().splitlines()[-1].startswith("monitor: "), repr(one)
        for code, one in zip(codes, refused, strict=True):
            said = "authentication failed" if code == 1 else "wrong user, password or certificate authority"
            assert said in one.text(), repr(one)
        assert "certificate verify failed" in authority.text()
