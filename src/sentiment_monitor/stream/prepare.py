"""The first stage: the stories of records are read and enriched, or become dead letters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import structlog

from sentiment_monitor.domain.news import DeadLetter, EnrichedStory, Record, Story
from sentiment_monitor.domain.waits import put_down_by
from sentiment_monitor.errors import FatalError, RecordError, RegistryAway
from sentiment_monitor.stream.journal import Journal
from sentiment_monitor.stream.parcel import Item, Parcel, cut, isolating, place_of, record_at
from sentiment_monitor.telemetry.turns import Turns
from sentiment_monitor.times import pauses

_log = structlog.get_logger()

_ENOUGH = 1_000  # stories, after which a parcel is cut
_AT_ONCE = 250  # stories enriched in a call
_MOVES = 20  # records between two moves: to ask for the time costs as much as a field, and the worst record 0.25 s


@dataclass(frozen=True, slots=True)
class Preparing:
    """Records to enriched stories.

    ``decode`` and ``enrich`` may raise RecordError, ``decode`` also RegistryAway; ``now_ms`` is the wall clock;
    ``aborting`` ends the wait for a schema registry that is away, in which ``turns`` rest; they move on with some
    records, and between the calls of ``enrich``. ``journal`` knows at which
    records processes have died: those are worked on one by one, and one that has ended two is not looked into again.
    """

    decode: Callable[[Record], Sequence[Story | DeadLetter]]
    enrich: Callable[[Sequence[Story], int], list[EnrichedStory]]
    now_ms: Callable[[], int]
    aborting: threading.Event
    journal: Journal = field(default_factory=Journal)
    turns: Turns = field(default_factory=lambda: Turns("prepare"))

    def prepare(self, parcels: Sequence[Parcel]) -> None:
        """Fills in the items: an enriched story or a dead letter for each story of each record.

        Raises RegistryAway when the wait for the registry was aborted, and FatalError.
        """
        for parcel in parcels:
            items: list[Item] = []
            rest: Parcel | None = parcel
            while rest is not None:
                portion, rest = self.portion(rest)
                items += portion.items
            parcel.items = items

    def portion(self, parcel: Parcel) -> tuple[Parcel, Parcel | None]:
        """Prepares a parcel up to the record with which it has a thousand stories: that part of it, and what is left.

        Raises as :meth:`prepare` does.
        """
        with put_down_by(self.journal.put_down):  # to ask a schema registry may take long
            return self._portion(parcel)

    def _portion(self, parcel: Parcel) -> tuple[Parcel, Parcel | None]:
        self.journal.enter(parcel.partition)
        if self.journal.suspects(parcel.partition, parcel.start_offset, parcel.next_offset - 1):
            items: list[Item] = []
            number = 0
            while number < len(parcel.records) and len(items) < _ENOUGH:
                items += self._examined(replace(parcel, records=[parcel.records[number]]))
                number += 1
            portion, rest = cut(parcel, number)
            self.journal.acquit(portion.partition, portion.start_offset, portion.next_offset - 1)
        else:
            readings: list[Story | DeadLetter] = []
            number = 0
            while number < len(parcel.records) and len(readings) < _ENOUGH:
                if number % _MOVES == 0:
                    self.turns.moved()
                readings += self._read(parcel.records[number])
                number += 1
            portion, rest = cut(parcel, number)
            items = self._enriched(readings, portion)
        self.journal.rest()
        portion.items = items
        return portion, rest

    def _examined(self, parcel: Parcel) -> list[Item]:
        (record,) = parcel.records
        if self.journal.has_killed(record):
            _log.error("record.killed_process", **place_of(record))
            return [DeadLetter(record, "killed_process", "two processes have died while they prepared it")]
        self.turns.moved()
        self.journal.examine(record)
        return self._enriched(self._read(record), parcel)

    def _enriched(self, readings: Sequence[Story | DeadLetter], parcel: Parcel) -> list[Item]:
        if len(parcel.records) > 1:
            self.journal.take_run(parcel.start_offset, parcel.next_offset - 1)
        enriched = self._stories([reading for reading in readings if isinstance(reading, Story)], parcel)
        return [next(enriched) if isinstance(reading, Story) else reading for reading in readings]

    def _stories(self, stories: Sequence[Story], parcel: Parcel) -> Iterator[EnrichedStory | DeadLetter]:
        received_ms = self.now_ms()
        for start in range(0, len(stories), _AT_ONCE):
            self.turns.moved()
            yield from isolating(
                stories[start : start + _AT_ONCE],
                lambda batch: self.enrich(batch, received_ms),
                lambda story, error: _dead(record_at([parcel], story.position), error, story.part),
            )

    def _read(self, record: Record) -> Sequence[Story | DeadLetter]:
        pause: Iterator[float]
        away_since: float | None = None
        while True:
            self.journal.take(record.position.offset)
            try:
                readings = self.decode(record)
            except RegistryAway as error:
                self.journal.rest()
                self.turns.rest()
                if away_since is None:
                    away_since, pause = time.monotonic(), pauses()
                    _log.warning("registry.away", error=str(error))
                if self.aborting.wait(next(pause)):
                    raise
                self.turns.moved()
                continue
            except FatalError:
                raise
            except Exception as error:  # noqa: BLE001
                readings = [_dead(record, error)]
            if away_since is not None:
                _log.info("registry.back", seconds=round(time.monotonic() - away_since, 1))
            return readings


def _dead(record: Record, error: Exception, part: int | None = None) -> DeadLetter:
    if isinstance(error, RecordError):
        return DeadLetter(record, error.code, error.detail, part)
    # A bug that one record triggers must not stop the others; the dead letter keeps the record.
    _log.error("record.prepare_failed", exc_info=error, **place_of(record))
    return DeadLetter(record, "prepare_failed", f"{type(error).__name__}: {error}", part)
