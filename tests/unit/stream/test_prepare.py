"""Records of thousands of stories are prepared in portions: neither time nor memory depends on how many they are."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_monitor.domain.news import DeadLetter, EnrichedStory, Position, Record, Story
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.score.lexicon import StubClassifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.stream import prepare
from sentiment_monitor.stream.parcel import Parcel
from sentiment_monitor.stream.pipeline import Limits, Pipeline
from sentiment_monitor.stream.prepare import Preparing
from sentiment_monitor.telemetry.turns import Turns
from writing import NOW, MemoryWriter

P0 = ("news", 0)
_ENRICHER = Enricher(clean)


def record(number: int, stories: int) -> bytes:
    return json.dumps(
        [{"id": f"{number}.{part}", "headline": f"story {number} {part}"} for part in range(stories)]
    ).encode()


def pipeline(source: MemorySource, writer: MemoryWriter, **options: Any) -> Pipeline:
    return Pipeline(
        source=source,
        decode=options.pop("decode", Decoder().decode),
        enrich=_ENRICHER.enrich_all,
        classifier=StubClassifier(),
        writer=writer,
        now_ms=lambda: NOW,
        exit_when_idle=0.0,
        **options,
    )


class Stepping(Turns):
    """Remembers how much was done between two moves."""

    def __init__(self) -> None:
        super().__init__("prepare")
        self.steps: list[list[int]] = [[]]

    def moved(self) -> None:
        super().moved()
        self.steps.append([])


def test_the_watchdog_sees_portions_of_records_and_of_stories_move() -> None:
    turns, decoder = Stepping(), Decoder()

    def decode(given: Record) -> Sequence[Story | DeadLetter]:
        turns.steps[-1].append(0)
        return decoder.decode(given)

    def enrich(stories: Sequence[Story], now_ms: int) -> list[EnrichedStory]:
        turns.steps[-1].append(len(stories))
        return _ENRICHER.enrich_all(stories, now_ms)

    records = [Record(Position(*P0, offset), None, record(offset, 30), NOW) for offset in range(80)]
    parcel = Parcel(P0, 0, 0, 80, 0.0, records)
    Preparing(decode, enrich, lambda: NOW, threading.Event(), turns=turns).prepare([parcel])
    assert len(parcel.items) == 2_400
    assert max(map(len, turns.steps)) <= 20
    assert max(map(sum, turns.steps)) <= 250


def test_what_is_written_together_is_bounded_in_stories_and_not_in_records() -> None:
    writer = MemoryWriter()
    source = MemorySource(writer.positions)
    source.append(P0, [record(number, 400) for number in range(12)])
    pipeline(source, writer).run()
    assert writer.stored == [f"{number}.{part}" for number in range(12) for part in range(400)]
    assert max(len(batch.scored) for batch in writer.batches) <= 1_200
    assert writer.offsets == {P0: 12}


def test_while_the_database_is_slow_no_more_is_decoded_than_the_hand_offs_hold() -> None:
    writer, decoded, decoder = MemoryWriter(), [0], Decoder()
    most = [0]

    def decode(given: Record) -> Sequence[Story | DeadLetter]:
        decoded[0] += 1
        return decoder.decode(given)

    def slow(batch: object) -> None:
        most[0] = max(most[0], decoded[0] - writer.offsets[P0])
        threading.Event().wait(0.05)

    writer.fail = slow
    source = MemorySource(writer.positions)
    source.append(P0, [record(number, 100) for number in range(60)])
    pipeline(
        source, writer, decode=decode, limits=Limits(prepared=100, scored=100, score_batch=50, write_batch=50)
    ).run()
    assert writer.offsets == {P0: 60}
    assert most[0] <= 50  # not sixty: ten make a portion, one may stand in each of three stages and between them


def test_large_records_fill_a_hand_off_sooner() -> None:
    large = Record(Position(*P0, 0), None, b" " * 1_000_000, NOW)
    small = Record(Position(*P0, 0), None, b" " * 1_000, NOW)
    assert len(Parcel(P0, 0, 0, 100, 0.0, [large] * 100)) > 1_000
    assert len(Parcel(P0, 0, 0, 100, 0.0, [small] * 100)) == 100


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=20),
    fetched=st.integers(1, 8),
    enough=st.integers(1, 6),
)
def test_however_a_fetch_is_cut_each_story_is_stored_once_and_the_offsets_follow(
    sizes: list[int], fetched: int, enough: int
) -> None:
    writer = MemoryWriter()
    source = MemorySource(writer.positions, max_poll_records=fetched)
    source.append(P0, [record(number, size) if size else None for number, size in enumerate(sizes)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "_ENOUGH", enough)
        pipe = pipeline(source, writer, limits=Limits(prepared=4, scored=4, score_batch=2, write_batch=5))
        pipe.run()
    assert writer.stored == [f"{number}.{part}" for number, size in enumerate(sizes) for part in range(size)]
    assert writer.offsets == {P0: len(sizes)}
    assert pipe.progress.records == len(sizes)
    assert pipe._oldest_waiting() == 0.0
    assert not +pipe._in_flight
