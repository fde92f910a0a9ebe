"""Matrices of an OpenVINO graph in the fewest bytes that lose nothing."""

from __future__ import annotations

import openvino
import torch
from openvino import opset13 as ops

from model.int8_weights import as_int8


def keep_in_8_bits(graph: openvino.Model) -> openvino.Model:
    """Keep a byte a weight of matrices whose values allow it, also of those in loops.

    :param graph: changed in place; what it gives stays the same, unless inputs are rounded as well
    """
    for operation in graph.get_ordered_ops():
        if operation.get_type_name() == "Loop":
            keep_in_8_bits(operation.get_function())
        elif operation.get_type_name() == "MatMul" and operation.get_attributes()["transpose_b"]:
            _shorten(operation.input(1))
    return graph


def _shorten(matrix: openvino.Input) -> None:
    constant = matrix.get_source_output().get_node()
    if constant.get_type_name() != "Constant" or len(constant.get_output_shape(0)) != 2:
        return
    found = as_int8(torch.tensor(constant.get_data()))
    if found:
        multiples, steps = (ops.constant(values.numpy()) for values in found)
        product = ops.multiply(ops.convert(multiples, "f32"), steps)
        matrix.replace_source_output(product.output(0))
