"""Figures of classifiers side by side: real news labelled here, the public held-out sets, contrast pairs.

Run at the top of a checkout that has ../shared beside it. Thresholds are chosen on one half of the news and applied to
the other, both ways; what stands below is the two halves together. Brackets: 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor import score, train
from sentiment_monitor.domain.news import SENTIMENTS, Text
from sentiment_monitor.score.contract import Classifier
from sentiment_monitor.telemetry import log
from sentiment_monitor.train import data, metrics, recipe, thresholds
from sentiment_monitor.train.evaluate import NEGATIVE, evaluate, from_rows, truth_and_chances

LABELS = Path("benchmarks/labels/rss2023_dev.csv")
NEWS = Path("../shared/data/rss2023_svb")
BUNDLED = Path(train.__file__).with_name("bundled.toml")
PRECISION = 0.8


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("classifiers", nargs="*", default=["lexicon", "bundled"], help="lexicon, bundled, directories")
    options.add_argument(
        "--engine", choices=("torch", "openvino"), default="torch", help="torch is fp32 on a CPU; openvino is int8"
    )
    options.add_argument("--json", action="store_true", help="for machines")
    chosen = options.parse_args()
    log.configure("warning")
    split = data.build(recipe.read(BUNDLED))
    found = {name: figures(name, chosen.engine, split) for name in chosen.classifiers}
    if chosen.json:
        print(json.dumps(found, indent=2))
        return
    for name, rows in found.items():
        print(f"\n{name}")
        for what, value in rows.items():
            cells = value if isinstance(value, dict) else {"": value}
            print(f"  {what:<30}" + "  ".join(f"{key} {shown(cell)}" for key, cell in cells.items()))


def figures(name: str, engine: Literal["auto", "openvino", "torch"], split: data.Split) -> dict[str, Any]:
    """Everything the card and docs/experiments say of one classifier."""
    classifier = score.load(name, engine=engine)
    try:
        result: dict[str, Any] = {
            "news, headline": news(classifier, split.held_out["news"]),
            "news, with summary": news(classifier, split.held_out["news_with_summary"]),
        }
        for held_out in ("twitter_fin_sentiment_valid", "sentfin", "twitter_fin_topic_validation"):
            measured = evaluate(from_rows(split.held_out[held_out]), classifier, intervals=True)
            group = measured["sentiment"] or measured["topic"]
            ranges = measured.get("intervals", {}).get("sentiment" if measured["sentiment"] else "topic", {})
            if group:
                result[held_out] = {k: (group[k], *ranges[k]) for k in ("accuracy", "macro_f1", "ece")}
        result["contrast pairs"] = pairs(classifier, [*split.held_out["corpus"], *split.held_out["more"]])
    finally:
        classifier.close()
    return result


def news(classifier: Classifier, rows: Sequence[data.Row]) -> dict[str, Any]:
    """By probability, by the label the classifier gives, and by thresholds chosen on the other half."""
    labelled = from_rows(rows)
    scores = classifier.score([row.text for row in labelled])
    truth, chances = truth_and_chances(labelled, scores)
    given = np.array([SENTIMENTS.index(s.label) for s in scores])
    crossed = across_halves(chances, truth, rows)
    banks = around_the_banks(rows)
    return {
        "average precision": interval(
            lambda i: metrics.average_precision(chances[i, NEGATIVE], truth[i] == NEGATIVE), len(truth)
        ),
        "by thresholds of the other half": by_label(truth, crossed, banks),
        "by the given label": by_label(truth, given, banks),
    }


def across_halves(chances: metrics.Floats, truth: metrics.Classes, rows: Sequence[data.Row]) -> metrics.Classes:
    """Return the labels [rows] by thresholds that the other half chose."""
    labels = np.empty_like(truth)
    for chosen, other in thresholds.by_half(chances, truth, thresholds.half_of([row.key for row in rows]), PRECISION):
        labels[other] = thresholds.apply(chances[other], chosen)
    return labels


def by_label(truth: metrics.Classes, labels: metrics.Classes, banks: NDArray[np.bool_]) -> dict[str, Any]:
    def recall(of: metrics.Classes, called: metrics.Classes) -> float:
        return float((called[of == NEGATIVE] == NEGATIVE).mean())

    def precision(of: metrics.Classes, called: metrics.Classes) -> float:
        return float((of[called == NEGATIVE] == NEGATIVE).mean()) if (called == NEGATIVE).any() else 0.0

    rows = len(truth)
    there = np.flatnonzero(banks)
    return {
        "recall": interval(lambda i: recall(truth[i], labels[i]), rows),
        "precision": interval(lambda i: precision(truth[i], labels[i]), rows),
        "macro_f1": interval(lambda i: metrics.macro_f1(truth[i], labels[i], len(SENTIMENTS)), rows),
        "recall around the banks": interval(lambda i: recall(truth[there[i]], labels[there[i]]), len(there)),
    }


def around_the_banks(rows: Sequence[data.Row]) -> NDArray[np.bool_]:
    """Which rows the label file counts to the bank failures: by SHA-1 of the titles as the feeds have them."""
    with LABELS.open(encoding="utf-8") as lines:
        groups = {row["sha1"]: row["group"] for row in csv.DictReader(lines)}
    keys = set()
    for file in sorted(NEWS.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                if groups.get(data.text_hash(row["title"])) == "banks":
                    keys.add(data.normalise(row["title"]))
    return np.array([row.key in keys for row in rows])


def pairs(classifier: Classifier, rows: Sequence[data.Row]) -> dict[str, Any]:
    """Share of the held-out contrast pairs of which both members are right."""
    members = [row for row in rows if row.pair]
    found = classifier.score([Text(row.text) for row in members])
    both = both_right(members, [score.label == row.sentiment for row, score in zip(members, found, strict=True)])
    return {"both right": interval(lambda i: float(both[i].mean()), len(both)), "pairs": len(both)}


def both_right(rows: Sequence[data.Row], right: Iterable[bool]) -> NDArray[np.bool_]:
    """Return, for each pair whose two members are among ``rows``, whether both are ``right`` [rows]."""
    found: dict[str, list[bool]] = defaultdict(list)
    for row, correct in zip(rows, right, strict=True):
        if row.pair:
            found[row.pair].append(correct)
    return np.array([all(pair) for pair in found.values() if len(pair) == 2])


def interval(statistic: Callable[[NDArray[np.int64]], float], rows: int) -> tuple[float, float, float]:
    return (statistic(np.arange(rows)), *metrics.bootstrap(statistic, rows))


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {shown(cell)}" for key, cell in value.items()) + ")"
    if isinstance(value, tuple):
        return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"
    return str(value)


if __name__ == "__main__":
    main()
