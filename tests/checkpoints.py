"""A random BERT of two tiny layers with the grouped head: everything about loading, nothing about meaning."""

from __future__ import annotations

import json
from pathlib import Path

LABELS = (
    "sentiment/negative",
    "sentiment/neutral",
    "sentiment/positive",
    "topic/earnings",
    "topic/macro",
)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789$%.,'-"


def write_tiny(directory: Path) -> Path:
    """Writes the checkpoint, without a manifest, into the directory and returns it."""
    import torch
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertForSequenceClassification

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
