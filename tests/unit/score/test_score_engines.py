"""Engines: choice, cache, refusal."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sentiment_monitor import score
from sentiment_monitor.errors import ClassifierError
from sentiment_monitor.score import engines, manifest, openvino_engine
from sentiment_monitor.score.build_openvino import choose, judge, labels_of, with_long
from sentiment_monitor.score.checkpoint import open_checkpoint
from sentiment_monitor.score.contract import EngineUnavailable
from sentiment_monitor.score.hardware import usable_cpus
from sentiment_monitor.score.windows import WINDOW_TOKENS


def _write_build(directory: Path, *, accepted: bool = True) -> None:
    directory.mkdir(parents=True)
    (directory / openvino_engine.NETWORK).write_text("<net/>", encoding="utf-8")
    files = {openvino_engine.NETWORK: manifest.sha256(directory / openvino_engine.NETWORK)}
    record = {"accepted": accepted, "reason": "labels agree for 90.0%", "files": files}
    (directory / openvino_engine.RECORD).write_text(json.dumps(record), encoding="utf-8")


def test_a_spoiled_engine_is_refused_and_a_good_one_accepted() -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 3, 1_000)
    reference = np.eye(3, dtype=np.float32)[truth] + generator.normal(0, 0.1, (1_000, 3)).astype(np.float32)

    def likeliest(logits: Any) -> Any:
        return logits.argmax(axis=1)

    assert judge(reference, reference + 0.01, truth, likeliest)["accepted"]
    spoiled = reference.copy()
    spoiled[:20] = np.roll(spoiled[:20], 1, axis=1)
    verdict = judge(reference, spoiled, truth, likeliest)
    assert not verdict["accepted"]
    assert "agree" in verdict["reason"]
    assert "macro-F1" in verdict["reason"]
    assert not judge(reference, reference * np.nan, truth, likeliest)["accepted"]


def _verdict(seconds: float, agreement: float, *, accepted: bool = True) -> dict[str, Any]:
    return {"accepted": accepted, "seconds": seconds, "label_agreement": agreement}


def test_of_accepted_candidates_the_quick_win_and_of_equally_quick_ones_the_faithful() -> None:
    slow, quick, near = _verdict(3.0, 1.0), _verdict(1.0, 0.987), _verdict(1.05, 0.999)
    wrong = _verdict(0.5, 0.9, accepted=False)
    assert choose([wrong, slow, quick]) == quick
    assert choose([quick, near, slow]) == near
    assert choose([wrong, slow]) == slow
    assert choose([wrong]) == wrong


def test_int8_is_judged_by_the_labels_that_thresholds_give() -> None:
    checkpoint = open_checkpoint(Path(score.__file__).parent / "bundled")
    assert checkpoint.manifest
    assert checkpoint.manifest.thresholds["negative"] < 0.5
    logits = np.full((2, len(checkpoint.topics) + 3), -9.0, dtype=np.float32)
    logits[:, :3] = [[0.0, 0.2, -9.0], [-9.0, 3.0, 0.0]]  # nearly even, yet bad news by the threshold; neutral
    assert labels_of(checkpoint, logits).tolist() == [0, 1]


def test_probes_get_longer_ones_of_the_same_label() -> None:
    probes = [("a falls", "negative"), ("b rises", "positive"), ("c sinks", "negative"), ("d sinks", "negative")]
    assert with_long(probes) == [*probes, ("a falls; c sinks", "negative")]


def test_the_cache_key_changes_with_weights_versions_and_processor(
    copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = copy()
    first = openvino_engine.cache_key(open_checkpoint(directory))
    assert openvino_engine.cache_key(open_checkpoint(directory)) == first
    keys = {first, openvino_engine.cache_key(open_checkpoint(copy(hidden_act="relu")))}
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", lambda package: "0")
        keys.add(openvino_engine.cache_key(open_checkpoint(directory)))
    monkeypatch.setattr(openvino_engine, "cpu_flags", lambda: frozenset({"avx9"}))
    keys.add(openvino_engine.cache_key(open_checkpoint(directory)))
    assert len(keys) == 4


def test_openvino_sees_few_shapes() -> None:
    """Each shape costs megabytes for good: with every length and size its own, an hour of news took two gigabytes."""
    shapes = set()
    for longest in range(3, WINDOW_TOKENS + 1):
        assert openvino_engine.most_rows(longest) * longest <= openvino_engine.BUDGET
        for rows in range(1, openvino_engine.most_rows(longest) + 1):
            shape = openvino_engine.padded(rows, longest, WINDOW_TOKENS)
            assert shape[0] >= rows
            assert shape[1] >= longest
            assert shape[0] * (longest - 1) < openvino_engine.BUDGET
            shapes.add(shape)
    assert len(shapes) <= 96
    assert openvino_engine.padded(1, 97, 100) == (1, 100)  # never more tokens than the encoder has places for


def test_padding_rows_and_tokens_never_reach_a_result() -> None:
    engine = object.__new__(openvino_engine.OpenVinoEngine)
    seen = []

    class Queue:
        def start_async(self, inputs: dict[int, Any], userdata: Any) -> None:
            ids, mask = inputs[0], inputs[1]
            seen.append(ids.shape)
            assert mask[:, 0].all()
            data = np.stack([(ids * mask).sum(axis=1), mask.sum(axis=1)], axis=1).astype(np.float32)
            request = SimpleNamespace(get_output_tensor=lambda _: SimpleNamespace(data=data))
            openvino_engine._store(request, userdata)

        def wait_all(self) -> None:
            pass

    engine._queue, engine._pad, engine._labels = Queue(), 0, 2
    engine._streams, engine._ceiling = 2, WINDOW_TOKENS
    windows = [[1 + number % 7] * (3 + number * 5 % 120) for number in range(61)]
    found = engine.logits(windows)
    assert found.tolist() == [[sum(window), len(window)] for window in windows]
    assert all(shape[0].bit_count() == 1 and shape[1] % openvino_engine.FULL_STEP == 0 for shape in seen)
    seen.clear()
    assert engine.logits(windows[:5]).tolist() == found[:5].tolist()
    assert [shape[0] for shape in seen] == [4, 1]  # both streams have some
    assert engine.logits([]).shape == (0, 2)


def test_openvino_is_compiled_anew_after_a_failed_request(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = object.__new__(openvino_engine.OpenVinoEngine)
    engine._pad, engine._labels, engine._streams, engine._ceiling = 0, 1, 2, WINDOW_TOKENS
    compiled = 0

    class Broken:
        def start_async(self, inputs: Any, userdata: Any) -> None:
            openvino_engine._store(SimpleNamespace(), userdata)  # a request without an output: the callback's error

        def wait_all(self) -> None:
            pass

    class Fresh(Broken):
        def start_async(self, inputs: Any, userdata: Any) -> None:
            data = np.full((len(inputs[0]), 1), 7, dtype=np.float32)
            request = SimpleNamespace(get_output_tensor=lambda _: SimpleNamespace(data=data))
            openvino_engine._store(request, userdata)

    class Refusing(Broken):
        def wait_all(self) -> None:
            raise RuntimeError("one request failed")

    def compile_anew() -> None:
        nonlocal compiled
        compiled += 1
        engine._queue = Fresh()

    monkeypatch.setattr(engine, "_compile", compile_anew)
    engine._queue = Refusing()
    assert engine.logits([[1, 2, 3]]).tolist() == [[7]]
    assert compiled == 1
    engine._queue = Broken()
    with pytest.raises(AttributeError):
        engine.logits([[1, 2, 3]])


def test_a_damaged_build_is_removed_not_used(tmp_path: Path) -> None:
    directory = tmp_path / "build"
    assert openvino_engine.read_build(directory) is None
    _write_build(directory)
    assert openvino_engine.read_build(directory) is not None
    (directory / openvino_engine.NETWORK).write_text("<other/>", encoding="utf-8")
    assert openvino_engine.read_build(directory) is None
    assert not directory.exists()


def test_a_failed_build_leaves_nothing_behind(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(EngineUnavailable, match="exit code 1"):
        openvino_engine.build(open_checkpoint(tiny), tmp_path / "cache" / "key")
    assert list((tmp_path / "cache").iterdir()) == []


def test_auto_falls_back_with_one_warning_and_a_named_engine_does_not(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = open_checkpoint(tiny)
    monkeypatch.setattr(engines, "has_cuda", lambda: False)
    _write_build(tmp_path / "openvino" / openvino_engine.cache_key(checkpoint), accepted=False)
    with caplog.at_level(logging.WARNING):
        running = engines.start(checkpoint, "auto", tmp_path, 1)
    assert running.name == "torch"
    assert len(caplog.records) == 1
    assert "labels agree for 90.0%" in caplog.text
    with pytest.raises(ClassifierError, match=r"90\.0%"):
        engines.start(checkpoint, "openvino", tmp_path, 1)


def test_threads_follow_the_quota_not_the_host(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000", encoding="ascii")
    assert usable_cpus(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000", encoding="ascii")
    unlimited = usable_cpus(tmp_path)
    assert unlimited >= 1
    (tmp_path / "cpu.max").write_text("20000 100000", encoding="ascii")
    assert usable_cpus(tmp_path) == 1


def test_out_of_memory_halves_the_budget_and_tries_again(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from sentiment_monitor.score.torch_engine import TorchEngine

    engine = TorchEngine(open_checkpoint(tiny), 1)
    run: Any = engine._run
    calls: list[int] = []

    def failing(windows: list[list[int]]) -> Any:
        calls.append(len(windows))
        if len(calls) == 1:
            raise torch.OutOfMemoryError("full")
        return run(windows)

    monkeypatch.setattr(engine, "_run", failing)
    windows = [[2, 5, 3]] * 8
    assert engine.logits(windows).shape == (8, 5)
    assert len(calls) == 2
    assert engine._budget == 1_024
