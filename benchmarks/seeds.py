"""What a training recipe is worth over seeds: members trained side by side as one batched network.

A small network keeps a GPU waiting for its next instruction; eight of them as one batch of matrices take little longer
than one. The arithmetic is that of `monitor retrain` (bf16 products, fp32 weights, AdamW, clipped gradients, the rate
falling to zero), but batches hold rows of one length, and the last weights count even of one alone. Members begin with
the same head and differ in the order of rows and in dropout. Run at the top of a checkout that has ../shared beside it;
meant for a GPU.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import classifier
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn import functional

from sentiment_monitor.train import data, metrics, recipe, thresholds
from sentiment_monitor.train.evaluate import NEGATIVE
from sentiment_monitor.train.fit import MASKED, collate, encode, label_names, load_tokenizer

LENGTHS = (12, 16, 20, 24, 32, 40, 64)  # tokens to which the rows of a batch are padded
LAYER = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "mixed": ("attention.output.dense",),
    "normed": ("attention.output.LayerNorm",),
    "wide": ("intermediate.dense",),
    "narrow": ("output.dense",),
    "out": ("output.LayerNorm",),
}
NORMS = ("normed", "out", "embedded")
Weights = dict[str, torch.Tensor]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--settings", type=Path, default=classifier.BUNDLED, help="the recipe; its word vectors freeze"
    )
    options.add_argument("--base", type=Path, default=Path("../shared/base/bge-small-en-v1.5"))
    options.add_argument("--members", type=int, default=8)
    options.add_argument("--steps", type=int, help="stop early, to try the script")
    chosen = options.parse_args()
    plan = recipe.read(chosen.settings)
    if not plan.freeze_embeddings or plan.max_tokens > max(LENGTHS):
        options.error(f"{chosen.settings}: needs freeze_embeddings = true and max_tokens of {max(LENGTHS)} at most")
    split = data.build(plan)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    members = Members(plan, chosen.base, chosen.members, label_names([*split.train, *split.development]), device)
    members.train(split.train, chosen.steps)
    news = split.held_out["news"]
    banks = classifier.around_the_banks(news)
    each = [figures(members.weights(number), members, split, banks) for number in range(chosen.members)]
    mean = figures(members.weights(None), members, split, banks)
    print(f"{'':<32}{'mean':>8}{'sd':>8}   mean of the weights")
    for name in mean:
        values = [one[name] for one in each]
        print(f"{name:<32}{np.mean(values):8.3f}{np.std(values, ddof=1):8.3f}   {mean[name]:.3f}")
    print(json.dumps(each))


class Members:
    """Weights [members, ...] of one BERT each, as views of one flat tensor, and the word vectors they share."""

    def __init__(self, plan: recipe.Recipe, base: Path, members: int, names: Sequence[str], device: str) -> None:
        self.plan, self.names, self.device, self.count = plan, names, device, members
        self.tokenizer = load_tokenizer(base, plan.max_tokens)
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        self.heads, self.layers = config["num_attention_heads"], config["num_hidden_layers"]
        state = {name.removeprefix("bert."): w.float() for name, w in load_file(base / "model.safetensors").items()}
        self.words = state["embeddings.word_embeddings.weight"].to(device)
        torch.manual_seed(plan.seed)
        first = self._first(state, self.words.shape[1])
        self.shapes = {name: weight.shape for name, weight in first.items()}
        flat = torch.cat([weight.reshape(-1) for weight in first.values()])
        flat = functional.pad(flat, (0, -len(flat) % 64))  # every member's matrices begin where the kernels like it
        self.flat = flat.to(device).repeat(members, 1)

    def _first(self, state: Weights, hidden: int) -> Weights:
        embeddings = "embeddings."
        first = {
            "positions": state[embeddings + "position_embeddings.weight"][: max(LENGTHS)],
            "type": state[embeddings + "token_type_embeddings.weight"][0],
            "embedded.w": state[embeddings + "LayerNorm.weight"],
            "embedded.b": state[embeddings + "LayerNorm.bias"],
        }
        for layer in range(self.layers):
            for name, parts in LAYER.items():
                at = [f"encoder.layer.{layer}.{part}" for part in parts]
                weight = torch.cat([state[f"{part}.weight"] for part in at])
                first[f"{layer}.{name}.w"] = weight if name in NORMS else weight.t()
                first[f"{layer}.{name}.b"] = torch.cat([state[f"{part}.bias"] for part in at])
        first["pooled.w"], first["pooled.b"] = torch.randn(hidden, hidden) * 0.02, torch.zeros(hidden)
        labels = len(self.names)
        first["head.w"], first["head.b"] = torch.randn(hidden, labels) * 0.02, torch.zeros(labels)
        return first

    def views(self, flat: torch.Tensor) -> Weights:
        """Return the weights in ``flat`` [members, all of them] by name, each [members, ...]."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        pieces = torch.split(flat[:, : sum(sizes)], sizes, dim=1)
        return {
            name: piece.view(len(flat), *shape)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def weights(self, member: int | None) -> torch.Tensor:
        """Return one member's weights [1, all of them], or the mean of all members'."""
        return self.flat.mean(0, keepdim=True) if member is None else self.flat[member : member + 1]

    def train(self, rows: Sequence[data.Row], most: int | None) -> None:
        """Fine-tune every member on ``rows``."""
        plan = self.plan
        encoded = encode(rows, self.names, self.tokenizer)
        lengths = np.array([len(row["input_ids"]) for row in encoded])
        table = {name: column.to(self.device) for name, column in collate(encoded).items()}
        ids, labels, weight = table["input_ids"], table["labels"], table["weight"]
        whole = math.ceil(plan.epochs * -(-len(rows) // plan.batch))
        moment, square = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        decay = torch.zeros_like(self.flat[0])
        for name, view in self.views(decay[None]).items():
            view += 0.0 if name.endswith(".b") or is_norm(name) else plan.weight_decay
        warm = max(1.0, plan.warmup * whole)
        orders = [np.random.default_rng([plan.seed, member]) for member in range(self.count)]
        step = 0
        while step < min(whole, most or whole):
            for length, index in batches(lengths, plan.batch, orders):
                if step >= min(whole, most or whole):
                    break
                at = torch.tensor(index, device=self.device)
                there = at >= 0
                at = at.clamp(min=0)
                inputs = ids[at][:, :, :length]
                leaves = {
                    name: (view if half is None else half).detach().requires_grad_()
                    for (name, view), half in zip(self.views(self.flat).items(), self._halves(), strict=True)
                }
                logits = self.forward(leaves, inputs, dropout=True)
                truth = labels[at].masked_fill(~there[..., None], MASKED)
                loss = self.loss(logits, truth, weight[at])
                grads = torch.autograd.grad(loss.sum(), list(leaves.values()))
                with torch.no_grad():
                    gradient = torch.zeros_like(self.flat)
                    for view, grad in zip(self.views(gradient).values(), grads, strict=True):
                        view.copy_(grad)
                    gradient *= (1 / (gradient.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1)
                    step += 1
                    pace = plan.learning_rate * min(step / warm, (whole - step) / max(1.0, whole - warm))
                    moment.lerp_(gradient, 1 - 0.9)
                    square.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
                    scale = (square / (1 - 0.999**step)).sqrt_().add_(1e-8)
                    self.flat.mul_(1 - pace * decay).sub_(moment / scale * (pace / (1 - 0.9**step)))
                if step % 200 == 0:
                    print(f"step {step} of {whole}, loss {loss.mean():.3f}", flush=True)

    def _halves(self) -> Iterator[torch.Tensor | None]:
        """Yield what stands for each weight in the products: bf16 of matrices and their biases, else None."""
        for name, view in self.views(self.flat.to(torch.bfloat16)).items():
            yield view if name.endswith((".w", ".b")) and not is_norm(name) else None

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the grouped loss of every member [members]; see `train.fit.grouped_loss`."""
        total = logits.new_zeros(len(logits))
        for column, (start, stop, scale) in enumerate(((0, 3, 1.0), (3, logits.shape[2], self.plan.topic_weight))):
            each = functional.cross_entropy(
                logits[..., start:stop].flatten(0, 1),
                labels[..., column].flatten(),
                ignore_index=MASKED,
                label_smoothing=self.plan.smoothing,
                reduction="none",
            )
            total = total + scale * (each.view_as(weight) * weight).mean(1)
        return total

    def forward(self, weights: Weights, ids: torch.Tensor, *, dropout: bool) -> torch.Tensor:
        """Return the logits [members, rows, labels] of ``ids`` [members, rows, tokens]; token 0 is padding."""
        members, rows, tokens = ids.shape
        share = self.plan.dropout if dropout else 0.0
        attention = self.plan.attention_dropout if dropout else 0.0

        def product(x: torch.Tensor, name: str) -> torch.Tensor:
            matrix = weights[f"{name}.w"]
            return torch.baddbmm(weights[f"{name}.b"][:, None], x.to(matrix.dtype), matrix)

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            normed = functional.layer_norm(x.float(), x.shape[-1:], eps=1e-12)
            return normed * weights[f"{name}.w"][:, None] + weights[f"{name}.b"][:, None]

        def drop(x: torch.Tensor) -> torch.Tensor:
            return functional.dropout(x, share) if share else x

        x = self.words[ids] + weights["positions"][:, None, :tokens] + weights["type"][:, None, None]
        hidden = x.shape[-1]
        x = drop(norm(x.view(members, rows * tokens, hidden), "embedded"))
        kept = (ids != 0).view(members * rows, 1, 1, tokens)
        for layer in range(self.layers):
            parts = product(x, f"{layer}.qkv").view(members * rows, tokens, 3, self.heads, hidden // self.heads)
            query, key, value = parts.permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=kept, dropout_p=attention)
            mixed = mixed.transpose(1, 2).reshape(members, rows * tokens, hidden)
            x = norm(x + drop(product(mixed, f"{layer}.mixed")), f"{layer}.normed")
            narrow = product(functional.gelu(product(x, f"{layer}.wide")), f"{layer}.narrow")
            x = norm(x + drop(narrow), f"{layer}.out")
        pooled = torch.tanh(product(x.view(members, rows, tokens, hidden)[:, :, 0], "pooled"))
        return product(drop(pooled), "head").float()

    @torch.no_grad()
    def logits(self, flat: torch.Tensor, rows: Sequence[data.Row]) -> NDArray[np.float32]:
        """Return the logits [rows, labels] of one member's weights [1, all of them], in fp32."""
        encoded = encode(rows, self.names, self.tokenizer)
        order = np.argsort([len(row["input_ids"]) for row in encoded], kind="stable")
        found = np.empty((len(rows), len(self.names)), dtype=np.float32)
        for first in range(0, len(rows), 256):
            part = order[first : first + 256]
            ids = collate([encoded[number] for number in part])["input_ids"].to(self.device)
            found[part] = self.forward(self.views(flat), ids[None], dropout=False)[0].cpu().numpy()
        return found


def is_norm(name: str) -> bool:
    """Whether a weight belongs to a layer normalisation: "embedded.w", "3.out.b"."""
    return name.split(".")[-2:][0] in NORMS


def batches(
    lengths: NDArray[np.int64], size: int, orders: Sequence[np.random.Generator]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield an epoch's batches: tokens, and rows [members, size] in each member's order, -1 where none is left."""
    columns = [list(_batches(lengths, size, order)) for order in orders]
    for number in orders[0].permutation(len(columns[0])):
        yield columns[0][number][0], np.stack([column[number][1] for column in columns])


def _batches(
    lengths: NDArray[np.int64], size: int, order: np.random.Generator
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    left: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    fitting = np.searchsorted(LENGTHS, lengths)
    for number, length in enumerate(LENGTHS):
        rows = np.concatenate([left, order.permutation(np.flatnonzero(fitting == number))])
        if length == LENGTHS[-1]:
            rows = np.concatenate([rows, np.full(-len(rows) % size, -1)])
        whole = len(rows) // size * size
        left = rows[whole:]
        for batch in order.permutation(rows[:whole].reshape(-1, size)):
            yield length, batch


def figures(flat: torch.Tensor, members: Members, split: data.Split, banks: NDArray[np.bool_]) -> dict[str, float]:
    """Return what docs/experiments says of one classifier, headlines only, by thresholds across the halves."""

    def sentiments(rows: Sequence[data.Row]) -> tuple[NDArray[np.float32], NDArray[np.int64], list[data.Row]]:
        rows = [row for row in rows if row.sentiment]
        truth = np.array([members.names.index(f"sentiment/{row.sentiment}") for row in rows])
        return members.logits(flat, rows)[:, :3], truth, rows

    found, truth, rows = sentiments(split.held_out["news"])
    temperature = metrics.fit_temperature(*sentiments(split.development)[:2])
    if members.plan.calibrate_on == "news":
        temperature = math.sqrt(temperature * metrics.fit_temperature(found, truth))
    chances = metrics.softmax(found.astype(np.float64) / temperature)
    chosen = thresholds.choose(chances, truth, classifier.PRECISION)
    called = classifier.across_halves(chances, truth, rows)
    hits, recalls, _ = metrics.per_class(metrics.confusion(truth, called, 3))
    result = {
        "news: average precision": metrics.average_precision(chances[:, NEGATIVE], truth == NEGATIVE),
        "news: recall across halves": float(recalls[NEGATIVE]),
        "news: precision across halves": float(hits[NEGATIVE]),
        "news: recall around the banks": float((called[banks & (truth == NEGATIVE)] == NEGATIVE).mean()),
        "news: macro-F1 across halves": metrics.macro_f1(truth, called, 3),
    }
    for name in ("twitter_fin_sentiment_valid", "sentfin"):
        found, truth, _ = sentiments(split.held_out[name])
        chances = metrics.softmax(found.astype(np.float64) / temperature)
        result[f"{name}: macro-F1"] = metrics.macro_f1(truth, thresholds.apply(chances, chosen), 3)
        result[f"{name}: ECE"] = metrics.expected_calibration_error(chances.max(1), chances.argmax(1) == truth)
    topics = [row for row in split.held_out["twitter_fin_topic_validation"] if row.topic]
    best = 3 + members.logits(flat, topics)[:, 3:].argmax(1)
    result["topics: accuracy"] = float(
        np.mean([members.names[b] == f"topic/{r.topic}" for b, r in zip(best, topics, strict=True)])
    )
    found, truth, rows = sentiments([*split.held_out["corpus"], *split.held_out["more"]])
    labels = thresholds.apply(metrics.softmax(found.astype(np.float64) / temperature), chosen)
    result["pairs: both right"] = float(classifier.both_right(rows, (labels == truth).tolist()).mean())
    return result


if __name__ == "__main__":
    main()
