"""A consumer that was away too long and does not know that others have taken over."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from integration.harness import Apache, Results, assert_same, invent, send, service, until
from sentiment_monitor.domain import Score, Text
from sentiment_monitor.enrich.copies import is_copy
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.embedded import EmbeddedBroker
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.pipeline import Pipeline
from sentiment_monitor.score.lexicon import StubClassifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.store.batches import StoryWriter
from sentiment_monitor.store.database import Database


def test_stopped_process_that_wakes_after_its_session_cannot_write(
    broker: EmbeddedBroker | Apache, database_url: str, tmp_path: Path, name: str
) -> None:
    feed = invent(1_200, seed=7)
    send(broker.address, name, feed.messages)
    with service(tmp_path, broker.address, name, name, database_url) as replicas, Results(database_url, name) as results:
        zombie = replicas.run(ms_per_story=10)
        until(lambda: results.position() > 100, "the first one at work", pause=0.01)
        zombie.signal(signal.SIGSTOP)
        stale = results.position()
        heir = replicas.run()
        until(lambda: results.position() == len(feed.messages), "the second one to take over and finish")
        assert heir.stored >= len(feed.messages) - stale - 60
        before = results.check()
        zombie.signal(signal.SIGCONT)
        until(lambda: zombie.events("batch.fenced"), f"the fence in {zombie!r}")
        until(lambda: len(zombie.events("partitions.assigned")) > 1, f"it joins again: {zombie!r}")
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
        writer = StoryWriter(database, "group", "stub", "none", "{}", is_copy)
        source = MemorySource(lambda starts: writer.positions(starts, 0), max_poll_records=20)
        for partition in (0, 1):
            source.append(("news", partition), values[partition::2])
        pipeline = Pipeline(
            source=source,
            decode=Decoder().decode,
            enrich=Enricher(clean).enrich,
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
        assert (heir.progress.created, heir.progress.fenced) == (60, 0)
        with Results(str(database.url.render_as_string(hide_password=False)), "group") as results:
            before = results.check()
            gate.go_on.set()
            until(lambda: zombie.progress.fenced, "the fence")
            assert_same(results.check(), before)
            more()
            until(lambda: results.count("stories") == 61, "the zombie to go on where SQL says")
            assert results.offsets() == {0: 31, 1: 30}
            results.check()
        assert zombie.progress.created == 1
    finally:
        gate.go_on.set()
        zombie.stop()
        thread.join(20)
    assert not thread.is_alive()
