"""``python -m sentiment_monitor.bench.build_onnx CHECKPOINT FOLDER``: the checkpoint for ONNX Runtime, int8.

By its own recommended way for transformers on CPUs: fp32 export, fusions by ``onnxruntime.transformers`` where they
apply, dynamic quantisation with signed weights per channel. The last line on standard error says why when it fails.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from sentiment_monitor.bench.contenders import ONNX_FILE
from sentiment_monitor.score.checkpoint import open_checkpoint

OPSET = 17
FLOAT = 1  # onnx.TensorProto.FLOAT


def main(arguments: Sequence[str]) -> int:
    """Write ``FOLDER/int8.onnx`` from the checkpoint directory."""
    source, folder = (Path(argument) for argument in arguments)
    quantization = importlib.import_module("onnxruntime.quantization")  # optional and undeclared
    import torch

    from sentiment_monitor.score.torch_engine import LogitsOnly, load_network

    checkpoint = open_checkpoint(source)
    network = load_network(checkpoint, "eager")

    example = torch.ones((4, 16), dtype=torch.int64)
    axes = {0: "batch", 1: "tokens"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, and needs no further package
        torch.onnx.export(
            LogitsOnly(network).eval(),
            (example, example),
            str(folder / "fp32.onnx"),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    quantization.quantize_dynamic(
        _fused(folder / "fp32.onnx", network.config),
        folder / ONNX_FILE,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        extra_options={"DefaultTensorType": FLOAT},  # fused operators tell the quantiser no type
    )
    return 0


def _fused(file: Path, config: object) -> Path:
    """Fuse attention, normalisation and GELU for BERTs; the file as it is for other networks."""
    if getattr(config, "model_type", "") != "bert":
        return file
    optimizer = importlib.import_module("onnxruntime.transformers.optimizer")
    heads, hidden = (getattr(config, name) for name in ("num_attention_heads", "hidden_size"))
    fused = file.with_name("fused.onnx")
    optimizer.optimize_model(str(file), model_type="bert", num_heads=heads, hidden_size=hidden).save_model_to_file(
        str(fused)
    )
    return fused


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
