"""The hot loop's one transaction: stories, scores, bucket increments, dead letters, dropped fields, the next offsets.

All of it or nothing. The offset update is conditional on the value it replaces, so a process that lost its
partition to another can write nothing (:class:`Fenced`), and a record is never counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from sentiment_monitor.domain.news import DeadLetter, Partition, ScoredStory, Scorer
from sentiment_monitor.store import classifiers, dead_letters, dropped_fields, replays
from sentiment_monitor.store.database import Connection, Database
from sentiment_monitor.store.positions import PositionStore
from sentiment_monitor.store.replays import Reread
from sentiment_monitor.store.stories.bulk import Bulk, bulk_of
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
                written = self._apply(connection, bulk, batch.scored, now_ms)
        self._registered.update(scorer.classifier for scorer in scorers)
        written.dead = len(batch.dead)
        return written

    def reread(self, rereads: Sequence[Reread], now_ms: int) -> Written:
        """Stores what dead letters have become, and that they have; what somebody else has settled is left out.

        Raises as :meth:`commit` does, but never Fenced.
        """
        scorers = self._unregistered(story for reread in rereads for story in reread.stories)
        with self.database.write() as connection, closing(bulk_of(connection)) as bulk:
            bulk.take_turn()
            classifiers.register(connection, scorers, now_ms)
            written = self._apply(connection, bulk, replays.settle(connection, rereads, now_ms), now_ms)
        self._registered.update(scorer.classifier for scorer in scorers)
        return written

    def _apply(self, connection: Connection, bulk: Bulk, scored: Sequence[ScoredStory], now_ms: int) -> Written:
        dropped_fields.count(connection, scored, now_ms)
        changes = Changes(bulk, Copying(self.wording, self.copy_window_minutes))
        changes.apply(scored)
        changes.write(now_ms)
        return changes.written

    def _unregistered(self, scored: Iterable[ScoredStory]) -> list[Scorer]:
        scorers = {item.score.by.classifier: item.score.by for item in scored if item.score is not None}
        return [scorer for classifier, scorer in scorers.items() if classifier not in self._registered]
