"""The OpenVINO engine: int8 or bf16 on the CPU, whichever is quicker here, built once per checkpoint and then cached.

Serving needs only openvino and tokenizers; torch, transformers and nncf are loaded by the builder's process alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiment_monitor.score import manifest
from sentiment_monitor.score.batching import batches
from sentiment_monitor.score.checkpoint import Checkpoint
from sentiment_monitor.score.contract import EngineUnavailable, Logits, Vectors
from sentiment_monitor.score.hardware import cpu_flags
from sentiment_monitor.score.windows import WINDOW_TOKENS

BUILD_FORMAT = 5  # raise it when the builder changes what it makes
PACKAGES = ("openvino", "nncf", "torch", "transformers")
PROBES = Path(__file__).with_name("probe")  # calibration and comparison texts by language
NETWORK, RECORD = "network.xml", "build.json"
LOGITS, STATES = 0, 1  # outputs of the compiled network
STREAMS = 2
# Padded tokens and windows a request; more only adds latency on a CPU.
BUDGET, ROWS = 1_024, 16
# OpenVINO generates code for each new shape (milliseconds) and keeps it (megabytes), so shapes are few: windows in
# powers of two, tokens in steps. Full requests take the finer step: they are where padding costs throughput.
STEP, FULL_STEP = 8, 4
BUILD_TIMEOUT_S = 900

_LOG = logging.getLogger(__name__)


def start(checkpoint: Checkpoint, cache_dir: Path, threads: int) -> OpenVinoEngine:
    """Return the engine, building it first when the cache has none for this checkpoint and these versions.

    Raises EngineUnavailable when openvino or its builder is missing or fails, or when the built engine's answers
    differ too much from fp32 (the refusal is remembered in the cache).
    """
    try:
        import openvino
    except ImportError as error:
        raise EngineUnavailable(f"openvino is not installed ({error})") from error
    directory = cache_dir / "openvino" / cache_key(checkpoint)
    record = read_build(directory)
    if record is None:
        _LOG.warning("classifier.engine_build: building %s for this processor, once, about a minute", checkpoint.id)
        build(checkpoint, directory)
        record = read_build(directory)
        if record is None:
            raise EngineUnavailable(f"the cache {directory} cannot be read back")
    if not record["accepted"]:
        raise EngineUnavailable(f"its answers differ from those of fp32: {record['reason']}")
    try:
        return OpenVinoEngine(openvino, directory / NETWORK, checkpoint, threads, record["precision"])
    except RuntimeError as error:
        raise EngineUnavailable(f"openvino cannot run the network here: {error}") from error


def cache_key(checkpoint: Checkpoint) -> str:
    """Return the digest of everything that shapes the build and its verdict: weights to processor."""
    parts = [f"format {BUILD_FORMAT}", checkpoint.weights_digest, manifest.sha256(probe_file(checkpoint.languages))]
    if checkpoint.manifest:  # what turns logits into the labels that are compared
        parts.append(json.dumps([checkpoint.manifest.temperatures, checkpoint.manifest.thresholds], sort_keys=True))
    for package in PACKAGES:
        try:
            parts.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            parts.append(f"{package} none")
    parts += [platform.machine(), *sorted(flag for flag in cpu_flags() if flag.startswith(("avx", "amx", "asimd")))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def probe_file(languages: Sequence[str]) -> Path:
    """Return the stored texts of the first language that has any, English otherwise."""
    return next(
        (file for language in languages if (file := PROBES / f"{language}.jsonl").is_file()), PROBES / "en.jsonl"
    )


def read_build(directory: Path) -> dict[str, Any] | None:
    """Return the record of a finished, undamaged build, None when there is none (a damaged one is removed)."""
    try:
        record: dict[str, Any] = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        intact = all(manifest.sha256(directory / name) == digest for name, digest in record["files"].items())
    except FileNotFoundError:
        intact = not directory.exists()
        record = {}
    except (OSError, ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        shutil.rmtree(directory, ignore_errors=True)
        return None
    return record or None


def build(checkpoint: Checkpoint, directory: Path) -> None:
    """Build into ``directory`` with another process, so that this one never loads torch and survives a crash there.

    Appears whole or not at all. Two builders at once: the first to finish wins, both results are the same.
    """
    command = [sys.executable, "-m", "sentiment_monitor.score.build_openvino", str(checkpoint.directory)]
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".build-") as work:
            code, errors = _run_builder([*command, str(Path(work) / "out")])
            if code:
                lines = errors.strip().splitlines() or [f"exit code {code}"]
                raise EngineUnavailable(f"the build failed: {lines[-1]}")
            try:
                (Path(work) / "out").rename(directory)
            except OSError:
                if read_build(directory) is None:
                    raise
    except subprocess.TimeoutExpired as error:
        raise EngineUnavailable(f"the build took more than {BUILD_TIMEOUT_S} s") from error
    except OSError as error:
        raise EngineUnavailable(f"the engine cache {directory.parent} cannot be written: {error}") from error


def _run_builder(command: Sequence[str]) -> tuple[int, str]:
    """Its exit code and what it wrote to standard error. It does not outlive this call, nor this process.

    Whatever ends the waiting, a signal say, ends the builder with all its children. A process that is killed can do
    nothing more; then the builder finds its standard input at the end, and ends itself.
    """
    inherited, ours = os.pipe()
    try:
        with subprocess.Popen(
            command,
            stdin=inherited,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as builder:
            try:
                _, errors = builder.communicate(timeout=BUILD_TIMEOUT_S)
            except BaseException:
                with suppress(ProcessLookupError):
                    os.killpg(builder.pid, signal.SIGKILL)
                raise
            return builder.returncode, errors
    finally:
        os.close(inherited)
        os.close(ours)


class OpenVinoEngine:
    """Runs batches of like length on parallel streams."""

    name = "openvino"
    tolerance = 0.15

    def __init__(self, openvino: Any, network: Path, checkpoint: Checkpoint, threads: int, precision: str = "") -> None:
        """``precision`` is what OpenVINO computes in where the network is not int8: ``f32``, or empty, its choice."""
        self._precision = precision
        self._openvino = openvino
        self._network = network
        self._threads = threads
        self._streams = min(STREAMS, threads)
        self._pad = checkpoint.pad_token
        self._ceiling = min(WINDOW_TOKENS, checkpoint.max_tokens)
        self._compile()

    def _compile(self) -> None:
        core = self._openvino.Core()
        network = core.read_model(str(self._network))
        read = read_by_head(network)
        if read is not None:
            network.add_outputs([read])
        compiled = core.compile_model(
            network,
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "NUM_STREAMS": str(self._streams),
                "INFERENCE_NUM_THREADS": str(self._threads),
                "ENABLE_CPU_PINNING": False,  # pinning hurts beside the daemon's own threads
                **({"INFERENCE_PRECISION_HINT": self._precision} if self._precision else {}),
            },
        )
        self.precision: str = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self._labels, *rest = (int(output.get_partial_shape()[1].get_length()) for output in compiled.outputs)
        self._width = rest[0] if rest else 0  # of what the head reads; 0: not known which that is
        # Twice as many requests as streams: a stream never waits until Python has filled the next one.
        self._queue: Any = self._openvino.AsyncInferQueue(compiled, 2 * self._streams)
        self._queue.set_callback(_store)

    def logits(self, windows: Sequence[Sequence[int]]) -> Logits:
        """Return the logits of each window, in input order. Raises RuntimeError when OpenVINO cannot."""
        return self._run_or_restart(windows, LOGITS, self._labels)

    def vectors(self, windows: Sequence[Sequence[int]]) -> Vectors:
        """Return what the head reads of each window, in input order. Raises RuntimeError when OpenVINO cannot."""
        if not self._width:
            return np.empty((len(windows), 0), np.float32)
        return self._run_or_restart(windows, STATES, self._width)

    def _run_or_restart(self, windows: Sequence[Sequence[int]], output: int, width: int) -> NDArray[np.float32]:
        try:
            return self._run(windows, output, width)
        except RuntimeError as error:
            # After one failed request (no memory, say) OpenVINO refuses all that follow, good ones too, until the
            # network is compiled anew.
            _LOG.warning("classifier.engine_restart: openvino failed and is compiled anew: %s", error)
            self._compile()
            return self._run(windows, output, width)

    def _run(self, windows: Sequence[Sequence[int]], output: int, width: int) -> NDArray[np.float32]:
        result = np.empty((len(windows), width), dtype=np.float32)
        errors: list[Exception] = []
        share = up_to_power(-(-len(windows) // self._streams))  # few windows are shared out among the streams
        for chosen in batches([len(window) for window in windows], lambda longest: min(share, most_rows(longest))):
            rows, longest = padded(len(chosen), len(windows[chosen[0]]), self._ceiling)
            ids = np.full((rows, longest), self._pad, dtype=np.int64)
            mask = np.zeros((rows, longest), dtype=np.int64)
            mask[len(chosen) :, 0] = 1  # attention to nothing at all is undefined
            for number, index in enumerate(chosen):
                window = windows[index]
                ids[number, : len(window)] = window
                mask[number, : len(window)] = 1
            self._queue.start_async({0: ids, 1: mask}, userdata=(output, result, chosen, errors))
        self._queue.wait_all()
        if errors:
            raise errors[0]
        return result

    def close(self) -> None:
        """Free the compiled network."""
        self._queue = None


def most_rows(longest: int) -> int:
    """Return how many windows a request has when its longest is so long: a power of two."""
    return 1 << (min(ROWS, max(1, BUDGET // longest)).bit_length() - 1)


def padded(rows: int, longest: int, ceiling: int) -> tuple[int, int]:
    """Return the shape [windows, tokens] in which a request is run; ``ceiling`` is the most tokens there may be."""
    shape = up_to_power(rows)
    step = FULL_STEP if shape == ROWS else STEP
    return shape, max(longest, min(ceiling, -(-longest // step) * step))


def up_to_power(number: int) -> int:
    """Return the power of two that is ``number`` or comes next above it; 1 for 0."""
    return 1 << max(0, number - 1).bit_length()


def read_by_head(network: Any) -> Any:
    """Return the output that the last matrix product of a network reads, before it is made int8; None without one."""
    node = network.get_results()[0].input_value(0).get_node()
    while node.get_type_name() in ("Add", "Convert"):  # the bias
        node = node.input_value(0).get_node()
    if node.get_type_name() != "MatMul":
        return None
    read = node.input_value(0)
    while read.get_node().get_type_name() in ("FakeQuantize", "Multiply"):  # smoothing and rounding, of int8
        read = read.get_node().input_value(0)
    return read if read.get_partial_shape().rank.get_length() == 2 else None


def _store(request: Any, userdata: tuple[int, NDArray[np.float32], list[int], list[Exception]]) -> None:
    output, result, chosen, errors = userdata
    try:
        result[chosen] = request.get_output_tensor(output).data[: len(chosen)]
    except Exception as error:  # noqa: BLE001  # raised by _run; through OpenVINO's thread it would end the process
        errors.append(error)
