"""Working values of the batch transaction: one story's row, and the bucket increments that follow from it."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from sentiment_monitor.domain.news import Action, Score, ScoredStory
from sentiment_monitor.domain.series import series_of, ticker_series

MICRO = 1_000_000
COUNTERS = ("stories", "negative", "neutral", "positive", "copies", "negative_micro", "score_micro")

BucketKey = tuple[str, int]
"""Series and event-time minute."""
Counters = tuple[int, int, int, int, int, int, int]
"""In the order of ``COUNTERS``."""


@dataclass(slots=True, eq=False)
class StoryRow:
    """What the batch transaction must know of one story and its score. Mutable: the transaction's working copy.

    The first fields are in the order of ``bulk.STORED``: what the database gives makes a row.
    ``body`` and ``url`` are empty in a row that was loaded only because it may be copied. Tickers and copy keys are
    kept as their columns hold them: few of the rows that are loaded need them apart.
    """

    id: int | None
    source: str
    story_id: str
    revision: int | None
    deleted: bool
    headline: str
    body: str
    url: str
    text: str
    tickers: str
    published_ms: int
    minute: int
    packed_keys: bytes
    copy_of_id: int | None = None  # set when the original is not loaded
    counts_for: str = ""  # of a copy's tickers those in whose series it counts as a story
    label: str | None = None  # None: a deletion of a story never seen
    score_topic: str | None = None
    negative: float = 0.0
    signed: float = 0.0
    copy_of: StoryRow | None = None
    message: ScoredStory | None = field(default=None, repr=False)  # set when every column must be written
    score: Score | None = field(default=None, repr=False)  # set when it must be written

    @classmethod
    def from_scored(cls, scored: ScoredStory) -> StoryRow:
        """The row of a story seen for the first time."""
        enriched, story = scored.enriched, scored.enriched.story
        row = cls(
            None,
            story.source,
            story.story_id,
            story.revision,
            story.action is Action.DELETED,
            story.headline,
            story.body,
            story.url,
            enriched.text,
            join_tickers(enriched.tickers),
            story.published_ms,
            enriched.minute,
            pack_keys(enriched.copy_keys),
        )
        row.message = scored
        row._take_score(scored.score)
        return row

    def says(self, scored: ScoredStory) -> bool:
        """Whether a message repeats what the row holds."""
        return (
            self.is_retold_by(scored)
            and self.tickers == join_tickers(scored.enriched.tickers)
            and self.published_ms == scored.enriched.story.published_ms
        )

    def is_retold_by(self, scored: ScoredStory) -> bool:
        """Whether a message has the row's text and address, if perhaps other tickers or another time."""
        story = scored.enriched.story
        return self.headline == story.headline and self.body == story.body and self.url == story.url

    def united_with(self, scored: ScoredStory) -> ScoredStory:
        """The message with the row's tickers as well."""
        enriched = scored.enriched
        tickers = tuple(sorted({*split_tickers(self.tickers), *enriched.tickers}))
        return replace(scored, enriched=replace(enriched, tickers=tickers))

    def rewrite(self, scored: ScoredStory) -> None:
        """Takes over what a newer message says; identity, revision and cluster are the caller's."""
        enriched, story = scored.enriched, scored.enriched.story
        self.message = scored
        self.deleted = False
        self.headline, self.body, self.url, self.text = story.headline, story.body, story.url, enriched.text
        self.tickers, self.packed_keys = join_tickers(enriched.tickers), pack_keys(enriched.copy_keys)
        self.published_ms, self.minute = story.published_ms, enriched.minute
        self._take_score(scored.score)

    def _take_score(self, score: Score | None) -> None:
        if score is not None:
            self.score = score
            self.label, self.score_topic = score.label.value, score.topic
            self.negative, self.signed = score.negative, score.score

    @property
    def copy_keys(self) -> tuple[int, ...]:
        """The first is equal for copies after normalisation, near copies share one of the rest."""
        return struct.unpack(f">{len(self.packed_keys) // 8}q", self.packed_keys)

    @property
    def is_specific(self) -> bool:
        """Whether the headline has words enough to tell one event from another: such a headline has near keys."""
        return len(self.packed_keys) > 8

    @property
    def is_copy(self) -> bool:
        """Counted as a copy of another story."""
        return self.copy_of is not None or self.copy_of_id is not None

    @property
    def original_id(self) -> int | None:
        """Id of the story this is a copy of, once that one has an id."""
        return self.copy_of.id if self.copy_of is not None else self.copy_of_id

    @property
    def order(self) -> tuple[int, str, str]:
        """Of several copies the smallest is the original, in whatever order they arrive."""
        return (self.published_ms, self.source, self.story_id)

    def become_original(self) -> None:
        """Is a copy no longer."""
        self.copy_of = self.copy_of_id = None
        self.counts_for = ""

    def count_into(self, deltas: dict[BucketKey, list[int]], sign: int) -> None:
        """Adds what this row contributes to its buckets, or with a sign of -1 takes it back."""
        if self.deleted or self.label is None:
            return
        series = series_of(self.source, self.score_topic, split_tickers(self.tickers))
        if self.counts_for:
            counted_for = {ticker_series(ticker) for ticker in split_tickers(self.counts_for)}
            series = (name for name in series if name not in counted_for)
            self._count(deltas, sign, counted_for, is_copy=False)
        self._count(deltas, sign, series, is_copy=self.is_copy)

    def _count(self, deltas: dict[BucketKey, list[int]], sign: int, series: Iterable[str], *, is_copy: bool) -> None:
        assert self.label is not None
        counters = counters_of(self.label, self.negative, self.signed, is_copy=is_copy)
        steps = [(place, sign * value) for place, value in enumerate(counters) if value]
        for name in series:
            delta = deltas.get((name, self.minute))
            if delta is None:
                delta = deltas[name, self.minute] = [0] * len(COUNTERS)
            for place, value in steps:
                delta[place] += value

    def story_values(self, now_ms: int) -> tuple[Any, ...]:
        """Every column of ``stories`` in the table's order. Only for a row that a message has filled."""
        assert self.message
        enriched = self.message.enriched
        position = enriched.story.position
        return (
            self.id,
            self.source,
            self.story_id,
            self.revision,
            self.deleted,
            self.headline,
            self.body,
            self.url,
            self.text,
            enriched.language,
            self.tickers,
            self.published_ms,
            now_ms,
            self.minute,
            self.original_id,
            self.packed_keys,
            position.topic,
            position.partition,
            position.offset,
            enriched.story.part,
            self.counts_for,
        )

    def score_values(self, now_ms: int) -> tuple[Any, ...]:
        """Every column of ``scores`` in the table's order. Only for a row with a score to be written."""
        score = self.score
        assert score
        return (
            self.id,
            score.by.classifier,
            score.by.calibration,
            self.label,
            score.negative,
            score.neutral,
            score.positive,
            self.signed,
            score.confidence,
            score.topic,
            score.topic_confidence,
            score.windows,
            score.truncated,
            score.degraded,
            score.uncertain,
            now_ms,
        )


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


def pack_keys(keys: tuple[int, ...]) -> bytes:
    """Copy keys as their column holds them."""
    return struct.pack(f">{len(keys)}q", *keys)
