"""The stages of the hot loop: prepare, score, write, and what becomes of a record that one of them cannot take.

A stage works on the parcels it is given; :mod:`sentiment_monitor.stream.pipeline` runs each in a thread of its own.
What a stage cannot do with one record is found by bisection and becomes a dead letter; what it cannot do at all it
raises.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import structlog

from sentiment_monitor.domain.news import (
    Action,
    DeadLetter,
    EnrichedStory,
    Partition,
    Record,
    Score,
    ScoredStory,
    Story,
    Text,
)
from sentiment_monitor.errors import DatabaseAway, FatalError, Fenced, RecordError
from sentiment_monitor.store.stories.transaction import Batch, Written

_log = structlog.get_logger()

_ISOLATE_ATTEMPTS = 3  # before a batch that the database refuses is taken apart

Given = TypeVar("Given")
Made = TypeVar("Made")

Item = EnrichedStory | ScoredStory | DeadLetter
"""What a record has become on its way."""


class Classifier(Protocol):
    """What the hot loop asks of a classifier."""

    @property
    def languages(self) -> Sequence[str]: ...

    def score(self, texts: Sequence[Text]) -> list[Score]: ...


class Writer(Protocol):
    """What the hot loop asks of the store."""

    def commit(self, batch: Batch, now_ms: int) -> Written: ...


@dataclass(slots=True)
class Parcel:
    """A run of one partition's records on its way through the stages."""

    partition: Partition
    epoch: int
    start_offset: int
    next_offset: int
    fetched_at: float  # monotonic seconds
    records: Sequence[Record]
    items: list[Item] = field(default_factory=list)  # one a record, once prepared

    def __len__(self) -> int:
        return len(self.records)

    @property
    def minutes(self) -> list[int]:
        """Event-time minutes of the scored stories; a deletion's is that of its record, which says nothing of news."""
        return [item.enriched.minute for item in self.items if isinstance(item, ScoredStory) and item.score is not None]

    @property
    def published_ms(self) -> list[int]:
        """When the scored stories say that they were published."""
        scored = (item for item in self.items if isinstance(item, ScoredStory) and item.score is not None)
        return [item.enriched.story.published_ms for item in scored]


def _isolating(
    batch: Sequence[Given],
    work: Callable[[Sequence[Given]], Sequence[Made]],
    dead_letter: Callable[[Given, Exception], DeadLetter],
) -> list[Made | DeadLetter]:
    """What ``work`` makes of each. Halves a failing batch until the culprit is alone. Raises FatalError at once."""
    if not batch:
        return []
    try:
        return list(work(batch))
    except FatalError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever goes wrong with one record must not stop the others
        if len(batch) == 1:
            return [dead_letter(batch[0], error)]
        middle = len(batch) // 2
        return _isolating(batch[:middle], work, dead_letter) + _isolating(batch[middle:], work, dead_letter)


# -- prepare ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preparing:
    """Records to enriched stories. ``decode`` and ``enrich`` may raise RecordError; ``now_ms`` is the wall clock."""

    decode: Callable[[Record], Story]
    enrich: Callable[[Sequence[Story], int], list[EnrichedStory]]
    now_ms: Callable[[], int]

    def prepare(self, parcels: Sequence[Parcel]) -> None:
        """Fills in the items: an enriched story or a dead letter for each record."""
        for parcel in parcels:
            parcel.items = self._prepared(parcel.records, self.now_ms())

    def _prepared(self, records: Sequence[Record], received_ms: int) -> list[Item]:
        decoded = [self._decoded(record) for record in records]
        enriched = iter(
            _isolating(
                [(record, one) for record, one in zip(records, decoded, strict=True) if isinstance(one, Story)],
                lambda batch: self.enrich([story for _, story in batch], received_ms),
                lambda one, error: _unprepared(one[0], error),
            )
        )
        return [next(enriched) if isinstance(one, Story) else one for one in decoded]

    def _decoded(self, record: Record) -> Story | DeadLetter:
        try:
            return self.decode(record)
        except Exception as error:  # noqa: BLE001
            return _unprepared(record, error)


