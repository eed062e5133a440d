"""A random BERT of two tiny layers with the grouped head: everything about loading, nothing about meaning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

LABELS = (
    "sentiment/negative",
    "sentiment/neutral",
    "sentiment/positive",
    "topic/earnings",
    "topic/macro",
)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789$%.,'-"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint, without a manifest. Do not write to it: take ``copy``."""
    import torch
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertForSequenceClassification

    directory = tmp_path_factory.mktemp("tiny")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *LETTERS,
        *(f"##{letter}" for letter in LETTERS),
        "bank",
        "profit",
        "loss",
    ]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(directory / "tokenizer.json"))
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
        initializer_range=0.6,
    )
    BertForSequenceClassification(config).save_pretrained(directory)
    (directory / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 64}), encoding="utf-8")
    return directory


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies the checkpoint and changes its config."""
    import shutil

    def make(**config: object) -> Path:
        directory = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(tiny, directory)
        path = directory / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **config}), encoding="utf-8")
        return directory

    return make
