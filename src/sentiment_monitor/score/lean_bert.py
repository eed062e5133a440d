"""BERT's forward pass, for compiling, without the work that a classifier never reads. Same weights, same logits.

The head reads the first token only, so the last layer computes queries, output and feed-forward for that token alone
(keys and values for all): 10 of its 12 hidden x hidden products fall away. Position and token type embeddings are one
table, and the attention scale lies in the query weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

MASKED = -10_000.0  # added to the score of padding; its exponent is 0 in fp32


def lean(network: Any) -> nn.Module | None:
    """Return the lean forward pass of a transformers sequence classifier, None when it is no plain BERT encoder.

    Takes ``input_ids`` and ``attention_mask`` [rows, tokens], gives logits [rows, labels]. Changes ``network``'s query
    weights: load one for this alone.
    """
    config = network.config
    plain = config.model_type == "bert" and not (config.is_decoder or config.add_cross_attention)
    return LeanBert(network).eval() if plain else None


class LeanBert(nn.Module):
    """See the module."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        encoder, embeddings = network.bert, network.bert.embeddings
        self._heads: int = network.config.num_attention_heads
        self.words = embeddings.word_embeddings
        places = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        self.register_buffer("places", places.detach().clone())
        self.normalise = embeddings.LayerNorm
        self.layers = encoder.encoder.layer
        self.pool = encoder.pooler
        self.classify = network.classifier
        scale = (network.config.hidden_size // self._heads) ** -0.5
        with torch.no_grad():
            for layer in self.layers:
                layer.attention.self.query.weight.mul_(scale)
                layer.attention.self.query.bias.mul_(scale)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits."""
        states = self.normalise(self.words(input_ids) + self.places[: input_ids.shape[1]])
        bias = ((1.0 - attention_mask.to(states.dtype)) * MASKED)[:, None, None, :]
        for layer in self.layers[:-1]:
            states = self._layer(layer, states, states, bias)
        first = self._layer(self.layers[-1], states[:, :1], states, bias)
        logits: Tensor = self.classify(self.pool(first))
        return logits

    def _layer(self, layer: Any, asking: Tensor, states: Tensor, bias: Tensor) -> Tensor:
        """One encoder layer for the tokens ``asking``, which attend to all ``states``."""
        attention = layer.attention.self
        query, key, value = (
            linear(tokens).view(tokens.shape[0], -1, self._heads, tokens.shape[2] // self._heads).transpose(1, 2)
            for linear, tokens in self._projections(attention, asking, states)
        )
        mixed = torch.softmax(query @ key.transpose(2, 3) + bias, dim=-1) @ value
        mixed = mixed.transpose(1, 2).reshape(asking.shape)
        after = layer.attention.output(mixed, asking)
        result: Tensor = layer.output(layer.intermediate(after), after)
        return result

    @staticmethod
    def _projections(attention: Any, asking: Tensor, states: Tensor) -> Sequence[tuple[Any, Tensor]]:
        return (attention.query, asking), (attention.key, states), (attention.value, states)