def _unprepared(record: Record, error: Exception) -> DeadLetter:
    if isinstance(error, RecordError):
        return DeadLetter(record, error.code, error.detail)
    # A bug that one record triggers must not stop the others; the dead letter keeps the record.
    _log.error("record.prepare_failed", exc_info=error, **_where(record))
    return DeadLetter(record, "prepare_failed", f"{type(error).__name__}: {error}")


def _where(record: Record) -> dict[str, object]:
    position = record.position
    return {"topic": position.topic, "partition": position.partition, "offset": position.offset}


# -- score --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Scoring:
    """Enriched stories to scored ones, those of several parcels at a time."""

    classifier: Classifier

    def score(self, parcels: Sequence[Parcel]) -> None:
        """Replaces each enriched story by a scored one or a dead letter. Raises the classifier's FatalError."""
        places = [
            (parcel, index, item)
            for parcel in parcels
            for index, item in enumerate(parcel.items)
            if isinstance(item, EnrichedStory)
        ]
        scores = iter(
            _isolating(
                [(parcel.records[i], item) for parcel, i, item in places if item.story.action is not Action.DELETED],
                lambda batch: self.classifier.score([Text(item.text, item.body_text) for _, item in batch]),
                _unscored,
            )
        )
        for parcel, index, item in places:
            score = None if item.story.action is Action.DELETED else next(scores)
            parcel.items[index] = score if isinstance(score, DeadLetter) else ScoredStory(item, self._mark(item, score))

    def _mark(self, item: EnrichedStory, score: Score | None) -> Score | None:
        trained_on = self.classifier.languages
        known = not trained_on or item.language == "und" or item.language in trained_on
        return score if score is None or known else replace(score, degraded=True)


def _unscored(one: tuple[Record, EnrichedStory], error: Exception) -> DeadLetter:
    record, story = one
    _log.error("record.score_failed", exc_info=error, headline=story.text[:80])
    return DeadLetter(record, "score_failed", f"{type(error).__name__}: {error}")


# -- write --------------------------------------------------------------------------------------------


class Writing:
    """Scored stories and dead letters into the database, whatever it says to them.

    ``now_ms`` is the wall clock; ``aborting`` ends the wait for a database that is away.
    """

    def __init__(
        self, writer: Writer, now_ms: Callable[[], int], ceiling: DeadLetterCeiling, aborting: threading.Event
    ) -> None:
        self.writer = writer
        self._now_ms = now_ms
        self._aborting = aborting
        self._ceiling = _Ceiling(ceiling)
        self._store_ceiling = _Ceiling(ceiling)  # of records that only the database refuses

    def check(self, parcels: Sequence[Parcel]) -> None:
        """Counts the dead letters among the items of new parcels. Raises FatalError when they are too many."""
        self._ceiling.check([item for parcel in parcels for item in parcel.items])

    def store(self, partitions: Collection[Sequence[Parcel]]) -> Written:
        """Stores the parcels, in order, of some partitions: in one transaction, or in several if it is refused.

        Raises Fenced when SQL is not where one of the partitions begins; DatabaseAway when the wait for the database
        was aborted; FatalError when the database refuses too many stories, or a dead letter.
        """
        items = [item for parcels in partitions for parcel in parcels for item in parcel.items]
        batch = Batch(
            offsets={own[0].partition: (own[0].start_offset, own[-1].next_offset) for own in partitions},
            scored=[item for item in items if isinstance(item, ScoredStory)],
            dead=[item for item in items if isinstance(item, DeadLetter)],
        )
        return self._commit(batch, partitions)

    def _commit(self, batch: Batch, partitions: Collection[Sequence[Parcel]]) -> Written:
        """Stores a batch; waits for a database that is away; takes apart a batch that the database refuses."""
        pause, away_since, refused = 0.05, None, 0
        while True:
            try:
                result = self.writer.commit(batch, self._now_ms())
            except DatabaseAway as error:
                if away_since is None:
                    away_since = time.monotonic()
                    _log.warning("database.away", error=str(error))
                if self._aborting.wait(pause):
                    raise
                pause = min(pause * 2, 10.0)
            except (Fenced, FatalError):
                raise
            except Exception as error:  # noqa: BLE001  # whatever a driver raises about one value
                refused += 1
                _log.warning("batch.refused", error=f"{type(error).__name__}: {error}", attempt=refused)
                if refused >= _ISOLATE_ATTEMPTS:
                    return self._isolate(batch, partitions, error)
            else:
                if away_since is not None:
                    _log.info("database.back", seconds=round(time.monotonic() - away_since, 1))
                self._store_ceiling.check(batch.scored)
                return result

    def _isolate(self, batch: Batch, partitions: Collection[Sequence[Parcel]], error: Exception) -> Written:
        total = Written()
        parts = _split(batch)
        if len(parts) > 1:
            for part in parts:
                total += self._commit(part, partitions)
            return total
        if not batch.scored:  # even the dead letter is refused: block, never drop
            raise FatalError(f"the database refuses a dead letter: {error}") from error
        position = batch.scored[0].enriched.story.position
        record = next(one for own in partitions for parcel in own for one in parcel.records if one.position == position)
        _log.error("record.store_failed", error=f"{type(error).__name__}: {error}", **_where(record))
        letter = DeadLetter(record, "store_failed", f"{type(error).__name__}: {error}")
        self._store_ceiling.check([letter])
        return self._commit(Batch(batch.offsets, dead=[letter]), partitions)


