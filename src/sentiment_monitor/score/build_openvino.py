"""``python -m sentiment_monitor.score.build_openvino CHECKPOINT OUT``: the network this processor is to run, judged.

Candidates are the checkpoint in int8, what is not int8 computed as OpenVINO likes or in fp32, and the checkpoint as it
is, which processors with matrix units run in bf16. Each is compared with fp32 and timed here: what is fast and faithful
on one processor is slow or wrong on another. Runs as a process of its own (see openvino_engine), in a session of its
own, until its standard input ends. Writes the network and ``build.json``; the last line on standard error says why when
it fails.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.domain.news import SENTIMENTS, Sentiment
from sentiment_monitor.score import manifest
from sentiment_monitor.score.checkpoint import Checkpoint, load_tokenizer, open_checkpoint
from sentiment_monitor.score.classifier import decide, softmax
from sentiment_monitor.score.contract import Logits
from sentiment_monitor.score.hardware import usable_cpus
from sentiment_monitor.score.openvino_engine import NETWORK, RECORD, OpenVinoEngine, probe_file
from sentiment_monitor.score.windows import WINDOW_TOKENS

Labels = NDArray[np.int64]

CALIBRATION = 300  # probe texts that set the ranges; the rest compare
# SmoothQuant's alpha (Xiao et al., arXiv:2211.10438): how much of the activations' range moves into the weights. After
# one that passes no other is tried; measured on the bundled classifier, see docs/experiments/engine-variants.md.
SMOOTHING = (0.9, 0.98, 0.95)
MIN_AGREEMENT = 0.985
MAX_F1_LOSS = 0.005
TIMED, ROUNDS = 256, 3  # texts, and how often the quickest of several is looked for
NEARLY = 1.1  # as quick as the quickest, all but a tenth: then the more faithful one is taken


def main(arguments: Sequence[str]) -> int:
    """Build from the checkpoint directory into the output directory."""
    source, out = (Path(argument) for argument in arguments)
    checkpoint = open_checkpoint(source)
    out.mkdir(parents=True)
    lines = probe_file(checkpoint.languages).read_text(encoding="utf-8").splitlines()
    probes = [(probe["text"], str(probe["sentiment"])) for probe in map(json.loads, lines)]
    setting, judging = with_long(probes[:CALIBRATION]), with_long(probes[CALIBRATION:])
    windows = _windows(checkpoint, [text for text, _ in (*setting, *judging)])
    network, reference = _convert(checkpoint, windows)
    first = len(setting)
    truth = np.array([SENTIMENTS.index(Sentiment(label)) for _, label in judging])
    labels = partial(labels_of, checkpoint)

    import openvino

    def tried(file: Path, precision: str) -> tuple[dict[str, Any], str]:
        engine = OpenVinoEngine(openvino, file, checkpoint, usable_cpus(), precision)
        verdict = judge(reference[first:], engine.logits(windows[first:]), truth, labels)
        verdict |= {"network": file.name, "precision": precision, "seconds": _seconds(engine, windows[first:])}
        computed = engine.precision
        engine.close()
        return verdict, computed

    verdicts: list[dict[str, Any]] = []
    for smoothing in SMOOTHING:
        file = out / f"int8-{smoothing}.xml"
        openvino.save_model(_quantise(network.clone(), windows[:first], smoothing), file, compress_to_fp16=False)
        verdict, computed = tried(file, "")
        verdicts.append(verdict)
        if computed != "f32":
            verdicts.append(tried(file, "f32")[0])
        if any(verdict["accepted"] for verdict in verdicts):
            break
    openvino.save_model(network, out / "unchanged.xml", compress_to_fp16=False)
    verdicts.append(tried(out / "unchanged.xml", "")[0])
    chosen = choose(verdicts)
    for suffix in (".xml", ".bin"):
        (out / chosen["network"]).with_suffix(suffix).replace((out / NETWORK).with_suffix(suffix))
    for file in out.iterdir():
        if file.stem != Path(NETWORK).stem:
            file.unlink()
    files = {path.name: manifest.sha256(path) for path in sorted(out.iterdir())}
    record = {**chosen, "candidates": verdicts, "files": files}
    (out / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")
    return 0


def choose(verdicts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the most faithful accepted one of those nearly as quick as the quickest; the last if none is accepted."""
    accepted = [verdict for verdict in verdicts if verdict["accepted"]]
    if not accepted:
        return verdicts[-1]
    quickest = min(verdict["seconds"] for verdict in accepted)
    near = [verdict for verdict in accepted if verdict["seconds"] <= NEARLY * quickest]
    return max(near, key=lambda verdict: float(verdict["label_agreement"]))


