"""The first stage: records are read and enriched, or become dead letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from sentiment_monitor.domain.news import DeadLetter, EnrichedStory, Record, Story
from sentiment_monitor.errors import RecordError
from sentiment_monitor.stream.parcel import Item, Parcel, isolating, place_of

_log = structlog.get_logger()


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
        readings = [self._read(record) for record in records]
        enriched = iter(
            isolating(
                [(record, story) for record, story in zip(records, readings, strict=True) if isinstance(story, Story)],
                lambda batch: self.enrich([story for _, story in batch], received_ms),
                lambda unfit, error: _dead(unfit[0], error),
            )
        )
        return [next(enriched) if isinstance(reading, Story) else reading for reading in readings]

    def _read(self, record: Record) -> Story | DeadLetter:
        try:
            return self.decode(record)
        except Exception as error:  # noqa: BLE001
            return _dead(record, error)


def _dead(record: Record, error: Exception) -> DeadLetter:
    if isinstance(error, RecordError):
        return DeadLetter(record, error.code, error.detail)
    # A bug that one record triggers must not stop the others; the dead letter keeps the record.
    _log.error("record.prepare_failed", exc_info=error, **place_of(record))
    return DeadLetter(record, "prepare_failed", f"{type(error).__name__}: {error}")
