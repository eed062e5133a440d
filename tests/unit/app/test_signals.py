"""Signals: what drains, what ends at once, and what a service that is still being built leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from sentiment_monitor.app.service import Service
from sentiment_monitor.app.signals import Signals


class Recorder:
    """A service that only notes what it is told."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def stop(self) -> None:
        self.called.append("stop")

    def abort(self) -> None:
        self.called.append("abort")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def _await(true: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.02)


def test_the_first_signal_drains_and_the_second_aborts(recorder: Recorder) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    with Signals(cast(Service, recorder)):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        _await(lambda: len(recorder.called) == 2)
    assert recorder.called == ["stop", "abort"]
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_drain_that_takes_too_long_is_aborted(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiment_monitor.app.signals.DRAIN_SECONDS", 0.05)
    with Signals(cast(Service, recorder)):
        os.kill(os.getpid(), signal.SIGTERM)
        _await(lambda: recorder.called == ["stop", "abort"])


def test_a_signal_before_there_is_a_service_ends_the_block_and_undoes_what_was_begun(recorder: Recorder) -> None:
    undone = []
    with Signals() as signals:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
            signals.attend(cast(Service, recorder))
        finally:
            undone.append(True)
    assert (undone, recorder.called) == ([True], [])


def test_a_signal_that_what_was_being_built_has_swallowed_stops_the_service(recorder: Recorder) -> None:
    with Signals() as signals:
        with suppress(BaseException):  # as a call from C code does it
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        signals.attend(cast(Service, recorder))
    assert set(recorder.called) == {"stop"}


HOLDING_ON = """
import time, types
from sentiment_monitor.app import signals
signals.ABORT_SECONDS = 0.3
with signals.Signals(types.SimpleNamespace(stop=lambda: None, abort=lambda: None)):
    print("ready", flush=True)
    while True:
        time.sleep(60)
"""


def test_after_the_second_signal_the_process_ends_whatever_holds_on() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDING_ON], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1


# -- processes --------------------------------------------------------------------------------------


class Process:
    """``monitor run`` from nothing, in a folder of its own."""

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        self._log = folder / "log"
        environment = {
            "MONITOR_LOG__FORMAT": "json",
            "MONITOR_WEB__PORT": "0",
            "MONITOR_DATABASE__URL": f"sqlite:///{folder / 'a.sqlite'}",
            "MONITOR_CLASSIFIER__CACHE_DIR": str(folder / "cache"),
            **settings,
        }
        with self._log.open("wb") as out:
            self.popen = subprocess.Popen(
                [sys.executable, "-c", "from sentiment_monitor.cli import main; main()", "run", *options],
                cwd=folder,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()]

    def __repr__(self) -> str:
        return f"exit {self.popen.poll()}, log: {self._log.read_text()[-2000:]}"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*options: str, **settings: str) -> Process:
        started.append(Process(tmp_path, *options, **settings))
        return started[-1]

    yield begin
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_builder_of_an_engine_ends_with_the_process_and_leaves_nothing(
    start: Callable[..., Process], tmp_path: Path, number: signal.Signals
) -> None:
    process = start("--roles", "ingest", "--classifier", "bundled", MONITOR_CLASSIFIER__ENGINE="openvino")
    _await(lambda: list(tmp_path.glob("cache/openvino/.build-*/out")), 120)
    (builder,) = process.children()
    process.popen.send_signal(number)
    assert process.popen.wait(20) == (0 if number == signal.SIGTERM else -signal.SIGKILL), repr(process)
    _await(lambda: not Path(f"/proc/{builder}/stat").exists() or " Z " in Path(f"/proc/{builder}/stat").read_text())
    _await(lambda: list(tmp_path.glob("cache/openvino/.build-*")) == [])


def test_a_process_that_waits_for_its_broker_ends_at_once_when_asked(start: Callable[..., Process]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(60)
        process = start(
            "--roles", "ingest", "--classifier", "stub", "--bootstrap", f"127.0.0.1:{silent.getsockname()[1]}"
        )
        connection, _ = silent.accept()
        with connection:
            process.popen.send_signal(signal.SIGTERM)
            assert process.popen.wait(10) == 0, repr(process)


def test_a_hangup_says_that_it_does_nothing_and_does_nothing(start: Callable[..., Process]) -> None:
    process = start("--roles", "web")
    _await(lambda: process.events("monitor.ready"), 60)
    process.popen.send_signal(signal.SIGHUP)
    _await(lambda: process.events("signal.ignored"))
    assert process.popen.poll() is None
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(20) == 0, repr(process)
