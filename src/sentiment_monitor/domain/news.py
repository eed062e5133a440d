"""News on its way: records, stories, scores, dead letters. Frozen, no I/O, no clock.

Instants are integers: milliseconds since 1970-01-01 UTC (``*_ms``) or whole minutes since then
(``minute``). Integers are exact, sort, and are the same in every database; people meet them as ISO 8601
at the edges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Action(StrEnum):
    """What a message does to its story."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class Sentiment(StrEnum):
    """The investor's view of what a story reports."""

    NEGATIVE = "negative"
    NEUTRAL = "neutral"
    POSITIVE = "positive"


SENTIMENTS = (Sentiment.NEGATIVE, Sentiment.NEUTRAL, Sentiment.POSITIVE)


MAX_HEADLINE_CHARACTERS = 10_000
"""Of a story's headline, as it is sent and as it is read."""
MAX_BODY_CHARACTERS = 50_000
"""Of a story's body: thirty pages, more than a classifier reads. A megabyte of some letters would cost seconds."""

Partition = tuple[str, int]
"""Topic and partition number."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record lies in Kafka."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """Raw bytes as Kafka delivered them."""

    position: Position
    key: bytes | None
    value: bytes | None
    timestamp_ms: int  # the broker's or the producer's, as the topic is configured


UNREADABLE_BATCH = "unreadable_batch"
"""The code of a dead letter whose bytes are a batch, and no message: nothing makes one of them."""


class UnreadableBatch(bytes):
    """The value of the one record that stands for a batch which nobody can read; ``reason`` says which, and why."""

    reason: str

    def __new__(cls, raw: bytes, reason: str) -> UnreadableBatch:
        """``raw`` is what was to be read."""
        batch = super().__new__(cls, raw)
        batch.reason = reason
        return batch


@dataclass(frozen=True, slots=True)
class Dropped:
    """A field of a message that could not be read, and was left out or cut."""

    field: str
    reason: str  # stable, see docs/data-contract.md
    example: str  # the value, or its beginning, for people


@dataclass(frozen=True, slots=True)
class Story:
    """One news item as its message tells it, decoded and checked but not yet enriched."""

    source: str
    story_id: str  # unique within the source; a hash of source, url, headline and day when the feed has none
    action: Action
    revision: int | None  # None: the feed does not number revisions, arrival order decides
    headline: str
    body: str
    url: str
    published_ms: int
    tickers: tuple[str, ...]
    language: str | None
    position: Position
    part: int | None = None  # place within the record, from 0; None: the record is the story
    dropped: tuple[Dropped, ...] = ()  # at most one a field and reason


@dataclass(frozen=True, slots=True)
class EnrichedStory:
    """A story with what reading it adds, short of the classifier."""

    story: Story
    text: str  # clean headline without its publisher: links stripped, entities decoded, NFKC
    body_text: str  # clean body, may be empty
    language: str  # ISO 639-1, "und" when unknown
    tickers: tuple[str, ...]  # from the message, cashtags and the watchlist; sorted, unique, upper case
    minute: int  # event-time minute used for buckets
    copy_keys: tuple[
        int, ...
    ]  # signed 64 bit each; first: equal for copies after normalisation; rest: near copies share one


@dataclass(frozen=True, slots=True)
class Text:
    """What the classifier reads of one story; both parts are clean text."""

    headline: str
    body: str = ""


@dataclass(frozen=True, slots=True)
class Scorer:
    """Who gave a score."""

    classifier: str  # ``name@hash``
    calibration: str  # how its probabilities were calibrated, e.g. ``temperature 1.21``; ``none``
    manifest: str = field(default="{}", repr=False)  # JSON: everything that its maker says of it


@dataclass(frozen=True, slots=True)
class Score:
    """What a classifier says of one story."""

    label: Sentiment
    negative: float  # the three probabilities sum to 1
    neutral: float
    positive: float
    topic: str | None  # None: the classifier knows no topics
    topic_confidence: float
    by: Scorer
    windows: int = 1  # text windows read
    truncated: bool = False  # some text was left unread (only beyond the configured window ceiling)
    degraded: bool = False  # not scored by the configured classifier, or in a language it was not trained on
    uncertain: bool = False  # no label is clearly ahead

    @property
    def score(self) -> float:
        """Signed score in [-1, 1]: P(positive) - P(negative)."""
        return self.positive - self.negative

    @property
    def confidence(self) -> float:
        """Probability of the label."""
        return {"negative": self.negative, "neutral": self.neutral, "positive": self.positive}[self.label]


@dataclass(frozen=True, slots=True)
class ScoredStory:
    """What the hot loop stores for one readable story."""

    enriched: EnrichedStory
    score: Score | None  # None for a deletion


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be processed, or one story of several in it, with the reason."""

    record: Record
    code: str  # stable, see docs/data-contract.md
    detail: str  # for people
    part: int | None = None  # place of the story within the record, from 0; None: the record as a whole
