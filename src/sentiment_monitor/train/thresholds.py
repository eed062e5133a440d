"""From which probability on a label wins, chosen on one half of a labelled set and measured on the other, both ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.domain.news import SENTIMENTS
from sentiment_monitor.score.classifier import decide
from sentiment_monitor.train import metrics
from sentiment_monitor.train.data import fraction
from sentiment_monitor.train.evaluate import NEGATIVE

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
    for thresholds, other in by_half(chances, truth, halves, precision):
        labels = apply(chances[other], thresholds)
        hits, recalls, _ = metrics.per_class(metrics.confusion(truth[other], labels, len(SENTIMENTS)))
        result.append(
            {
                "thresholds": thresholds,
                "n": len(labels),
                "precision": float(hits[NEGATIVE]),
                "recall": float(recalls[NEGATIVE]),
                "macro_f1": metrics.macro_f1(truth[other], labels, len(SENTIMENTS)),
            }
        )
    return result


def by_half(
    chances: metrics.Floats, truth: metrics.Classes, halves: NDArray[np.bool_], precision: float
) -> Iterator[tuple[dict[str, float], NDArray[np.bool_]]]:
    """Yield what each half chooses, with the rows of the other."""
    for half in (False, True):
        yield choose(chances[halves == half], truth[halves == half], precision), halves != half


def half_of(keys: Sequence[str]) -> NDArray[np.bool_]:
    """Return the half of each text, by hash of its key, so that the halves survive rows added or reordered."""
    return np.array([fraction(f"half:{key}") < 0.5 for key in keys])


def _precision(called: NDArray[np.bool_], truth: metrics.Classes) -> float:
    return float((truth[called] == NEGATIVE).mean()) if called.any() else 1.0
