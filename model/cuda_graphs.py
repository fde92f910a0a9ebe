"""Greedy captions on an NVIDIA GPU as CUDA graphs: from uint8 pixels to words without the host.

Launching the hundreds of small kernels of a decode loop from Python takes longer than running them; a graph
launches them all at once (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

from __future__ import annotations

import logging
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
            self._stream = torch.cuda.Stream()  # what graphs that share memory are recorded on
            self._memory = torch.cuda.graph_pool_handle()  # they never run at once
        self._graphs: dict[int, _Graph] = {}

    @torch.inference_mode()
    def add(self, batch: int) -> None:
        """Record a graph for batches of this size; where that cannot be done, they are run without."""
        if batch in self._graphs:
            return
        try:
            with torch.cuda.device(self._device):
                self._graphs[batch] = _Graph(
                    self._network, self._limits, batch, self._image_size, self._stream, self._memory
                )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            log.exception("no CUDA graph for a batch of %d: it is run step by step", batch)

    def run(self, pixels: NDArray[np.uint8]) -> Decoded | None:
        """Words of a batch, on the host; None if there is no graph of its size.

        :param pixels: uint8 [B, S, S, 3]
        """
        graph = self._graphs.get(len(pixels))
        return graph.run(pixels) if graph else None


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
        self._staged = torch.empty(shape, dtype=torch.uint8, pin_memory=True)  # [B, S, S, 3], on the host
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

    def run(self, pixels: NDArray[np.uint8]) -> Decoded:
        self._staged.numpy()[:] = pixels
        self._pixels.copy_(self._staged, non_blocking=True)
        self._graph.replay()
        return Decoded(*(part.cpu() for part in self._decoded))  # here alone the host waits


def _greedy(network: CaptionNetwork, limits: Decoding, pixels: Tensor) -> Decoded:
    return greedy_to_the_end(network, network.encode(pixels), limits)
