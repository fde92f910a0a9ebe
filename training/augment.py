"""Other views of the same picture: its mirror image and zoomed crops."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST_CROP = 0.75  # of each side; smaller ones lose what the captions speak of


def random_views(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """A random crop of each picture at full size again, mirrored half of the time.

    :param pixels: uint8 [B, S, S, 3]
    :returns: uint8 [B, S, S, 3]
    """
    batch = len(pixels)
    scale = SMALLEST_CROP + (1 - SMALLEST_CROP) * torch.rand(batch, 2, generator=generator)  # [B, (x, y)]
    shift = (2 * torch.rand(batch, 2, generator=generator) - 1) * (1 - scale)
    mirror = 1 - 2 * torch.randint(0, 2, (batch,), generator=generator)  # 1 or -1
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale[:, 0] * mirror, scale[:, 1]
    theta[:, :, 2] = shift
    images = pixels.permute(0, 3, 1, 2).float()  # [B, 3, S, S]
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)  # [B, S, S, 2]
    views = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return views.round().to(torch.uint8).permute(0, 2, 3, 1)


def view(pixels: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """View 0 is the picture, 1 its mirror image, the others are random."""
    if number == 0:
        return pixels
    return pixels.flip(2) if number == 1 else random_views(pixels, generator)
