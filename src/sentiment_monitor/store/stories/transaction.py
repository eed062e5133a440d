"""The hot loop's one transaction: stories, scores, bucket increments, dead letters, dropped fields, the next offsets.

All of it or nothing. The offset update is conditional on the value it replaces, so a process that lost its
partition to another can write nothing (:class:`Fenced`), and a record is never counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from sentiment_monitor.domain.news import DeadLetter, Partition, ScoredStory, Scorer
from sentiment_monitor.store import classifiers, dead_letters, dropped_fields
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.stories.bulk import bulk_of
from sentiment_monitor.store.stories.changes import Changes, Written
from sentiment_monitor.store.stories.originals import Copying, HeadlineWords
from sentiment_monitor.times import HOUR_MINUTES

__all__ = ["Batch", "StoryWriter", "Written"]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction stores.

    ``offsets`` maps each partition to (the next offset SQL must hold now, the next offset afterwards).
    """

    offsets: Mapping[Partition, tuple[int, int]]
    scored: Sequence[ScoredStory] = ()
    dead: Sequence[DeadLetter] = ()


@dataclass(slots=True)
class StoryWriter:
    """Stores batches, and moves the positions of their consumer group on.

    By the ``wording`` of their clean headlines it is decided about candidates that share a near copy key.
    """

    database: Database
    positions: PositionStore
    wording: Callable[[str], HeadlineWords]
    copy_window_minutes: int = 72 * HOUR_MINUTES
    _registered: set[str] = field(default_factory=set, init=False)  # ids of classifiers that are in SQL

    def commit(self, batch: Batch, now_ms: int) -> Written:
        """Stores one batch.

        Raises Fenced when SQL is not where the batch begins, DatabaseAway when nothing was written and the
        same call may succeed later. Any other error means that the batch holds something the database refuses.
        """
        scorers = self._unregistered(batch.scored)
        with self.database.write() as connection:
            self.positions.advance(connection, batch.offsets, now_ms)
            with closing(bulk_of(connection)) as bulk:
                bulk.take_turn()
                classifiers.register(connection, scorers, now_ms)
                dead_letters.put_aside(connection, batch.dead, now_ms)
                dropped_fields.count(connection, batch.scored, now_ms)
                changes = Changes(bulk, Copying(self.wording, self.copy_window_minutes))
                changes.apply(batch.scored)
                changes.write(now_ms)
        self._registered.update(scorer.classifier for scorer in scorers)
        changes.written.dead = len(batch.dead)
        return changes.written

    def _unregistered(self, scored: Iterable[ScoredStory]) -> list[Scorer]:
        scorers = {item.score.by.classifier: item.score.by for item in scored if item.score is not None}
        return [scorer for classifier, scorer in scorers.items() if classifier not in self._registered]
