"""How many dead letters are still an accident, and when the process stops instead of putting the feed aside."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sentiment_monitor.domain.news import DeadLetter, Position, ScoredStory
from sentiment_monitor.errors import FatalError
from sentiment_monitor.stream.parcel import Item

_REASONS = 3  # named when the process stops
_MOST_DETAIL = 200  # characters of each


@dataclass(frozen=True, slots=True)
class DeadLetterCeiling:
    """When broken records are no longer an accident: see settings.service.DeadLettersSettings."""

    max_ratio: float = 0.5
    window: int = 1_000
    max_consecutive: int = 200


class CeilingGuard:
    """Counts the records that pass, each once: as broken if nothing in it could be read.

    A tombstone that deletes nothing is no broken record, and is not counted at all.
    """

    def __init__(self, ceiling: DeadLetterCeiling) -> None:
        self._ceiling = ceiling
        self._recent: deque[str | None] = deque(maxlen=ceiling.window)  # the code of a broken record
        self._dead: Counter[str] = Counter()  # of the recent ones, by code
        self._latest: dict[str, DeadLetter] = {}  # by code
        self._consecutive = 0

    def check(self, items: Sequence[Item]) -> None:
        """Counts what became of the next records, whose items stand together. Raises FatalError when too many broke."""
        for item in _one_a_record(items):
            if len(self._recent) == self._recent.maxlen and (oldest := self._recent[0]) is not None:
                self._dead[oldest] -= 1
            if not isinstance(item, DeadLetter):
                self._recent.append(None)
                self._consecutive = 0
                continue
            self._recent.append(item.code)
            self._dead[item.code] += 1
            self._latest[item.code] = item
            self._consecutive += 1
            if self._consecutive >= self._ceiling.max_consecutive:
                raise FatalError(
                    f"{self._consecutive} records in a row could not be read or stored.{self._reasons()} Nothing is "
                    "lost: they stay in Kafka. Is the mapping in the settings right for this feed? If they are to be "
                    "put aside all the same, raise dead_letters.max_consecutive."
                )
            dead = self._dead.total()
            if len(self._recent) == self._recent.maxlen and dead > self._ceiling.max_ratio * len(self._recent):
                raise FatalError(
                    f"{dead} of the last {len(self._recent)} records could not be read or stored.{self._reasons()} "
                    "Nothing is lost: they stay in Kafka. See `monitor dead-letters`, then mend the feed or its "
                    "mapping, or raise dead_letters.max_ratio."
                )

    def _reasons(self) -> str:
        """The commonest reasons of the recent ones, with an example each."""
        reasons = [(code, number) for code, number in self._dead.most_common(_REASONS) if number]
        return "".join(
            f" {number} {code}, such as {_place(self._latest[code])}: {self._latest[code].detail[:_MOST_DETAIL]};"
            for code, number in reasons
        )


def _one_a_record(items: Sequence[Item]) -> Iterator[Item]:
    """Of each record the first item, or the first that is no dead letter; none of a tombstone's dead letters."""
    chosen: Item | None = None
    place: Position | None = None
    for item in items:
        if isinstance(item, DeadLetter):
            if item.record.value is None or item.record.position == place:
                continue
            following = item.record.position
        else:
            following = (item.enriched if isinstance(item, ScoredStory) else item).story.position
            if following == place:
                if isinstance(chosen, DeadLetter):
                    chosen = item
                continue
        if chosen is not None:
            yield chosen
        chosen, place = item, following
    if chosen is not None:
        yield chosen


def _place(letter: DeadLetter) -> str:
    position = letter.record.position
    return f"{position.topic}/{position.partition}@{position.offset}"
