"""What a classifier directory may and may not hold."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sentiment_monitor.errors import ClassifierError
from sentiment_monitor.score import manifest
from sentiment_monitor.score.checkpoint import SHARDS, WEIGHTS, load_tokenizer, open_checkpoint
from sentiment_monitor.score.hub import locate
from sentiment_monitor.score.torch_engine import TorchEngine

FACTS = {
    "name": "tiny",
    "labels": ["sentiment/negative", "sentiment/neutral", "sentiment/positive", "topic/earnings", "topic/macro"],
    "languages": ["en"],
    "temperatures": {"sentiment": 1.5, "topic": 1.0},
    "thresholds": {"negative": None},
    "golden": [],
}
Copy = Callable[..., Path]


def test_grouped_labels_are_read(tiny: Path) -> None:
    checkpoint = open_checkpoint(tiny)
    assert checkpoint.sentiment_columns == (0, 1, 2)
    assert checkpoint.topics == ("earnings", "macro")


def test_bare_labels_are_matched_by_name_never_by_position(copy: Copy) -> None:
    checkpoint = open_checkpoint(copy(id2label={"0": "Positive", "1": "BEARISH", "2": "neutral"}))
    assert checkpoint.sentiment_columns == (1, 2, 0)
    assert checkpoint.topics == ()


@pytest.mark.parametrize("labels", [["NEG", "NEU", "POS"], ["Neg", "neutral", "pos"], ["bearish", "neu", "bullish"]])
def test_short_labels_of_public_checkpoints_are_understood(copy: Copy, labels: list[str]) -> None:
    checkpoint = open_checkpoint(copy(id2label={str(n): label for n, label in enumerate(labels)}))
    assert checkpoint.sentiment_columns == (0, 1, 2)


def test_labels_by_number_are_not_guessed_and_it_is_said_what_to_do(copy: Copy) -> None:
    with pytest.raises(ClassifierError, match=r"'LABEL_0'.*never guessed.*id2label of config\.json"):
        open_checkpoint(copy(id2label={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}))


@pytest.mark.parametrize("labels", [["LABEL_0", "LABEL_1", "LABEL_2"], ["negative", "positive"], ["negative"] * 3])
def test_labels_that_name_no_sentiment_are_refused(copy: Copy, labels: list[str]) -> None:
    with pytest.raises(ClassifierError, match=r"label"):
        open_checkpoint(copy(id2label={str(n): label for n, label in enumerate(labels)}))


def test_a_matching_manifest_is_accepted_and_changes_the_id(copy: Copy) -> None:
    directory = copy()
    bare = open_checkpoint(directory, "tiny")
    manifest.write(directory, FACTS)
    sealed = open_checkpoint(directory)
    assert sealed.temperature("sentiment") == 1.5
    assert sealed.weights_digest == bare.weights_digest
    assert sealed.id != bare.id
    assert sealed.id.startswith("tiny@")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "tokenizer_config.json"])
def test_a_file_changed_after_sealing_is_refused(copy: Copy, name: str) -> None:
    directory = copy()
    manifest.write(directory, FACTS)
    data = (directory / name).read_bytes()
    (directory / name).write_bytes(data + b" ")
    with pytest.raises(ClassifierError, match="does not match"):
        open_checkpoint(directory)


def test_missing_extra_and_senseless_manifests_are_refused(copy: Copy) -> None:
    directory = copy()
    manifest.write(directory, FACTS)
    (directory / "more.bin").write_bytes(b"x")
    with pytest.raises(ClassifierError, match="not in the manifest"):
        open_checkpoint(directory)
    (directory / "more.bin").unlink()
    (directory / "tokenizer_config.json").unlink()
    with pytest.raises(ClassifierError, match="missing"):
        open_checkpoint(directory)
    (directory / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ClassifierError, match="not a valid manifest"):
        open_checkpoint(directory)


@pytest.mark.parametrize("key", ["thresholds", "thresholds_with_body"])
@pytest.mark.parametrize("senseless", [{"angry": 0.5}, {"negative": 0.0}, {"positive": 1.5}])
def test_thresholds_that_no_probability_of_a_sentiment_can_have_are_refused(
    key: str, senseless: dict[str, float], copy: Copy
) -> None:
    directory = copy()
    manifest.write(directory, {**FACTS, key: senseless})
    with pytest.raises(ClassifierError, match="thresholds must be probabilities"):
        open_checkpoint(directory)


def test_pickled_weights_are_refused(copy: Copy) -> None:
    directory = copy()
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(ClassifierError, match=r"pytorch_model\.bin may run code"):
        open_checkpoint(directory)


def _shard(directory: Path) -> list[str]:
    """Takes the weights apart into two files and an index, as large checkpoints are saved."""
    weights = load_file(directory / WEIGHTS)
    (directory / WEIGHTS).unlink()
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    halves = [dict(list(weights.items())[number::2]) for number in (0, 1)]
    for name, half in zip(names, halves, strict=True):
        save_file(half, directory / name, metadata={"format": "pt"})
    places = {weight: name for name, half in zip(names, halves, strict=True) for weight in half}
    (directory / SHARDS).write_text(json.dumps({"metadata": {}, "weight_map": places}), encoding="utf-8")
    return names


def test_weights_in_several_files_are_read_and_sealed(copy: Copy, tiny: Path) -> None:
    directory = copy()
    shards = _shard(directory)
    bare = open_checkpoint(directory, "tiny")
    windows = [[2, 40, 41, 3], [2, 42, 3]]
    with closing(TorchEngine(bare, 1)) as engine, closing(TorchEngine(open_checkpoint(tiny), 1)) as whole:
        assert np.array_equal(engine.logits(windows), whole.logits(windows))
    manifest.write(directory, FACTS)
    assert open_checkpoint(directory).weights_digest == bare.weights_digest
    (directory / shards[1]).write_bytes((directory / shards[1]).read_bytes() + b" ")
    with pytest.raises(ClassifierError, match=f"{shards[1]} does not match"):
        open_checkpoint(directory)
    (directory / "manifest.json").unlink()
    assert open_checkpoint(directory).weights_digest != bare.weights_digest, "a shard decides the logits"


def test_an_index_of_weights_names_files_of_its_directory_that_are_there(copy: Copy) -> None:
    directory = copy()
    first, second = _shard(directory)
    (directory / second).unlink()
    with pytest.raises(ClassifierError, match=f"{second} is missing, {SHARDS} names it"):
        open_checkpoint(directory)
    for strange in ("../other/model.safetensors", "/etc/passwd", "pytorch_model.bin"):
        (directory / SHARDS).write_text(json.dumps({"weight_map": {"a": first, "b": strange}}), encoding="utf-8")
        with pytest.raises(ClassifierError, match="is no safetensors file of this directory"):
            open_checkpoint(directory)
    (directory / SHARDS).write_text("{}", encoding="utf-8")
    with pytest.raises(ClassifierError, match="has no weight_map"):
        open_checkpoint(directory)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("spiece.model", r"SentencePiece's \(spiece\.model\).*sentencepiece and protobuf.*save_pretrained"),
        ("sentencepiece.bpe.model", "SentencePiece's"),
        ("vocab.json", "byte-pair encoding in parts"),
        ("none.txt", "neither tokenizer.json nor vocab.txt"),
    ],
)
def test_a_tokenizer_that_is_not_converted_is_named(copy: Copy, file: str, said: str) -> None:
    directory = copy()
    (directory / "tokenizer.json").unlink()
    (directory / file).write_bytes(b"{}")
    with pytest.raises(ClassifierError, match=said):
        load_tokenizer(directory)


def test_remote_code_is_refused(copy: Copy) -> None:
    with pytest.raises(ClassifierError, match="run code"):
        open_checkpoint(copy(auto_map={"AutoModel": "evil.Model"}))


def test_a_tokenizer_is_built_from_a_bare_vocabulary(copy: Copy) -> None:
    directory = copy()
    expected = load_tokenizer(directory).encode("Bank's loss, 5%").ids
    words = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    (directory / "vocab.txt").write_text("\n".join(sorted(words, key=lambda word: words[word])), encoding="utf-8")
    (directory / "tokenizer.json").unlink()
    assert load_tokenizer(directory).encode("Bank's loss, 5%").ids == expected


def test_names_that_cannot_be_found_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClassifierError, match="neither"):
        locate("no-such-thing")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ClassifierError, match="cannot be reached"):
        locate("nobody/nothing")
