"""A classifier directory, verified: which logits are which label, the tokenizer, the limits. Loads no network."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from sentiment_monitor.domain.news import SENTIMENTS
from sentiment_monitor.errors import ClassifierError
from sentiment_monitor.score import manifest as manifests
from sentiment_monitor.score.manifest import Manifest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"  # says which of several files holds which weight
SYNONYMS = {"bearish": "negative", "bullish": "positive", "neg": "negative", "neu": "neutral", "pos": "positive"}
"""Labels that people and public checkpoints give the three sentiments, in small letters."""
_UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".joblib", ".npy", ".npz")
_ANONYMOUS = re.compile(r"label_\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is known of a classifier before an engine runs it."""

    directory: Path
    name: str
    digest: str  # SHA-256 over everything that decides a score
    weights_digest: str  # SHA-256 over what decides a logit: weights, architecture, tokenizer
    sentiment_columns: tuple[int, int, int]  # columns of the logits in the order of domain.SENTIMENTS
    topics: tuple[str, ...]  # () when the classifier knows none
    topic_columns: tuple[int, ...]
    languages: tuple[str, ...]  # () when unknown
    max_tokens: int  # the encoder's limit, special tokens included
    pad_token: int
    manifest: Manifest | None = None

    @property
    def id(self) -> str:
        """Name and the first twelve digits of the digest: ``bundled@0123456789ab``."""
        return f"{self.name}@{self.digest[:12]}"

    def temperature(self, group: str) -> float:
        """Return what the logits of ``sentiment`` or ``topic`` are divided by before the softmax."""
        return self.manifest.temperatures.get(group, 1.0) if self.manifest else 1.0

    def thresholds(self, *, with_body: bool = False) -> dict[str, float]:
        """Return from which probability on a sentiment wins, of a headline or of a headline read with its body."""
        if self.manifest is None:
            return {}
        return self.manifest.thresholds_with_body if with_body else self.manifest.thresholds


def open_checkpoint(directory: Path, name: str | None = None) -> Checkpoint:
    """Verify ``directory`` and return what it holds. ClassifierError, with the reason, when it cannot be trusted."""
    if not directory.is_dir():
        raise ClassifierError(f"{directory}: no such classifier directory")
    config = _config(directory)
    weights = weight_files(directory)
    manifest = manifests.read(directory)
    labels = _labels(directory, config)
    if manifest and manifest.labels != labels:
        raise ClassifierError(f"{directory}: the labels of config.json are not those of the manifest")
    sentiment, topics = _groups(directory, labels)
    decisive = [*weights, "config.json", *(name for name in _TOKENIZER_FILES if (directory / name).is_file())]
    digests = manifest.facts["files"] if manifest else {name: manifests.sha256(directory / name) for name in decisive}
    weights_digest = _digest(f"{name} {digests[name]}" for name in decisive)
    whole = (
        weights_digest if manifest is None else _digest([weights_digest, manifests.sha256(directory / manifests.FILE)])
    )
    return Checkpoint(
        directory=directory,
        name=name or (manifest.name if manifest else directory.resolve().name),
        digest=whole,
        weights_digest=weights_digest,
        sentiment_columns=sentiment,
        topics=tuple(topics),
        topic_columns=tuple(topics.values()),
        languages=manifest.languages if manifest else (),
        max_tokens=_max_tokens(config),
        pad_token=int(config.get("pad_token_id") or 0),
        manifest=manifest,
    )


def weight_files(directory: Path) -> tuple[str, ...]:
    """Return the names of the files that hold the weights: one, or an index and the files that it names.

    Raises ClassifierError when there are none, one is missing, or the index names what lies elsewhere.
    """
    if (directory / WEIGHTS).is_file():
        return (WEIGHTS,)
    if not (directory / SHARDS).is_file():
        unsafe = sorted(path.name for path in directory.iterdir() if path.suffix.lower() in _UNSAFE)
        why = f"{unsafe[0]} may run code when opened" if unsafe else "nothing else is read"
        raise ClassifierError(f"{directory}: no {WEIGHTS} ({why}); save the weights as safetensors")
    places = _json(directory / SHARDS).get("weight_map")
    names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
    for name in names:
        if PurePath(name).name != name or not name.endswith(".safetensors"):
            raise ClassifierError(f"{directory / SHARDS}: {name!r:.80} is no safetensors file of this directory")
        if not (directory / name).is_file():
            raise ClassifierError(f"{directory}: {name} is missing, {SHARDS} names it")
    if not names:
        raise ClassifierError(f"{directory / SHARDS}: has no weight_map, or an empty one")
    return (SHARDS, *names)


