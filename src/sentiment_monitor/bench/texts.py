"""The texts a benchmark reads: a file of the user's, or the built-in ones at a news headline's usual length."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sentiment_monitor.domain.news import Sentiment
from sentiment_monitor.errors import UsageError
from sentiment_monitor.score.openvino_engine import probe_file
from sentiment_monitor.score.text import clean
from sentiment_monitor.tables import read_cells

JOINED = (True, False, True, False, True)  # of five built-in headlines three get a second one: 20 tokens become 31


@dataclass(frozen=True, slots=True)
class Sample:
    """What every run of one benchmark reads."""

    texts: tuple[str, ...]  # clean
    labels: tuple[Sentiment, ...] | None  # one a text; None: the file has none
    origin: str  # for people


def built_in(limit: int, languages: Sequence[str] = ("en",)) -> Sample:
    """Return the engine builder's stored texts, lengthened.

    Three in five are joined with another of the same sentiment, so that the label still holds. Their number is what
    the file has, at most ``limit``. 300 of them also set the ranges of the int8 build: speed does not care, and
    agreement on texts that nobody tuned on wants a file of your own.
    """
    file = probe_file(languages)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    alike: dict[str, list[str]] = {}
    for row in rows:
        alike.setdefault(row["sentiment"], []).append(row["text"])
    partners = {sentiment: iter(texts[len(texts) // 2 :] + texts) for sentiment, texts in alike.items()}
    texts, labels = [], []
    for number, row in enumerate(rows[:limit]):
        second = f"; {next(partners[row['sentiment']])}" if JOINED[number % len(JOINED)] else ""
        texts.append(clean(row["text"] + second))
        labels.append(Sentiment(row["sentiment"]))
    return Sample(tuple(texts), tuple(labels), "built-in headlines, three in five joined with a second one")


def from_file(
    file: Path, *, text_column: str, sentiment_column: str | None, mapping: Mapping[str, str], limit: int
) -> Sample:
    """Return the first ``limit`` rows that have text, and a label where ``sentiment_column`` is given.

    ``mapping`` turns the file's labels into ours. Raises UsageError for a missing column or an unknown label.
    """
    wanted = [column for column in (text_column, sentiment_column) if column]
    rows = [row for row in read_cells(file, wanted) if clean(row[text_column])]
    texts = tuple(clean(row[text_column]) for row in islice(rows, limit))
    if not texts:
        raise UsageError(f"{file}: no row has text in column {text_column}")
    labels = None
    if sentiment_column:
        labels = tuple(_label(file, row[sentiment_column], mapping) for row in islice(rows, limit))
    return Sample(texts, labels, str(file))


def _label(file: Path, value: str, mapping: Mapping[str, str]) -> Sentiment:
    name = mapping.get(value.strip(), value.strip()).casefold()
    try:
        return Sentiment(name)
    except ValueError:
        known = ", ".join(Sentiment)
        raise UsageError(f"{file}: label {value!r} is none of {known}; name it with --map {value}=LABEL") from None
