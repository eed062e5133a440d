"""The detector of silence: a feed, a source or a company of which there is usually news has gone quiet.

What is expected of a window is the series' usual number of stories at this hour of the week; what is asked is how
likely so few are, with the clumps in which its news comes (negative binomial, lower tail). So a source with fifty
stories a day is missed within hours, and a company with two in a month never.

Nothing is what it looks for, so floors, sources and staleness are not asked. A feed that is silent as a whole is the
silence of ``all`` and of every source: watch ``all`` with one rule and sources with another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sentiment_monitor.detect.baseline import Baseline, Floats, looked_up
from sentiment_monitor.detect.detectors.contract import Measurements, Reason, Window
from sentiment_monitor.detect.rules import SilenceRule
from sentiment_monitor.detect.tails import count_tail

HOLDS = 10.0  # times the chance at which it fires: so much more usual it must become to end


class GoneQuiet:
    """The detector of ``SilenceRule``."""

    def measure(self, rule: SilenceRule, usual: Mapping[str, Baseline], window: Window) -> Measurements:
        """How likely so few stories are. Total: no input gives NaN, an error or an infinite number."""
        expected, chance, history = self._chances(usual, window.names, window.volume, window.exposure)
        return Measurements(
            expected=np.zeros(len(expected)),
            expected_share=np.zeros(len(expected)),
            effect=window.volume / np.maximum(expected, 1e-9),
            history_minutes=history * rule.window_minutes,
            holds=chance <= HOLDS * rule.max_chance,
            spikes=[Reason.SILENT] * len(expected),
            objections=[None] * len(expected),
            p_value=chance,
            alpha=rule.max_chance,
            unremarkable=[Reason.NOT_UNUSUAL] * len(expected),
            statistics={"expected_stories": expected},
        )

    def stirs(self, rule: SilenceRule, active: Sequence[int], first: int, last: int) -> set[int]:
        """Every minute: silence grows by itself."""
        return set(range(first, last + 1))

    def awaited(self, rule: SilenceRule, usual: Mapping[str, Baseline], exposure: float) -> list[str]:
        """The series that would be beyond the rule if their window were empty."""
        names = [name for baseline in usual.values() for name in baseline.index if rule.matches(name)]
        _, chance, _ = self._chances(usual, tuple(names), np.zeros(len(names)), exposure)
        return [name for name, value in zip(names, chance.tolist(), strict=True) if value <= rule.max_chance]

    @staticmethod
    def _chances(
        usual: Mapping[str, Baseline], names: tuple[str, ...], volume: Floats, exposure: float
    ) -> tuple[Floats, Floats, Floats]:
        """Expected stories, the chance of so few, and the windows of history behind them; each (S,)."""
        known = looked_up(usual, names, {"windows": 0.0, "story_rate": 0.0, "story_fano": 1.0})
        expected = np.maximum(known["story_rate"] * exposure, 1e-9)
        chance = 1.0 - count_tail(volume + 1.0, expected, known["story_fano"] * expected)
        return expected, np.clip(chance, 1e-300, 1.0), known["windows"]
