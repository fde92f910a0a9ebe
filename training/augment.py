"""Other views of the same picture: its mirror image and zoomed crops."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CROP = (0.75, 1.0)  # of each side; smaller ones lose what the captions speak of


def random_views(
    pixels: Tensor, generator: torch.Generator, size: int, crop: tuple[float, float] = CROP
) -> Tensor:
    """A random crop of each picture, mirrored half of the time.

    :param pixels: uint8 [B, R, R, 3]
    :param size: S, of what comes out
    :param crop: sides of the crop at the least and at the most, as parts of the picture's
    :returns: uint8 [B, S, S, 3]
    """
    batch = len(pixels)
    scale = crop[0] + (crop[1] - crop[0]) * torch.rand(batch, 2, generator=generator)  # [B, (x, y)]
    shift = (2 * torch.rand(batch, 2, generator=generator) - 1) * (1 - scale)
    mirror = 1 - 2 * torch.randint(0, 2, (batch,), generator=generator)  # 1 or -1
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale[:, 0] * mirror, scale[:, 1]
    theta[:, :, 2] = shift
    images = pixels.permute(0, 3, 1, 2).float()  # [B, 3, R, R]
    grid = functional.affine_grid(theta, [batch, 3, size, size], align_corners=False)  # [B, S, S, 2]
    views = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return views.round().to(torch.uint8).permute(0, 2, 3, 1)


def view(pixels: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """View 0 is the picture, 1 its mirror image, the others are random."""
    if number == 0:
        return pixels
    return pixels.flip(2) if number == 1 else random_views(pixels, generator, pixels.shape[1])
