"""Scores lately given, so that the same words are not scored twice."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from sentiment_monitor.domain.news import Score, Text


class ScoreMemory:
    """The last ``limit`` scores by text, least recently used leaving first. Belongs to one classifier, one thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._scores: OrderedDict[bytes, Score] = OrderedDict()

    def recall(self, texts: Sequence[Text]) -> list[Score | None]:
        """Return the remembered score of each text, None where there is none."""
        remembered: list[Score | None] = []
        for text in texts:
            key = _key(text)
            score = self._scores.get(key)
            if score is not None:
                self._scores.move_to_end(key)
            remembered.append(score)
        return remembered

    def keep(self, scores: Mapping[Text, Score]) -> None:
        """Remember ``scores``."""
        for text, score in scores.items():
            self._scores[_key(text)] = score
        while len(self._scores) > self._limit:
            self._scores.popitem(last=False)


def _key(text: Text) -> bytes:
    # A digest, not the text: bodies are kilobytes and the memory holds tens of thousands.
    digest = hashlib.blake2b(text.headline.encode("utf-8", "surrogatepass"), digest_size=16)
    digest.update(b"\x00" + text.body.encode("utf-8", "surrogatepass"))
    return digest.digest()
