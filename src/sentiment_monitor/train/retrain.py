"""One training run from files to a finished classifier directory, in phases."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sentiment_monitor.domain.news import SENTIMENTS
from sentiment_monitor.errors import UsageError
from sentiment_monitor.score import manifest
from sentiment_monitor.score.checkpoint import Checkpoint, load_tokenizer, open_checkpoint, weight_files, weights_sha256
from sentiment_monitor.score.classifier import NeuralClassifier
from sentiment_monitor.score.lexicon import LexiconClassifier
from sentiment_monitor.train import card, data, metrics, thresholds
from sentiment_monitor.train.evaluate import evaluate, from_rows, truth_and_chances
from sentiment_monitor.train.golden import GOLDEN
from sentiment_monitor.train.recipe import Recipe

Progress = Callable[[str, int, int], None]  # phase, steps done, steps in all

_THRESHOLDS = {"thresholds_from": "thresholds", "thresholds_with_body_from": "thresholds_with_body"}  # key -> fact


def run(
    recipe: Recipe, output: Path, *, command: str, base: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Train by ``recipe`` and write a classifier directory to ``output``, whole or not at all; return its facts.

    ``base`` overrides the recipe's; ``command`` is what the model card quotes. The facts are those of manifest.json:
    metrics on every held-out set beside the lexicon's, data report, settings. Raises UsageError when the training
    extra is missing, the output exists, or files are wrong.
    """
    report = progress or (lambda phase, done, total: None)
    for package in ("torch", "transformers", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"training needs {package}: pip install 'sentiment-monitor[train]'")
    encoder = base or recipe.base
    if encoder is None or not (encoder / "config.json").is_file():
        raise UsageError(f"no base encoder: {encoder or 'give --base DIR'} must be a directory with config.json")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output}: exists; name a new directory")
    split = data.build(recipe)
    for key in (*_THRESHOLDS, "calibrate_on"):
        if getattr(recipe, key):
            _tuning_rows(recipe, key, split)  # a wrong name is told before the training, not after it
    report("data", 1, 1)

    from sentiment_monitor.train.fit import fit

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as work:
        fitted, classifier = Path(work) / "fitted", Path(work) / "classifier"
        fitted.mkdir()
        fit(recipe, encoder, split.train, split.development, fitted, report)
        facts = finish(recipe, split, encoder, fitted, classifier, command=command, progress=report)
        if output.exists():
            output.rmdir()
        classifier.rename(output)
    return facts


def finish(
    recipe: Recipe, split: data.Split, encoder: Path, fitted: Path, out: Path, *, command: str, progress: Progress
) -> dict[str, Any]:
    """Turn a fitted fp32 checkpoint into a classifier directory: halve, calibrate, measure, describe, seal."""
    out.mkdir()
    _save_half(encoder, fitted, out)
    checkpoint = open_checkpoint(out, recipe.name)
    facts: dict[str, Any] = {
        "name": recipe.name,
        "base": {
            "name": recipe.base_name or encoder.resolve().name,
            "licence": recipe.base_licence,
            "sha256": weights_sha256(encoder),
        },
        "labels": list(json.loads((out / "config.json").read_text(encoding="utf-8"))["id2label"].values()),
        "languages": list(recipe.languages),
        "tokenizer_sha256": manifest.sha256(out / "tokenizer.json"),
        "temperatures": _temperatures(checkpoint, recipe, split),
        **{fact: {} for fact in _THRESHOLDS.values()},
        "licences": {source.name: source.licence for source in recipe.data},
        "data": {"fingerprint": split.fingerprint, "report": split.report},
        "settings": recipe.model_dump(mode="json", exclude={"data", "held_out", "base"}),
        "sources": [source.model_dump(mode="json") for source in (*recipe.data, *recipe.held_out)],
        "seed": recipe.seed,
        "command": command,
        "golden": [],
    }
    manifest.write(out, facts)
    for key, fact in _THRESHOLDS.items():
        if getattr(recipe, key):
            facts[fact], facts[f"{fact}_across_halves"] = _thresholds(out, recipe, key, split)
            manifest.write(out, facts)
    facts |= _measure(out, recipe.name, split, progress)
    (out / "README.md").write_text(card.render(facts), encoding="utf-8")
    manifest.write(out, facts)
    return facts


