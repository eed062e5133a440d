"""Beside the stages: dead letters that somebody wants to be read again, by the settings in force, in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from sentiment_monitor.domain.news import DeadLetter, ScoredStory
from sentiment_monitor.errors import DatabaseAway, FatalError, RetryLater
from sentiment_monitor.store import replays
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.dead_letters import KeptRecord
from sentiment_monitor.store.leases import LeaseStore
from sentiment_monitor.store.replays import Reread
from sentiment_monitor.store.stories.transaction import Written
from sentiment_monitor.stream.parcel import Item, Parcel
from sentiment_monitor.stream.prepare import Preparing
from sentiment_monitor.stream.scoring import Scoring
from sentiment_monitor.telemetry.metrics import HotLoop

_log = structlog.get_logger()

LEASE = "replay"
_LEASE_MS = 120_000  # a portion takes a few seconds; one that died is taken over after this
_LOOK_SECONDS = 1.0
_PORTION = 50
_MOST_TAKEN = 3  # once among others, and twice alone: what ends the process so often is not read again by itself


class RereadWriter(Protocol):
    """Stores what dead letters have become."""

    def reread(self, rereads: Sequence[Reread], now_ms: int) -> Written:
        """All of it or nothing, and of each letter once. Raises DatabaseAway; any other error is about a value."""
        ...


@dataclass(slots=True)
class Replaying:
    """Reads requested dead letters again, for whoever holds the lease, so that replicas keep their order.

    ``reads`` says of which topics. Nothing here decides that a letter is stored once: the writer's transaction does.
    """

    database: Database
    preparing: Preparing
    scoring: Scoring
    writer: RereadWriter
    reads: Callable[[str], bool]
    holder: str
    now_ms: Callable[[], int]
    metrics: HotLoop
    stopping: threading.Event  # also ends a wait of ``preparing``
    idle: bool = False  # nothing was to be done at the last look
    _lease: LeaseStore = field(init=False)

    def __post_init__(self) -> None:
        self._lease = LeaseStore(self.database, name=LEASE)

    def run(self) -> None:
        """Until told to stop. Waits while the database is away; raises the classifier's FatalError."""
        away = False
        while not self.stopping.is_set():
            try:
                self.read_waiting()
                away = False
            except RetryLater as error:
                if not away:
                    _log.warning("replay.postponed", error=str(error))
                away = True
            self.stopping.wait(_LOOK_SECONDS)

    def stop(self) -> None:
        """Ends :meth:`run` after the portion that is being read. Does not block."""
        self.stopping.set()

    def read_waiting(self) -> None:
        """Reads what waits now, a portion at a time. Raises RetryLater, and the classifier's FatalError."""
        lease = None
        while not self.stopping.is_set():
            with self.database.read() as connection:
                letters = replays.waiting(connection, self.reads, _PORTION)
            self.idle = not letters
            if not letters:
                break
            lease = self._lease.acquire(self.holder, self.now_ms(), _LEASE_MS)
            if lease is None:
                self.idle = True  # another process is at it
                break
            self._read(letters)
        if lease is not None:
            self._lease.release(lease)

    def _read(self, letters: Sequence[KeptRecord]) -> None:
        if any(letter.taken for letter in letters):
            letters = letters[:1]  # a reading of these began and did not end: one of them may be why
        turns = self.metrics.turns["replay"]
        with turns:
            with self.database.write() as connection:
                replays.take(connection, [letter.id for letter in letters])
            rereads = self._reread(letters)
        pause = 0.05
        while True:
            try:
                with turns:
                    self._store(rereads)
                break
            except DatabaseAway:
                if self.stopping.wait(pause):
                    raise
                pause = min(2 * pause, 10.0)
        failed = sum(reread.failed for reread in rereads)
        self.metrics.replayed.labels("unreadable").inc(failed)
        self.metrics.replayed.labels("stored").inc(len(rereads) - failed)
        _log.info("replay.read", first=letters[0].id, letters=len(letters), unreadable=failed)

    def _reread(self, letters: Sequence[KeptRecord]) -> list[Reread]:
        parcels = [_parcel(letter) if letter.taken < _MOST_TAKEN else None for letter in letters]
        readable = [parcel for parcel in parcels if parcel is not None]
        self.preparing.prepare(readable)
        self.scoring.score(readable)
        return [_outcome(letter, parcel) for letter, parcel in zip(letters, parcels, strict=True)]

    def _store(self, rereads: Sequence[Reread]) -> None:
        """All together, or without what the database refuses."""
        try:
            self.writer.reread(rereads, self.now_ms())
        except (DatabaseAway, FatalError):
            raise
        except Exception as error:
            if len(rereads) > 1:
                middle = len(rereads) // 2
                self._store(rereads[:middle])
                self._store(rereads[middle:])
                return
            (reread,) = rereads
            if reread.failed:
                raise FatalError(f"the database refuses a dead letter: {error}") from error
            _log.error("record.store_failed", error=f"{type(error).__name__}: {error}", dead_letter=reread.letter.id)
            reason = DeadLetter(reread.letter.record, "store_failed", f"{type(error).__name__}: {error}")
            self.writer.reread([Reread(reread.letter, unreadable=[reason])], self.now_ms())


def _parcel(letter: KeptRecord) -> Parcel:
    position = letter.record.position
    partition = (position.topic, position.partition)
    return Parcel(partition, 0, position.offset, position.offset + 1, 0.0, [letter.record])


def _outcome(letter: KeptRecord, parcel: Parcel | None) -> Reread:
    if parcel is None:
        detail = f"{letter.taken} processes have died while they read it again"
        return Reread(letter, unreadable=[DeadLetter(letter.record, "killed_process", detail)])
    items = [item for item in parcel.items if letter.letter.part is None or _part(item) in (None, letter.letter.part)]
    if parcel.items and not items:
        detail = f"the record has no story {letter.letter.part} any more"
        return Reread(letter, unreadable=[DeadLetter(letter.record, "mapping_failed", detail, letter.letter.part)])
    return Reread(
        letter,
        [item for item in items if isinstance(item, ScoredStory)],
        [item for item in items if isinstance(item, DeadLetter)],
    )


def _part(item: Item) -> int | None:
    if isinstance(item, DeadLetter):
        return item.part
    return (item.enriched if isinstance(item, ScoredStory) else item).story.part
