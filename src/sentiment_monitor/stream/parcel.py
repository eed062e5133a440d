"""A parcel, what the stages of the hot loop hand on, and how the one record is found that a stage cannot take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sentiment_monitor.domain.news import DeadLetter, EnrichedStory, Partition, Position, Record, ScoredStory
from sentiment_monitor.errors import FatalError, Fenced, RetryLater

Given = TypeVar("Given")
Result = TypeVar("Result")
Failure = TypeVar("Failure")

_HEAVY = 65_536  # bytes that count as one record; hand-offs bound the memory too

Item = EnrichedStory | ScoredStory | DeadLetter
"""What a story, or a record that is none, has become on its way."""


@dataclass(slots=True)
class Parcel:
    """A run of one partition's records on its way through the stages."""

    partition: Partition
    epoch: int
    start_offset: int
    next_offset: int
    fetched_at: float  # monotonic seconds
    records: Sequence[Record]
    items: list[Item] = field(default_factory=list)  # once prepared: any number a record, in the records' order
    ends_fetch: bool = True  # no part of what was fetched with it comes after it
    _weight: int = field(init=False)

    def __post_init__(self) -> None:
        self._weight = sum(len(record.value) for record in self.records if record.value) // _HEAVY

    def __len__(self) -> int:
        """How much work it is: its records, its stories where a record holds several, or more where they are large."""
        return max(len(self.records), len(self.items), self._weight)

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


def cut(parcel: Parcel, number: int) -> tuple[Parcel, Parcel | None]:
    """The first ``number`` records of one that is not prepared yet, and the others, if there are any."""
    if number >= len(parcel.records):
        return parcel, None
    middle = parcel.records[number - 1].position.offset + 1
    first = replace(parcel, records=parcel.records[:number], next_offset=middle, items=[], ends_fetch=False)
    return first, replace(parcel, records=parcel.records[number:], start_offset=middle, items=[])


def isolating(
    batch: Sequence[Given],
    work: Callable[[Sequence[Given]], Sequence[Result]],
    failed: Callable[[Given, Exception], Failure],
) -> list[Result | Failure]:
    """What ``work`` makes of each, or ``failed`` of the culprits: a failing batch is halved until one is alone.

    Raises at once what is no member's fault: FatalError, RetryLater, Fenced.
    """
    if not batch:
        return []
    try:
        return list(work(batch))
    except (FatalError, RetryLater, Fenced):
        raise
    except Exception as error:  # noqa: BLE001  # whatever goes wrong with one record must not stop the others
        return sifted(batch, error, work, failed)


def sifted(
    batch: Sequence[Given],
    error: Exception,
    work: Callable[[Sequence[Given]], Sequence[Result]],
    failed: Callable[[Given, Exception], Failure],
) -> list[Result | Failure]:
    """:func:`isolating` of a batch with which ``work`` has failed already, by ``error``."""
    if len(batch) == 1:
        return [failed(batch[0], error)]
    middle = len(batch) // 2
    return isolating(batch[:middle], work, failed) + isolating(batch[middle:], work, failed)


def record_at(parcels: Sequence[Parcel], position: Position) -> Record:
    """The record at a position, which lies in one of the parcels."""
    records = (record for parcel in parcels for record in parcel.records)
    return next(record for record in records if record.position == position)


def place_of(record: Record) -> dict[str, object]:
    """Where a record lies, as the fields of a log line."""
    position = record.position
    return {"topic": position.topic, "partition": position.partition, "offset": position.offset}
