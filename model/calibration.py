"""Between which values lies what goes into an encoder's convolutions: what int8 has to know of a checkpoint.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", calls it calibration.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.errors import CheckpointError
from model.network import CaptionNetwork


@torch.inference_mode()
def measure_ranges(
    network: CaptionNetwork, pictures: Iterable[NDArray[np.uint8]]
) -> dict[str, tuple[float, float]]:
    """Least and most of what goes into each convolution, on average over the pictures: a few outliers of a
    few pictures would cost the values of all others their precision.

    The first unit's are left out: it looks at the pixels, costs little, and suffers most from int8.

    :param network: in eval mode, on the CPU
    :param pictures: uint8 [S, S, 3] each, like those that will be captioned; some hundred are enough
    :returns: by the convolutions' names in the network; nothing of no pictures
    :raises CheckpointError: what the network computes is not finite
    """
    seen: dict[str, list[Tensor]] = {}
    names = {module: name for name, module in network.named_modules()}
    convolutions = [
        module
        for unit in network.encoder.units()[1:]
        for module in unit.modules()
        if isinstance(module, nn.Conv2d)
    ]

    def note(name: str, _: nn.Module, inputs: tuple[Tensor]) -> None:
        seen.setdefault(name, []).append(torch.stack(inputs[0].aminmax()))

    hooks = [module.register_forward_pre_hook(partial(note, names[module])) for module in convolutions]
    try:
        for pixels in pictures:
            network.encode(torch.tensor(pixels[None]))  # of uint8 [1, S, S, 3]
    finally:
        for hook in hooks:
            hook.remove()
    ranges = {name: torch.stack(extremes).mean(0) for name, extremes in seen.items()}  # [2] each
    if not all(torch.isfinite(extremes).all() for extremes in ranges.values()):
        raise CheckpointError("what the encoder computes is not finite")
    return {name: (_short(extremes[0]), _short(extremes[1])) for name, extremes in ranges.items()}


def _short(value: Tensor) -> float:
    return float(f"{value.item():.4g}")
