"""The network run by PyTorch, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from model.config import Config, Precision
from model.cuda_graphs import GreedyGraphs
from model.encoder import Bfloat16Encoder, channels_last
from model.network import CaptionNetwork, Seen
from model.search import search, to_rows
from model.words import Pixels, Rows


class TorchNetwork:
    """A :class:`model.captioner.Network`. Lives on one thread."""

    def __init__(
        self, network: CaptionNetwork, config: Config, device: str, precision: Precision = "auto"
    ) -> None:
        """
        :param network: is moved to the device, and is this one's then
        :param precision: of the encoder: float32, bfloat16, or auto, which is bfloat16 on a GPU that has it
        """
        network = network.eval().to(device)
        if precision == "bfloat16" or (precision == "auto" and _gpu_with_bfloat16(device)):
            network.encoder = Bfloat16Encoder(network.encoder)  # type: ignore[assignment]
        channels_last(network.encoder)
        self.module = network
        self.device = torch.device(device)
        self._limits = config.decoding
        self._graphs = GreedyGraphs(network, config) if self.device.type == "cuda" else None

    @property
    def overlaps(self) -> bool:
        """See :class:`model.captioner.Network`."""
        return self._graphs is not None

    @property
    def in_parts(self) -> bool:
        """See :class:`model.captioner.Network`."""
        return False

    @property
    def batch_size(self) -> int:
        """See :class:`model.captioner.Network`."""
        return 128 if self.overlaps else 16

    def record(self, batches: Sequence[int]) -> None:
        """See :class:`model.captioner.Network`."""
        if self._graphs:
            for batch in batches:
                self._graphs.add(batch)

    @torch.inference_mode()
    def encode(self, pixels: Pixels) -> Seen:
        """What the decoder knows of the pictures."""
        stacked = pixels if isinstance(pixels, np.ndarray) else np.stack(pixels)
        return self.module.encode(torch.from_numpy(stacked).to(self.device))  # of uint8 [B, S, S, 3]

    @torch.inference_mode()
    def begin(self, pixels: Pixels, beams: Sequence[int]) -> Callable[[], list[Rows]]:
        """See :class:`model.captioner.Network`."""
        if self._graphs and set(beams) == {1} and (wait := self._graphs.begin(pixels)):
            return lambda: to_rows(wait())[: len(pixels)]
        rows = search(self.module, self.encode(pixels), beams, self._limits)
        return lambda: rows


def _gpu_with_bfloat16(device: str) -> bool:
    if not device.startswith("cuda"):
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)
