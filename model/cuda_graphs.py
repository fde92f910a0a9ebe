"""Greedy captions on an NVIDIA GPU as CUDA graphs: from uint8 pixels to words without the host.

Launching the hundreds of small kernels of a decode loop from Python takes longer than running them; a graph
launches them all at once (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). Pixels travel on
a stream of their own: the next batch is copied while one is computed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import Config, Decoding
from model.decoding import Decoded, greedy_to_the_end
from model.network import CaptionNetwork

WARM_UPS = 3  # cuDNN chooses its ways, and cuBLAS makes its workspace, before anything is recorded

log = logging.getLogger("captioner.cuda")


class GreedyGraphs:
    """One graph for each batch size that was added. Lives on one thread."""

    def __init__(self, network: CaptionNetwork, config: Config) -> None:
        self._network = network
        self._limits = config.decoding
        self._image_size = config.preprocessing.image_size
        self._device = network.mean.device
        with torch.cuda.device(self._device):
            self._computing = torch.cuda.Stream()  # what graphs that share memory are recorded on
            self._copying = torch.cuda.Stream()
            self._memory = torch.cuda.graph_pool_handle()  # they never run at once
        self._graphs: dict[int, _Graph] = {}  # sizes ascending
        self._places: list[_Place] = []  # taken in turn: one batch is copied, one computed

    @torch.inference_mode()
    def add(self, batch: int) -> None:
        """Record a graph for batches of this size; where that cannot be done, they are run without."""
        if batch in self._graphs:
            return
        try:
            with torch.cuda.device(self._device):
                graph = _Graph(
                    self._network, self._limits, batch, self._image_size, self._computing, self._memory
                )
                torch.cuda.synchronize()
                if batch > max(self._graphs, default=0):
                    self._places = [_Place(batch, self._image_size, self._device) for _ in range(2)]
                self._graphs = dict(sorted({**self._graphs, batch: graph}.items()))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            log.exception("no CUDA graph for a batch of %d: it is run step by step", batch)

    @torch.inference_mode()
    def begin(self, pixels: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> Callable[[], Decoded] | None:
        """Start a batch; None if no graph is large enough.

        :param pixels: uint8 [S, S, 3] each
        :returns: waits for the words, on the host: rows as the graph has them, of which the first are meant
        """
        size = next((size for size in self._graphs if size >= len(pixels)), None)
        if size is None:
            return None
        place = self._places.pop(0)
        self._places.append(place)
        place.done.synchronize()  # of the batch that lay there before
        staged, arrived = place.staged[:size], place.arrived[:size]  # [size, S, S, 3]
        for row, picture in zip(staged.numpy(), pixels, strict=False):
            row[:] = picture
        with torch.cuda.device(self._device), torch.cuda.stream(self._copying):
            arrived.copy_(staged, non_blocking=True)
        with torch.cuda.device(self._device), torch.cuda.stream(self._computing):
            self._computing.wait_stream(self._copying)
            decoded = self._graphs[size].run(arrived)
            place.done = done = _recorded_event(self._computing)

        def wait() -> Decoded:
            done.synchronize()
            return decoded

        return wait


class _Place:
    """Where a batch lies before it is computed, on the host and on the device."""

    def __init__(self, batch: int, image_size: int, device: torch.device) -> None:
        shape = (batch, image_size, image_size, 3)
        self.staged = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)  # [B, S, S, 3]
        self.arrived = torch.zeros(shape, dtype=torch.uint8, device=device)  # [B, S, S, 3]
        self.done = _recorded_event(torch.cuda.current_stream())


def _recorded_event(stream: torch.cuda.Stream) -> torch.cuda.Event:
    event = torch.cuda.Event(blocking=True)  # who waits for it sleeps
    event.record(stream)
    return event


class _Graph:
    def __init__(
        self,
        network: CaptionNetwork,
        limits: Decoding,
        batch: int,
        image_size: int,
        stream: torch.cuda.Stream,
        memory: Any,
    ) -> None:
        shape = (batch, image_size, image_size, 3)
        self._pixels = torch.zeros(shape, dtype=torch.uint8, device=network.mean.device)  # [B, S, S, 3]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                _greedy(network, limits, self._pixels)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # thread_local: at a reload the model that runs goes on in another thread
        with torch.cuda.graph(self._graph, memory, stream, capture_error_mode="thread_local"):
            self._decoded = _greedy(network, limits, self._pixels)

    def run(self, pixels: Tensor) -> Decoded:
        """Queue all of it on the present stream; what it gives is there once that has come to its end.

        :param pixels: uint8 [B, S, S, 3], on the device
        """
        self._pixels.copy_(pixels)
        self._graph.replay()
        # Into pinned memory; the next replay writes over what this one wrote on the device.
        return Decoded(*(part.to("cpu", non_blocking=True) for part in self._decoded))


def _greedy(network: CaptionNetwork, limits: Decoding, pixels: Tensor) -> Decoded:
    return greedy_to_the_end(network, network.encode(pixels), limits)
