"""Several stories in a record: all are stored with it, whatever the database says to one of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from sentiment_monitor.domain.news import Record, Score, Text
from sentiment_monitor.enrich.copies import wording
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.errors import RegistryAway
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.score.lexicon import StubClassifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.store.buckets import recompute_buckets, stored_buckets
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.schema import consumer_offsets, dead_letters, stories
from sentiment_monitor.store.stories.transaction import Batch, StoryWriter, Written
from sentiment_monitor.stream.ceiling import DeadLetterCeiling
from sentiment_monitor.stream.pipeline import Limits, Pipeline
from writing import NOW, MemoryWriter

P0 = ("news", 0)


def pipeline(source: MemorySource, writer: Any, **options: Any) -> Pipeline:
    return Pipeline(
        source=source,
        decode=options.pop("decode", Decoder(stories="data").decode),
        enrich=Enricher(clean).enrich_all,
        classifier=options.pop("classifier", None) or StubClassifier(),
        writer=writer,
        now_ms=lambda: NOW,
        exit_when_idle=0.0,
        ceiling=DeadLetterCeiling(max_ratio=1),
        **options,
    )


def record(*numbers: int) -> bytes:
    """A message with a story each; one that is negative has no headline."""
    members = [{"id": str(n), "headline": f"story number {n}" if n >= 0 else ""} for n in numbers]
    return json.dumps({"data": members}).encode()


def test_the_stories_of_a_record_are_stored_in_order_with_one_transaction() -> None:
    writer = MemoryWriter()
    source = MemorySource(writer.positions)
    source.append(P0, [record(1, 2, 3), record(), None, record(4)])
    pipe = pipeline(source, writer)
    pipe.run()
    assert writer.stored == ["1", "2", "3", "4"]
    assert writer.dead == []
    assert writer.offsets == {P0: 4}
    assert (pipe.progress.records, pipe.progress.written.created, len(writer.batches)) == (4, 4, 1)
    assert [item.enriched.story.part for item in writer.batches[0].scored] == [0, 1, 2, 0]


def test_a_broken_story_among_others_is_a_dead_letter_with_its_place() -> None:
    writer = MemoryWriter()
    source = MemorySource(writer.positions)
    source.append(P0, [record(1, -1, 2)])
    pipeline(source, writer).run()
    assert writer.stored == ["1", "2"]
    assert [(letter.code, letter.part) for batch in writer.batches for letter in batch.dead] == [("no_headline", 1)]


def test_thousands_of_stories_in_a_record_are_scored_in_portions_and_stored_together() -> None:
    portions: list[int] = []

    class Counting(StubClassifier):
        def score(self, texts: Sequence[Text]) -> list[Score]:
            portions.append(len(texts))
            return super().score(texts)

    writer = MemoryWriter()
    source = MemorySource(writer.positions)
    source.append(P0, [record(*range(2_500))])
    pipeline(source, writer, classifier=Counting()).run()
    assert portions == [1_000, 1_000, 500]
    assert (len(writer.stored), len(writer.batches), writer.offsets) == (2_500, 1, {P0: 1})


def test_only_tombstones_are_no_dead_letters_however_many() -> None:
    writer = MemoryWriter()
    source = MemorySource(writer.positions)
    source.append(P0, [None] * 250)
    Pipeline(
        source=source,
        decode=Decoder().decode,
        enrich=Enricher(clean).enrich_all,
        classifier=StubClassifier(),
        writer=writer,
        now_ms=lambda: NOW,
        exit_when_idle=0.0,
    ).run()
    assert (writer.dead, writer.offsets) == ([], {P0: 250})


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    bad=st.sets(st.integers(0, 36)),
    batch=st.sampled_from([1, 5, 1_000]),
)
def test_a_story_that_the_database_refuses_is_found_in_its_record_and_costs_no_other(
    sizes: list[int], bad: set[int], batch: int
) -> None:
    writer = MemoryWriter()
    moved: dict[str, int] = {}  # where the offset stood once the story was in

    def refuse(batch: Batch) -> None:
        if any(int(item.enriched.story.story_id) in bad for item in batch.scored):
            raise ValueError("no such value")
        for item in batch.scored:
            moved[item.enriched.story.story_id] = batch.offsets[P0][1]

    writer.fail = refuse
    numbers = iter(range(100))
    members = [[next(numbers) for _ in range(size)] for size in sizes]
    source = MemorySource(writer.positions)
    source.append(P0, [record(*stories) for stories in members])
    pipeline(source, writer, limits=Limits(write_batch=batch)).run()
    everything = [(offset, number) for offset, stories in enumerate(members) for number in stories]
    assert sorted(map(int, writer.stored)) == [number for _, number in everything if number not in bad]
    assert sorted(writer.dead) == sorted(("store_failed", offset) for offset, number in everything if number in bad)
    assert writer.offsets == {P0: len(sizes)}
    for offset, held in enumerate(members):
        if len(held) > 1 and set(held) & bad:  # nothing may pass the record before its last transaction
            assert all(moved[str(number)] <= offset for number in held if number not in bad)


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4, 5, 6])
def test_a_record_that_is_left_half_stored_is_whole_after_the_restart(database: Database, dies_at: int) -> None:
    """The database refuses one story of a record, and the process dies after a commit while it looks for it."""
    positions = PositionStore(database, "g")
    sql = StoryWriter(database, positions, wording)
    commits = 0

    class Dying:
        def commit(self, batch: Batch, now_ms: int) -> Written:
            nonlocal commits
            if any(item.enriched.story.story_id == "5" for item in batch.scored):
                raise ValueError("no such value")
            written = sql.commit(batch, now_ms)
            commits += 1
            if commits == dies_at:
                raise KeyboardInterrupt
            return written

    for _ in range(2):
        source = MemorySource(lambda starts: positions.ask(starts, NOW))
        source.append(P0, [record(0), record(1, 2, -1, 3, 4, 5, 6), record(7)])
        with suppress(KeyboardInterrupt):
            _write_all(pipeline(source, Dying()), source)
    assert commits >= 6
    with database.read() as connection:
        ids = list(connection.scalars(select(stories.c.story_id).order_by(stories.c.story_id)))
        letters = connection.execute(select(dead_letters.c.code, dead_letters.c.kafka_part)).all()
        assert connection.scalar(select(consumer_offsets.c.next_offset)) == 3
        assert stored_buckets(connection) == recompute_buckets(connection)
    assert ids == ["0", "1", "2", "3", "4", "6", "7"]
    assert sorted(map(tuple, letters)) == [("no_headline", 2), ("store_failed", 5)]


def _write_all(pipe: Pipeline, source: MemorySource) -> None:
    """The stages one after the other, in this thread."""
    for fetched in source.poll(0, hold=False):
        pipe._accept(fetched, 0.0)
    parcels = pipe._waiting.take(1_000, timeout=0)
    pipe._preparing.prepare(parcels)
    pipe._score(parcels)
    pipe._write(parcels)


def test_a_registry_that_is_away_is_waited_for() -> None:
    writer = MemoryWriter()
    source = MemorySource(writer.positions)
    source.append(P0, [record(1), record(2)])
    away = [3]

    def decode(read: Record) -> Any:
        if read.position.offset == 1 and away[0]:
            away[0] -= 1
            raise RegistryAway("restarting")
        return Decoder(stories="data").decode(read)

    pipeline(source, writer, decode=decode).run()
    assert (writer.stored, writer.dead) == (["1", "2"], [])


def test_an_abort_ends_the_wait_for_a_registry() -> None:
    writer = MemoryWriter()
    source = MemorySource(writer.positions)
    source.append(P0, [record(1)])
    asked = threading.Event()

    def decode(read: Record) -> Any:
        asked.set()
        raise RegistryAway("gone")

    pipe = pipeline(source, writer, decode=decode)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            pipe.run()
        except RegistryAway as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert asked.wait(30)
    pipe.abort()
    thread.join(30)
    assert len(raised) == 1
    assert writer.offsets == {P0: 0}
