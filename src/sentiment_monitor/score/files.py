"""Rows of CSV and JSON-lines files, with messages that say what is wrong with the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment_monitor.domain import Score, Text
from sentiment_monitor.errors import UsageError
from sentiment_monitor.score.text import clean

if TYPE_CHECKING:
    from sentiment_monitor.score.classifier import Classifier

MAX_CELL = 4_000_000  # characters; a longer cell is a broken quote, not a story
BATCH = 1_024  # rows scored at a time


def read_rows(path: Path, required: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """Yield the rows of ``path`` in file order; missing and null cells are ``""``.

    ``.jsonl``, ``.ndjson`` and ``.json`` are read as one JSON object a line, anything else as CSV with a header line.
    Raises UsageError for a missing, empty or non-UTF-8 file, a missing ``required`` column (naming those that exist),
    a broken line or an oversized cell.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    reader = _json_lines if path.suffix.lower() in {".jsonl", ".ndjson", ".json"} else _csv
    count = 0
    try:
        for row in reader(path, required):
            count += 1
            yield row
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.object[error.start]:#04x}); convert it first") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if not count:
        raise UsageError(f"{path}: holds no rows")


def columns_of(path: Path) -> tuple[str, ...]:
    """Return the column names of the first row."""
    return tuple(next(read_rows(path)))


def _csv(path: Path, required: Sequence[str]) -> Iterator[dict[str, str]]:
    previous = csv.field_size_limit(MAX_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, restval="")
            _require(path, required, reader.fieldnames or ())
            for row in reader:
                row.pop(None, None)  # cells beyond the header line
                yield row
    except csv.Error as error:
        raise UsageError(f"{path}: line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(previous)


def _json_lines(path: Path, required: Sequence[str]) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{path}: line {number} is not JSON: {error}") from error
            if not isinstance(record, dict):
                raise UsageError(f"{path}: line {number} is not a JSON object")
            _require(path, required, record)
            row = {str(name): "" if value is None else str(value) for name, value in record.items()}
            if any(len(cell) > MAX_CELL for cell in row.values()):
                raise UsageError(f"{path}: line {number}: a cell is longer than {MAX_CELL:,} characters")
            yield row


def _require(path: Path, required: Sequence[str], present: Sequence[str] | Mapping[str, object]) -> None:
    missing = [name for name in required if name not in present]
    if missing:
        have = ", ".join(present) or "none"
        raise UsageError(f"{path}: no column {', '.join(missing)}; its columns are: {have}")


def score_file(
    path: Path, classifier: Classifier, *, text_column: str, body_column: str | None = None
) -> Iterator[tuple[Text, Score]]:
    """Yield the clean text and score of every row of a CSV or JSON-lines file, in file order, as they come."""
    rows = read_rows(path, [name for name in (text_column, body_column) if name])
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
