"""The first stage: the stories of records are read and enriched, or become dead letters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from sentiment_monitor.domain.news import DeadLetter, EnrichedStory, Record, Story
from sentiment_monitor.domain.waits import put_down_by
from sentiment_monitor.errors import FatalError, RecordError, RegistryAway
from sentiment_monitor.stream.journal import Journal
from sentiment_monitor.stream.parcel import Item, Parcel, isolating, place_of, record_at
from sentiment_monitor.telemetry.turns import Turns

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Preparing:
    """Records to enriched stories.

    ``decode`` and ``enrich`` may raise RecordError, ``decode`` also RegistryAway; ``now_ms`` is the wall clock;
    ``aborting`` ends the wait for a schema registry that is away, in which ``turns`` rest. ``journal`` knows at which
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
            self.journal.enter(parcel.partition)
            place = parcel.partition, parcel.start_offset, parcel.next_offset - 1
            if self.journal.suspects(*place):
                parcel.items = [item for record in parcel.records for item in self._examined(record, parcel)]
                self.journal.acquit(*place)
            else:
                parcel.items = self._prepared(parcel, self.now_ms())
            self.journal.rest()

    def _examined(self, record: Record, parcel: Parcel) -> list[Item]:
        if self.journal.has_killed(record):
            _log.error("record.killed_process", **place_of(record))
            return [DeadLetter(record, "killed_process", "two processes have died while they prepared it")]
        self.journal.examine(record)
        return self._prepared(replace(parcel, records=[record]), self.now_ms())

    def _prepared(self, parcel: Parcel, received_ms: int) -> list[Item]:
        readings = [reading for record in parcel.records for reading in self._read(record)]
        if len(parcel.records) > 1:
            self.journal.take_run(parcel.start_offset, parcel.next_offset - 1)
        enriched = iter(
            isolating(
                [reading for reading in readings if isinstance(reading, Story)],
                lambda batch: self.enrich(batch, received_ms),
                lambda story, error: _dead(record_at([parcel], story.position), error, story.part),
            )
        )
        return [next(enriched) if isinstance(reading, Story) else reading for reading in readings]

    def _read(self, record: Record) -> Sequence[Story | DeadLetter]:
        pause, away_since = 0.05, None
        while True:
            self.journal.take(record.position.offset)
            try:
                with put_down_by(self.journal.put_down):  # to ask a schema registry may take long
                    readings = self.decode(record)
            except RegistryAway as error:
                self.journal.rest()
                self.turns.rest()
                if away_since is None:
                    away_since = time.monotonic()
                    _log.warning("registry.away", error=str(error))
                if self.aborting.wait(pause):
                    raise
                self.turns.moved()
                pause = min(pause * 2, 10.0)
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
