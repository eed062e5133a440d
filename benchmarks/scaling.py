"""What a story costs as texts grow longer, as more of them come at once, and as a backlog waits.

python benchmarks/scaling.py                    # all three tables
python benchmarks/scaling.py --only length --json

Length and batch: the classifier alone, median of the rounds, the cases in turns. Backlog: the service from the first
record fetched to the last commit (SQLite, records already in memory), so that a rate that falls with the backlog shows.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import rig
from end_to_end import end_to_end

from sentiment_monitor.bench.texts import built_in
from sentiment_monitor.domain.news import Text
from sentiment_monitor.score import load
from sentiment_monitor.score.checkpoint import load_tokenizer
from sentiment_monitor.score.classifier import NeuralClassifier
from sentiment_monitor.score.contract import Classifier

TOKENS = (8, 16, 31, 64, 128, 256, 512, 1_024)
TOGETHER = (1, 2, 4, 8, 16, 32, 64, 256, 1_024)
BACKLOGS = (500, 2_000, 8_000)
USUAL = 31  # tokens of a news headline, with the two special ones


def main() -> None:
    options = rig.parser(__doc__)
    options.add_argument("--only", choices=("length", "batch", "backlog"))
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", action="store_true", help="one JSON document")
    chosen = options.parse_args()
    rig.quiet()
    chosen.source = "memory"
    tables: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "length": lambda: by_length(chosen.classifier, chosen.rounds),
        "batch": lambda: by_batch(chosen.classifier, chosen.rounds),
        "backlog": lambda: by_backlog(chosen),
    }
    found: dict[str, Any] = {"load_average": os.getloadavg()[0]}
    if not chosen.json:
        rig.report(**found)
    for name, table in tables.items():
        if chosen.only in (None, name):
            found[name] = table()
            for row in [] if chosen.json else found[name]:
                rig.report(table=name, **row)
    if chosen.json:
        print(json.dumps(found, indent=2))


def by_length(name: str, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds and stories a second by tokens a story; past 128 tokens a story has several windows."""
    classifier = load(name, remember=0)
    cases = {tokens: texts_of(classifier, tokens, max(16, 4_096 // tokens)) for tokens in TOKENS}
    rates = in_turns(classifier, {tokens: [texts] for tokens, texts in cases.items()}, rounds)
    windows = {tokens: classifier.score(texts[:1])[0].windows for tokens, texts in cases.items()}
    classifier.close()
    return [
        {"tokens": tokens, "windows": windows[tokens], "stories_per_s": rate, "ms_per_story": 1_000 / rate}
        for tokens, rate in rates.items()
    ]


def by_batch(name: str, rounds: int) -> list[dict[str, Any]]:
    """Stories a second, and how long one call takes, by stories scored in one call."""
    classifier = load(name, remember=0)
    texts = texts_of(classifier, USUAL, max(TOGETHER))
    few = texts[:256]
    cases = {
        size: [pool[first : first + size] for first in range(0, len(pool), size)]
        for size in TOGETHER
        for pool in [few if size < 64 else texts]
    }
    rates = in_turns(classifier, cases, rounds)
    classifier.close()
    return [
        {"together": size, "stories_per_s": rate, "ms_per_call": 1_000 * size / rate} for size, rate in rates.items()
    ]


def by_backlog(chosen: Any) -> list[dict[str, Any]]:
    """Stories a second of the whole service by records that wait when it starts."""
    rows = []
    for size in BACKLOGS:
        with rig.database("sqlite") as url:
            rows.append({"waiting": size, "stories_per_s": end_to_end("", url, chosen, rig.stories(size))["rate"]})
    return rows


def in_turns(classifier: Classifier, cases: dict[int, list[list[Text]]], rounds: int) -> dict[int, float]:
    """Median stories a second of each case; the first turn warms up and does not count."""
    took: dict[int, list[float]] = {case: [] for case in cases}
    for _ in range(rounds + 1):
        for case, calls in cases.items():
            began = time.perf_counter()
            for call in calls:
                classifier.score(call)
            took[case].append(sum(map(len, calls)) / (time.perf_counter() - began))
    return {case: median(rates[1:]) for case, rates in took.items()}


def texts_of(classifier: Classifier, tokens: int, count: int) -> list[Text]:
    """Different stories of so many tokens each, special ones included: a headline, from 128 tokens on with a body."""
    assert isinstance(classifier, NeuralClassifier)
    tokenizer = load_tokenizer(classifier.checkpoint.directory)
    words = " ".join(built_in(10_000).texts).split()
    return [_story(tokenizer, words, 37 * number % len(words), tokens) for number in range(count)]


def _story(tokenizer: Any, words: Sequence[str], start: int, tokens: int) -> Text:
    around = (*words[start:], *words[:start])
    encoding = tokenizer.encode(" ".join(around[: 2 * tokens]))
    text = tokenizer.decode(encoding.ids[1 : tokens - 1])
    if tokens <= 128:
        return Text(text)
    parts = text.split()
    return Text(" ".join(parts[:15]), " ".join(parts[15:]))


if __name__ == "__main__":
    main()
