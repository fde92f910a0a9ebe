"""On PYTHONPATH of the real service: its device worker's model then fails on pictures of certain colours."""

from __future__ import annotations

import sys

if "service.worker" in sys.orig_argv:
    import numpy as np
    import torch

    from model.captioner import Captioner

    begin = Captioner.begin

    def failing(self, pixels, beams):
        pixels = np.stack(pixels)
        red, green, blue = (pixels[..., channel].mean(axis=(1, 2)) for channel in range(3))  # each [B]
        if ((red > 250) & (green < 5) & (blue < 5)).any():
            raise RuntimeError("a fault put in by a test")
        if ((green > 250) & (red < 5) & (blue < 5)).any() and len(pixels) > 1:
            raise torch.OutOfMemoryError("a fault put in by a test")
        return begin(self, pixels, beams)

    Captioner.begin = failing
