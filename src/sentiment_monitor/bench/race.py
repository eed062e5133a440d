"""Runs the race: every contender in its own process, turn by turn, so that drift of the machine hits all alike."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sentiment_monitor.bench.limit import operations_per_story
from sentiment_monitor.bench.texts import Sample
from sentiment_monitor.bench.worker import LIMIT
from sentiment_monitor.domain.news import SENTIMENTS
from sentiment_monitor.errors import FatalError, UsageError
from sentiment_monitor.score import default_cache_dir
from sentiment_monitor.score.checkpoint import Checkpoint, open_checkpoint
from sentiment_monitor.score.hardware import cpu_flags, usable_cpus
from sentiment_monitor.score.hub import locate
from sentiment_monitor.train.metrics import macro_f1

RUNS = ("lexicon", "tutorial", "pipeline", "onnxruntime", "openvino", "torch")
REFERENCE = "pipeline"  # fp32, and cut only at the encoder's own limit
ROUNDS = 3
SECONDS = 2.0  # a fast run goes over the texts again until so much time has passed
SINGLES = 60  # stories scored alone, a round
BUILD_TIMEOUT_S = 900
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "asimddp", "i8mm")
PACKAGES = ("torch", "transformers", "openvino", "nncf", "onnxruntime", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True)
class Run:
    """One contender's figures: medians over the rounds, percentiles over all single stories."""

    name: str
    stories_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_s_per_story: float
    cycles_per_story: float | None
    peak_mb: float
    label_agreement: float | None  # None without a fp32 run to agree with
    accuracy: float | None
    macro_f1: float | None


@dataclass(frozen=True, slots=True)
class RaceOutcome:
    """What a race found. Rates of one outcome may be compared with each other, not with another's."""

    machine: Mapping[str, Any]
    fp32_gops: float | None
    int8_gops: float | None
    operations: float | None  # billions a story
    runs: tuple[Run, ...]

    def share(self, run: Run) -> float | None:
        """Return the part of the matrix-product peak (int8 for int8 runs) that useful tokens reach."""
        peak = self.int8_gops if run.name in ("openvino", "onnxruntime") else self.fp32_gops
        if run.name == "lexicon" or not peak or not self.operations:
            return None
        return run.stories_per_s * self.operations / peak

    def record(self) -> dict[str, Any]:
        """Return the outcome as ``monitor bench --json`` prints it; ``share`` is the fastest engine's of ours."""
        own = [run for run in self.runs if run.name in ("openvino", "torch")]
        best = max(own, key=lambda run: run.stories_per_s, default=None)
        return {
            "machine": dict(self.machine),
            "limit": {
                "fp32_gops": self.fp32_gops,
                "int8_gops": self.int8_gops,
                "share": self.share(best) if best else None,
            },
            "runs": [{name: getattr(run, name) for name in Run.__dataclass_fields__} for run in self.runs],
        }


def race(
    sample: Sample,
    *,
    classifier: str,
    at: str,
    threads: int | None = None,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    singles: int = SINGLES,
    names: Sequence[str] = RUNS,
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RaceOutcome:
    """Let the runs ``names`` score ``sample``, ``rounds`` times in turns.

    ``classifier`` is ``bundled``, a directory or a hub name; ``at`` the moment, for the record; ``threads`` cuts the
    CPUs every run may use. A run that cannot be made is left out, with the reason in ``machine["skipped"]``.
    Raises ClassifierError, UsageError, and FatalError when a run that had started fails.
    """
    if classifier in ("lexicon", "stub"):
        raise UsageError(f"--classifier {classifier}: the benchmark needs a neural classifier; the lexicon runs anyway")
    directory, known_as = locate(classifier)
    checkpoint = open_checkpoint(directory, known_as)
    machine = _machine(checkpoint, sample, at, threads, rounds)
    steps = len(names) + rounds * (len(names) + 1)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, steps)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="monitor-bench-")))
        running: dict[str, _Worker] = {}
        first: dict[str, dict[str, Any]] = {}
        for name in names:
            store = folder if name == "onnxruntime" else cache or default_cache_dir()
            try:
                if name == "onnxruntime":
                    _build_onnx(directory, folder)
                worker = stack.enter_context(_worker(name, directory, store, threads, folder))
                first[name] = worker.ask({"texts": sample.texts})
                running[name] = worker
            except _Skipped as reason:
                machine["skipped"][name] = str(reason)
                steps -= rounds
            advance()
        limit = stack.enter_context(_worker(LIMIT, directory, folder, threads, folder))
        peaks, results = [], {name: [] for name in running}  # type: tuple[list[dict[str, Any]], dict[str, list[Any]]]
        for _ in range(rounds):
            peaks.append(_or_fail(limit, {}))
            advance()
            for name, worker in running.items():
                results[name].append(_or_fail(worker, {"seconds": seconds, "singles": singles}))
                advance()
    machine["cycles"] = next((answer["no_cycles"] for answer in first.values()), "") or "user mode"
    machine["spread"] = {
        name: [min(answer["stories_per_s"] for answer in own), max(answer["stories_per_s"] for answer in own)]
        for name, own in results.items()
    }
    needed = operations_per_story(checkpoint, sample.texts)
    machine["tokens_per_story"] = needed[1] if needed else None
    reference = first[REFERENCE]["labels"] if REFERENCE in first else None
    return RaceOutcome(
        machine=machine,
        fp32_gops=_median(peaks, "fp32_gops"),
        int8_gops=_median(peaks, "int8_gops"),
        operations=needed[0] if needed else None,
        runs=tuple(_run(name, results[name], first[name]["labels"], reference, sample) for name in running),
    )