def _split(batch: Batch) -> list[Batch]:
    """The batch in two, each advancing the offsets over what it holds; one record cannot be split."""
    items: list[ScoredStory | DeadLetter] = sorted((*batch.scored, *batch.dead), key=_position_of)
    if len(items) < 2:
        return [batch]
    parts: list[Batch] = []
    first, second = items[: len(items) // 2], items[len(items) // 2 :]
    reached: dict[Partition, int] = {}
    for part, last in ((first, False), (second, True)):
        offsets = {}
        for partition, (start, following) in batch.offsets.items():
            begin = reached.get(partition, start)
            mine = [_position_of(item)[2] for item in part if _position_of(item)[:2] == partition]
            end = following if last else (max(mine) + 1 if mine else begin)
            if end != begin:
                offsets[partition] = (begin, end)
            reached[partition] = end
        parts.append(
            Batch(
                offsets,
                [item for item in part if isinstance(item, ScoredStory)],
                [item for item in part if isinstance(item, DeadLetter)],
            )
        )
    return parts


def _position_of(item: ScoredStory | DeadLetter) -> tuple[str, int, int]:
    position = item.record.position if isinstance(item, DeadLetter) else item.enriched.story.position
    return (position.topic, position.partition, position.offset)


# -- too many dead letters ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeadLetterCeiling:
    """When broken records are no longer an accident: see settings.service.DeadLetters."""

    max_ratio: float = 0.5
    window: int = 1_000
    max_consecutive: int = 200


class _Ceiling:
    """Counts dead letters and raises when they are no longer an accident."""

    def __init__(self, ceiling: DeadLetterCeiling) -> None:
        self._ceiling = ceiling
        self._recent: deque[bool] = deque(maxlen=ceiling.window)
        self._dead = 0
        self._consecutive = 0

    def check(self, items: Sequence[object]) -> None:
        for item in items:
            dead = isinstance(item, DeadLetter)
            if len(self._recent) == self._recent.maxlen:
                self._dead -= self._recent[0]
            self._recent.append(dead)
            self._dead += dead
            self._consecutive = self._consecutive + 1 if dead else 0
            reason = f"{item.code}: {item.detail}" if isinstance(item, DeadLetter) else ""
            if self._consecutive >= self._ceiling.max_consecutive:
                raise FatalError(
                    f"{self._consecutive} records in a row could not be read or stored (last: {reason}). Nothing is "
                    "lost: they stay in Kafka. Is the mapping in the settings right for this feed? If they are to be "
                    "put aside all the same, raise dead_letters.max_consecutive."
                )
            if len(self._recent) == self._recent.maxlen and self._dead > self._ceiling.max_ratio * len(self._recent):
                raise FatalError(
                    f"{self._dead} of the last {len(self._recent)} records could not be read or stored (last: "
                    f"{reason}). Nothing is lost: they stay in Kafka. See `monitor dead-letters`, then mend the feed "
                    "or its mapping, or raise dead_letters.max_ratio."
                )
