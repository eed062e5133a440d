"""How many dead letters are still an accident, and when the process stops instead of putting the feed aside."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from sentiment_monitor.domain.news import DeadLetter
from sentiment_monitor.errors import FatalError


@dataclass(frozen=True, slots=True)
class DeadLetterCeiling:
    """When broken records are no longer an accident: see settings.service.DeadLettersSettings."""

    max_ratio: float = 0.5
    window: int = 1_000
    max_consecutive: int = 200


class CeilingGuard:
    """Counts dead letters among the records that pass, of which there may be any number."""

    def __init__(self, ceiling: DeadLetterCeiling) -> None:
        self._ceiling = ceiling
        self._recent: deque[bool] = deque(maxlen=ceiling.window)
        self._dead = 0
        self._consecutive = 0

    def check(self, items: Sequence[object]) -> None:
        """Counts what became of the next records. Raises FatalError when dead letters are too many."""
        for item in items:
            dead = isinstance(item, DeadLetter)
            if len(self._recent) == self._recent.maxlen:
                self._dead -= self._recent[0]
            self._recent.append(dead)
            self._dead += dead
            self._consecutive = self._consecutive + 1 if dead else 0
            reason = f"{item.code}: {item.detail}" if isinstance(item, DeadLetter) else ""
            if self._consecutive >= self._ceiling.max_consecutive:
                raise FatalError(
                    f"{self._consecutive} records in a row could not be read or stored (last: {reason}). Nothing is "
                    "lost: they stay in Kafka. Is the mapping in the settings right for this feed? If they are to be "
                    "put aside all the same, raise dead_letters.max_consecutive."
                )
            if len(self._recent) == self._recent.maxlen and self._dead > self._ceiling.max_ratio * len(self._recent):
                raise FatalError(
                    f"{self._dead} of the last {len(self._recent)} records could not be read or stored (last: "
                    f"{reason}). Nothing is lost: they stay in Kafka. See `monitor dead-letters`, then mend the feed "
                    "or its mapping, or raise dead_letters.max_ratio."
                )
