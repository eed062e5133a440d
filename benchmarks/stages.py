"""What a record passes, each stage as something that can be timed alone: used by hostile.py and by tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from string import ascii_lowercase
from threading import Event
from typing import NamedTuple

import numpy as np
from growth import Work

from sentiment_monitor.domain.news import (
    MAX_BODY_CHARACTERS,
    MAX_HEADLINE_CHARACTERS,
    EnrichedStory,
    Position,
    Record,
    ScoredStory,
    Text,
)
from sentiment_monitor.enrich.copies import copy_keys_of, wording
from sentiment_monitor.enrich.enricher import Enricher
from sentiment_monitor.enrich.language import LanguageDetector
from sentiment_monitor.enrich.names import Watchlist, cashtags
from sentiment_monitor.enrich.publishers import without_publisher
from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.instants import instant_ms
from sentiment_monitor.score import load
from sentiment_monitor.score.checkpoint import Checkpoint, open_checkpoint
from sentiment_monitor.score.classifier import NeuralClassifier
from sentiment_monitor.score.contract import Logits, Vectors
from sentiment_monitor.score.hub import BUNDLED
from sentiment_monitor.score.text import clean
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.stories.transaction import Batch, StoryWriter
from sentiment_monitor.stream.parcel import Parcel
from sentiment_monitor.stream.prepare import Preparing

CHECKOUT = Path(__file__).resolve().parent.parent
NOW = 1_772_438_400_000  # 2026-03-02 08:00 UTC
PARTITION = ("news", 0)

# Every function of JMESPath that a feed's mapping is likely to use.
MAPPING = {
    "id": "to_string(id)",
    "headline": "headline || title",
    "body": "join(' ', not_null(body, content, `[]`)[*].value)",
    "source": "source.name || source",
    "url": "links[0].href || url",
    "published_at": "published_at",
    "tickers": "tickers[?value].name | [:100]",
    "language": "language",
    "action": "action || type",
    "revision": "revision",
}
MAPPED_FIELDS = (*MAPPING, "content", "links", "unmapped")

# Stories that resemble one another, as wires and attackers send them; {} is another word each time.
BATCHES = {
    "a name in a template": "{} Corp Announces Date Of Third Quarter Results Conference Call And Webcast",
    "a word in a template": "shares of the company called {} fall after the regulator opens a case",
    "a name before a dash": "{} Corp - Third Quarter Results Conference Call And Webcast To Be Held",
    "a source behind a dash": "Kestrel Bank cuts its outlook after a weak quarter - {}",
    "two words and a ticker": "Profit warning",
    "one word only": "{}",
    "nothing but marks": "!!!",
    "a figure in a template": "Kestrel Bank cuts its outlook for the year to {} cents a share",
    "nothing in common": "{0} {0}a {0}b {0}c {0}d {0}e",
}


RECORD_BYTES = 1_000_000


class Reader(NamedTuple):
    """A stage that reads one text."""

    make: Callable[[str], Work]
    most: int  # characters that reach it of a record of a megabyte


class ZeroEngine:
    """Runs no network: what comes before and after it is measured."""

    name = "zero"
    tolerance = 1.0

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._labels = 1 + max(*checkpoint.sentiment_columns, *checkpoint.topic_columns)

    def logits(self, windows: Sequence[Sequence[int]]) -> Logits:
        """Nothing for each window."""
        return np.zeros((len(windows), self._labels), dtype=np.float32)

    def vectors(self, windows: Sequence[Sequence[int]]) -> Vectors:
        """None."""
        return np.empty((len(windows), 0), dtype=np.float32)

    def close(self) -> None:
        """Nothing to free."""


class Stages:
    """The stages of the hot loop, as the service puts them together. ``folder`` is for a database."""

    def __init__(self, folder: Path) -> None:
        checkpoint = open_checkpoint(BUNDLED)
        self._watchlist = Watchlist.load(CHECKOUT / "deploy" / "watchlist.csv")
        self._enricher = Enricher(clean, watchlist=self._watchlist)
        self._classifier = NeuralClassifier(checkpoint, ZeroEngine(checkpoint), max_windows=16, remember=0)
        self._folder = folder
        self._runs = count(1)
        self._store: tuple[StoryWriter, int] | None = None
        detector, lexicon = LanguageDetector(), load("lexicon")
        body, headline = MAX_BODY_CHARACTERS, MAX_HEADLINE_CHARACTERS
        self.texts: dict[str, Reader] = {
            "clean": Reader(lambda text: partial(clean, _encodable(text)), body),
            "watchlist": Reader(lambda text: partial(self._watchlist.find, _encodable(text)), body),
            "cashtags": Reader(lambda text: partial(cashtags, _encodable(text)), headline + body),
            "language": Reader(lambda text: partial(detector.detect, _encodable(text)), headline),
            "publisher": Reader(lambda text: partial(without_publisher, _encodable(text), "wire"), headline),
            "copy keys": Reader(lambda text: partial(copy_keys_of, [_encodable(text)]), headline),
            "comparison": Reader(lambda text: partial(self._compare, _encodable(text)), headline),
            "windows": Reader(lambda text: partial(self._classifier.score, [_parts(text)]), headline + body),
            "word list": Reader(lambda text: partial(lexicon.score, [_parts(text)]), headline + body),
            "instants": Reader(lambda text: partial(_instant, text), RECORD_BYTES),
        }
        """By name."""
        self.decoders: dict[str, Callable[[bytes], Work]] = {
            "decode": partial(_decoding, Decoder(max_bytes=2_000_000)),
            "decode, mapped": partial(_decoding, Decoder(MAPPING, max_bytes=2_000_000)),
        }
        """By name: what makes the work for a record's value."""
        self._preparing = Preparing(
            Decoder(max_bytes=2_000_000).decode, self._enricher.enrich_all, lambda: NOW, Event()
        )

    def record(self, value: bytes) -> Work:
        """A record from its bytes to an enriched story."""
        record = Record(Position(*PARTITION, 0), None, value, NOW)
        return lambda: self._preparing.prepare([Parcel(PARTITION, 0, 0, 1, 0.0, [record])])

    def batch(self, template: str, stories: int) -> Work:
        """The transaction of so many stories that resemble one another."""
        stub, records = load("stub"), []
        for number in range(stories):
            headline = BATCHES[template].format(_word(number))
            value = f'{{"headline": "{headline}", "id": "{number}", "tickers": "K{number}"}}'.encode()
            records.append(Record(Position(*PARTITION, number), None, value, NOW))
        parcel = Parcel(PARTITION, 0, 0, stories, 0.0, records)
        self._preparing.prepare([parcel])
        enriched = [item for item in parcel.items if isinstance(item, EnrichedStory)]
        scored = [ScoredStory(item, stub.score([Text(item.text)])[0]) for item in enriched]
        return partial(self._commit, scored)

    def _commit(self, scored: Sequence[ScoredStory]) -> None:
        """As new stories, and so long after all others that none of those can be an original."""
        if self._store is None:
            database = Database(f"sqlite:///{self._folder / 'hostile.sqlite'}")
            database.migrate()
            positions = PositionStore(database, "g")
            self._store = StoryWriter(database, positions, wording), positions.ask({PARTITION: 0}, NOW)[PARTITION]
        writer, reached = self._store
        run = next(self._runs)
        stories = [
            replace(
                item,
                enriched=replace(
                    item.enriched,
                    minute=item.enriched.minute + run * 10_000,
                    story=replace(item.enriched.story, story_id=f"{run}-{item.enriched.story.story_id}"),
                ),
            )
            for item in scored
        ]
        writer.commit(Batch({PARTITION: (reached, reached + len(stories))}, stories), NOW)
        self._store = writer, reached + len(stories)

    def _compare(self, text: str) -> None:
        # Another word each time: what was compared before may be remembered.
        word = _word(next(self._runs))
        wording(f"{text} {word}a").repeats(wording(f"{text} {word}b"))


def _decoding(decoder: Decoder, value: bytes) -> Work:
    record = Record(Position(*PARTITION, 0), None, value, NOW)

    def decode() -> None:
        with suppress(RecordError):
            decoder.decode(record)

    return decode


def _encodable(text: str) -> str:
    """Without lone surrogates, as every text is once it is decoded."""
    return text.encode("utf-8", "replace").decode()


def _parts(text: str) -> Text:
    """A headline as long as one may be, and the rest as its body."""
    text = _encodable(text)
    return Text(text[:MAX_HEADLINE_CHARACTERS], text[MAX_HEADLINE_CHARACTERS:])


def _instant(text: str) -> None:
    with suppress(RecordError):
        instant_ms(text, NOW)


def _word(number: int) -> str:
    """Letters only: words with figures in them are another matter."""
    letters = ""
    while number:
        number, digit = divmod(number, 26)
        letters += ascii_lowercase[digit]
    return (letters or "a").capitalize()