def weights_sha256(directory: Path) -> str:
    """Return the SHA-256 of the weights: that of the one file, or one over those of the several."""
    names = weight_files(directory)
    if names == (WEIGHTS,):
        return manifests.sha256(directory / WEIGHTS)
    return _digest(f"{name} {manifests.sha256(directory / name)}" for name in names)


_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")

_SLOW_TOKENIZERS = {
    "spiece.model": "SentencePiece's",
    "sentencepiece.bpe.model": "SentencePiece's",
    "tokenizer.model": "SentencePiece's",
    "vocab.json": "byte-pair encoding in parts",
}


def load_tokenizer(directory: Path) -> Tokenizer:
    """Return the directory's fast tokenizer, neither padding nor cutting.

    Reads ``tokenizer.json``, or builds BERT's own from ``vocab.txt`` (ProsusAI/finbert has only that).
    """
    from tokenizers import Tokenizer

    path = directory / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path)) if path.is_file() else _wordpiece(directory)
    except ClassifierError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise ClassifierError(f"{path}: cannot be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _wordpiece(directory: Path) -> Tokenizer:
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece

    vocabulary = directory / "vocab.txt"
    if not vocabulary.is_file():
        parts = next((name for name in _SLOW_TOKENIZERS if (directory / name).is_file()), None)
        if parts is None:
            raise ClassifierError(f"{directory}: has neither tokenizer.json nor vocab.txt")
        raise ClassifierError(
            f"{directory}: its tokenizer is {_SLOW_TOKENIZERS[parts]} ({parts}), of which only the converted form, "
            "tokenizer.json, is read; convert it once, where the packages sentencepiece and protobuf are installed: "
            f"AutoTokenizer.from_pretrained({str(directory)!r}).save_pretrained({str(directory)!r}) of transformers"
        )
    options = _json(directory / "tokenizer_config.json") if (directory / "tokenizer_config.json").is_file() else {}
    tokenizer = Tokenizer(WordPiece.from_file(str(vocabulary), unk_token="[UNK]"))  # noqa: S106  # no secret, a vocabulary entry
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=bool(options.get("do_lower_case", True)))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    start, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    if start is None or end is None:
        raise ClassifierError(f"{vocabulary}: lacks [CLS] or [SEP]")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", end), ("[CLS]", start))
    return tokenizer


def _config(directory: Path) -> dict[str, Any]:
    config = _json(directory / "config.json")
    for file in ("config.json", "tokenizer_config.json"):
        settings = _json(directory / file) if (directory / file).is_file() else {}
        if "auto_map" in settings or settings.get("trust_remote_code"):
            raise ClassifierError(f"{directory / file}: asks to run code that comes with the weights; refused")
    architectures = config.get("architectures") or []
    if not any(str(name).endswith("ForSequenceClassification") for name in architectures):
        raise ClassifierError(f"{directory}: not a sequence classifier (architectures: {architectures})")
    return config


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClassifierError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ClassifierError(f"{path}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ClassifierError(f"{path}: not a JSON object")
    return value


def _labels(directory: Path, config: dict[str, Any]) -> tuple[str, ...]:
    try:
        by_number = {int(number): str(label) for number, label in config["id2label"].items()}
        return tuple(by_number[number] for number in range(len(by_number)))
    except (KeyError, ValueError, AttributeError) as error:
        raise ClassifierError(f"{directory}: config.json has no usable id2label") from error


def _groups(directory: Path, labels: tuple[str, ...]) -> tuple[tuple[int, int, int], dict[str, int]]:
    sentiments: dict[str, int] = {}
    topics: dict[str, int] = {}
    for column, label in enumerate(labels):
        group, slash, bare = label.partition("/")
        if slash and group.casefold() == "topic":
            topics[bare] = column
            continue
        name = (bare if slash and group.casefold() == "sentiment" else label).strip().casefold()
        name = SYNONYMS.get(name, name)
        if name not in SENTIMENTS or name in sentiments:
            hint = (
                "; which of them is which is never guessed: ask its maker, and name them in id2label of config.json "
                '({"0": "negative", …})'
                if _ANONYMOUS.match(label)
                else ""
            )
            raise ClassifierError(f"{directory}: label {label!r} is not negative, neutral or positive, or twice{hint}")
        sentiments[name] = column
    if len(sentiments) != len(SENTIMENTS):
        raise ClassifierError(f"{directory}: needs the labels negative, neutral and positive, has {', '.join(labels)}")
    negative, neutral, positive = (sentiments[name] for name in SENTIMENTS)
    return (negative, neutral, positive), topics


def _max_tokens(config: dict[str, Any]) -> int:
    limit = int(config.get("max_position_embeddings") or 512)
    # RoBERTa's kin start their positions after the padding index.
    return limit - 2 if config.get("model_type") in {"roberta", "xlm-roberta", "camembert"} else limit


def _digest(lines: Any) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
