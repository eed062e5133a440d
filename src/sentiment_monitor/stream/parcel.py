"""A parcel, what the stages of the hot loop hand on, and how the one record is found that a stage cannot take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sentiment_monitor.domain.news import DeadLetter, EnrichedStory, Partition, Record, ScoredStory
from sentiment_monitor.errors import FatalError

Given = TypeVar("Given")
Result = TypeVar("Result")

Item = EnrichedStory | ScoredStory | DeadLetter
"""What a record has become on its way."""


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
        return [enriched.minute for enriched in self._scored()]

    @property
    def published_ms(self) -> list[int]:
        """When the scored stories say that they were published."""
        return [enriched.story.published_ms for enriched in self._scored()]

    def _scored(self) -> Iterator[EnrichedStory]:
        return (item.enriched for item in self.items if isinstance(item, ScoredStory) and item.score is not None)


def isolating(
    batch: Sequence[Given],
    work: Callable[[Sequence[Given]], Sequence[Result]],
    dead_letter: Callable[[Given, Exception], DeadLetter],
) -> list[Result | DeadLetter]:
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
        return isolating(batch[:middle], work, dead_letter) + isolating(batch[middle:], work, dead_letter)


def place_of(record: Record) -> dict[str, object]:
    """Where a record lies, as the fields of a log line."""
    position = record.position
    return {"topic": position.topic, "partition": position.partition, "offset": position.offset}
