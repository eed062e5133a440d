"""Fine-tunes an encoder with the Hugging Face Trainer: one head, two label groups, the missing group masked.

Only a run imports this module: it loads torch and transformers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import (
    AutoModelForSequenceClassification,
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from sentiment_monitor.domain.news import SENTIMENTS
from sentiment_monitor.errors import UsageError
from sentiment_monitor.score.hardware import cpu_flags, usable_cpus
from sentiment_monitor.score.torch_engine import quiet_transformers
from sentiment_monitor.train.data import Row
from sentiment_monitor.train.metrics import macro_f1
from sentiment_monitor.train.recipe import Recipe

Progress = Callable[[str, int, int], None]  # phase, steps done, steps in all

MASKED = -100  # class of a row that has no label in the group


def label_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the head's labels: the three sentiments, then the topics seen, sorted."""
    topics = sorted({row.topic for row in rows if row.topic})
    return (*(f"sentiment/{name}" for name in SENTIMENTS), *(f"topic/{name}" for name in topics))


def grouped_loss(
    logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor, smoothing: float, topic_weight: float
) -> torch.Tensor:
    """Cross entropy summed over the two label groups, averaged over the batch's rows.

    ``logits`` [rows, 3 + topics]; ``labels`` [rows, 2], the class within sentiment and topic or MASKED; ``weight``
    [rows]. A masked group adds nothing and sends no gradient to its part of the head.
    """
    total = logits.new_zeros(())
    for column, (start, stop, scale) in enumerate(((0, 3, 1.0), (3, logits.shape[1], topic_weight))):
        if start == stop:
            continue
        losses = functional.cross_entropy(
            logits[:, start:stop].float(),
            labels[:, column],
            ignore_index=MASKED,
            label_smoothing=smoothing,
            reduction="none",
        )
        total = total + scale * (losses * weight).sum() / len(labels)
    return total


