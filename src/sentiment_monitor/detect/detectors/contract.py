"""What a detector is: it measures how unusual a window is, and says when its answer can change.

It judges the statistic alone. Floors, false-discovery control and who tells the stories are gates, the same for every
detector: see ``gates``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.detect.baseline import Baseline, Floats
from sentiment_monitor.detect.rules import Rule

R = TypeVar("R", bound=Rule, contravariant=True)


class Reason(StrEnum):
    """Why a series is beyond its rule, or the first thing that keeps it from being so."""

    SPIKE_MOOD = "spike_mood"
    SPIKE_BURST = "spike_burst"
    NO_DATA = "no_data"  # the feed was silent for the whole window
    WARMING_UP = "warming_up"
    TOO_FEW = "too_few_negatives"
    SMALL_SHARE = "small_share"
    SMALL_EFFECT = "small_effect"
    USUAL_MOOD = "busy_at_usual_mood"
    NOT_UNUSUAL = "not_unusual"
    FEW_SOURCES = "too_few_sources"


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What one rule sees at one tick: S candidate series, each array (S,), copies collapsed.

    Candidates are the series with at least ``rule.min_negative`` negatives in the window, and every series that is
    pending or firing. ``family`` is how many series of the rule's dimensions could have fired, since they had as many
    stories as the rule asks negatives for: those left out count as tests that found nothing. A series with fewer
    stories could not have fired, whatever they said, and is no test (Tarone, Biometrics 1990).
    """

    names: tuple[str, ...]
    negative: Floats  # negative stories, or their probability mass
    volume: Floats  # stories
    family: int
    feed_volume: float  # stories of series ``all`` in the window
    exposure: float = 1.0  # hour-of-week factor of this window, see baseline.exposures


@dataclass(frozen=True, slots=True, eq=False)
class Measurements:
    """What a detector finds out about the candidates of a window, in their order; each array (S,)."""

    expected: Floats  # negative stories a usual window brings at this hour
    expected_share: Floats
    effect: Floats  # observed over expected
    history_minutes: Floats  # live baseline behind the answer
    holds: NDArray[np.bool_]  # unusual enough to keep a firing alert alive
    spikes: Sequence[Reason]  # why it is beyond, should nothing be in the way
    objections: Sequence[Reason | None]  # what the statistic alone has against that; None: nothing
    p_value: Floats | None = None  # None: the detector has no such thing, and nothing is adjusted
    alpha: float = 0.0  # false discovery rate at which p-values are beyond
    unremarkable: Sequence[Reason] = ()  # what it is where the adjusted p-value is above ``alpha``
    statistics: Mapping[str, Floats] = field(default_factory=dict)  # the detector's own numbers, by name


class Detector(Protocol[R]):
    """One way of telling what is unusual. Pure: the same arguments give the same answer."""

    def measure(self, rule: R, usual: Mapping[str, Baseline], window: Window) -> Measurements:
        """Measures the candidates. ``usual`` holds one baseline per dimension; one that is missing has no history.

        Total: no input gives NaN, an error or an infinite number.
        """

    def stirs(self, rule: R, active: Sequence[int], first: int, last: int) -> set[int]:
        """The minutes in [first, last] at which the answer can differ from that of the minute before.

        ``active`` are the minutes with a story, ascending, from at least one window before ``first`` on. A tick at
        minute m sees the stories before m.
        """
