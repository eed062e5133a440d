"""What scores stories, a classifier, and what runs a neural one, an engine: what each promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.domain.news import Score, Scorer, Text

Logits = NDArray[np.float32]  # [windows, labels]
Vectors = NDArray[np.float32]  # [windows or texts, width]


class Classifier(Protocol):
    """Anything that scores stories: the neural classifier, the lexicon, a stub."""

    @property
    def id(self) -> str:
        """``name@hash12``; differs whenever scores may differ."""
        ...

    @property
    def by(self) -> Scorer:
        """Who its scores say that they are by."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes it was trained on; () when unknown."""
        ...

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics it knows; () for none."""
        ...

    def score(self, texts: Sequence[Text]) -> list[Score]:
        """Return one score per text, in order. Texts are clean (see text.clean). Safe to call from several threads."""
        ...

    def vectors(self, texts: Sequence[Text]) -> Vectors:
        """Return one vector of length 1 per text, in order: texts that say alike lie near each other (cosine).

        Of width 0 from a classifier that has none; of zeros for a text without a word. Only vectors of one ``id`` can
        be compared. Texts are clean; safe to call from several threads.
        """
        ...

    def check_golden(self) -> None:
        """Score the golden texts; ClassifierError when one differs from what the classifier's maker saw."""
        ...

    def close(self) -> None:
        """Free engine and memory."""
        ...


class EngineUnavailable(Exception):
    """This engine cannot serve here: wheel missing, processor unsupported, or its answers differ from fp32."""


class Engine(Protocol):
    """Runs one checkpoint. Not safe for concurrent calls."""

    name: str  # "openvino", "torch"
    tolerance: float  # how far a probability may lie from fp32 on a golden text

    def logits(self, windows: Sequence[Sequence[int]]) -> Logits:
        """Return the logits of each window (token ids with special tokens), in input order."""
        ...

    def vectors(self, windows: Sequence[Sequence[int]]) -> Vectors:
        """Return what the head's last layer reads of each window, in input order: the state the logits are made of.

        Of width 0 where the network has no such layer.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds."""
        ...
