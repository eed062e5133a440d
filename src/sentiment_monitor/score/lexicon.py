"""Two classifiers without a network: a finance word list, the yardstick for the neural one, and a stub for tests."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from sentiment_monitor.domain.news import SENTIMENTS, Score, Scorer, Sentiment, Text
from sentiment_monitor.score.contract import Vectors

WORDS = Path(__file__).with_name("lexicon.json")  # written for this project: phrases of one to three words a side
NEGATION_REACH = 3  # words
BODY_WEIGHT = 0.5  # of a hit in the body, against one in the headline
SLOPE = 1.1  # logits per hit
NEUTRAL_LOGIT = 0.7  # with no hit: neutral 0.5, the others 0.25 each
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


class LexiconClassifier:
    """Counts good and bad words, negations turned round. Knows no topics, English only."""

    def __init__(self) -> None:
        self._negative, self._positive, self._negations, digest = _lists()
        self._phrases = self._negative | self._positive | self._negations
        self._sizes = _sizes(self._phrases)
        self._by = Scorer(f"lexicon@{digest[:12]}", "none")

    @property
    def id(self) -> str:
        """Name and digest of the word list."""
        return self._by.classifier

    @property
    def by(self) -> Scorer:
        """The word list; its slope is fixed, not fitted, and it has no manifest."""
        return self._by

    @property
    def languages(self) -> tuple[str, ...]:
        """English."""
        return ("en",)

    @property
    def topics(self) -> tuple[str, ...]:
        """None."""
        return ()

    def score(self, texts: Sequence[Text]) -> list[Score]:
        """Return one score per text: softmax of SLOPE per net hit against a constant for neutral."""
        return [self._one(text) for text in texts]

    def vectors(self, texts: Sequence[Text]) -> Vectors:
        """None: it counts words."""
        return np.empty((len(texts), 0), np.float32)

    def check_golden(self) -> None:
        """Nothing to compare: the words ship with the code."""

    def close(self) -> None:
        """Nothing to free."""

    def _one(self, text: Text) -> Score:
        bad, good = self._hits(text.headline)
        if text.body:
            body_bad, body_good = self._hits(text.body)
            bad, good = bad + BODY_WEIGHT * body_bad, good + BODY_WEIGHT * body_good
        # A hit on one side weighs against the other, so that one of each is balanced, hence neutral.
        return _score(SLOPE * (bad - good), NEUTRAL_LOGIT, SLOPE * (good - bad), self._by)

    def _hits(self, text: str) -> tuple[float, float]:
        words = _WORD.findall(text.lower().replace("’", "'"))
        bad = good = 0.0
        at = 0
        negated_until = -1
        while at < len(words):
            # Most words begin none of the phrases.
            sizes = self._sizes.get(words[at], ())
            size = next((size for size in sizes if " ".join(words[at : at + size]) in self._phrases), 1)
            phrase = " ".join(words[at : at + size])
            is_bad = phrase in self._negative
            if is_bad or phrase in self._positive:
                if at <= negated_until:
                    is_bad = not is_bad
                bad, good = bad + is_bad, good + (not is_bad)
            elif phrase in self._negations or phrase.endswith("n't"):
                negated_until = at + NEGATION_REACH
            at += size
        return bad, good


class StubClassifier:
    """Scores by a hash of the text: instant, stable, meaningless. For tests and for timing everything else."""

    by = Scorer("stub@000000000000", "none")
    id = by.classifier
    languages: tuple[str, ...] = ("en",)
    topics: tuple[str, ...] = ("company_product", "earnings")

    def score(self, texts: Sequence[Text]) -> list[Score]:
        """Return one score per text; equal texts have equal scores."""
        return [self._one(text) for text in texts]

    def vectors(self, texts: Sequence[Text]) -> Vectors:
        """Return a vector a text, by a hash of it: equal texts have equal ones."""
        seeds = [hashlib.blake2b(f"{text.headline}\0{text.body}".encode(), digest_size=8).digest() for text in texts]
        raw = np.frombuffer(b"".join(seeds), np.uint8).reshape(len(texts), 8).astype(np.float32) - 127.5
        unit: Vectors = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        return unit

    def check_golden(self) -> None:
        """Nothing to compare."""

    def close(self) -> None:
        """Nothing to free."""

    def _one(self, text: Text) -> Score:
        digest = hashlib.blake2b(f"{text.headline}\0{text.body}".encode("utf-8", "replace"), digest_size=4).digest()
        score = _score(digest[0] / 64, digest[1] / 64, digest[2] / 64, self.by)
        return Score(
            label=score.label,
            negative=score.negative,
            neutral=score.neutral,
            positive=score.positive,
            topic=self.topics[digest[3] % len(self.topics)],
            topic_confidence=0.5,
            by=self.by,
        )


def _score(negative: float, neutral: float, positive: float, by: Scorer) -> Score:
    largest = max(negative, neutral, positive)
    weights = [math.exp(logit - largest) for logit in (negative, neutral, positive)]
    chances = [weight / sum(weights) for weight in weights]
    label = max(zip(chances, SENTIMENTS, strict=True), key=lambda pair: pair[0])[1]
    first, second = sorted(chances, reverse=True)[:2]
    return Score(Sentiment(label), chances[0], chances[1], chances[2], None, 0.0, by, uncertain=first - second < 0.1)


@cache
def _lists() -> tuple[frozenset[str], frozenset[str], frozenset[str], str]:
    raw = WORDS.read_bytes()
    lists = json.loads(raw)
    negative, positive, negations = (_set(lists[side]) for side in ("negative", "positive", "negations"))
    return negative, positive, negations, hashlib.sha256(raw).hexdigest()


def _set(lines: Iterable[str]) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split(","))


def _sizes(phrases: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """First word of phrases -> how many words they have, the most first."""
    sizes: dict[str, set[int]] = {}
    for phrase in phrases:
        first, *others = phrase.split()
        sizes.setdefault(first, set()).add(1 + len(others))
    return {first: tuple(sorted(counts, reverse=True)) for first, counts in sizes.items()}
