"""The third stage: scored stories and dead letters go into the database, whatever it says to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from sentiment_monitor.domain.news import DeadLetter, Partition, Record, ScoredStory
from sentiment_monitor.errors import DatabaseAway, FatalError, Fenced, RetryLater
from sentiment_monitor.store.stories.transaction import Batch, Written
from sentiment_monitor.stream.ceiling import CeilingGuard, DeadLetterCeiling
from sentiment_monitor.stream.parcel import Parcel, isolating, place_of, record_at, sifted
from sentiment_monitor.telemetry.turns import Turns
from sentiment_monitor.times import pauses

_log = structlog.get_logger()

_ISOLATE_ATTEMPTS = 3  # before a batch that the database refuses is taken apart


class Writer(Protocol):
    """Stores batches: all of one or nothing."""

    def commit(self, batch: Batch, now_ms: int) -> Written:
        """Stores one batch, and moves the next offsets on.

        Raises Fenced when the offsets are not where the batch begins; DatabaseAway when nothing was stored and the
        same call may succeed later. Any other error means that the batch holds something that is refused.
        """
        ...


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """What became of some parcels: those that are stored, by partition in order, and whose partitions are fenced."""

    stored: dict[Partition, list[Parcel]] = field(default_factory=dict)
    fenced: set[Partition] = field(default_factory=set)
    written: Written = field(default_factory=Written)


class Writing:
    """Parcels into the database. ``now_ms`` is the wall clock; ``aborting`` ends the wait for one that is away.

    ``turns`` rest while it waits: that is no standstill.
    """

    def __init__(
        self,
        writer: Writer,
        now_ms: Callable[[], int],
        ceiling: DeadLetterCeiling,
        aborting: threading.Event,
        turns: Turns | None = None,
    ) -> None:
        self._writer = writer
        self._turns = turns or Turns("write")
        self._now_ms = now_ms
        self._aborting = aborting
        self._ceiling = CeilingGuard(ceiling)
        self._store_ceiling = CeilingGuard(ceiling)  # of records that only the database refuses

    def write(self, parcels: Sequence[Parcel]) -> WriteOutcome:
        """Stores parcels: in one transaction, in one a partition if one is fenced, in several if one is refused.

        Raises DatabaseAway when the wait for the database was aborted; FatalError when too many records are dead
        letters, when the database refuses too many stories, or a dead letter.
        """
        self._ceiling.check([item for parcel in parcels for item in parcel.items])
        by_partition: dict[Partition, list[Parcel]] = {}
        for parcel in parcels:
            by_partition.setdefault(parcel.partition, []).append(parcel)
        if not by_partition:
            return WriteOutcome()
        try:
            return WriteOutcome(stored=by_partition, written=self._store(by_partition.values()))
        except Fenced:
            return self._one_by_one(by_partition)  # one of the partitions is no longer ours; the others still are

    def _one_by_one(self, by_partition: dict[Partition, list[Parcel]]) -> WriteOutcome:
        stored, fenced, written = {}, set(), Written()
        for partition, parcels in by_partition.items():
            try:
                written += self._store([parcels])
                stored[partition] = parcels
            except Fenced as error:
                _log.warning("batch.fenced", reason=str(error), records=sum(map(len, parcels)))
                fenced.add(partition)
        return WriteOutcome(stored, fenced, written)

    def _store(self, partitions: Collection[Sequence[Parcel]]) -> Written:
        items = [item for parcels in partitions for parcel in parcels for item in parcel.items]
        batch = Batch(
            offsets={run[0].partition: (run[0].start_offset, run[-1].next_offset) for run in partitions},
            scored=[item for item in items if isinstance(item, ScoredStory)],
            dead=[item for item in items if isinstance(item, DeadLetter)],
        )
        return self._commit(batch, partitions)

    def _commit(self, batch: Batch, partitions: Collection[Sequence[Parcel]]) -> Written:
        """Stores a batch, whole or, where the database refuses something in it, without that."""
        try:
            result = self._store_whole(batch)
        except (RetryLater, Fenced, FatalError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever a driver raises about one value
            return self._isolate(batch, partitions, error)
        self._store_ceiling.check(batch.scored)
        return result

    def _store_whole(self, batch: Batch) -> Written:
        """Stores a batch; waits for a database that is away. Raises what it says to a batch repeatedly."""
        pause, refused = pauses(), 0
        while True:
            try:
                result = self._writer.commit(batch, self._now_ms())
            except DatabaseAway:  # which the database has told the log
                self._turns.rest()
                if self._aborting.wait(next(pause)):
                    raise
                self._turns.moved()
            except (Fenced, FatalError):
                raise
            except Exception as error:
                refused += 1
                _log.warning("batch.refused", error=f"{type(error).__name__}: {error}", attempt=refused)
                if refused >= _ISOLATE_ATTEMPTS:
                    raise
            else:
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
        letters = self._sift(batch, partitions, error, total)
        self._store_ceiling.check(letters if len(letters) == len(batch.scored) else batch.scored[:1])
        total += self._commit(Batch(batch.offsets, dead=[*batch.dead, *letters]), partitions)
        return total

    def _sift(
        self, batch: Batch, partitions: Collection[Sequence[Parcel]], error: Exception, total: Written
    ) -> list[DeadLetter]:
        """Stores those of one record's stories that the database takes; returns dead letters for the others.

        The offset stays until all are stored, and what would count twice if the record were read again, its dead
        letters, goes with it; a story stored twice is a duplicate.
        """
        standing = {partition: (start, start) for partition, (start, _) in batch.offsets.items()}

        def store(stories: Sequence[ScoredStory]) -> Sequence[ScoredStory]:
            nonlocal total
            total += self._store_whole(Batch(standing, stories))
            return stories

        def letter(scored: ScoredStory, refusal: Exception) -> DeadLetter:
            position = scored.enriched.story.position
            record = record_at([parcel for parcels in partitions for parcel in parcels], position)
            return refused_letter(record, scored, refusal)

        # Where there are dead letters, perhaps it is one of those that was refused.
        outcomes = isolating(batch.scored, store, letter) if batch.dead else sifted(batch.scored, error, store, letter)
        return [outcome for outcome in outcomes if isinstance(outcome, DeadLetter)]


def refused_letter(record: Record, scored: ScoredStory, error: Exception) -> DeadLetter:
    """The dead letter of a story that the database refuses."""
    reason = f"{type(error).__name__}: {error}"
    _log.error("record.store_failed", error=reason, **place_of(record))
    return DeadLetter(record, "store_failed", reason, scored.enriched.story.part)


def _split(batch: Batch) -> list[Batch]:
    """The batch in two, each advancing the offsets over the records it holds; one record cannot be split."""
    items: list[ScoredStory | DeadLetter] = sorted((*batch.scored, *batch.dead), key=_position_of)
    middle = len(items) // 2
    cuts = [cut for cut in range(1, len(items)) if _position_of(items[cut - 1]) != _position_of(items[cut])]
    if not cuts:
        return [batch]
    cut = min(cuts, key=lambda place: abs(place - middle))
    parts: list[Batch] = []
    first, second = items[:cut], items[cut:]
    reached: dict[Partition, int] = {}
    for part, last in ((first, False), (second, True)):
        offsets = {}
        for partition, (start, following) in batch.offsets.items():
            begin = reached.get(partition, start)
            inside = [_position_of(item)[2] for item in part if _position_of(item)[:2] == partition]
            end = following if last else (max(inside) + 1 if inside else begin)
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
