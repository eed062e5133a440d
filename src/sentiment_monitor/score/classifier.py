"""From clean text to scores: windows, engine, calibrated probabilities, label and topic."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.domain.news import SENTIMENTS, Score, Scorer, Sentiment, Text
from sentiment_monitor.errors import ClassifierError
from sentiment_monitor.score.checkpoint import Checkpoint, load_tokenizer
from sentiment_monitor.score.contract import Engine, Vectors
from sentiment_monitor.score.remembered import ScoreMemory
from sentiment_monitor.score.windows import WINDOW_TOKENS, Plan, plan

Probabilities = NDArray[np.float64]

UNCERTAIN_MARGIN = 0.1  # the two likeliest labels are closer than this
CHUNK = 4_096  # stories tokenised at a time: bounds memory for a long file
# Most characters read of one part, per token it may use. English has 4 to 5 characters a token, so only text far
# beyond the window ceiling is left untokenised; it is marked truncated.
CHARACTERS_PER_TOKEN = 16


@dataclass(frozen=True, slots=True)
class _Story:
    windows: tuple[tuple[int, ...], ...]
    plan: Plan


class NeuralClassifier:
    """A checkpoint on an engine."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, *, max_windows: int, remember: int) -> None:
        self.checkpoint = checkpoint
        self.engine = engine
        self._by = _scorer(checkpoint)
        # What a text without a word says: nothing. It never reaches the network, whose answer to nothing is arbitrary.
        self._empty = Score(Sentiment.NEUTRAL, 0.25, 0.5, 0.25, None, 0.0, self._by, uncertain=True)
        self._lock = threading.Lock()
        self._memory = ScoreMemory(remember)
        self._max_windows = max_windows
        self._tokenizer = load_tokenizer(checkpoint.directory)
        special = self._tokenizer.encode("").ids
        self._before, self._after = tuple(special[:1]), tuple(special[1:])
        self._room = min(WINDOW_TOKENS, checkpoint.max_tokens) - len(special)

    @property
    def id(self) -> str:
        """Name and digest of the checkpoint with its calibration."""
        return self._by.classifier

    @property
    def by(self) -> Scorer:
        """The checkpoint, its temperature for sentiment, and its manifest."""
        return self._by

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages the manifest names."""
        return self.checkpoint.languages

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics of the head."""
        return self.checkpoint.topics

    def score(self, texts: Sequence[Text]) -> list[Score]:
        """Return one score per text, in order; equal texts are computed once."""
        with self._lock:
            scores = self._memory.recall(texts)
            missing = list(dict.fromkeys(text for text, score in zip(texts, scores, strict=True) if score is None))
            fresh = {text: self._empty for text in missing if not (text.headline or text.body)}
            missing = [text for text in missing if text not in fresh]
            for first in range(0, len(missing), CHUNK):
                part = missing[first : first + CHUNK]
                fresh.update(zip(part, self._compute(part), strict=True))
            self._memory.keep(fresh)
        return [fresh[text] if score is None else score for text, score in zip(texts, scores, strict=True)]

    def vectors(self, texts: Sequence[Text]) -> Vectors:
        """Return one vector of length 1 per text, in order; headline and body weigh as in its score."""
        with self._lock:
            stories = self._read(texts)
            windows = [window for story in stories for window in story.windows]
            states = self.engine.vectors(windows)
        weights = [weight for story in stories for weight in story.plan.weights]
        owners = [number for number, story in enumerate(stories) for _ in story.windows]
        sums = np.zeros((len(texts), states.shape[1]), np.float32)
        np.add.at(sums, owners, _unit(states) * np.array(weights, np.float32)[:, None])
        worded = np.array([bool(text.headline or text.body) for text in texts], np.float32)
        return _unit(sums) * worded[:, None]

    def check_golden(self) -> None:
        """Score the manifest's golden texts; a checkpoint without a manifest has none and passes."""
        golden = self.checkpoint.manifest.golden if self.checkpoint.manifest else ()
        scores = self._compute([Text(expected.headline, expected.body) for expected in golden])
        for expected, score in zip(golden, scores, strict=True):
            gap = max(abs(getattr(score, name) - getattr(expected, name)) for name in SENTIMENTS)
            if not gap <= self.engine.tolerance:
                raise ClassifierError(
                    f"{self.id} on {self.engine.name} scores the golden text {expected.headline!r} "
                    f"{gap:.3f} off, {self.engine.tolerance} allowed"
                )

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()

    def _compute(self, texts: Sequence[Text]) -> list[Score]:
        stories = self._read(texts)
        windows = [window for story in stories for window in story.windows]
        if not windows:
            return []
        logits = self.engine.logits(windows)
        at = self.checkpoint.temperature
        sentiment = softmax(logits, self.checkpoint.sentiment_columns, at("sentiment"))
        topic = softmax(logits, self.checkpoint.topic_columns, at("topic")) if self.topics else None
        weights = np.concatenate([story.plan.weights for story in stories])[:, None]
        starts = np.cumsum([0, *(len(story.windows) for story in stories[:-1])])
        sentiment = np.add.reduceat(sentiment * weights, starts)
        topic = None if topic is None else np.add.reduceat(topic * weights, starts)
        return self._scores(stories, sentiment, topic)

    def _scores(self, stories: Sequence[_Story], sentiment: Probabilities, topic: Probabilities | None) -> list[Score]:
        thresholds = [self.checkpoint.thresholds(with_body=with_body) for with_body in (False, True)]
        best = None if topic is None else topic.argmax(axis=1).tolist()
        ordered = np.sort(sentiment, axis=1)
        uncertain = (ordered[:, 2] - ordered[:, 1] < UNCERTAIN_MARGIN).tolist()
        return [
            Score(
                label=decide(row, thresholds[bool(story.plan.headline and story.plan.body)]),
                negative=row[0],
                neutral=row[1],
                positive=row[2],
                topic=None if best is None else self.topics[best[number]],
                topic_confidence=0.0 if topic is None or best is None else float(topic[number, best[number]]),
                by=self._by,
                windows=len(story.windows),
                truncated=story.plan.truncated,
                uncertain=uncertain[number],
            )
            for number, (story, row) in enumerate(zip(stories, sentiment.tolist(), strict=True))
        ]

    def _read(self, texts: Sequence[Text]) -> list[_Story]:
        most = self._max_windows * self._room * CHARACTERS_PER_TOKEN
        bodies = [number for number, text in enumerate(texts) if text.body]
        parts = [text.headline[:most] for text in texts] + [texts[number].body[:most] for number in bodies]
        encodings = self._tokenizer.encode_batch_fast(parts, add_special_tokens=False)
        body_of = {number: encodings[len(texts) + index] for index, number in enumerate(bodies)}
        stories = []
        for number, text in enumerate(texts):
            head, body = encodings[number], body_of.get(number)
            head_ids, body_ids = head.ids, body.ids if body else []
            planned = plan(
                head.word_ids if len(head_ids) > self._room else range(len(head_ids)),
                body.word_ids if body and len(body_ids) > self._room else range(len(body_ids)),
                self._room,
                self._max_windows,
                unread=len(text.headline) > most or len(text.body) > most,
            )
            windows = [self._window(head_ids, span) for span in planned.headline]
            windows += [self._window(body_ids, span) for span in planned.body]
            stories.append(_Story(tuple(windows), planned))
        return stories

    def _window(self, ids: Sequence[int], span: tuple[int, int]) -> tuple[int, ...]:
        return (*self._before, *ids[span[0] : span[1]], *self._after)


