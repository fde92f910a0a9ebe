"""The searches of :mod:`model.decoding` over OpenVINO's graphs, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.network import Seen, State
from model.openvino_network import OpenVinoNetwork, Values
from model.search import search
from model.words import Rows


class Decoder:
    """A :class:`model.network.Decoder`."""

    def __init__(self, network: OpenVinoNetwork) -> None:
        self._network = network

    def start(self, seen: Seen) -> State:
        """The decoder's state after it has seen the pictures."""
        h, c = self._run("start", seen.embedding)
        return State(h, c, seen.regions)

    def first(self, state: State) -> Tensor:
        """Logits [B, vocabulary_size] of what the picture alone brings forth, before any word."""
        (logits,) = self._run("first", state.h, *_regions(state))
        return logits

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word further: tokens int64 [B] → logits [B, vocabulary_size] and the next state."""
        logits, h, c = self._run("step", tokens, state.h, state.c, *_regions(state))
        return logits, State(h, c, state.regions)

    def _run(self, graph: str, *inputs: Tensor) -> list[Tensor]:
        values = self._network.run(graph, *(tensor.contiguous().numpy() for tensor in inputs))
        return [torch.from_numpy(value) for value in values]


def _regions(state: State) -> list[Tensor]:
    return [] if state.regions is None else [state.regions]


@torch.inference_mode()
def search_by_steps(network: OpenVinoNetwork, seen: Values, beams: Sequence[int]) -> list[Rows]:
    """See :func:`model.search.search`."""
    # What is left for PyTorch is small: a second thread would only get in the way of OpenVINO's.
    torch.set_num_threads(1)
    embedding, *regions = map(torch.from_numpy, seen)
    return search(Decoder(network), Seen(embedding, regions[0] if regions else None), beams, network.limits)
