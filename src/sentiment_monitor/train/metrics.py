"""Figures of merit of a classifier, in plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Classes = NDArray[np.integer]  # [rows]
Floats = NDArray[np.floating]

ECE_BINS = 15


def confusion(truth: Classes, predicted: Classes, classes: int) -> NDArray[np.int64]:
    """Return counts [truth, predicted]."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def per_class(table: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and F1 of each class of a confusion table; 0 where a ratio is undefined."""
    hit = np.diagonal(table).astype(float)
    precision = np.divide(hit, table.sum(axis=0), out=np.zeros_like(hit), where=table.sum(axis=0) > 0)
    recall = np.divide(hit, table.sum(axis=1), out=np.zeros_like(hit), where=table.sum(axis=1) > 0)
    both = precision + recall
    return precision, recall, np.divide(2 * precision * recall, both, out=np.zeros_like(hit), where=both > 0)


def macro_f1(truth: Classes, predicted: Classes, classes: int) -> float:
    """Return the mean F1 over the classes that occur in ``truth`` or ``predicted`` (0 for no rows)."""
    table = confusion(truth, predicted, classes)
    present = (table.sum(axis=0) + table.sum(axis=1)) > 0
    return float(per_class(table)[2][present].mean()) if present.any() else 0.0


def expected_calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Return the mean gap of confidence and accuracy over 15 equal-width bins, weighted by rows.

    ``confidence`` [rows] is the winning class's probability, ``right`` [rows] whether it is the true one.
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(right))


def average_precision(chance: Floats, truth: NDArray[np.bool_]) -> float:
    """Return the area under the precision-recall steps of ``chance`` [rows] for ``truth`` [rows]; 0 without a true row.

    Ties share a step, as in scikit-learn's average_precision_score.
    """
    order = np.argsort(-chance, kind="stable")
    last = np.append(np.diff(chance[order]) != 0, True)  # of each run of equal chances
    hits = np.cumsum(truth[order])[last]
    called = np.flatnonzero(last) + 1
    if not truth.any():
        return 0.0
    gained = np.diff(hits, prepend=0) / truth.sum()
    return float((gained * hits / called).sum())


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], rows: int, *, repeats: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile interval of ``statistic(indices)`` over ``rows`` drawn with replacement."""
    generator = np.random.default_rng(seed)
    values = [statistic(generator.integers(0, rows, rows)) for _ in range(repeats)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def fit_temperature(logits: Floats, truth: Classes) -> float:
    """Return the temperature in [0.25, 8] with the least negative log likelihood, by golden-section search.

    ``logits`` [rows, classes]. The likelihood is convex in 1 / temperature (Guo et al., 2017), so the search is exact
    to its tolerance of 0.1 %.
    """
    low, high = -2.0794, 1.3863  # log of the inverse temperature
    ratio = (5**0.5 - 1) / 2
    while high - low > 1e-3:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _nll(logits, truth, left) < _nll(logits, truth, right):
            high = right
        else:
            low = left
    return float(np.exp(-(low + high) / 2))


def softmax(logits: Floats) -> Floats:
    """Return probabilities along the last axis."""
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = exponent / exponent.sum(axis=-1, keepdims=True)
    return result


def _nll(logits: Floats, truth: Classes, log_inverse: float) -> float:
    chances = softmax(logits.astype(np.float64) * np.exp(log_inverse))
    return float(-np.log(np.maximum(chances[np.arange(len(truth)), truth], 1e-12)).mean())
