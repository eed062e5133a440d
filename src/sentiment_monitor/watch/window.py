"""What a window holds: counts of every series, in arrays, beside the names that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.detect.baseline import Floats
from sentiment_monitor.detect.rules import Rule


class SeriesCount(NamedTuple):
    """One series within one window, copies collapsed."""

    stories: int
    negative: int


class SeriesPlaces:
    """Series by their places in arrays. It grows and never forgets, so what it knows of a rule need not be asked again.

    A name's place never changes.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._places: dict[str, int] = {}
        self._names: list[str] = []
        self._watched: dict[Rule, NDArray[np.bool_]] = {}
        for name in names:
            self.place(name)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, place: int) -> str:
        return self._names[place]

    def place(self, name: str) -> int:
        """Where the series stands; a new one comes last."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = len(self._names)
            self._names.append(name)
        return place

    def find(self, name: str) -> int | None:
        """Where the series stands; None when nobody has named it."""
        return self._places.get(name)

    def watched_by(self, rule: Rule) -> NDArray[np.bool_]:
        """Which series the rule watches, (S,)."""
        known = self._watched.get(rule)
        if known is None or len(known) < len(self._names):
            begun = np.zeros(0, np.bool_) if known is None else known
            rest = [rule.matches(name) for name in self._names[len(begun) :]]
            known = self._watched[rule] = np.concatenate([begun, np.array(rest, np.bool_)])
        return known


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """A window's stories and negatives by series, copies collapsed; each (S,), 0 for a series without a story."""

    names: SeriesPlaces
    stories: Floats
    negative: Floats

    @classmethod
    def of(cls, counts: Mapping[str, SeriesCount], names: SeriesPlaces | None = None) -> Counts:
        """From values by series; ``names`` is added to."""
        names = SeriesPlaces() if names is None else names
        places = [names.place(series) for series in counts]
        stories, negative = np.zeros(len(names)), np.zeros(len(names))
        stories[places] = [count.stories for count in counts.values()]
        negative[places] = [count.negative for count in counts.values()]
        return cls(names, stories, negative)

    def count(self, series: str) -> SeriesCount:
        """One series; nothing of one that has no story."""
        place = self.names.find(series)
        if place is None or place >= len(self.stories):
            return SeriesCount(0, 0)
        return SeriesCount(int(self.stories[place]), int(self.negative[place]))

    def family(self, rule: Rule) -> int:
        """How many of the rule's series could fire: those with as many stories as it asks negatives for."""
        return int(np.count_nonzero(self._watched(rule) & (self.stories >= rule.min_negative)))

    def enough(self, rule: Rule) -> list[str]:
        """The rule's series with as many negatives as it asks for at least."""
        places = np.flatnonzero(self._watched(rule) & (self.negative >= rule.min_negative) & (self.stories > 0))
        return [self.names[place] for place in places.tolist()]

    def _watched(self, rule: Rule) -> NDArray[np.bool_]:
        return self.names.watched_by(rule)[: len(self.stories)]
