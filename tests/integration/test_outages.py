"""Brokers and databases that go away, processes that are asked to stop, floods: nothing lost, nothing doubled."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from integration.harness import Apache, Message, Results, Service, assert_same, invent, send, service, until
from sentiment_monitor.ingest.embedded import EmbeddedBroker

Broker = EmbeddedBroker | Apache


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'monitor.sqlite'}"


def _assert_like_undisturbed(disturbed: Service, tmp_path: Path) -> None:
    """What SQL holds is what another group makes of the same topic in one go."""
    url = f"sqlite:///{tmp_path / 'oracle.sqlite'}"
    with service(tmp_path, disturbed.bootstrap, disturbed.topic, f"{disturbed.group}-oracle", url) as undisturbed:
        undisturbed.drain()
        with Results(url, undisturbed.group) as expected, Results(disturbed.database, disturbed.group) as results:
            assert_same(results.check(), expected.check())


# -- the broker ---------------------------------------------------------------------------------------------------


@pytest.mark.kafka
def test_broker_crash_is_waited_for(apache: Apache, sqlite_url: str, tmp_path: Path, name: str) -> None:
    feed = invent(1_000, seed=21)
    send(apache.address, name, feed.messages[:500])
    with service(tmp_path, apache.address, name, name, sqlite_url) as replicas, Results(sqlite_url, name) as results:
        monitor = replicas.run(ms_per_story=5)
        until(lambda: results.position() > 100, "it at work")
        apache.kill()
        try:
            until(lambda: results.position() == 500 or monitor.events("broker.away"), "the crash to be noticed", 20)
            time.sleep(2)
            assert monitor.alive, repr(monitor)
        finally:
            apache.start()
        send(apache.address, name, feed.messages[500:])
        until(lambda: results.position() == 1_000, "it to go on by itself", 40, of=monitor)
        monitor.signal(signal.SIGTERM)
        assert monitor.wait(15) == 0, repr(monitor)
        _assert_like_undisturbed(replicas, tmp_path)


def test_topic_made_after_the_start_is_consumed(
    embedded_broker: EmbeddedBroker, sqlite_url: str, tmp_path: Path, name: str
) -> None:
    with service(tmp_path, embedded_broker.address, name, name, sqlite_url) as replicas:
        monitor = replicas.run()
        monitor.await_event("monitor.ready")
        time.sleep(2)
        send(embedded_broker.address, name, invent(50, seed=22).messages)
        with Results(sqlite_url, name) as results:
            until(lambda: results.position() == 50, "the new topic to be read", 20, of=monitor)


def test_topic_that_was_remade_stops_the_process_with_the_remedy(
    broker: Broker, sqlite_url: str, tmp_path: Path, name: str
) -> None:
    before, after = invent(300, seed=31, broken=0), invent(60, seed=32, broken=0)
    if isinstance(broker, Apache):
        address = broker.address
        mine = None
    else:
        mine = EmbeddedBroker()  # forgets its topics when it stops
        mine.start()
        address = mine.address

    def remake() -> None:
        if mine is None:
            _delete_topic(address, name)
        else:
            mine.stop()
            mine.start()

    try:
        with service(tmp_path, address, name, name, sqlite_url) as replicas, Results(sqlite_url, name) as results:
            send(address, name, before.messages, partitions=2)
            replicas.drain()
            remake()
            send(address, name, after.messages, partitions=2)
            stopped = replicas.run()
            assert stopped.wait(60) == 5, repr(stopped)
            last = stopped.text().strip().splitlines()[-1]
            assert last.startswith("monitor: "), repr(stopped)
            assert "on_lost_position" in last
            assert results.position() == 300
            replicas.drain(kafka__on_lost_position="earliest")
            assert results.position() == 60
            stories = set(results.check()["stories"])
            assert stories == before.stories | after.stories
    finally:
        if mine:
            mine.stop()


def _delete_topic(address: str, topic: str) -> None:
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=[address])
    try:
        admin.delete_topics([topic])
        until(lambda: topic not in admin.list_topics(), "the topic to go", 20)
    finally:
        admin.close()


# -- the database -------------------------------------------------------------------------------------------------


class _Postgres:
    """A PostgreSQL server that a test may stop and start."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self._programs, self._folder = programs, folder
        self._as: dict[str, Any] = {"cwd": folder, "user": user, "stdout": subprocess.DEVNULL}
        self._as |= {"stderr": subprocess.DEVNULL}
        if user:
            self._as["extra_groups"] = []
        self._call("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", "postgres")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/postgres?host={self._folder}"

    def start(self) -> None:
        options = f"-h '' -k {self._folder} -c fsync=off"
        self._call("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-w", "-m", "immediate", "stop")

    def set_read_only(self, whether: bool) -> None:
        """Every transaction from now on, as on a server that has lost its office."""
        with psycopg.connect(host=str(self._folder), user="postgres", autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if whether else 'off'}")
            connection.execute("SELECT pg_reload_conf()")

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run([self._programs / program, "-D", self._folder / "data", *arguments], check=True, **self._as)


