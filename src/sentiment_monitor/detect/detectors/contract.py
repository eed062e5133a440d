"""What a detector is: it measures how unusual a window is, and says when its answer can change.

It judges the statistic alone. Floors, false-discovery control and who tells the stories are gates, the same for every
detector: see ``gates``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.detect.baseline import EXPOSURE_MINUTES, Baseline, Floats
from sentiment_monitor.detect.rules import Rule
from sentiment_monitor.times import HOUR_MINUTES

R = TypeVar("R", bound=Rule, contravariant=True)


class Reason(StrEnum):
    """Why a series is beyond its rule, or the first thing that keeps it from being so."""

    SPIKE_MOOD = "spike_mood"
    SPIKE_BURST = "spike_burst"
    SILENT = "silent"  # the series is, though news of it was to be expected
    NO_DATA = "no_data"  # the feed was silent for the whole window
    WARMING_UP = "warming_up"
    TOO_FEW = "too_few_negatives"
    SMALL_SHARE = "small_share"
    SMALL_EFFECT = "small_effect"
    USUAL_MOOD = "busy_at_usual_mood"
    NOT_UNUSUAL = "not_unusual"
    FEW_SOURCES = "too_few_sources"


@dataclass(frozen=True, slots=True, eq=False)
class LongWindow:
    """Several windows that end now, as one; each array (S,)."""

    windows: int
    negative: Floats
    volume: Floats
    exposure: float  # mean hour-of-week factor of its windows


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
    longer: tuple[LongWindow, ...] = ()  # those of ``rule.spans`` beyond the first


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
    observed: Floats | None = None  # negatives that the answer is about; None: those of the window
    volume: Floats | None = None  # stories, likewise


def moves(rule: Rule, active: Sequence[int], first: int, last: int) -> set[int]:
    """Minutes at which a story enters or leaves one of the rule's spans, or the same are judged by a newer past.

    Between them a tick counts the same stories against the same baseline, at the same hour-of-week factor. Arguments
    and result are those of ``Detector.stirs``.
    """
    spans = [rule.window_minutes * windows for windows in rule.spans]
    longest = spans[-1]
    minutes = {
        stirred
        for minute in active
        # A tick sees complete minutes only: a story of minute m is first seen at m + 1.
        for stirred in (minute + 1, *(minute + 1 + span for span in spans))
        if first <= stirred <= last
    }
    if active:
        for step, phase in ((HOUR_MINUTES, longest), (EXPOSURE_MINUTES, 0)):
            begin = max(first, active[0] + 1)
            for minute in range(begin + (phase - begin) % step, min(last, active[-1] + longest) + 1, step):
                if bisect_left(active, minute - longest) < bisect_left(active, minute):
                    minutes.add(minute)
    return minutes


class Detector(Protocol[R]):
    """One way of telling what is unusual. Pure: the same arguments give the same answer."""

    def measure(self, rule: R, usual: Mapping[str, Baseline], window: Window) -> Measurements:
        """Measures the candidates. ``usual`` holds one baseline per dimension; one that is missing has no history.

        Total: no input gives NaN, an error or an infinite number.
        """

    def stirs(self, rule: R, active: Sequence[int], first: int, last: int) -> set[int]:
        """The minutes in [first, last] at which the answer can differ from that of the minute before.

        ``active`` are the minutes with a story, ascending, from at least ``rule.span_minutes`` before ``first`` on.
        A tick at minute m sees the stories before m.
        """
