"""What counts towards the ceiling: records, each once, and only those of which nothing could be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sentiment_monitor.domain.news import Record
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.errors import FatalError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.memory import MemorySource
from sentiment_monitor.score.lexicon import StubClassifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.store.stories.transaction import Batch
from sentiment_monitor.stream.ceiling import DeadLetterCeiling
from sentiment_monitor.stream.pipeline import Pipeline
from writing import NOW, MemoryWriter

P0 = ("news", 0)


def members(*headlines: str) -> bytes:
    return json.dumps([{"id": headline, "headline": headline} for headline in headlines]).encode()


def run(values: list[bytes | None], writer: MemoryWriter, decoder: Any = None, **ceiling: Any) -> None:
    source = MemorySource(writer.positions)
    source.append(P0, values)
    Pipeline(
        source=source,
        decode=decoder or Decoder().decode,
        enrich=Enricher(clean).enrich_all,
        classifier=StubClassifier(),
        writer=writer,
        now_ms=lambda: NOW,
        exit_when_idle=0.0,
        ceiling=DeadLetterCeiling(**{"max_ratio": 1, "max_consecutive": 20, **ceiling}),
    ).run()


def test_one_record_of_many_broken_parts_is_one_broken_record() -> None:
    writer = MemoryWriter()
    run([json.dumps([0] * 20).encode()] * 19, writer)
    assert len(writer.dead) == 19 * 20
    with pytest.raises(FatalError, match="20 records in a row"):
        run([json.dumps([0] * 20).encode()] * 20, MemoryWriter())


def test_a_record_is_no_broken_one_while_one_of_its_parts_can_be_read() -> None:
    writer = MemoryWriter()
    run([members(*[""] * 10, "Kestrel Bank is sound", *[""] * 10)] * 40, writer, max_ratio=0.1, window=20)
    assert (len(writer.dead), writer.offsets) == (40 * 20, {P0: 40})


@pytest.mark.parametrize(("records", "stops"), [(19, False), (20, True)])
def test_one_record_whose_stories_the_database_all_refuses_is_one_broken_record(records: int, stops: bool) -> None:
    writer = MemoryWriter()

    def refuse(batch: Batch) -> None:
        if batch.scored:
            raise ValueError("no such value")

    writer.fail = refuse
    values: list[bytes | None] = [members(*[f"{record} {part}" for part in range(5)]) for record in range(records)]
    if stops:
        with pytest.raises(FatalError, match="20 records in a row"):
            run(values, writer)
    else:
        run(values, writer)
        assert len(writer.dead) == 19 * 5


def test_a_record_of_which_the_database_takes_one_story_is_no_broken_one() -> None:
    writer = MemoryWriter()

    def refuse(batch: Batch) -> None:
        if any(item.enriched.story.story_id != "good" for item in batch.scored):
            raise ValueError("no such value")

    writer.fail = refuse
    run([members("a", "b", "good", "c")] * 30, writer)
    assert (len(writer.dead), writer.offsets) == (90, {P0: 30})


@pytest.mark.parametrize("key", [b"abc-1", b'{"payload":null}'])
def test_tombstones_whose_keys_name_nothing_are_dead_letters_and_bring_the_ceiling_no_nearer(key: bytes) -> None:
    decode = Decoder(tombstones="delete", key={"id": "payload.id"}).decode

    def keyed(record: Record) -> Any:
        return decode(Record(record.position, key, record.value, record.timestamp_ms))

    writer = MemoryWriter()
    run([None] * 60, writer, keyed, max_ratio=0.1, window=20)
    assert (len(writer.dead), writer.offsets) == (60, {P0: 60})
    writer = MemoryWriter()
    with pytest.raises(FatalError, match="20 records in a row"):  # nor do they end a row of broken records
        run([*[None, b"{}"] * 20], writer, keyed)
