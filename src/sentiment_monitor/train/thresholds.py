"""From which probability on a label wins, chosen on one half of a labelled set and measured on the other, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.domain import SENTIMENTS
from sentiment_monitor.score.classifier import decide
from sentiment_monitor.train import metrics

NEGATIVE, POSITIVE = SENTIMENTS.index("negative"), SENTIMENTS.index("positive")
GRID = np.round(np.arange(0.10, 0.91, 0.01), 2)


def choose(chances: metrics.Floats, truth: metrics.Classes, precision: float) -> dict[str, float]:
    """Return the thresholds of negative and positive.

    ``chances`` [rows, 3] in the order of SENTIMENTS, ``truth`` [rows]. Negative: the lowest of the grid from which on
    the precision of negatives is ``precision`` or more; then positive: the one with the highest macro-F1. No threshold
    for negative (argmax decides) when none keeps the precision.
    """
    kept = [_precision(chances[:, NEGATIVE] >= level, truth) >= precision for level in GRID]
    lowest = next((number for number in range(len(GRID)) if all(kept[number:])), None)
    # A grid point above every probability has no precision to speak of and counts as kept: it is no answer.
    if lowest is None or not (chances[:, NEGATIVE] >= GRID[lowest]).any():
        return {}
    negative = float(GRID[lowest])

    def with_positive(level: float) -> float:
        labels = apply(chances, {"negative": negative, "positive": level})
        return metrics.macro_f1(truth, labels, len(SENTIMENTS))

    return {"negative": negative, "positive": max((float(level) for level in GRID), key=with_positive)}


def apply(chances: metrics.Floats, thresholds: dict[str, float]) -> NDArray[np.int64]:
    """Return the label of each row, by ``score.classifier.decide``."""
    return np.array([SENTIMENTS.index(decide(row, thresholds)) for row in chances.tolist()], dtype=np.int64)


def crossed(
    chances: metrics.Floats, truth: metrics.Classes, halves: NDArray[np.bool_], precision: float
) -> list[dict[str, Any]]:
    """Choose on each half and measure on the other.

    ``halves`` [rows] says which half. Returns two rows: thresholds, and precision and recall of negatives and macro-F1
    on the half that did not choose.
    """
    result = []
    for half in (False, True):
        thresholds = choose(chances[halves == half], truth[halves == half], precision)
        other = truth[halves != half]
        labels = apply(chances[halves != half], thresholds)
        hits, recalls, _ = metrics.per_class(metrics.confusion(other, labels, len(SENTIMENTS)))
        result.append(
            {
                "thresholds": thresholds,
                "n": len(other),
                "precision": float(hits[NEGATIVE]),
                "recall": float(recalls[NEGATIVE]),
                "macro_f1": metrics.macro_f1(other, labels, len(SENTIMENTS)),
            }
        )
    return result


def half_of(keys: Sequence[str]) -> NDArray[np.bool_]:
    """Return the half of each text, by hash of its key, so that the halves survive rows added or reordered."""
    from sentiment_monitor.train.data import fraction

    return np.array([fraction(f"half:{key}") < 0.5 for key in keys])


def _precision(called: NDArray[np.bool_], truth: metrics.Classes) -> float:
    return float((truth[called] == NEGATIVE).mean()) if called.any() else 1.0
