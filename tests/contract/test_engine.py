"""One behaviour of every engine, on one tiny network: torch and OpenVINO."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from checkpoints import LABELS, write_tiny
from sentiment_monitor.score.checkpoint import Checkpoint, open_checkpoint
from sentiment_monitor.score.contract import Engine
from sentiment_monitor.score.torch_engine import TorchEngine

WINDOWS = [[2, *(4 + (number * step) % 40 for step in range(3 + number * 7 % 55)), 3] for number in range(1, 40)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as OpenVINO runs it, in fp32: what its builder makes before it looks for something quicker."""
    import openvino

    from sentiment_monitor.score.build_openvino import _convert

    file = tmp_path_factory.mktemp("openvino") / "network.xml"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OpenVINO's converter traces, which torch calls deprecated
        converted, _ = _convert(checkpoint, WINDOWS[:2])
    openvino.save_model(converted, file, compress_to_fp16=False)
    return file


@pytest.fixture(scope="module", params=["torch", "openvino"])
def engine(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> Iterator[Engine]:
    if request.param == "torch":
        engine: Engine = TorchEngine(checkpoint, 1)
    else:
        import openvino

        from sentiment_monitor.score.openvino_engine import OpenVinoEngine

        engine = OpenVinoEngine(openvino, request.getfixturevalue("network"), checkpoint, 1, "f32")
    assert engine.name == request.param
    yield engine
    engine.close()


def test_each_window_has_its_logits_in_its_place_whatever_it_is_padded_with(engine: Engine) -> None:
    together = engine.logits(WINDOWS)
    assert together.shape == (len(WINDOWS), len(LABELS))
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    assert engine.logits(WINDOWS[::-1])[::-1] == pytest.approx(together, abs=1e-3)
    for number in (0, 7, len(WINDOWS) - 1):
        assert engine.logits([WINDOWS[number]])[0] == pytest.approx(together[number], abs=1e-3)


def test_no_windows_give_no_logits(engine: Engine) -> None:
    assert engine.logits([]).shape == (0, len(LABELS))


def test_its_answers_are_those_of_fp32_within_its_tolerance(engine: Engine, checkpoint: Checkpoint) -> None:
    reference = TorchEngine(checkpoint, 1)
    assert 0 < engine.tolerance <= 0.15
    assert engine.logits(WINDOWS) == pytest.approx(reference.logits(WINDOWS), abs=1e-3)
    reference.close()


def test_its_vectors_are_what_the_head_makes_the_logits_of(engine: Engine, checkpoint: Checkpoint) -> None:
    from sentiment_monitor.score.torch_engine import load_network

    head = load_network(checkpoint, "eager").classifier
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    vectors = engine.vectors(WINDOWS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(WINDOWS), weight.shape[1])
    assert vectors @ weight.T + bias == pytest.approx(engine.logits(WINDOWS), abs=1e-3)
    assert engine.vectors([]).shape == (0, weight.shape[1])
