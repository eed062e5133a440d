"""Scores of whole files, and a score as a record for machines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment_monitor.domain.news import Score, Text
from sentiment_monitor.score.text import clean
from sentiment_monitor.tables import read_cells

if TYPE_CHECKING:
    from sentiment_monitor.score.contract import Classifier

BATCH = 1_024  # rows scored at a time


def score_file(
    path: Path, classifier: Classifier, *, text_column: str, body_column: str | None = None
) -> Iterator[tuple[Text, Score]]:
    """Yield the clean text and score of every row of a CSV or JSON-lines file, in file order, as they come."""
    rows = read_cells(path, [name for name in (text_column, body_column) if name])
    while part := list(islice(rows, BATCH)):
        texts = [Text(clean(row[text_column]), clean(row[body_column]) if body_column else "") for row in part]
        yield from zip(texts, classifier.score(texts), strict=True)


def as_record(text: str, score: Score) -> dict[str, object]:
    """Return a score as `monitor score` prints it."""
    return {
        "text": text,
        "label": score.label.value,
        "probabilities": {"negative": score.negative, "neutral": score.neutral, "positive": score.positive},
        "score": score.score,
        "confidence": score.confidence,
        "topic": score.topic,
        "topic_confidence": score.topic_confidence,
        "windows": score.windows,
        "truncated": score.truncated,
        "uncertain": score.uncertain,
    }
