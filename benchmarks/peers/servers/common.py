"""What every peer shares with our service: checkpoint, decoding, largest batch, deadline.

How the network is loaded is said here alone, for the peers and for the model without a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.config import BUNDLED, load_config
from model.errors import InferenceError
from model.preprocessing import load_pixels

if TYPE_CHECKING:
    from model.captioner import Captioner

MAX_BATCH = 16
DEADLINE_S = 10
PREPROCESSING = load_config(BUNDLED).preprocessing


def load_captioner() -> Captioner:
    """The bundled checkpoint on the CPU, warm for single pictures and full batches."""
    from model.captioner import Captioner  # here, because processes that only decode do without PyTorch

    captioner = Captioner.load(BUNDLED, engine="auto")
    captioner.warm_up(range(1, MAX_BATCH + 1))
    return captioner


def decode(picture: bytes | Path) -> NDArray[np.uint8]:
    """One picture → uint8 [S, S, 3]."""
    return load_pixels(picture, PREPROCESSING)


def caption(captioner: Captioner, pixels: Sequence[NDArray[np.uint8]]) -> list[str]:
    """The greedy caption of each picture of a batch; empty where there is none."""
    results = captioner.caption(np.stack(pixels), [1] * len(pixels))
    return ["" if isinstance(result, InferenceError) else result[0].text for result in results]
