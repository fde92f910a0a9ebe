"""Matrices whose rows are whole multiples of a step: a byte a weight, and none of it lost.

A decoder's step does little more than read its matrices, so how many bytes they have is how long it takes.
Per-channel symmetric quantization of weights alone, as in Krishnamoorthi 2018, "Quantizing deep convolutional
networks for efficient inference", section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MOST = 127  # steps, in either direction
_FINEST = 2.0**-24  # of float16


def round_rows(weight: Tensor) -> Tensor:
    """The nearest multiples of each row's step, of which there are 127 in either direction. A step is a power
    of two: nothing changes when the result is rounded again or cut into columns, and 16 bits hold it.

    :param weight: float32 [out, in]
    """
    step = _steps(weight)
    return (weight / step).round() * step


def as_int8(weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """Multiples, int8 [out, in], and steps, float32 [out, 1], whose product is ``weight`` to the last bit;
    None where ``weight`` is not what :func:`round_rows` gives.

    :param weight: float32 [out, in]
    """
    step = _steps(weight)
    multiples = (weight / step).round()
    return (multiples.to(torch.int8), step) if torch.equal(multiples * step, weight) else None


def _steps(weight: Tensor) -> Tensor:
    """[out, in] → the least power of two, [out, 1], of which each row's largest value has 127 at most."""
    least = (weight.abs().amax(dim=1, keepdim=True) / _MOST).clamp(min=_FINEST)
    fraction, _ = torch.frexp(least)  # from a half, which a power of two has, to 1
    return torch.where(fraction > 0.5, least / fraction, least)
