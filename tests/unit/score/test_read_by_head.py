"""Which state of an OpenVINO network is an alert's vector: what the head's product reads, before it is made int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from openvino import opset15 as ops

from sentiment_monitor.score.openvino_engine import read_by_head

HEAD = np.ones((4, 3), np.float32)


def _pooled(rank: int = 2) -> Any:
    return ops.tanh(ops.parameter([-1, 4] if rank == 2 else [-1, 7, 4], np.float32, name="ids"))


def _network(last: Any) -> Any:
    parameter = last.get_node() if hasattr(last, "get_node") else last
    while parameter.get_type_name() != "Parameter":
        parameter = parameter.input_value(0).get_node()
    return openvino.Model([ops.result(last)], [parameter])


def test_it_is_the_pooled_state_behind_the_bias() -> None:
    network = _network(ops.add(ops.matmul(_pooled(), HEAD, False, False), np.ones((1, 3), np.float32)))
    read = read_by_head(network)
    assert read.get_node().get_type_name() == "Tanh"
    network.add_outputs([read])
    assert [output.get_partial_shape()[1].get_length() for output in network.outputs] == [3, 4]


def test_smoothing_and_rounding_of_int8_are_left_out() -> None:
    smoothed = ops.multiply(_pooled(), np.full((1, 4), 0.5, np.float32))
    low, high = np.float32(-1), np.float32(1)
    rounded = ops.fake_quantize(smoothed, low, high, low, high, 256)
    assert read_by_head(_network(ops.matmul(rounded, HEAD, False, False))).get_node().get_type_name() == "Tanh"


def test_a_network_that_ends_otherwise_has_none() -> None:
    assert read_by_head(_network(ops.softmax(_pooled(), 1))) is None
    assert read_by_head(_network(ops.matmul(_pooled(rank=3), HEAD, False, False))) is None  # of every token
