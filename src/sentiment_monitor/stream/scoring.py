"""The second stage: stories are scored, those of several parcels at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import structlog

from sentiment_monitor.domain.news import Action, DeadLetter, EnrichedStory, Score, ScoredStory, Text
from sentiment_monitor.score.contract import Classifier
from sentiment_monitor.stream.parcel import Parcel, isolating, record_at
from sentiment_monitor.telemetry.turns import Turns

_log = structlog.get_logger()

_AT_ONCE = 1_000  # stories given to the classifier in a call


@dataclass(slots=True)
class Scoring:
    """Enriched stories to scored ones. A story in a language that the classifier was not trained on is degraded.

    ``turns`` move on between the calls of the classifier.
    """

    classifier: Classifier
    turns: Turns = field(default_factory=lambda: Turns("score"))

    def score(self, parcels: Sequence[Parcel]) -> None:
        """Replaces each enriched story by a scored one or a dead letter. Raises the classifier's FatalError."""
        places = [
            (parcel, index, item)
            for parcel in parcels
            for index, item in enumerate(parcel.items)
            if isinstance(item, EnrichedStory)
        ]
        scores = self._scores([item for _, _, item in places if item.story.action is not Action.DELETED], parcels)
        for parcel, index, item in places:
            score = None if item.story.action is Action.DELETED else next(scores)
            parcel.items[index] = score if isinstance(score, DeadLetter) else ScoredStory(item, self._mark(item, score))

    def _scores(self, items: Sequence[EnrichedStory], parcels: Sequence[Parcel]) -> Iterator[Score | DeadLetter]:
        for start in range(0, len(items), _AT_ONCE):  # a record may hold thousands
            self.turns.moved()
            yield from isolating(
                items[start : start + _AT_ONCE],
                lambda batch: self.classifier.score([Text(item.text, item.body_text) for item in batch]),
                lambda unfit, error: _dead(parcels, unfit, error),
            )

    def _mark(self, item: EnrichedStory, score: Score | None) -> Score | None:
        trained_on = self.classifier.languages
        known = not trained_on or item.language == "und" or item.language in trained_on
        return score if score is None or known else replace(score, degraded=True)


def _dead(parcels: Sequence[Parcel], unfit: EnrichedStory, error: Exception) -> DeadLetter:
    story = unfit.story
    _log.error("record.score_failed", exc_info=error, headline=unfit.text[:80])
    record = record_at(parcels, story.position)
    return DeadLetter(record, "score_failed", f"{type(error).__name__}: {error}", story.part)
