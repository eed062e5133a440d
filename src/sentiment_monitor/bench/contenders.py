"""The ways to score that race: each loads one checkpoint and labels texts. Used inside a run's own process."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.domain.news import Sentiment, Text
from sentiment_monitor.score.batching import batches, within
from sentiment_monitor.score.checkpoint import Checkpoint, load_tokenizer, open_checkpoint
from sentiment_monitor.score.classifier import NeuralClassifier, decide
from sentiment_monitor.score.engines import EngineName, start
from sentiment_monitor.score.hardware import usable_cpus
from sentiment_monitor.score.lexicon import LexiconClassifier

TUTORIAL_TOKENS, TUTORIAL_BATCH = 128, 16
PIPELINE_BATCH = 32
ONNX_TOKENS, ONNX_ROWS = 1_024, 16  # the batches of our own engine: only the runtime differs
ONNX_FILE = "int8.onnx"
ABOUT = {
    "lexicon": "word list, word by word",
    "tutorial": "transformers fp32, padded to 128, batch 16",
    "pipeline": "transformers pipeline fp32, batch 32",
    "onnxruntime": "ONNX Runtime int8, dynamic quantisation, like lengths in a batch",
    "openvino": "ours: OpenVINO, int8 or bf16, whichever is quicker here",
    "torch": "ours: torch fp32",
}


class Contender(Protocol):
    """One way to score, loaded."""

    def label(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return the sentiment of each text; everything it takes is part of the measured time."""
        ...


def load(name: str, directory: Path, cache: Path) -> Contender:
    """Load a contender by the name of its run. ``cache`` holds built engines and the ONNX network."""
    if name == "lexicon":
        return Ours(LexiconClassifier())
    checkpoint = open_checkpoint(directory)
    if name in ("openvino", "torch"):
        engine: EngineName = "openvino" if name == "openvino" else "torch"
        running = start(checkpoint, engine, cache, usable_cpus())
        return Ours(NeuralClassifier(checkpoint, running, max_windows=16, remember=0))
    kinds: dict[str, type[Tutorial | TransformersPipeline | OnnxRuntime]] = {
        "tutorial": Tutorial,
        "pipeline": TransformersPipeline,
        "onnxruntime": OnnxRuntime,
    }
    return kinds[name](checkpoint, cache)


class Ours:
    """A classifier of this product, with its memory of earlier texts off."""

    def __init__(self, classifier: NeuralClassifier | LexiconClassifier) -> None:
        self._classifier = classifier

    def label(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return labels."""
        return [score.label for score in self._classifier.score([Text(text) for text in texts])]


class _Judge:
    """Turns the logits of any contender into labels by the checkpoint's own rule, so that only the logits differ."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.columns = list(checkpoint.sentiment_columns)
        self._temperature = checkpoint.temperature("sentiment")
        self._thresholds = checkpoint.thresholds()

    def labels(self, logits: NDArray[np.floating]) -> list[Sentiment]:
        """Return the labels of sentiment logits [texts, 3]."""
        scaled = logits.astype(np.float64) / self._temperature
        exponent = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        chances = exponent / exponent.sum(axis=1, keepdims=True)
        return [decide(row, self._thresholds) for row in chances.tolist()]


def _network(checkpoint: Checkpoint) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    from sentiment_monitor.score.torch_engine import quiet_transformers

    quiet_transformers()
    torch.set_num_threads(usable_cpus())
    return AutoModelForSequenceClassification.from_pretrained(checkpoint.directory, dtype=torch.float32).eval()


def _tokenizer(checkpoint: Checkpoint) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint.directory)


class Tutorial:
    """What most tutorials show: every text padded to 128 tokens, 16 at a time, in the order they come."""

    def __init__(self, checkpoint: Checkpoint, cache: Path) -> None:
        self._judge = _Judge(checkpoint)
        self._tokenizer = _tokenizer(checkpoint)
        self._network = _network(checkpoint)
        self._tokens = min(TUTORIAL_TOKENS, checkpoint.max_tokens)

    def label(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return labels."""
        import torch

        parts = []
        for first in range(0, len(texts), TUTORIAL_BATCH):
            inputs = self._tokenizer(
                list(texts[first : first + TUTORIAL_BATCH]),
                padding="max_length",
                truncation=True,
                max_length=self._tokens,
                return_tensors="pt",
            )
            with torch.no_grad():
                parts.append(self._network(**inputs).logits[:, self._judge.columns].numpy())
        return self._judge.labels(np.concatenate(parts))


class TransformersPipeline:
    """The library's own pipeline with a batch size, given the whole list."""

    def __init__(self, checkpoint: Checkpoint, cache: Path) -> None:
        from transformers import pipeline

        self._judge = _Judge(checkpoint)
        network = _network(checkpoint)
        self._columns = {label: column for column, label in network.config.id2label.items()}
        self._pipeline = pipeline(
            "text-classification", model=network, tokenizer=_tokenizer(checkpoint), batch_size=PIPELINE_BATCH
        )
        self._tokens = checkpoint.max_tokens

    def label(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return labels."""
        answers: Any = self._pipeline(
            list(texts), top_k=None, function_to_apply="none", truncation=True, max_length=self._tokens
        )
        logits = np.empty((len(texts), len(self._columns)))
        for row, labels in enumerate(answers):
            for guess in labels:
                logits[row, self._columns[guess["label"]]] = guess["score"]
        return self._judge.labels(logits[:, self._judge.columns])


class OnnxRuntime:
    """ONNX Runtime on the network that build_onnx made, fed as our own engine is: no padding beyond the batch."""

    def __init__(self, checkpoint: Checkpoint, cache: Path) -> None:
        runtime = importlib.import_module("onnxruntime")  # optional and undeclared: nothing of ours needs it
        options = runtime.SessionOptions()
        options.intra_op_num_threads = usable_cpus()
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(
            str(cache / ONNX_FILE), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._judge = _Judge(checkpoint)
        self._tokenizer = load_tokenizer(checkpoint.directory)
        self._tokenizer.enable_truncation(checkpoint.max_tokens)
        self._pad = checkpoint.pad_token

    def label(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return labels."""
        windows = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        logits = np.empty((len(windows), len(self._judge.columns)), dtype=np.float32)
        for chosen in batches([len(window) for window in windows], within(ONNX_TOKENS, ONNX_ROWS)):
            ids = np.full((len(chosen), len(windows[chosen[0]])), self._pad, dtype=np.int64)
            mask = np.zeros_like(ids)
            for number, index in enumerate(chosen):
                ids[number, : len(windows[index])] = windows[index]
                mask[number, : len(windows[index])] = 1
            output = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            logits[chosen] = output[:, self._judge.columns]
        return self._judge.labels(logits)
