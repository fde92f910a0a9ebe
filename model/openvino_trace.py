"""A :class:`model.network.CaptionNetwork` → the graphs of :class:`model.openvino_network.OpenVinoNetwork`."""

from __future__ import annotations

import warnings

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model.config import Config
from model.network import CaptionNetwork, State
from model.openvino_decoder import BeamStep, GreedyStep, Start, Step
from model.openvino_weights import keep_in_8_bits
from model.vocabulary import PAD_ID, START_ID

INT8_SHARE = 0.75  # of the encoder's arithmetic, from its first unit on: ``int8`` has no more in integers
_TRACED_BATCH = 2  # any but 1, which traces would take for a constant


class _Encode(nn.Module):
    """:meth:`CaptionNetwork.encode`: uint8 pixels [B, S, S, 3] → embedding and regions."""

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        seen = self.network.encode(pixels)
        return (seen.embedding,) if seen.regions is None else (seen.embedding, seen.regions)


class _First(nn.Module):
    """:meth:`CaptionNetwork.first` with plain tensors in and out."""

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, h: Tensor, regions: Tensor | None = None) -> Tensor:
        return self.network.first(State(h, h, regions))


@torch.no_grad()
def trace(network: CaptionNetwork, config: Config) -> dict[str, openvino.Model]:
    """The network's graphs by name; their batch may have any size.

    One that predicts ``<start>`` has ``first`` and ``step`` for :mod:`model.decoding`, since its first word
    comes of another graph than the others; any other has ``greedy`` and, for each step, ``beam``.

    :param network: in eval mode, on the CPU
    """
    image_size = config.preprocessing.image_size
    pixels = torch.zeros(_TRACED_BATCH, image_size, image_size, 3, dtype=torch.uint8)  # [B, S, S, 3]
    encode = _Encode(network)
    embedding, *regions = encode(pixels)
    h, c = Start(network)(embedding)  # [L, B, hidden_size] each
    tokens = torch.zeros(_TRACED_BATCH, dtype=torch.int64)  # [B]
    decoder = {"start": _convert(Start(network), embedding)}
    if config.decoding.predicts_start:
        decoder["first"] = _convert(_First(network), h, *regions)
        decoder["step"] = _convert(Step(network), tokens, h, c, *regions)
    else:
        start = _convert(Start(network), embedding)
        decoder["greedy"] = _greedy(start, GreedyStep(network, config.decoding), h, c, *regions)
        decoder["beam"] = _beam(BeamStep(network, config.decoding), h, c, *regions)
    return {
        "encode": _named(_convert(encode, pixels), _first_convolutions(network, pixels)),
        **{name: keep_in_8_bits(graph) for name, graph in decoder.items()},
    }


def _first_convolutions(network: CaptionNetwork, pixels: Tensor) -> list[str]:
    """Names of the convolutions of the encoder's first units, until :data:`INT8_SHARE` of its arithmetic."""
    images, work = network.normalise(pixels), [0]
    units = network.encoder.units()
    for unit in units:
        with FlopCounterMode(display=False) as counter:
            images = unit(images)
        work.append(work[-1] + counter.get_total_flops())
    count = next(count for count, done in enumerate(work) if done >= INT8_SHARE * work[-1])
    among = {module for unit in units[:count] for module in unit.modules()}
    return [
        name for name, module in network.named_modules() if module in among and isinstance(module, nn.Conv2d)
    ]


