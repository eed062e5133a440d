"""The first stage: the stories of records are read and enriched, or become dead letters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from sentiment_monitor.domain.news import DeadLetter, EnrichedStory, Record, Story
from sentiment_monitor.errors import FatalError, RecordError, RegistryAway
from sentiment_monitor.stream.parcel import Item, Parcel, isolating, place_of, record_at

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Preparing:
    """Records to enriched stories.

    ``decode`` and ``enrich`` may raise RecordError, ``decode`` also RegistryAway; ``now_ms`` is the wall clock;
    ``aborting`` ends the wait for a schema registry that is away.
    """

    decode: Callable[[Record], Sequence[Story | DeadLetter]]
    enrich: Callable[[Sequence[Story], int], list[EnrichedStory]]
    now_ms: Callable[[], int]
    aborting: threading.Event

    def prepare(self, parcels: Sequence[Parcel]) -> None:
        """Fills in the items: an enriched story or a dead letter for each story of each record.

        Raises RegistryAway when the wait for the registry was aborted, and FatalError.
        """
        for parcel in parcels:
            parcel.items = self._prepared(parcel, self.now_ms())

    def _prepared(self, parcel: Parcel, received_ms: int) -> list[Item]:
        readings = [reading for record in parcel.records for reading in self._read(record)]
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
            try:
                readings = self.decode(record)
            except RegistryAway as error:
                if away_since is None:
                    away_since = time.monotonic()
                    _log.warning("registry.away", error=str(error))
                if self.aborting.wait(pause):
                    raise
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
