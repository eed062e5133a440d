"""The machine's limit: how fast it multiplies matrices, and how many operations a story needs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sentiment_monitor.score.checkpoint import Checkpoint, load_tokenizer
from sentiment_monitor.score.hardware import usable_cpus

SIZES = (512, 1024, 2048)  # square; the best one counts
SECONDS = 0.4  # a product and size
CHAIN = 8  # int8 products between two conversions of the data, in the OpenVINO probe


class Peak:
    """The matrix-product peak of this machine in operations (2 a multiply-add), by the libraries the engines use."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(usable_cpus())
        self._fp32 = [_torch_fp32(size) for size in SIZES]
        self._int8 = [*_quick(_torch_int8), *(_openvino_int8(size) for size in SIZES[:2])]

    def measure(self) -> dict[str, float | None]:
        """Return ``fp32_gops`` and ``int8_gops``: the best of several sizes and, for int8, of two libraries."""
        return {"fp32_gops": _best(self._fp32), "int8_gops": _best(self._int8)}


Product = tuple[Callable[[], object], float]  # one call, and its billions of operations


def _quick(make: Callable[[int], Product | None]) -> Iterator[Product]:
    """Products of growing size while a call takes a moment: without units for int8 the largest takes half a minute."""
    for size in SIZES:
        product = make(size)
        if product is None:
            return
        started = time.perf_counter()
        product[0]()
        if time.perf_counter() - started > SECONDS:
            return
        yield product


def _best(products: Sequence[Product | None]) -> float | None:
    return max((_rate(*product) for product in products if product), default=None)


def _rate(call: Callable[[], object], giga_operations: float) -> float:
    call()
    best, until = 0.0, time.perf_counter() + SECONDS
    while (started := time.perf_counter()) < until:
        call()
        best = max(best, giga_operations / (time.perf_counter() - started))
    return best


def _torch_fp32(size: int) -> Product:
    import torch

    a, b, out = (torch.rand(size, size) for _ in range(3))
    return lambda: torch.mm(a, b, out=out), 2e-9 * size**3


def _torch_int8(size: int) -> Product | None:
    import torch

    a, b = (torch.randint(-127, 127, (size, size), dtype=torch.int8) for _ in range(2))
    try:
        torch._int_mm(a[:32, :32].contiguous(), b[:32, :32].contiguous())
    except (RuntimeError, NotImplementedError):
        return None  # torch has no int8 product for this processor: OpenVINO's decides alone
    return lambda: torch._int_mm(a, b), 2e-9 * size**3


def _openvino_int8(size: int) -> Product | None:
    try:
        import openvino
        from openvino import opset13 as ops
    except ImportError:
        return None
    data: Any = ops.parameter([size, size], np.float32)
    node = data
    weights = np.random.default_rng(0).integers(-127, 127, (size, size), dtype=np.int8)
    for _ in range(CHAIN):
        low, high = np.float32(-1), np.float32(1)
        quantised = ops.fake_quantize(node, low, high, low, high, 256)
        kernel = ops.multiply(ops.convert(ops.constant(weights), np.float32), np.float32(1e-3))
        node = ops.matmul(quantised, kernel, False, False)
    threads = str(usable_cpus())
    options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(openvino.Model([node], [data]), "CPU", options).create_infer_request()
    request.set_input_tensor(openvino.Tensor(np.random.default_rng(1).random((size, size), dtype=np.float32)))
    return request.infer, 2e-9 * size**3 * CHAIN


def operations_per_story(checkpoint: Checkpoint, texts: Sequence[str]) -> tuple[float, float] | None:
    """Return the mean of billions of operations and of tokens a story, special tokens in and padding out.

    Counts the encoder's matrix products (queries, keys, values, output, the two of the feed-forward part, scores and
    their weighted sums) and leaves out the head. None for an architecture whose configuration names other sizes.
    """
    config = json.loads((checkpoint.directory / "config.json").read_text(encoding="utf-8"))
    sizes = _sizes(config)
    if sizes is None:
        return None
    tokenizer = load_tokenizer(checkpoint.directory)
    tokenizer.enable_truncation(checkpoint.max_tokens)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]
    return float(np.mean([operations(length, *sizes) for length in lengths])) / 1e9, float(np.mean(lengths))


def operations(tokens: int, layers: int, hidden: int, inner: int) -> int:
    """Return the operations of one text: 2 a multiply-add (Kaplan et al., arXiv:2001.08361, table 1)."""
    per_token = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    attention = 4 * tokens * hidden
    return layers * tokens * (per_token + attention)


def _sizes(config: dict[str, Any]) -> tuple[int, int, int] | None:
    names = (
        ("num_hidden_layers", "n_layers"),
        ("hidden_size", "dim"),
        ("intermediate_size", "hidden_dim"),
    )
    sizes = [next((int(config[name]) for name in either if name in config), None) for either in names]
    layers, hidden, inner = sizes
    return None if layers is None or hidden is None or inner is None else (layers, hidden, inner)