def _greedy(
    start: openvino.Model, step: GreedyStep, h: Tensor, c: Tensor, *regions: Tensor
) -> openvino.Model:
    """Embedding and regions → tokens and log-probabilities, [B, t] each: the decoder's start, and a loop of
    steps until every caption has ended.

    :param h: of shape [L, B, hidden_size], as c
    """
    steps = len(step.ruled_out)
    said = torch.full((_TRACED_BATCH, steps), PAD_ID)  # [B, T]
    ended = torch.zeros(_TRACED_BATCH, dtype=torch.bool)  # [B]
    word = torch.full((_TRACED_BATCH,), START_ID)  # [B]
    body = _convert(step, torch.tensor(0), word, h, c, said, ended, *regions)
    _convert_plainly(body)
    _, word_in, h_in, c_in, said_in, ended_in, *regions_in = body.get_parameters()
    _, *carried, token, log_prob = [result.input(0).get_source_output() for result in body.get_results()]
    looked = [
        ops.parameter(parameter.get_partial_shape(), parameter.get_element_type()) for parameter in regions_in
    ]
    h_first, c_first = (result.input_value(0).get_node() for result in start.get_results())
    batch = ops.gather(ops.shape_of(h_first, output_type="i64"), _constant([1]), _constant(0))  # [1]
    words = ops.broadcast(_constant(START_ID), batch)
    said_by_none = ops.broadcast(_constant(PAD_ID), ops.concat([batch, _constant([steps])], 0))
    none_ended = ops.broadcast(_constant(False), batch)
    loop = ops.loop(_constant(steps), _constant(True))
    loop.set_function(body)
    loop.set_special_body_ports([0, 0])  # the position, and whether to go on
    first = (words, h_first, c_first, said_by_none, none_ended)
    for parameter, value, after in zip((word_in, h_in, c_in, said_in, ended_in), first, carried, strict=True):
        loop.set_merged_input(parameter, value.output(0), after)
    for parameter, value in zip(regions_in, looked, strict=True):
        loop.set_invariant_input(parameter, value.output(0))
    slices = [loop.get_concatenated_slices(each, 0, 1, 1, -1, 1) for each in (token, log_prob)]
    inputs = [*start.get_parameters(), *looked]
    return openvino.Model([ops.result(each) for each in slices], inputs, "greedy")


def _beam(step: BeamStep, h: Tensor, c: Tensor, *regions: Tensor) -> openvino.Model:
    """What :meth:`BeamStep.forward` takes and gives, in its order."""
    beams = _TRACED_BATCH  # of each picture
    captions = beams * _TRACED_BATCH
    h, c = h.repeat(1, beams, 1), c.repeat(1, beams, 1)
    regions = tuple(part.repeat(beams, 1, 1, 1) for part in regions)
    said = torch.full((captions, len(step.ruled_out)), PAD_ID)  # [B · K, T]
    ended = torch.zeros(captions, dtype=torch.bool)  # [B · K]
    word = torch.full((captions,), START_ID)  # [B · K]
    total = torch.zeros(_TRACED_BATCH, beams)  # [B, K]
    graph = _convert(step, torch.tensor(0), word, h, c, said, ended, total, *regions)
    _convert_plainly(graph)
    graph.get_parameters()[6].set_partial_shape(openvino.PartialShape([-1, -1]))
    graph.validate_nodes_and_infer_types()
    return graph


def _named(graph: openvino.Model, convolutions: list[str]) -> openvino.Model:
    """These convolutions, those of int8, called what they are called in the network."""
    names = {f"__module.network.{name}": name for name in convolutions}
    for operation in graph.get_ordered_ops():
        name = names.get(operation.get_friendly_name().partition("/")[0])
        if name and operation.get_type_name() == "Convolution":
            operation.set_friendly_name(name)
    return graph


def _convert_plainly(graph: openvino.Model) -> None:
    """Replace what converts a value to the type of another, which OpenVINO fails to do in these graphs."""
    for operation in graph.get_ordered_ops():
        if operation.get_type_name() == "ConvertLike":
            plain = ops.convert(operation.input_value(0), operation.get_output_element_type(0))
            operation.output(0).replace(plain.output(0))


def _constant(value: int | bool | list[int]) -> openvino.Node:
    return ops.constant(np.array(value))


def _convert(module: nn.Module, *inputs: Tensor) -> openvino.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that checks of sizes are traced once, and that tracing is old
        traced = torch.jit.freeze(torch.jit.trace(module.eval(), inputs, check_trace=False))
    decoder = TorchScriptPythonDecoder(traced, example_input=inputs)  # OpenVINO holds no reference to it
    front_end = FrontEndManager().load_by_framework("pytorch")
    graph = front_end.convert(front_end.load(decoder))
    for parameter, tensor in zip(graph.get_parameters(), inputs, strict=True):
        parameter.set_element_type(openvino.Type(tensor.numpy().dtype))
        sizes = list(tensor.shape)
        if sizes:
            sizes[1 if tensor.ndim == 3 else 0] = -1  # the batch; an LSTM's state has its layers first
        parameter.set_partial_shape(openvino.PartialShape(sizes))
    graph.validate_nodes_and_infer_types()
    return graph
