"""A hot loop that reads one thing after the other, and the replay of dead letters beside it, on a database."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select

from sentiment_monitor.actions.dead_letters import request_replay
from sentiment_monitor.domain.news import DeadLetter, Position, Record
from sentiment_monitor.enrich.copies import wording
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.score.lexicon import StubClassifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.store import dead_letters, schema
from sentiment_monitor.store.buckets import recompute_buckets, stored_buckets
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.dead_letters import StoredDeadLetter
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.replays import Reread
from sentiment_monitor.store.stories.transaction import Batch, StoryWriter, Written
from sentiment_monitor.stream.parcel import Parcel
from sentiment_monitor.stream.prepare import Preparing
from sentiment_monitor.stream.replay import Replaying
from sentiment_monitor.stream.scoring import Scoring
from sentiment_monitor.telemetry.metrics import HotLoop
from writing import NOW, TOPIC

P0 = (TOPIC, 0)
_ENRICHER = Enricher(clean)


def titled(story_id: str, title: str, **fields: Any) -> bytes:
    """A message that only the mended mapping reads."""
    return json.dumps({"id": story_id, "title": title, **fields}).encode()


def headed(story_id: str, headline: str, **fields: Any) -> bytes:
    """A message that every mapping reads."""
    return json.dumps({"id": story_id, "headline": headline, **fields}).encode()


class Gate:
    """Stands before the writer; ``fail`` may raise."""

    def __init__(self, writer: StoryWriter) -> None:
        self._writer = writer
        self.fail: Callable[[Sequence[Reread]], None] = lambda rereads: None

    def reread(self, rereads: Sequence[Reread], now_ms: int) -> Written:
        self.fail(rereads)
        return self._writer.reread(rereads, now_ms)


class House:
    """A hot loop that reads one thing after the other, and a replay beside it."""

    def __init__(self, database: Database, holder: str = "first") -> None:
        self.database = database
        self.decode: Callable[[Record], Any] = Decoder().decode
        self.positions = PositionStore(database, "g")
        self.writer = StoryWriter(database, self.positions, wording)
        self.gate = Gate(self.writer)
        self.stopping = threading.Event()
        self.preparing = Preparing(lambda record: self.decode(record), _ENRICHER.enrich_all, lambda: NOW, self.stopping)
        self.scoring = Scoring(StubClassifier())
        self.metrics = HotLoop()
        self.replaying = Replaying(
            database=database,
            preparing=self.preparing,
            scoring=self.scoring,
            writer=self.gate,
            reads=lambda topic: topic == TOPIC,
            holder=holder,
            now_ms=lambda: NOW,
            metrics=self.metrics,
            stopping=self.stopping,
        )

    def read(self, *values: bytes | None) -> None:
        """What the hot loop does with records that come next."""
        reached = self.positions.ask({P0: 0}, NOW)[P0]
        records = [Record(Position(*P0, reached + n), None, value, NOW) for n, value in enumerate(values)]
        parcel = Parcel(P0, 0, reached, reached + len(records), 0.0, records)
        self.preparing.prepare([parcel])
        self.scoring.score([parcel])
        dead = [item for item in parcel.items if isinstance(item, DeadLetter)]
        scored: Any = [item for item in parcel.items if not isinstance(item, DeadLetter)]
        self.writer.commit(Batch({P0: (reached, reached + len(records))}, scored, dead), NOW)

    def mend(self) -> None:
        """The mapping that the feed needs."""
        self.decode = Decoder({"headline": "title || headline"}).decode

    def ask(self, *ids: int) -> None:
        request_replay(self.database, "ann", ids or [letter.id for letter in self.letters()], NOW)

    def replay(self) -> None:
        """One look at what waits."""
        self.replaying.read_waiting()

    def stored(self) -> dict[str, tuple[str, int]]:
        """Headline and offset of every living story, by id; the buckets are those of a recomputation."""
        with self.database.read() as connection:
            assert stored_buckets(connection) == recompute_buckets(connection)
            rows = connection.execute(select(schema.stories).where(schema.stories.c.deleted.is_(False)))
            return {row.story_id: (row.headline, row.kafka_offset) for row in rows}

    def letters(self) -> list[StoredDeadLetter]:
        with self.database.read() as connection:
            return dead_letters.recent(connection, 1_000)[::-1]

    def outcomes(self) -> list[tuple[str, bool, bool, int]]:
        """Code, whether it is replayed, whether it waits, and attempts, of every letter."""
        return [
            (letter.code, letter.replayed_ms is not None, letter.requested_ms is not None, letter.attempts)
            for letter in self.letters()
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        """The replay in a thread, as in a service, while the block lasts."""
        thread = threading.Thread(target=self.replaying.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.replaying.stop()
            thread.join(20)
            assert not thread.is_alive()