def _seconds(engine: OpenVinoEngine, windows: Sequence[Sequence[int]]) -> float:
    """Of the quickest of some rounds: others may be at work on this machine."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        engine.logits(windows[:TIMED])
        rounds.append(time.perf_counter() - began)
    return round(min(rounds), 4)


def with_long(probes: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the (text, label) with as many longer ones as halves make: two texts of one label, joined.

    Probes have 20 tokens, headlines in the news 31 and stories with a summary more. Ranges set on short texts alone
    disagree with fp32 twice as often on long ones.
    """
    alike: dict[str, list[str]] = {}
    for text, label in probes:
        alike.setdefault(label, []).append(text)
    joined = [
        (f"{first}; {second}", label)
        for label, texts in alike.items()
        for first, second in zip(texts[::2], texts[1::2], strict=False)
    ]
    return [*probes, *joined]


def labels_of(checkpoint: Checkpoint, logits: Logits) -> Labels:
    """Return the label [rows] that a story of one window with these logits [rows, labels] would be given."""
    thresholds = checkpoint.thresholds()
    chances = softmax(logits, checkpoint.sentiment_columns, checkpoint.temperature("sentiment"))
    return np.array([SENTIMENTS.index(decide(row, thresholds)) for row in chances.tolist()], dtype=np.int64)


def judge(reference: Logits, candidate: Logits, truth: Labels, labels: Callable[[Logits], Labels]) -> dict[str, Any]:
    """Compare a candidate's logits [texts, columns] with those of fp32.

    Accepted when ``labels`` of them agree and macro-F1 holds.
    """
    if not np.isfinite(candidate).all():
        return {"accepted": False, "reason": "logits that are no numbers"}
    expected, got = labels(reference), labels(candidate)
    agreement = float((expected == got).mean())
    loss = _macro_f1(truth, expected) - _macro_f1(truth, got)
    reasons = []
    if agreement < MIN_AGREEMENT:
        reasons.append(f"labels agree for {agreement:.1%}, {MIN_AGREEMENT:.1%} needed")
    if loss > MAX_F1_LOSS:
        reasons.append(f"macro-F1 falls by {100 * loss:.1f} points, {100 * MAX_F1_LOSS:.1f} allowed")
    return {
        "accepted": not reasons,
        "reason": "; ".join(reasons),
        "texts": len(truth),
        "label_agreement": agreement,
        "macro_f1_loss": loss,
    }


def _macro_f1(truth: Labels, predicted: Labels) -> float:
    scores = []
    for label in range(len(SENTIMENTS)):
        hit = int(((truth == label) & (predicted == label)).sum())
        either = int((truth == label).sum() + (predicted == label).sum())
        scores.append(2 * hit / either if either else 1.0)
    return float(np.mean(scores))


def _windows(checkpoint: Checkpoint, texts: Sequence[str]) -> list[list[int]]:
    tokenizer = load_tokenizer(checkpoint.directory)
    tokenizer.enable_truncation(min(WINDOW_TOKENS, checkpoint.max_tokens))
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def _convert(checkpoint: Checkpoint, windows: Sequence[Sequence[int]]) -> tuple[Any, Logits]:
    import openvino
    import torch

    from sentiment_monitor.score.lean_bert import lean
    from sentiment_monitor.score.torch_engine import LogitsOnly, TorchEngine, load_network

    engine = TorchEngine(checkpoint, usable_cpus())
    reference = engine.logits(windows)
    engine.close()

    loaded = load_network(checkpoint, "eager")
    module = lean(loaded) or LogitsOnly(loaded).eval()
    example = torch.ones((4, 16), dtype=torch.int64)  # several rows, or the trace takes the batch size for a constant
    with torch.no_grad():
        network = openvino.convert_model(
            module,
            example_input={"input_ids": example, "attention_mask": example},
            input=[("input_ids", [-1, -1], np.int64), ("attention_mask", [-1, -1], np.int64)],
        )
    return network, reference


def _quantise(network: Any, windows: Sequence[Sequence[int]], smoothing: float) -> Any:
    import nncf

    def feed(window: Sequence[int]) -> dict[str, np.ndarray[Any, Any]]:
        ids = np.array([window], dtype=np.int64)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    return nncf.quantize(
        network,
        nncf.Dataset(windows, feed),
        subset_size=len(windows),
        model_type=nncf.ModelType.TRANSFORMER,
        target_device=nncf.TargetDevice.CPU,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=smoothing)
        ),
    )


def _end_with_parent(out: Path) -> None:
    """Waits for the end of standard input, which the process that needs the network holds open, and ends all."""
    while os.read(0, 1):
        pass
    shutil.rmtree(out, ignore_errors=True)
    with suppress(OSError):  # somebody keeps more there
        out.parent.rmdir()
    with suppress(ProcessLookupError):  # started by hand: no group of its own
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, args=(Path(sys.argv[-1]),), daemon=True).start()
    sys.exit(main(sys.argv[1:]))
