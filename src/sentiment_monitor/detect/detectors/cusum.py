"""The detector that remembers: a crisis that no single window shows, because it came slowly or lies across two of them.

A generalised likelihood-ratio CUSUM for counts (Hoehle & Paul, Computational Statistics & Data Analysis 2008) asks
for every moment in the past whether the series has been in an outbreak since. Negatives of windows that clump with one
variance over mean (NB1) add up to negatives that clump alike, so "since then" is one longer window, and the ratio is a
tail probability as good as that of ``detectors.count``. It is asked for 1, 2, 4 … windows ago and as many as the rule
remembers; the smallest p-value, times their number (Bonferroni), is that of the series. What it is about, the numbers
of stories, is that of the span which it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from sentiment_monitor.detect.baseline import Baseline, Floats
from sentiment_monitor.detect.detectors.contract import Measurements, Window, moves
from sentiment_monitor.detect.detectors.count import Answers, by_count, known_of, measured
from sentiment_monitor.detect.rules import CusumRule

_ANSWERS = tuple(field.name for field in fields(Answers))


class Cusum:
    """The detector of ``CusumRule``."""

    def measure(self, rule: CusumRule, usual: Mapping[str, Baseline], window: Window) -> Measurements:
        """Ask of each span, and answer with the most unusual. Total: no input gives NaN, an error or infinity."""
        known = known_of(usual, window.names)
        spans = [window]
        for span in window.longer:
            exposure = span.windows * span.exposure
            spans.append(replace(window, negative=span.negative, volume=span.volume, exposure=exposure))
        expected = [np.maximum(known.rate * span.exposure, 1e-9) for span in spans]
        answers = [by_count(rule, known, *pair) for pair in zip(expected, spans, strict=True)]
        smallest = np.stack([answer.p_value for answer in answers]).argmin(axis=0)
        place = np.arange(len(window.names))

        def chosen(rows: Sequence[Floats]) -> Floats:
            return np.asarray(np.stack(rows)[smallest, place])

        windows = np.array([1, *(span.windows for span in window.longer)], np.float64)
        asked: dict[str, Any] = {name: chosen([getattr(answer, name) for answer in answers]) for name in _ANSWERS}
        asked["p_value"] = np.minimum(1.0, len(spans) * asked["p_value"])
        of_span = measured(rule, known, chosen(expected), Answers(**asked))
        return replace(
            of_span,
            statistics={**of_span.statistics, "span_minutes": windows[smallest] * rule.window_minutes},
            observed=chosen([span.negative for span in spans]),
            volume=chosen([span.volume for span in spans]),
        )

    def stirs(self, rule: CusumRule, active: Sequence[int], first: int, last: int) -> set[int]:
        """Minutes at which a story enters or leaves one of the spans, or they are judged by a newer past."""
        return moves(rule, active, first, last)
