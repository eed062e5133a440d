"""Scores stories: sentiment and topic, by a fine-tuned BERT or a word list. ``load`` is the way in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentiment_monitor.score.contract import Classifier
    from sentiment_monitor.score.engines import EngineName

__all__ = ["load"]

REMEMBER = 20_000  # scores kept by text, about 8 MB


def load(
    name: str = "bundled",
    *,
    engine: EngineName = "auto",
    cache_dir: Path | None = None,
    max_windows: int = 16,
    remember: int = REMEMBER,
) -> Classifier:
    """Return a ready, checked classifier: ``bundled``, ``lexicon``, ``stub``, a directory or a hub name.

    ``cache_dir`` holds built engines (default: the user's cache directory), ``max_windows`` bounds the text read of one
    story, ``remember`` is the number of scores kept (0: none). The golden texts have been compared when this returns.
    Raises ClassifierError when the classifier cannot be trusted or no engine can run it.
    """
    from sentiment_monitor.score import lexicon

    if name == "lexicon":
        return lexicon.LexiconClassifier()
    if name == "stub":
        return lexicon.StubClassifier()
    from sentiment_monitor.score.checkpoint import open_checkpoint
    from sentiment_monitor.score.classifier import NeuralClassifier
    from sentiment_monitor.score.engines import start
    from sentiment_monitor.score.hardware import usable_cpus
    from sentiment_monitor.score.hub import locate

    # The tokenizer's own thread pool counts the host's cores; it reads this when it first works.
    os.environ.setdefault("RAYON_NUM_THREADS", str(usable_cpus()))
    directory, known_as = locate(name)
    checkpoint = open_checkpoint(directory, known_as)
    running = start(checkpoint, engine, cache_dir or default_cache_dir(), usable_cpus())
    classifier = NeuralClassifier(checkpoint, running, max_windows=max_windows, remember=remember)
    try:
        classifier.check_golden()
    except BaseException:
        classifier.close()
        raise
    return classifier


def default_cache_dir() -> Path:
    """Return ``$XDG_CACHE_HOME/sentiment-monitor`` or ``~/.cache/sentiment-monitor``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "sentiment-monitor"
