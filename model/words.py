"""What goes into a network and comes out of it, whoever runs it. Importing this loads no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
"""uint8 [B, S, S, 3], or [S, S, 3] each, as :func:`model.preprocessing.load_pixels` gives them."""


class Rows(NamedTuple):
    """One picture's captions, best first: of each its words' ids and their log-probabilities, as
    :class:`model.decoding.Decoded` has them."""

    tokens: list[list[int]]
    log_probs: list[list[float]]


def by_beam_width(beams: Sequence[int], search: Callable[[int, list[int]], list[Rows]]) -> list[Rows]:
    """Captions of a batch whose pictures may want different beam widths.

    :param beams: of each picture, 1 for greedy
    :param search: given a width, and the pictures that want it
    """
    found: dict[int, Rows] = {}
    for beam in set(beams):
        pictures = [picture for picture, wanted in enumerate(beams) if wanted == beam]
        found.update(zip(pictures, search(beam, pictures), strict=True))
    return [found[picture] for picture in range(len(beams))]