def _run(name: str, rounds: Sequence[dict[str, Any]], labels: list[str], reference: Any, sample: Sample) -> Run:
    latencies = [value for answer in rounds for value in answer["latencies_ms"]]
    accuracy = f1 = None
    if sample.labels:
        truth, predicted = (np.array([SENTIMENTS.index(label) for label in some]) for some in (sample.labels, labels))
        accuracy, f1 = float((truth == predicted).mean()), macro_f1(truth, predicted, len(SENTIMENTS))
    agree = None if reference is None else float(np.mean([a == b for a, b in zip(reference, labels, strict=True)]))
    rate, cpu = _median(rounds, "stories_per_s"), _median(rounds, "cpu_s_per_story")
    assert rate is not None
    assert cpu is not None
    return Run(
        name=name,
        stories_per_s=rate,
        p50_ms=float(np.percentile(latencies, 50)),
        p99_ms=float(np.percentile(latencies, 99)),
        cpu_s_per_story=cpu,
        cycles_per_story=_median(rounds, "cycles_per_story"),
        peak_mb=max(answer["peak_mb"] for answer in rounds),
        label_agreement=agree,
        accuracy=accuracy,
        macro_f1=f1,
    )


def _median(rounds: Sequence[dict[str, Any]], field: str) -> float | None:
    values = [answer[field] for answer in rounds if answer[field] is not None]
    return median(values) if values else None


class _Skipped(Exception):
    """This run cannot be made here; the text says why."""


class _Worker:
    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process = process
        self._errors = errors

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its answer. Raises _Skipped with the last line of what the process said."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            said = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise _Skipped(said[-1] if said else f"its process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _or_fail(worker: _Worker, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return worker.ask(request)
    except _Skipped as reason:
        raise FatalError(f"a run of the benchmark died: {reason}") from None


@contextmanager
def _worker(name: str, directory: Path, cache: Path, threads: int | None, folder: Path) -> Iterator[_Worker]:
    cpus = min(threads or usable_cpus(), usable_cpus())
    environment = os.environ | {
        "OMP_NUM_THREADS": str(cpus),
        "RAYON_NUM_THREADS": str(cpus),
        "TOKENIZERS_PARALLELISM": "true" if cpus > 1 else "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",  # other people's; the reader wants the table
    }
    errors = folder / f"{name}.err"
    command = [sys.executable, "-m", "sentiment_monitor.bench.worker", name, str(directory), str(cache), str(cpus)]
    with (
        errors.open("w", encoding="utf-8") as out,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, text=True, env=environment
        ) as process,
    ):
        try:
            yield _Worker(process, errors)
        finally:
            process.kill()


def _build_onnx(directory: Path, folder: Path) -> None:
    if missing := [name for name in ("onnxruntime", "onnx") if importlib.util.find_spec(name) is None]:
        raise _Skipped(f"not installed: {', '.join(missing)}")
    command = [sys.executable, "-m", "sentiment_monitor.bench.build_onnx", str(directory), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise _Skipped(f"the export took more than {BUILD_TIMEOUT_S} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise _Skipped(f"the export failed: {said[-1] if said else done.returncode}")


def _machine(checkpoint: Checkpoint, sample: Sample, at: str, threads: int | None, rounds: int) -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "at": at,
        "processor": _processor(),
        "flags": [flag for flag in FLAGS if flag in cpu_flags()],
        "cpus": usable_cpus(),
        "threads": min(threads or usable_cpus(), usable_cpus()),
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "classifier": checkpoint.id,
        "texts": len(sample.texts),
        "origin": sample.origin,
        "rounds": rounds,
        "skipped": {},
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
