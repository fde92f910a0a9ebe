"""The device that training and evaluation run on."""

from __future__ import annotations

import torch

from model.captioner import resolve_device
from training.errors import TrainingError


def choose_device(name: str) -> str:
    """As PyTorch names it; ``auto`` is a GPU where there is one.

    :raises TrainingError: it is no device, or not here
    """
    name = resolve_device(name)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise TrainingError(f"{name!r} is no device: auto, cpu, cuda or cuda:1") from None
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(f"training runs on cpu and cuda, not on {name}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise TrainingError(f"the device {name} is not here: PyTorch finds {count} GPUs")
    return name
