"""A database with something in it: stories with every field filled in, and a writer that numbers its offsets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sentiment_monitor.domain.alert_states import Kind, State
from sentiment_monitor.domain.alerts import Alert, Event, Evidence, Notification
from sentiment_monitor.domain.news import (
    Action,
    DeadLetter,
    EnrichedStory,
    Partition,
    Position,
    Record,
    Score,
    ScoredStory,
    Scorer,
    Sentiment,
    Story,
)
from sentiment_monitor.enrich.copies import copy_keys, wording
from sentiment_monitor.enrich.publishers import without_publisher
from sentiment_monitor.errors import Fenced
from sentiment_monitor.store.alerts import AlertStore
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.leases import LeaseStore
from sentiment_monitor.store.outbox import Due, Outbox
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.stories.transaction import Batch, StoryWriter, Written
from sentiment_monitor.times import MINUTE_MS

NOW = 1_678_468_860_000
TOPIC = "news"
STUB = Scorer("stub@0", "none")
_BY_LABEL = {"negative": (0.8, 0.15, 0.05), "neutral": (0.1, 0.8, 0.1), "positive": (0.01, 0.09, 0.9)}


def score(label: str = "neutral", topic: str | None = "earnings", by: Scorer = STUB) -> Score:
    return Score(Sentiment(label), *_BY_LABEL[label], topic=topic, topic_confidence=0.5, by=by)


def scored(
    story_id: str,
    headline: str = "",
    *,
    source: str = "wire",
    action: str = "created",
    revision: int | None = None,
    minute: int = 1_000,
    label: str = "neutral",
    topic: str | None = "earnings",
    tickers: tuple[str, ...] = (),
    offset: int = 0,
    by: Scorer = STUB,
    **fields: Any,
) -> ScoredStory:
    headline = headline or f"story {story_id}"
    story = Story(
        source=source,
        story_id=story_id,
        action=Action(action),
        revision=revision,
        headline=headline,
        body=fields.pop("body", ""),
        url=fields.pop("url", ""),
        published_ms=fields.pop("published_ms", minute * MINUTE_MS),
        tickers=tickers,
        language="en",
        position=Position(TOPIC, 0, offset),
        part=fields.pop("part", None),
        dropped=fields.pop("dropped", ()),
    )
    text = fields.pop("text", without_publisher(headline, source))
    enriched = EnrichedStory(story, text, "", "en", tickers, minute, copy_keys(text))
    return ScoredStory(enriched, None if action == "deleted" else score(label, topic, by))


def dead(offset: int = 0, **fields: Any) -> DeadLetter:
    record = Record(Position(TOPIC, 0, offset), fields.pop("key", None), fields.pop("value", b"\xff"), NOW)
    return DeadLetter(record, fields.pop("code", "not_json"), fields.pop("detail", "why"))


class Desk:
    """Writes stories one batch after the other at the offsets that come next."""

    def __init__(self, database: Database, group: str = "g", **options: Any) -> None:
        self.positions = PositionStore(database, group)
        self.writer = StoryWriter(database, self.positions, wording, **options)
        self.next = self.positions.ask({(TOPIC, 0): 0}, NOW)[TOPIC, 0]

    def write(self, *stories: ScoredStory, dead: Sequence[DeadLetter] = ()) -> Written:
        following = self.next + len(stories) + len(dead)
        written = self.writer.commit(Batch({(TOPIC, 0): (self.next, following)}, stories, dead), NOW)
        self.next = following
        return written


def alert(**values: Any) -> Alert:
    """An alert that fires since minute 100, unless told otherwise."""
    usual: dict[str, Any] = {
        "rule": "rule", "series": "ticker:A", "severity": "critical", "state": State.FIRING, "title": "A fires",
        "pending_minute": 100, "fired_minute": 100,
    }  # fmt: skip
    return Alert(**(usual | values))


def event(**values: Any) -> Event:
    """A transition to firing at minute 100, unless told otherwise."""
    usual: dict[str, Any] = {
        "transition": Kind.FIRED, "minute": 100, "reason": "spike_burst", "observed": 5.0, "volume": 9.0,
        "expected": 0.5, "p_value": 1e-6, "q_value": 1e-5, "evidence": Evidence(sources=("wire",)),
        "explanation": "because",
    }  # fmt: skip
    return Event(**(usual | values))


def notification(**values: Any) -> Notification:
    """A notification for the log notifier of ``desk``, unless told otherwise."""
    usual: dict[str, Any] = {
        "key": "key-1",
        "receiver": "desk",
        "notifier": "log",
        "title": "title",
        "text": "text",
        "body": b"{}",
    }
    return Notification(**(usual | values))


class MemoryWriter:
    """Keeps what it is given, and fences and refuses as SQL does. ``fail`` may raise for a batch."""

    def __init__(self) -> None:
        self.offsets: dict[Partition, int] = {}
        self.stored: list[str] = []
        self.dead: list[tuple[str, int]] = []
        self.batches: list[Batch] = []
        self.fail: Callable[[Batch], None] = lambda batch: None

    def positions(self, starts: Mapping[Partition, int | None]) -> dict[Partition, int]:
        return {partition: self.offsets.setdefault(partition, start or 0) for partition, start in starts.items()}

    def commit(self, batch: Batch, now_ms: int) -> Written:
        self.fail(batch)
        for partition, (start, _) in batch.offsets.items():
            if self.offsets.get(partition) != start:
                raise Fenced(f"{partition}")
        if any((item.enriched.story.revision or 0).bit_length() > 63 for item in batch.scored):
            raise OverflowError("no such integer in SQL")
        self.offsets |= {partition: following for partition, (_, following) in batch.offsets.items()}
        self.batches.append(batch)
        self.stored += [item.enriched.story.story_id for item in batch.scored]
        self.dead += [(letter.code, letter.record.position.offset) for letter in batch.dead]
        return Written(created=len(batch.scored), dead=len(batch.dead))


class Alerts(AlertStore):
    """The alerts of a database, with its outbox and the lease of the tick loop."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.database = database
        self.outbox = Outbox(database)
        self.leases = LeaseStore(database)

    def told(self, alert_ids: Collection[int]) -> dict[int, dict[str, int]]:
        """When each receiver was told last of these alerts."""
        heard = self.book(alert_ids, 0).heard
        return {
            alert_id: {receiver: known.minute for receiver, known in by_receiver.items()}
            for alert_id, by_receiver in heard.items()
        }

    def due(self, now_ms: int) -> list[Due]:
        """What is due for whichever notifier, in the order it was queued."""
        lanes = self.outbox.lanes(now_ms)
        return sorted((due for lane in lanes for due in self.outbox.due(now_ms, lane, 1_000)), key=lambda due: due.id)