def _unit(rows: Vectors) -> Vectors:
    """Each row at length 1; one of zeros as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def _scorer(checkpoint: Checkpoint) -> Scorer:
    manifest = checkpoint.manifest
    if manifest is None:
        return Scorer(checkpoint.id, "none")
    temperature = f"temperature {manifest.temperatures.get('sentiment', 1.0):.3f}"
    return Scorer(checkpoint.id, temperature, json.dumps(dict(manifest.facts)))


def softmax(logits: NDArray[np.float32], columns: Sequence[int], temperature: float) -> Probabilities:
    """Return the probabilities [rows, columns] of one label group of the head."""
    scaled = logits[:, list(columns)].astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponent = np.exp(scaled)
    probabilities: Probabilities = exponent / exponent.sum(axis=1, keepdims=True)
    return probabilities


def decide(probabilities: Sequence[float], thresholds: dict[str, float]) -> Sentiment:
    """Return the label of three probabilities in the order of domain.news.SENTIMENTS.

    A label with a threshold wins exactly when its probability reaches it, negative before positive before neutral;
    when none does, the likeliest label without a threshold wins (the likeliest of all when each has one).
    """
    chances = dict(zip(SENTIMENTS, probabilities, strict=True))
    for label in (Sentiment.NEGATIVE, Sentiment.POSITIVE, Sentiment.NEUTRAL):
        if label in thresholds and chances[label] >= thresholds[label]:
            return label
    free = [label for label in SENTIMENTS if label not in thresholds] or list(SENTIMENTS)
    return max(free, key=lambda label: chances[label])