class GroupedTrainer(Trainer):
    """The Hugging Face Trainer with the grouped loss."""

    recipe: Recipe

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Return the loss, with the outputs when asked."""
        labels, weight = inputs["labels"], inputs["weight"]
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        loss = grouped_loss(outputs.logits, labels, weight, self.recipe.smoothing, self.recipe.topic_weight)
        return (loss, {"logits": outputs.logits}) if return_outputs else loss


class _Report(TrainerCallback):
    """Tells the steps of all members as one count."""

    def __init__(self, progress: Progress, done: int, total: int) -> None:
        self.progress, self.done, self.total = progress, done, total

    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        self.progress("train", self.done + state.global_step, self.total)


def fit(
    recipe: Recipe,
    base: Path,
    train: Sequence[Row],
    development: Sequence[Row],
    work: Path,
    progress: Progress,
) -> tuple[str, ...]:
    """Fine-tune the encoder in ``base`` and save a checkpoint, fp32, in ``work``; return its label names.

    One member: its best checkpoint, the one with the highest macro-F1 on ``development`` (mean over the two groups).
    More: they begin with the same weights and differ in the order of rows and in dropout; what is saved is the mean of
    their last weights (Wortsman et al., Model soups, ICML 2022).
    Deterministic for one recipe, machine and library version.
    """
    torch.set_num_threads(recipe.threads or usable_cpus())
    quiet_transformers()
    set_seed(recipe.seed)
    names = label_names([*train, *development])
    tokenizer = load_tokenizer(base, recipe.max_tokens)
    model = AutoModelForSequenceClassification.from_pretrained(
        base,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        dtype=torch.float32,
        hidden_dropout_prob=recipe.dropout,
        attention_probs_dropout_prob=recipe.attention_dropout,
        attn_implementation="eager",  # measured: 0.38 s a step against 0.53 s with sdpa (two cores, bf16, 32 x 34)
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # the base may be a classifier with another head
    )
    if recipe.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    run = _Run(recipe, model, encode(train, names, tokenizer), encode(development, names, tokenizer), work, progress)
    if recipe.members == 1:
        run.train(recipe.seed)
    else:
        run.average()
    model.eval()
    model.to("cpu").save_pretrained(work)
    full = load_tokenizer(base, None)
    full.save(str(work / "tokenizer.json"))
    return names


class _Run:
    """One model and what it is trained on."""

    def __init__(
        self,
        recipe: Recipe,
        model: torch.nn.Module,
        rows: list[dict[str, Any]],
        judges: list[dict[str, Any]],
        work: Path,
        progress: Progress,
    ) -> None:
        self.recipe, self.model, self.rows, self.judges = recipe, model, rows, judges
        self.work, self.progress = work, progress
        self.epoch = -(-len(rows) // recipe.batch)  # steps
        self.steps = math.ceil(recipe.epochs * self.epoch)  # of a member
        self.done = 0

    def average(self) -> None:
        """Train the members and leave the mean of their weights in the model."""
        start = {name: weight.detach().clone() for name, weight in self.model.state_dict().items()}
        mean = {name: torch.zeros_like(weight) for name, weight in start.items()}
        for member in range(1, self.recipe.members + 1):
            self.model.load_state_dict(start)
            self.train(self.recipe.seed + member)
            for name, weight in self.model.state_dict().items():
                mean[name] += weight.to(mean[name].device) / self.recipe.members
        self.model.load_state_dict(mean)

    def train(self, seed: int) -> None:
        """Train the model; one that is alone ends as its best checkpoint."""
        recipe = self.recipe
        cuda = torch.cuda.is_available()
        select = recipe.members == 1
        every = max(1, self.epoch // recipe.evaluations_per_epoch)
        arguments = TrainingArguments(
            output_dir=str(self.work / "checkpoints"),
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch,
            per_device_eval_batch_size=128,
            learning_rate=recipe.learning_rate,
            warmup_steps=int(recipe.warmup * recipe.epochs * self.epoch),
            weight_decay=recipe.weight_decay,
            optim="adamw_torch_fused",
            train_sampling_strategy="group_by_length",
            seed=seed,
            data_seed=seed,
            bf16=cuda or bool(cpu_flags() & {"avx512_bf16", "amx_bf16"}),  # weights and optimiser stay fp32
            use_cpu=not cuda,
            eval_strategy="steps" if select else "no",
            eval_steps=every,
            save_strategy="steps" if select else "no",
            save_steps=every,
            save_total_limit=1,
            load_best_model_at_end=select,
            metric_for_best_model="macro_f1",
            greater_is_better=True,
            label_names=["labels"],
            remove_unused_columns=False,
            dataloader_pin_memory=cuda,
            disable_tqdm=True,
            logging_steps=100,
            report_to="none",
        )
        callbacks: list[TrainerCallback] = [_Report(self.progress, self.done, recipe.members * self.steps)]
        trainer = GroupedTrainer(
            model=self.model,
            args=arguments,
            train_dataset=self.rows,
            eval_dataset=self.judges,
            data_collator=collate,
            compute_metrics=_development_metrics,
            callbacks=[EarlyStoppingCallback(recipe.patience), *callbacks] if select else callbacks,
        )
        trainer.remove_callback(PrinterCallback)  # which prints to standard output, where --json's answer goes
        trainer.recipe = recipe
        trainer.train()
        self.done += self.steps


def load_tokenizer(directory: Path, max_tokens: int | None) -> Tokenizer:
    """Return the directory's tokenizer without stored padding, cutting at ``max_tokens`` if given."""
    file = directory / "tokenizer.json"
    if not file.is_file():
        raise UsageError(f"{directory}: has no tokenizer.json")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    if max_tokens is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(max_tokens)
    return tokenizer


def encode(rows: Sequence[Row], names: Sequence[str], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Return rows as the Trainer reads them: ``input_ids``, ``labels`` [2], ``weight``."""
    sentiment = {name.partition("/")[2]: number for number, name in enumerate(names[:3])}
    topic = {name.partition("/")[2]: number for number, name in enumerate(names[3:])}
    encodings = tokenizer.encode_batch_fast([row.text for row in rows])
    return [
        {
            "input_ids": encoding.ids,
            "labels": [
                sentiment[row.sentiment] if row.sentiment else MASKED,
                topic[row.topic] if row.topic else MASKED,
            ],
            "weight": row.weight,
        }
        for row, encoding in zip(rows, encodings, strict=True)
    ]


def collate(batch: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return the batch as tensors, padded with token 0 ([PAD] of every BERT vocabulary) to its longest row."""
    longest = max(len(row["input_ids"]) for row in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(batch):
        length = len(row["input_ids"])
        ids[number, :length] = torch.tensor(row["input_ids"])
        mask[number, :length] = 1
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": torch.tensor([row["labels"] for row in batch]),
        "weight": torch.tensor([row["weight"] for row in batch], dtype=torch.float32),
    }


def _development_metrics(prediction: Any) -> dict[str, float]:
    logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    figures = {}
    for column, (name, part) in enumerate((("sentiment", logits[:, :3]), ("topic", logits[:, 3:]))):
        known = labels[:, column] != MASKED
        if part.shape[1] and known.any():
            figures[f"{name}_f1"] = macro_f1(labels[known, column], part[known].argmax(axis=1), part.shape[1])
    return {**figures, "macro_f1": float(np.mean(list(figures.values())))}
