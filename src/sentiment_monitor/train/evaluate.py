"""Measures a classifier on labelled text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.domain.news import SENTIMENTS, Score, Text
from sentiment_monitor.errors import UsageError
from sentiment_monitor.score.contract import Classifier
from sentiment_monitor.score.text import clean
from sentiment_monitor.tables import read_cells
from sentiment_monitor.train import metrics
from sentiment_monitor.train.data import Row, read_label_file, sentiment_label, text_hash, topic_label

BATCH = 1_024
NEGATIVE = SENTIMENTS.index("negative")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text with what it should be called; a label may be missing."""

    text: Text
    sentiment: str | None = None
    topic: str | None = None


def from_rows(rows: Sequence[Row]) -> list[Labelled]:
    """Return training rows as labelled texts."""
    return [Labelled(Text(row.text, row.body), row.sentiment, row.topic) for row in rows]


def evaluate(
    rows: Sequence[Labelled],
    classifier: Classifier,
    *,
    intervals: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Return ``{"sentiment": figures or None, "topic": figures or None}``.

    Figures: ``n``, ``accuracy``, ``macro_f1`` (over classes that occur or are predicted), ``ece`` (15 bins),
    ``per_class`` {label: precision, recall, f1, n}; of the sentiment also ``average_precision`` of negatives. A group
    is None when no row or no classifier has it. ``intervals`` adds 95 % bootstrap intervals under ``intervals``. Raises
    UsageError for a topic the classifier does not know.
    """
    scores: list[Score] = []
    for first in range(0, len(rows), BATCH):
        scores += classifier.score([row.text for row in rows[first : first + BATCH]])
        if progress:
            progress(len(scores), len(rows))
    result: dict[str, Any] = {
        "sentiment": _sentiment(rows, scores, intervals),
        "topic": _topic(rows, scores, classifier.topics, intervals) if classifier.topics else None,
    }
    if intervals:
        result["intervals"] = {
            group: result[group].pop("intervals") for group in ("sentiment", "topic") if result[group]
        }
    return result


def read_labelled(
    path: Path,
    *,
    text_column: str,
    sentiment_column: str | None = None,
    topic_column: str | None = None,
    body_column: str | None = None,
    labels: Path | None = None,
    mapping: Mapping[str, str] | None = None,
) -> list[Labelled]:
    """Read labelled texts, each cleaned.

    ``labels`` is a file with the columns ``sha1`` (of the text cell's UTF-8 bytes, hexadecimal) and ``label`` that
    gives the sentiment of some rows of a file without labels; the others are left out. Raises UsageError when a file
    or column is wrong, a label is unknown, or no row is labelled.
    """
    if not (sentiment_column or topic_column or labels):
        raise UsageError(f"{path}: name a sentiment or a topic column; nothing to compare with otherwise")
    if labels and sentiment_column:
        raise UsageError(f"{path}: give a label file or a sentiment column, not both")
    folded = {cell.strip().casefold(): label for cell, label in (mapping or {}).items()}
    given = read_label_file(labels) if labels else {}
    required = [name for name in (text_column, sentiment_column, topic_column, body_column) if name]
    rows = []
    for cells in read_cells(path, required):
        sentiment = sentiment_label(cells[sentiment_column], folded, path) if sentiment_column else None
        if labels:
            sentiment = given.pop(text_hash(cells[text_column]), None)
        topic = topic_label(cells[topic_column], folded, path) if topic_column else None
        if sentiment or topic:
            body = clean(cells[body_column]) if body_column else ""
            rows.append(Labelled(Text(clean(cells[text_column]), body), sentiment, topic))
    if not rows:
        raise UsageError(f"{path}: no row has a label")
    return rows


def truth_and_chances(rows: Sequence[Labelled], scores: Sequence[Score]) -> tuple[metrics.Classes, metrics.Floats]:
    """Return the classes [n] of the rows that have a sentiment, and their probabilities [n, 3], as SENTIMENTS count."""
    known = [(row.sentiment, score) for row, score in zip(rows, scores, strict=True) if row.sentiment]
    truth = np.array([SENTIMENTS.index(label) for label, _ in known])
    return truth, np.array([[score.negative, score.neutral, score.positive] for _, score in known])


def _sentiment(rows: Sequence[Labelled], scores: Sequence[Score], intervals: bool) -> dict[str, Any] | None:
    chosen = [(row.sentiment, score) for row, score in zip(rows, scores, strict=True) if row.sentiment]
    if not chosen:
        return None
    truth, chances = truth_and_chances(rows, scores)
    predicted = np.array([SENTIMENTS.index(score.label) for _, score in chosen])
    winner, right = chances.max(axis=1), chances.argmax(axis=1) == truth
    figures = _figures(truth, predicted, tuple(SENTIMENTS), winner, right, intervals)
    chance, negative = chances[:, NEGATIVE], truth == NEGATIVE
    figures["average_precision"] = metrics.average_precision(chance, negative)
    if intervals:
        figures["intervals"]["average_precision"] = metrics.bootstrap(
            lambda i: metrics.average_precision(chance[i], negative[i]), len(truth)
        )
    return figures


def _topic(
    rows: Sequence[Labelled], scores: Sequence[Score], topics: Sequence[str], intervals: bool
) -> dict[str, Any] | None:
    chosen = [(row.topic, score) for row, score in zip(rows, scores, strict=True) if row.topic]
    if not chosen:
        return None
    number = {name: at for at, name in enumerate(topics)}
    unknown = sorted({name for name, _ in chosen} - set(topics))
    if unknown:
        raise UsageError(f"unknown topics {', '.join(unknown)}; the classifier knows {', '.join(topics)}")
    truth = np.array([number[name] for name, _ in chosen])
    # No topic: an empty text. It counts as one class beyond the last, so always as wrong.
    predicted = np.array([number[score.topic] if score.topic else len(topics) for _, score in chosen])
    confidence = np.array([score.topic_confidence for _, score in chosen])
    return _figures(truth, predicted, (*topics, "none"), confidence, predicted == truth, intervals)


def _figures(
    truth: metrics.Classes,
    predicted: metrics.Classes,
    names: Sequence[str],
    confidence: metrics.Floats,
    right: NDArray[np.bool_],
    intervals: bool,
) -> dict[str, Any]:
    table = metrics.confusion(truth, predicted, len(names))
    precision, recall, f1 = metrics.per_class(table)
    figures: dict[str, Any] = {
        "n": len(truth),
        "accuracy": float((truth == predicted).mean()),
        "macro_f1": metrics.macro_f1(truth, predicted, len(names)),
        "ece": metrics.expected_calibration_error(confidence, right),
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
            for name, p, r, f, n, seen in zip(
                names, precision, recall, f1, table.sum(axis=1), table.sum(axis=0) + table.sum(axis=1), strict=True
            )
            if seen
        },
    }
    if intervals:
        figures["intervals"] = {
            "accuracy": metrics.bootstrap(lambda i: float((truth[i] == predicted[i]).mean()), len(truth)),
            "macro_f1": metrics.bootstrap(lambda i: metrics.macro_f1(truth[i], predicted[i], len(names)), len(truth)),
            "ece": metrics.bootstrap(lambda i: metrics.expected_calibration_error(confidence[i], right[i]), len(truth)),
        }
    return figures
