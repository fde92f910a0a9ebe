"""Convolutions of an OpenVINO graph in 8-bit integers."""

from __future__ import annotations

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from model.errors import CheckpointError

_ENCODER = "encoder."  # what its modules' names in the network begin with
_LEAST, _MOST = 1e-6, 1e30  # of a range: a convolution may see nothing but zeros; float32 ends not far beyond


def to_int8(graph: openvino.Model, ranges: dict[str, tuple[float, float]]) -> None:
    """Round input and weights of convolutions to 256 values: of those that are called what they are called in
    the network, all but the first. OpenVINO then multiplies integers. Values do not depend on the batch. A
    CPU without VNNI may cut sums of two products off.

    The input's values are spread from zero where none is negative, else evenly around it; the weights' around
    zero for each output channel. Grouped convolutions stay as they are.

    :param ranges: of :func:`model.calibration.measure_ranges`
    :raises CheckpointError: another convolution than the first has none, or one is no range
    """
    _, *convolutions = (op for op in graph.get_ordered_ops() if op.get_friendly_name().startswith(_ENCODER))
    if not all(each.get_friendly_name() in ranges for each in convolutions):
        raise CheckpointError(
            "int8 needs activation ranges, which this checkpoint lacks: `captioner calibrate` measures them"
        )
    for operation in convolutions:
        name = operation.get_friendly_name()
        low, high = ranges[name]
        if not -_MOST < low <= high < _MOST:
            raise CheckpointError(f"the activation range of {name}, {low} to {high}, is none")
        most = max(-low, high, _LEAST)
        least = 0.0 if low >= 0 else -most * 128 / 127  # -128 to 127
        _round(operation.input(0), np.array(least, np.float32), np.array(most, np.float32), 256)
        weights = operation.input_value(1).get_node().get_data()  # [out, in, height, width]
        largest = np.maximum(np.abs(weights).max(axis=(1, 2, 3), keepdims=True), _LEAST).astype(np.float32)
        _round(operation.input(1), -largest, largest, 255)


def _round(into: openvino.Input, low: NDArray[np.float32], high: NDArray[np.float32], levels: int) -> None:
    bounds = [ops.constant(low), ops.constant(high)]
    rounded = ops.fake_quantize(into.get_source_output(), *bounds, *bounds, levels)
    into.replace_source_output(rounded.output(0))
