"""The originals that a batch may meet, and which of them a story is a copy of, at a cost that crowds do not raise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import nsmallest
from typing import Protocol, Self

from sentiment_monitor.store.stories.row import StoryRow

_CROWD = 100  # candidates of one story beyond which they are sifted by their names
_MOST_COMPARED = 200  # of those that names cannot sift, the nearest in time


class HeadlineWords(Protocol):
    """What a clean headline is compared by."""

    @property
    def words(self) -> frozenset[str]:
        """All of them."""

    @property
    def names(self) -> frozenset[str]:
        """Those that stand for somebody: no copy has another in their place."""

    def repeats(self, other: Self, /) -> bool:
        """Whether both tell the same news; never so unless one has all names of the other among its words."""


@dataclass(frozen=True, slots=True)
class Copying:
    """What makes a story a copy: a common key, so near in event time, and what its clean headline says."""

    wording: Callable[[str], HeadlineWords]
    window_minutes: int


_Slot = int | tuple[int, str]


def _slots(row: StoryRow, keys: Iterable[int]) -> Iterable[_Slot]:
    """Where a row is found by these of its keys; "Profit warning" of one company is not that of another."""
    return keys if row.is_specific else [(key, row.tickers) for key in keys]


class Originals:
    """Originals by copy key. A story finds the one it repeats among those that are here."""

    def __init__(self, copying: Copying) -> None:
        self._copying = copying
        self._by_slot: dict[_Slot, list[StoryRow]] = {}
        self._crowd: _Crowd | None = None

    def add(self, row: StoryRow, keys: Iterable[int]) -> None:
        """``row`` can be found by these of its keys."""
        for slot in _slots(row, keys):
            self._by_slot.setdefault(slot, []).append(row)
        if self._crowd is not None and row.is_specific:
            self._crowd.add(row)

    def drop(self, row: StoryRow) -> None:
        """``row`` is found no more."""
        for slot in _slots(row, row.copy_keys):
            if row in (originals := self._by_slot.get(slot, [])):
                originals.remove(row)
        if self._crowd is not None:
            self._crowd.drop(row)

    def repeated_by(self, row: StoryRow) -> StoryRow | None:
        """The first original that ``row`` is a copy of.

        An equal headline is a copy whatever the labels, with few words only if the tickers are equal too: not if they
        have one in common, since clusters would depend on the order of arrival. Nearly the same words can say the
        opposite ("rises", "falls"), so there the classifier must agree.
        """
        exact, *near = _slots(row, row.copy_keys)
        fitting = [
            original
            for original in self._by_slot.get(exact, ())
            if original is not row and self._is_near(original, row)
        ]
        if bands := [originals for slot in near if (originals := self._by_slot.get(slot))]:
            candidates = [
                original
                for original in self._candidates(bands, row)
                if original is not row
                and original.label == row.label
                and self._is_near(original, row)
                and original not in fitting
            ]
            if candidates:
                wording = self._copying.wording(row.text)
                fitting += [
                    original for original in candidates if wording.repeats(self._copying.wording(original.text))
                ]
        return min(fitting, key=lambda original: original.order, default=None)

    def _is_near(self, original: StoryRow, row: StoryRow) -> bool:
        return abs(original.minute - row.minute) <= self._copying.window_minutes

    def _candidates(self, bands: list[list[StoryRow]], row: StoryRow) -> Iterable[StoryRow]:
        if sum(map(len, bands)) <= _CROWD:
            return dict.fromkeys(original for originals in bands for original in originals)
        if self._crowd is None:
            self._crowd = _Crowd(self._copying.wording)
            for original in dict.fromkeys(original for originals in self._by_slot.values() for original in originals):
                if original.is_specific:
                    self._crowd.add(original)
        keys = set(row.copy_keys)
        alike = self._crowd.alike(self._copying.wording(row.text))
        candidates = [original for original in alike if not keys.isdisjoint(original.copy_keys)]
        if len(candidates) <= _MOST_COMPARED:
            return candidates
        return nsmallest(
            _MOST_COMPARED, candidates, key=lambda original: (abs(original.minute - row.minute), original.order)
        )


class _Crowd:
    """Originals by the names in them: of a thousand headlines of one template a story meets those of its company."""

    def __init__(self, wording_of: Callable[[str], HeadlineWords]) -> None:
        self._wording_of = wording_of
        self._holding: dict[str, dict[StoryRow, None]] = {}  # by each word
        self._anchored: dict[str, dict[StoryRow, None]] = {}  # by the rarest name, or nothing, that each has
        self._anchors: dict[StoryRow, str] = {}

    def add(self, row: StoryRow) -> None:
        if row in self._anchors:
            return
        wording = self._wording_of(row.text)
        for word in wording.words:
            self._holding.setdefault(word, {})[row] = None
        anchor = min(wording.names, key=lambda name: (len(self._holding[name]), name), default="")
        self._anchored.setdefault(anchor, {})[row] = None
        self._anchors[row] = anchor

    def drop(self, row: StoryRow) -> None:
        if row not in self._anchors:
            return
        del self._anchored[self._anchors.pop(row)][row]
        for word in self._wording_of(row.text).words:
            del self._holding[word][row]

    def alike(self, wording: HeadlineWords) -> dict[StoryRow, None]:
        """Every original that has all names of this wording among its words, or all of its names in the wording."""
        if not wording.names:
            return dict.fromkeys(self._anchors)
        alike = min((self._holding.get(name, {}) for name in wording.names), key=len) | self._anchored.get("", {})
        for word in wording.words:
            alike |= self._anchored.get(word, {})
        return alike
