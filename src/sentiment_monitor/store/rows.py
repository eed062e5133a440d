"""Working values of the batch transaction: one story's row, and the bucket increments that follow from it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sentiment_monitor.domain import Action, Score, ScoredStory, series_of

MICRO = 1_000_000
COUNTERS = ("stories", "negative", "neutral", "positive", "copies", "negative_micro", "score_micro")

Counters = tuple[int, int, int, int, int, int, int]
"""In the order of ``COUNTERS``."""


@dataclass(slots=True, eq=False)
class StoryRow:
    """One row of ``stories`` with the part of its score that buckets need. Mutable: the transaction's working copy."""

    id: int | None
    source: str
    story_id: str
    revision: int | None
    deleted: bool
    headline: str
    body: str
    url: str
    text: str
    language: str
    tickers: tuple[str, ...]
    published_ms: int
    received_ms: int
    minute: int
    copy_keys: tuple[int, ...]
    kafka_topic: str
    partition: int
    offset: int
    label: str | None = None  # None: a deletion of a story never seen
    score_topic: str | None = None
    negative: float = 0.0
    signed: float = 0.0
    copy_of: StoryRow | None = None
    copy_of_id: int | None = None  # set when the original is not loaded
    score: Score | None = field(default=None, repr=False)  # set when it must be written

    @classmethod
    def from_scored(cls, scored: ScoredStory, received_ms: int) -> StoryRow:
        """The row of a story seen for the first time."""
        enriched, story = scored.enriched, scored.enriched.story
        row = cls(
            id=None,
            source=story.source,
            story_id=story.story_id,
            revision=story.revision,
            deleted=story.action is Action.DELETED,
            headline=story.headline,
            body=story.body,
            url=story.url,
            text=enriched.text,
            language=enriched.language,
            tickers=enriched.tickers,
            published_ms=story.published_ms,
            received_ms=received_ms,
            minute=enriched.minute,
            copy_keys=enriched.copy_keys,
            kafka_topic=story.position.topic,
            partition=story.position.partition,
            offset=story.position.offset,
        )
        row.take_score(scored.score)
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> StoryRow:
        """The row as the database holds it, joined with its score."""
        return cls(
            id=row["id"],
            source=row["source"],
            story_id=row["story_id"],
            revision=row["revision"],
            deleted=bool(row["deleted"]),
            headline=row["headline"],
            body=row["body"],
            url=row["url"],
            text=row["text"],
            language=row["language"],
            tickers=split_tickers(row["tickers"]),
            published_ms=row["published_ms"],
            received_ms=row["received_ms"],
            minute=row["minute"],
            copy_keys=unpack_keys(row["copy_keys"]),
            kafka_topic=row["kafka_topic"],
            partition=row["kafka_partition"],
            offset=row["kafka_offset"],
            label=row["label"],
            score_topic=row["topic"],
            negative=row["negative"] or 0.0,
            signed=row["score"] or 0.0,
            copy_of_id=row["copy_of"],
        )

    def take_score(self, score: Score | None) -> None:
        """Replaces the score; None keeps what is there."""
        if score is not None:
            self.score = score
            self.label, self.score_topic = str(score.label), score.topic
            self.negative, self.signed = score.negative, score.score

    @property
    def is_copy(self) -> bool:
        """Counted as a copy of another story."""
        return self.copy_of is not None or self.copy_of_id is not None

    @property
    def order(self) -> tuple[int, str, str]:
        """Of several copies the smallest is the original, in whatever order they arrive."""
        return (self.published_ms, self.source, self.story_id)

    def contributions(self) -> list[tuple[str, int, Counters]]:
        """(series, minute, counters) of this row in the buckets."""
        if self.deleted or self.label is None:
            return []
        counters = counters_of(self.label, self.negative, self.signed, is_copy=self.is_copy)
        return [(series, self.minute, counters) for series in series_of(self.source, self.score_topic, self.tickers)]

    def values(self) -> dict[str, Any]:
        """Column values, without ``id``."""
        original = self.copy_of
        return {
            "source": self.source,
            "story_id": self.story_id,
            "revision": self.revision,
            "deleted": self.deleted,
            "headline": self.headline,
            "body": self.body,
            "url": self.url,
            "text": self.text,
            "language": self.language,
            "tickers": join_tickers(self.tickers),
            "published_ms": self.published_ms,
            "received_ms": self.received_ms,
            "minute": self.minute,
            "copy_of": original.id if original is not None else self.copy_of_id,
            "copy_keys": struct.pack(f">{len(self.copy_keys)}q", *self.copy_keys),
            "kafka_topic": self.kafka_topic,
            "kafka_partition": self.partition,
            "kafka_offset": self.offset,
        }


def counters_of(label: str, negative: float, signed: float, *, is_copy: bool) -> Counters:
    """What one scored story adds to each of its buckets."""
    if is_copy:
        return (0, 0, 0, 0, 1, 0, 0)
    return (
        1,
        int(label == "negative"),
        int(label == "neutral"),
        int(label == "positive"),
        0,
        round(negative * MICRO),
        round(signed * MICRO),
    )


def join_tickers(tickers: tuple[str, ...]) -> str:
    """``,AAPL,MSFT,``: readable, and LIKE '%,AAPL,%' finds one."""
    return f",{','.join(tickers)}," if tickers else ""


def split_tickers(text: str) -> tuple[str, ...]:
    """The inverse of :func:`join_tickers`."""
    return tuple(text.strip(",").split(",")) if text else ()


def unpack_keys(packed: bytes) -> tuple[int, ...]:
    """Copy keys from their column."""
    return struct.unpack(f">{len(packed) // 8}q", packed)