@pytest.fixture
def postgres(_postgres_server: Path) -> Iterator[_Postgres]:
    # The programs of the suite's own server, which lie where its user may read them.
    running = (_postgres_server / "data" / "postmaster.pid").read_text().split()[0]
    programs = Path(f"/proc/{running}/exe").readlink().parent
    folder = Path(tempfile.mkdtemp(prefix="monitor-pg-", dir="/tmp"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    server = _Postgres(programs, folder, user)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_postgresql_that_stops_is_waited_for(
    embedded_broker: EmbeddedBroker, postgres: _Postgres, tmp_path: Path, name: str
) -> None:
    feed = invent(1_000, seed=41)
    send(embedded_broker.address, name, feed.messages)
    with service(tmp_path, embedded_broker.address, name, name, postgres.url) as replicas:
        with Results(postgres.url, name) as results:
            monitor = replicas.run(ms_per_story=5)
            until(lambda: results.position() > 100, "it at work")
        postgres.stop()
        until(lambda: monitor.events("database.away"), "the outage to be noticed", of=monitor)
        time.sleep(3)  # longer than a session: waiting for the database must not cost the membership
        assert monitor.alive, repr(monitor)
        postgres.start()
        with Results(postgres.url, name) as results:
            until(lambda: results.position() == 1_000, "it to go on by itself", 40, of=monitor)
        assert len(monitor.events("partitions.assigned")) == 1, repr(monitor)
        assert monitor.events("database.back")
        monitor.signal(signal.SIGTERM)
        assert monitor.wait(15) == 0, repr(monitor)
        _assert_like_undisturbed(replicas, tmp_path)


def test_postgresql_that_is_not_there_at_the_start_is_waited_for(
    embedded_broker: EmbeddedBroker, postgres: _Postgres, tmp_path: Path, name: str
) -> None:
    feed = invent(200, seed=43)
    send(embedded_broker.address, name, feed.messages)
    postgres.stop()
    with service(tmp_path, embedded_broker.address, name, name, postgres.url) as replicas:
        monitor = replicas.run()
        ready = monitor.await_event("web.listening")["url"] + "/readyz"
        monitor.await_event("database.away")
        answer = httpx.get(ready)
        assert (answer.status_code, answer.text.splitlines()[0]) == (503, "starting")
        assert "database away" in answer.text
        postgres.start()
        with Results(postgres.url, name) as results:
            until(lambda: results.position() == 200, "it to begin by itself", 40, of=monitor)
        assert httpx.get(ready).status_code == 200
        assert len(monitor.events("database.away")) == 1, repr(monitor)
        monitor.signal(signal.SIGTERM)
        assert monitor.wait(15) == 0, repr(monitor)


def test_a_standby_is_waited_for_until_it_is_the_primary(
    embedded_broker: EmbeddedBroker, postgres: _Postgres, tmp_path: Path, name: str
) -> None:
    feed = invent(600, seed=44)
    send(embedded_broker.address, name, feed.messages)
    with service(tmp_path, embedded_broker.address, name, name, postgres.url) as replicas:
        with Results(postgres.url, name) as results:
            monitor = replicas.run(ms_per_story=5)
            until(lambda: results.position() > 100, "it at work")
            postgres.set_read_only(True)
            until(lambda: monitor.events("database.away"), "the failover to be noticed", of=monitor)
            ready = monitor.events("web.listening")[0]["url"] + "/readyz"
            answer = httpx.get(ready)
            assert (answer.status_code, "read-only" in answer.text) == (503, True), answer.text
            postgres.set_read_only(False)
            until(lambda: results.position() == 600, "it to go on by itself", 40, of=monitor)
            assert len(results.check()["dead_letters"]) == len(feed.broken)
        monitor.signal(signal.SIGTERM)
        assert monitor.wait(15) == 0, repr(monitor)


def test_sqlite_that_is_removed_is_noticed_and_nothing_is_made_in_its_place(
    embedded_broker: EmbeddedBroker, sqlite_url: str, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "monitor.sqlite"
    send(embedded_broker.address, name, invent(600, seed=45).messages)
    with service(tmp_path, embedded_broker.address, name, name, sqlite_url) as replicas:
        with Results(sqlite_url, name) as results:
            monitor = replicas.run(ms_per_story=4)
            until(lambda: results.position() > 50, "it at work")
            file.rename(tmp_path / "aside.sqlite")
            assert "was removed" in monitor.await_event("database.away")["error"]
            time.sleep(0.5)
            assert not file.exists()
            (tmp_path / "aside.sqlite").rename(file)
            until(lambda: results.position() == 600, "it to go on", of=monitor)
        monitor.signal(signal.SIGTERM)
        assert monitor.wait(15) == 0, repr(monitor)
        _assert_like_undisturbed(replicas, tmp_path)


def test_locked_sqlite_is_waited_for(
    embedded_broker: EmbeddedBroker, sqlite_url: str, tmp_path: Path, name: str
) -> None:
    feed = invent(600, seed=42)
    send(embedded_broker.address, name, feed.messages)
    with service(tmp_path, embedded_broker.address, name, name, sqlite_url) as replicas:
        with Results(sqlite_url, name) as results:
            monitor = replicas.run(ms_per_story=4)
            until(lambda: results.position() > 50, "it at work")
            lock = sqlite3.connect(tmp_path / "monitor.sqlite", isolation_level=None)
            try:
                lock.execute("BEGIN IMMEDIATE")
                held = results.position()
                time.sleep(3)
                assert results.position() == held < 600
                lock.execute("ROLLBACK")
            finally:
                lock.close()
            until(lambda: results.position() == 600, "it to go on", of=monitor)
        monitor.signal(signal.SIGTERM)
        assert monitor.wait(15) == 0, repr(monitor)
        _assert_like_undisturbed(replicas, tmp_path)


# -- signals ------------------------------------------------------------------------------------------------------


def test_sigterm_stores_what_was_fetched_and_exits_0(
    embedded_broker: EmbeddedBroker, sqlite_url: str, tmp_path: Path, name: str
) -> None:
    send(embedded_broker.address, name, invent(1_000, seed=51).messages)
    with service(tmp_path, embedded_broker.address, name, name, sqlite_url) as replicas:
        with Results(sqlite_url, name) as results:
            monitor = replicas.run(ms_per_story=10, kafka__max_poll_records="20")
            until(lambda: results.position() > 50, "it at work")
            monitor.signal(signal.SIGTERM)
            assert monitor.wait(20) == 0, repr(monitor)
            last = monitor.events("batch.stored")[-1]
            assert sum(last["waiting"].values()) == 0
            assert results.position() == monitor.stored < 1_000
        replicas.drain()
        _assert_like_undisturbed(replicas, tmp_path)


def test_second_sigterm_stops_at_once(
    embedded_broker: EmbeddedBroker, sqlite_url: str, tmp_path: Path, name: str
) -> None:
    send(embedded_broker.address, name, invent(600, seed=52).messages)
    with service(tmp_path, embedded_broker.address, name, name, sqlite_url) as replicas:
        monitor = replicas.run(ms_per_story=60, kafka__max_poll_records="20")
        until(lambda: monitor.stored, "it at work")
        monitor.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert monitor.alive, "it drained before the second signal came"
        started = time.monotonic()
        monitor.signal(signal.SIGTERM)
        monitor.wait(20)
        assert time.monotonic() - started < 5
        replicas.drain()
        _assert_like_undisturbed(replicas, tmp_path)


# -- floods and crowds --------------------------------------------------------------------------------------------


def test_flood_of_broken_records_stops_the_process_and_loses_nothing(
    embedded_broker: EmbeddedBroker, sqlite_url: str, tmp_path: Path, name: str
) -> None:
    good = invent(100, seed=61, broken=0)
    flood = [Message(b"x", b"<rss>%d</rss>" % number, 1_772_438_400_000) for number in range(300)]
    send(embedded_broker.address, name, [*good.messages, *flood], partitions=1)
    with (
        service(tmp_path, embedded_broker.address, name, name, sqlite_url) as replicas,
        Results(sqlite_url, name) as results,
    ):
        stopped = replicas.run()
        assert stopped.wait(30) == 1, repr(stopped)
        last = stopped.text().strip().splitlines()[-1]
        assert last.startswith("monitor: 200 records in a row could not be read"), repr(stopped)
        contents = results.check()
        assert contents["offsets"][name, 0] == len(contents["dead_letters"]) + 100 * bool(contents["stories"])
        assert len(contents["dead_letters"]) < 200
        replicas.drain(dead_letters__max_consecutive="1000")
        contents = results.check()
        assert set(contents["stories"]) == good.stories
        assert [row[0]["raw_value"] for _, row in sorted(contents["dead_letters"].items())] == [m.value for m in flood]


def test_two_replicas_share_the_partitions_and_the_totals_are_exact(
    broker_and_database: tuple[Broker, str], tmp_path: Path, name: str
) -> None:
    broker, database_url = broker_and_database
    feed = invent(1_500, seed=71)
    send(broker.address, name, feed.messages, partitions=4)
    with (
        service(tmp_path, broker.address, name, name, database_url) as replicas,
        Results(database_url, name) as results,
    ):
        crowd = [replicas.run(ms_per_story=6) for _ in range(2)]
        until(lambda: results.position() == len(feed.messages), "all stored", 60)
        shares = [one.stored for one in crowd]
        assert min(shares) > 200, f"not shared: {shares}"
        assert sum(shares) == len(feed.messages)
        for one in crowd:
            one.signal(signal.SIGTERM)
        assert [one.wait(20) for one in crowd] == [0, 0]
        _assert_like_undisturbed(replicas, tmp_path)
