"""Beside the stages: dead letters that somebody wants to be read again, by the settings in force, in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from sentiment_monitor.domain.news import DeadLetter, Record, ScoredStory
from sentiment_monitor.errors import DatabaseAway, FatalError, RetryLater
from sentiment_monitor.store import replays
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.dead_letters import KeptRecord
from sentiment_monitor.store.leases import LeaseStore
from sentiment_monitor.store.replays import Reread
from sentiment_monitor.store.stories.transaction import Written
from sentiment_monitor.stream.parcel import Parcel, isolating, sifted
from sentiment_monitor.stream.prepare import Preparing
from sentiment_monitor.stream.scoring import Scoring
from sentiment_monitor.stream.write import refused_letter
from sentiment_monitor.telemetry.metrics import HotLoop
from sentiment_monitor.times import pauses

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
                self.idle = not replays.any_waits(connection, self.reads)
            if self.idle:
                break
            lease = self._lease.acquire(self.holder, self.now_ms(), _LEASE_MS)
            if lease is None:
                self.idle = True  # another process is at it
                break
            with self.database.read() as connection:  # whole records: only for whoever reads them
                letters = replays.waiting(connection, self.reads, _PORTION)
            if letters:
                self._read(letters)
        if lease is not None:
            self._lease.release(lease)

    def _read(self, letters: Sequence[KeptRecord]) -> None:
        if any(letter.taken for letter in letters):
            # A reading of these began and did not end: one of the records may be why.
            letters = [letter for letter in letters if letter.record == letters[0].record]
        numbers = [letter.id for letter in letters]
        turns = self.metrics.turns["replay"]
        with turns, self.database.write() as connection:
            replays.take(connection, numbers)
        try:
            with turns:
                rereads = self._reread(letters)
            self._store_patiently(rereads)
        except RetryLater:
            with self.database.write() as connection:  # it was told to stop: no record is to blame
                replays.put_down(connection, numbers)
            raise
        failed = sum(len(reread.failed()) for reread in rereads)
        self.metrics.replayed.labels("unreadable").inc(failed)
        self.metrics.replayed.labels("stored").inc(len(letters) - failed)
        _log.info("replay.read", first=letters[0].id, letters=len(letters), unreadable=failed)

    def _reread(self, letters: Sequence[KeptRecord]) -> list[Reread]:
        """Each record once, for all of its letters."""
        by_record: dict[Record, list[KeptRecord]] = {}
        rereads: list[Reread] = []
        for letter in letters:
            if letter.taken < _MOST_TAKEN:
                by_record.setdefault(letter.record, []).append(letter)
            else:
                rereads.append(_killed(letter))
        parcels = [_parcel(record) for record in by_record]
        self.preparing.prepare(parcels)
        self.scoring.score(parcels)
        return rereads + [_outcome(of, parcel) for of, parcel in zip(by_record.values(), parcels, strict=True)]

    def _store_patiently(self, rereads: list[Reread]) -> None:
        pause = pauses()
        while True:
            try:
                with self.metrics.turns["replay"]:
                    rereads[:] = self._store(rereads)
                return
            except DatabaseAway:
                if self.stopping.wait(next(pause)):
                    raise

    def _store(self, rereads: Sequence[Reread]) -> list[Reread]:
        """All together, or without what the database refuses; returns them as they are stored."""

        def store(together: Sequence[Reread]) -> Sequence[Reread]:
            self.writer.reread(together, self.now_ms())
            return together

        return isolating(rereads, store, self._store_without_refused)

    def _store_without_refused(self, reread: Reread, error: Exception) -> Reread:
        """Stores what the database takes of one that it refuses as a whole, by ``error``."""
        if not reread.stories:
            raise FatalError(f"the database refuses a dead letter: {error}") from error

        def store(stories: Sequence[ScoredStory]) -> Sequence[ScoredStory]:
            self.metrics.turns["replay"].moved()
            self.writer.reread([Reread(reread.letters, stories, settles=False)], self.now_ms())
            return stories

        def letter(scored: ScoredStory, refusal: Exception) -> DeadLetter:
            return refused_letter(reread.letters[0].record, scored, refusal)

        outcomes = sifted(reread.stories, error, store, letter)
        taken = [outcome for outcome in outcomes if isinstance(outcome, ScoredStory)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, DeadLetter)]
        settled = Reread(reread.letters, taken, [*reread.unreadable, *refused])
        self.writer.reread([settled], self.now_ms())
        return settled


def _parcel(record: Record) -> Parcel:
    position = record.position
    partition = (position.topic, position.partition)
    return Parcel(partition, 0, position.offset, position.offset + 1, 0.0, [record])


def _killed(letter: KeptRecord) -> Reread:
    detail = f"{letter.taken} processes have died while they read it again; before, {letter.letter.code}: "
    reason = DeadLetter(letter.record, "killed_process", detail + letter.letter.detail, letter.letter.part)
    return Reread([letter], unreadable=[reason])


def _outcome(letters: Sequence[KeptRecord], parcel: Parcel) -> Reread:
    return Reread(
        letters,
        [item for item in parcel.items if isinstance(item, ScoredStory)],
        [item for item in parcel.items if isinstance(item, DeadLetter)],
    )
