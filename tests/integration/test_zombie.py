"""A consumer that was away too long and does not know that others have taken over."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from integration.harness import Apache, Monitor, Results, assert_same, invent, send, service, until
from sentiment_monitor.domain.news import Score, Text
from sentiment_monitor.enrich.copies import wording
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.errors import DatabaseAway
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.embedded import EmbeddedBroker
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.score.lexicon import StubClassifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.stories.transaction import StoryWriter
from sentiment_monitor.stream.pipeline import Pipeline


def test_stopped_process_that_wakes_after_its_session_cannot_write(
    broker_and_database: tuple[EmbeddedBroker | Apache, str], tmp_path: Path, name: str
) -> None:
    broker, database_url = broker_and_database
    feed = invent(1_200, seed=7)
    send(broker.address, name, feed.messages)
    with (
        service(tmp_path, broker.address, name, name, database_url) as replicas,
        Results(database_url, name) as results,
    ):
        zombie = replicas.run(ms_per_story=10)
        until(lambda: results.position() > 100, "the first one at work", pause=0.01)
        _stop_between_transactions(zombie, database_url)
        stale = results.position()
        heir = replicas.run()
        until(lambda: results.position() == len(feed.messages), "the second one to take over and finish")
        # Its log says so a moment after the commit that the database shows.
        until(lambda: heir.stored >= len(feed.messages) - stale - 60, "the second one to tell of its work", of=heir)
        before = results.check()
        zombie.signal(signal.SIGCONT)
        # Which it learns first is a race: from SQL that it is fenced, or from Kafka that it holds nothing any more.
        until(lambda: zombie.events("batch.fenced", "partitions.revoked"), "the zombie to notice", of=zombie)
        until(lambda: len(zombie.events("partitions.assigned")) > 1, "it joins again", of=zombie)
        # Both are alive, share the partitions, and what comes now is stored once.
        late = invent(300, seed=8)
        send(broker.address, name, late.messages)
        until(lambda: results.position() == len(feed.messages) + len(late.messages), "both to finish")
        for one in (zombie, heir):
            one.signal(signal.SIGTERM)
        assert [one.wait() for one in (zombie, heir)] == [0, 0]
        after = results.check()
        assert before["dead_letters"].items() <= after["dead_letters"].items()
        with service(
            tmp_path, broker.address, name, f"{name}-oracle", f"sqlite:///{tmp_path / 'oracle.sqlite'}"
        ) as undisturbed:
            undisturbed.drain()
            with Results(undisturbed.database, undisturbed.group) as expected:
                assert_same(after, expected.check())


def _stop_between_transactions(monitor: Monitor, url: str) -> None:
    """SIGSTOP at a moment when no lock in the database is held: one that is would keep everybody waiting."""
    for _ in range(50):
        monitor.signal(signal.SIGSTOP)
        if not _somebody_writes(url):
            return
        monitor.signal(signal.SIGCONT)
        time.sleep(0.03)
    raise AssertionError("it was always within a transaction")


def _somebody_writes(url: str) -> bool:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0.1, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        finally:
            connection.close()
        return False
    database = Database(url)
    try:
        with database.read() as reading:
            return bool(
                reading.exec_driver_sql(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND state <> 'idle'"
                ).scalar()
            )
    finally:
        database.close()


def test_writer_frozen_within_a_transaction_lets_go_of_postgresql(postgres_url: str) -> None:
    frozen, other = Database(postgres_url), Database(postgres_url)
    try:
        with other.read() as connection:
            assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "30s"
        with pytest.raises(DatabaseAway):
            _freeze_until(frozen, other)
    finally:
        frozen.close()
        other.close()


def _freeze_until(frozen: Database, other: Database) -> None:
    with frozen.write() as connection:
        connection.exec_driver_sql("SET idle_in_transaction_session_timeout = 100")
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(1)")
        with other.write() as waiting:
            waiting.exec_driver_sql("SELECT pg_advisory_xact_lock(1)")
        connection.exec_driver_sql("SELECT 1")


class _Gate(StubClassifier):
    """A classifier that stands still at its first batch until told to go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def score(self, texts: Sequence[Text]) -> list[Score]:
        self.reached.set()
        assert self.go_on.wait(20)
        return super().score(texts)


def test_zombie_consumer_cannot_move_the_offset(database: Database) -> None:
    values = [json.dumps({"id": str(n), "headline": f"Story number {n}"}).encode() for n in range(60)]
    gate = _Gate()

    def replica(classifier: StubClassifier, exit_when_idle: float | None) -> tuple[Pipeline, Callable[[], None]]:
        positions = PositionStore(database, "group")
        writer = StoryWriter(database, positions, wording)
        source = MemorySource(lambda starts: positions.ask(starts, 0), max_poll_records=20)
        for partition in (0, 1):
            source.append(("news", partition), values[partition::2])
        pipeline = Pipeline(
            source=source,
            decode=Decoder().decode,
            enrich=Enricher(clean).enrich_all,
            classifier=classifier,
            writer=writer,
            now_ms=lambda: 1_000,
            exit_when_idle=exit_when_idle,
        )
        return pipeline, lambda: source.append(("news", 0), [b'{"id": "late", "headline": "One more"}'])

    zombie, more = replica(gate, None)
    thread = threading.Thread(target=zombie.run)
    thread.start()
    try:
        assert gate.reached.wait(20)
        heir, _ = replica(StubClassifier(), 0.2)
        heir.run()
        assert (heir.progress.written.created, heir.progress.fenced) == (60, 0)
        with Results(str(database.url.render_as_string(hide_password=False)), "group") as results:
            before = results.check()
            gate.go_on.set()
            until(lambda: zombie.progress.fenced, "the fence")
            assert_same(results.check(), before)
            more()
            until(lambda: results.count("stories") == 61, "the zombie to go on where SQL says")
            assert results.offsets() == {0: 31, 1: 30}
            results.check()
        assert (zombie.progress.records, zombie.progress.written.created) == (1, 1)
    finally:
        gate.go_on.set()
        zombie.stop()
        thread.join(20)
    assert not thread.is_alive()
