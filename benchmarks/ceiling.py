"""What a device can do at most: the pace of a large matrix product, measured, to hold other paces against."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

SECONDS = 1.5  # of each figure


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """The median of one run, by the host's clock, from an idle device to an idle device."""

    def once() -> float:
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    for _ in range(3):
        once()
    taken = [once()]
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        taken.append(once())
    return median(taken)


def ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / seconds_of(lambda: a @ b, device)
