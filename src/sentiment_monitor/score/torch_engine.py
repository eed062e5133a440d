"""The torch engine: fp32 on the CPU, bf16 on CUDA. Importing this module loads torch and transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from sentiment_monitor.errors import ClassifierError
from sentiment_monitor.score.batching import batches, within
from sentiment_monitor.score.checkpoint import Checkpoint
from sentiment_monitor.score.contract import Logits, Vectors

CPU_BUDGET, CPU_ROWS = 2_048, 32  # padded tokens and windows a batch
CUDA_BUDGET, CUDA_ROWS = 65_536, 2_048
MIN_BUDGET = 512


def quiet_transformers() -> None:
    """Keep transformers' progress bars and load reports off the terminal."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def load_network(checkpoint: Checkpoint, attention: str) -> Any:
    """Return the fp32 network in evaluation mode; only safetensors, only library code."""
    quiet_transformers()
    try:
        network = AutoModelForSequenceClassification.from_pretrained(
            checkpoint.directory,
            dtype=torch.float32,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ClassifierError(f"{checkpoint.directory}: cannot be loaded: {error}") from error
    return network.eval()


class LogitsOnly(torch.nn.Module):
    """A network that gives the tensor of logits, as those want who trace it, and not transformers' output object."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits (B, L) for token ids and mask (B, T)."""
        logits: torch.Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


class TorchEngine:
    """Runs the checkpoint in torch, longest windows first, padded to the batch only."""

    name = "torch"

    def __init__(self, checkpoint: Checkpoint, threads: int) -> None:
        self._pad = checkpoint.pad_token
        self._cuda = torch.cuda.is_available()
        self._device = torch.device("cuda" if self._cuda else "cpu")
        # Eager attention is the faster of the two on CPUs for windows this short (docs/experiments/training-step.md).
        network = load_network(checkpoint, "sdpa" if self._cuda else "eager").to(self._device)
        self._network = network.to(torch.bfloat16) if self._cuda else network
        self._budget, self._rows = (CUDA_BUDGET, CUDA_ROWS) if self._cuda else (CPU_BUDGET, CPU_ROWS)
        self.tolerance = 0.05 if self._cuda else 0.01
        if not self._cuda:
            torch.set_num_threads(threads)

    def logits(self, windows: Sequence[Sequence[int]]) -> Logits:
        """Return the logits of each window, in input order. Out of CUDA memory: halves its budget and tries again."""
        lengths = [len(window) for window in windows]
        while True:
            try:
                result: Logits | None = None
                for chosen in batches(lengths, within(self._budget, self._rows)):
                    part = self._run([windows[index] for index in chosen])
                    if result is None:
                        result = np.empty((len(windows), part.shape[1]), dtype=np.float32)
                    result[chosen] = part
                return result if result is not None else np.empty((0, self._network.config.num_labels), np.float32)
            except torch.OutOfMemoryError:
                if self._budget <= MIN_BUDGET:
                    raise
                self._budget //= 2
                torch.cuda.empty_cache()

    def vectors(self, windows: Sequence[Sequence[int]]) -> Vectors:
        """Return what the last layer of logits reads of each window; for few windows, which run in one batch each."""
        layers = [module for module in self._network.modules() if isinstance(module, torch.nn.Linear)]
        head = layers[-1] if layers and layers[-1].out_features == self._network.config.num_labels else None
        if head is None or not windows:
            return np.empty((len(windows), 0 if head is None else head.in_features), np.float32)
        states: list[torch.Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0].detach()))
        try:
            for window in windows:
                self._run([window])
        finally:
            hook.remove()
        if any(state.dim() != 2 for state in states):  # it reads every token
            return np.empty((len(windows), 0), np.float32)
        array: Vectors = torch.cat(states).float().cpu().numpy()
        return array

    def close(self) -> None:
        """Free the network."""
        self._network = None

    @torch.inference_mode()
    def _run(self, windows: Sequence[Sequence[int]]) -> Logits:
        longest = max(len(window) for window in windows)
        ids = np.full((len(windows), longest), self._pad, dtype=np.int64)
        mask = np.zeros((len(windows), longest), dtype=np.int64)
        for number, window in enumerate(windows):
            ids[number, : len(window)] = window
            mask[number, : len(window)] = 1
        tensors = [torch.from_numpy(array) for array in (ids, mask)]
        if self._cuda:
            tensors = [tensor.pin_memory().to(self._device, non_blocking=True) for tensor in tensors]
        output: torch.Tensor = self._network(input_ids=tensors[0], attention_mask=tensors[1]).logits
        array: Logits = output.float().cpu().numpy()
        return array
