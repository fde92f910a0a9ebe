"""A :class:`model.network.CaptionNetwork` → the graphs of :class:`model.openvino_network.OpenVinoNetwork`."""

from __future__ import annotations

import warnings

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from model.network import CaptionNetwork, Seen, State

_TRACED_BATCH = 2  # any but 1, which traces would take for a constant


class _Early(nn.Module):
    """uint8 pixels [B, S, S, 3] → the map after the first half of the encoder's stages."""

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network
        stages = network.encoder.stages()
        self.stages = nn.Sequential(*stages[: len(stages) // 2])

    def forward(self, pixels: Tensor) -> Tensor:
        return self.stages(self.network.normalise(pixels))


class _Late(nn.Module):
    """That map → embedding and regions: the rest of :meth:`CaptionNetwork.encode`."""

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network
        stages = network.encoder.stages()
        self.stages = nn.Sequential(*stages[len(stages) // 2 :])

    def forward(self, reached: Tensor) -> tuple[Tensor, ...]:
        seen = self.network.look(self.network.features(self.stages(reached)))
        return (seen.embedding,) if seen.regions is None else (seen.embedding, seen.regions)


class _Start(nn.Module):
    """:meth:`CaptionNetwork.start` with plain tensors in and out."""

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        state = self.network.start(Seen(embedding, None))
        return state.h, state.c


class _First(nn.Module):
    """:meth:`CaptionNetwork.first` with plain tensors in and out."""

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, h: Tensor, regions: Tensor | None = None) -> Tensor:
        return self.network.first(State(h, h, regions))


class _Step(nn.Module):
    """:meth:`CaptionNetwork.step` with plain tensors in and out."""

    def __init__(self, network: CaptionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, tokens: Tensor, h: Tensor, c: Tensor, regions: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        logits, state = self.network.step(tokens, State(h, c, regions))
        return logits, state.h, state.c


@torch.no_grad()
def trace(network: CaptionNetwork, image_size: int) -> dict[str, openvino.Model]:
    """The network's graphs by name; their batch may have any size.

    :param network: in eval mode, on the CPU
    """
    pixels = torch.zeros(_TRACED_BATCH, image_size, image_size, 3, dtype=torch.uint8)  # [B, S, S, 3]
    reached = _Early(network)(pixels)  # [B, C, H, W]
    embedding, *regions = _Late(network)(reached)
    h, c = _Start(network)(embedding)  # [L, B, hidden_size] each
    tokens = torch.zeros(_TRACED_BATCH, dtype=torch.int64)  # [B]
    return {
        "early": _convert(_Early(network), pixels),
        "late": _convert(_Late(network), reached),
        "start": _convert(_Start(network), embedding),
        "first": _convert(_First(network), h, *regions),
        "step": _convert(_Step(network), tokens, h, c, *regions),
    }


def _convert(module: nn.Module, *inputs: Tensor) -> openvino.Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that checks of sizes are traced once, and that tracing is old
        traced = torch.jit.freeze(torch.jit.trace(module.eval(), inputs, check_trace=False))
    decoder = TorchScriptPythonDecoder(traced, example_input=inputs)  # OpenVINO holds no reference to it
    front_end = FrontEndManager().load_by_framework("pytorch")
    graph = front_end.convert(front_end.load(decoder))
    for parameter, tensor in zip(graph.get_parameters(), inputs, strict=True):
        parameter.set_element_type(openvino.Type(tensor.numpy().dtype))
        batch = 1 if tensor.ndim == 3 else 0  # an LSTM's state has its layers first
        parameter.set_partial_shape(
            openvino.PartialShape([*tensor.shape[:batch], -1, *tensor.shape[batch + 1 :]])
        )
    graph.validate_nodes_and_infer_types()
    return graph