def _temperatures(checkpoint: Checkpoint, recipe: Recipe, split: data.Split) -> dict[str, float]:
    fitted = calibrate(checkpoint, split.development)
    if recipe.calibrate_on:
        # Development rows are too much like the training rows, and a held-out set may be small: each has half a say.
        other = calibrate(checkpoint, _tuning_rows(recipe, "calibrate_on", split))
        fitted["sentiment"] = math.sqrt(fitted["sentiment"] * other["sentiment"])
    return fitted


def calibrate(checkpoint: Checkpoint, rows: Sequence[data.Row]) -> dict[str, float]:
    """Return the temperature of each label group, fitted on ``rows``; 1 where no row has the group."""
    from sentiment_monitor.score.hardware import usable_cpus
    from sentiment_monitor.score.torch_engine import TorchEngine

    tokenizer = load_tokenizer(checkpoint.directory)
    tokenizer.enable_truncation(checkpoint.max_tokens)
    engine = TorchEngine(checkpoint, usable_cpus())
    logits = engine.logits([encoding.ids for encoding in tokenizer.encode_batch([row.text for row in rows])])
    engine.close()
    result = {}
    for group, columns, names, labels in (
        ("sentiment", checkpoint.sentiment_columns, [str(label) for label in SENTIMENTS], [r.sentiment for r in rows]),
        ("topic", checkpoint.topic_columns, list(checkpoint.topics), [row.topic for row in rows]),
    ):
        known = [number for number, label in enumerate(labels) if label]
        if known and columns:
            truth = np.array([names.index(str(labels[number])) for number in known])
            result[group] = metrics.fit_temperature(logits[known][:, list(columns)], truth)
        else:
            result[group] = 1.0
    return result


def _thresholds(
    out: Path, recipe: Recipe, key: str, split: data.Split
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Choose thresholds on the set that the recipe names under ``key``, and measure the choice across its halves."""
    rows = _tuning_rows(recipe, key, split)
    labelled = from_rows(rows)
    with _opened(out, recipe.name) as classifier:
        truth, chances = truth_and_chances(labelled, classifier.score([row.text for row in labelled]))
    halves = thresholds.half_of([row.key for row in rows])
    chosen = thresholds.choose(chances, truth, recipe.precision)
    return chosen, thresholds.crossed(chances, truth, halves, recipe.precision)


def _tuning_rows(recipe: Recipe, key: str, split: data.Split) -> list[data.Row]:
    name, with_body = getattr(recipe, key), key == "thresholds_with_body_from"
    rows = [row for row in split.held_out.get(name, ()) if row.sentiment and (row.body or not with_body)]
    if not rows:
        raise UsageError(f"{key}: {name} is no held-out set with sentiments{' and bodies' if with_body else ''}")
    return rows


@contextmanager
def _opened(out: Path, name: str) -> Iterator[NeuralClassifier]:
    from sentiment_monitor.score.hardware import usable_cpus
    from sentiment_monitor.score.torch_engine import TorchEngine

    checkpoint = open_checkpoint(out, name)
    classifier = NeuralClassifier(checkpoint, TorchEngine(checkpoint, usable_cpus()), max_windows=16, remember=0)
    try:
        yield classifier
    finally:
        classifier.close()


def _measure(out: Path, name: str, split: data.Split, progress: Progress) -> dict[str, Any]:
    lexicon = LexiconClassifier()
    figures = {}
    with _opened(out, name) as classifier:
        for number, (held_out, rows) in enumerate(split.held_out.items(), start=1):
            labelled = from_rows(rows)
            figures[held_out] = {
                "classifier": evaluate(labelled, classifier, intervals=True),
                "lexicon": evaluate(labelled, lexicon, intervals=True),
            }
            progress("measure", number, len(split.held_out))
        golden = [
            {**asdict(text), "negative": s.negative, "neutral": s.neutral, "positive": s.positive, "topic": s.topic}
            for text, s in zip(GOLDEN, classifier.score(GOLDEN), strict=True)
        ]
    return {"metrics": figures, "golden": golden}


def _save_half(encoder: Path, fitted: Path, out: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = {
        name: np.ascontiguousarray(array.astype(np.float16) if array.dtype == np.float32 else array)
        for file in weight_files(fitted)
        if file.endswith(".safetensors")
        for name, array in load_file(fitted / file).items()
    }
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    config = json.loads((fitted / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float16"
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(fitted / "tokenizer.json", out / "tokenizer.json")
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}
    if (encoder / "tokenizer_config.json").is_file():
        settings |= json.loads((encoder / "tokenizer_config.json").read_text(encoding="utf-8"))
        settings.pop("name_or_path", None)
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
