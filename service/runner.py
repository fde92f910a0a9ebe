"""The seam between HTTP and the model: whoever implements :class:`Runner` captions pictures.

:class:`service.remote.RemoteRunner` does so in device worker processes, :class:`service.ray_runner.RayRunner`
on Ray; tests put a fake in their place.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.caption import Caption
from model.config import Config


class ModelInfo(msgspec.Struct, frozen=True):
    """What a worker has loaded: its checkpoint's configuration and card, and the device it is on."""

    config: Config
    card: str
    device: str
    identity: str = ""
    """The configuration's, worked out once."""


class Inference(msgspec.Struct, frozen=True):
    """Captions of one picture, best first, and how it fared: seconds in the queue and in its batch."""

    captions: list[Caption]
    queue_s: float
    inference_s: float
    batch_size: int


State = Literal["ok", "loading", "unavailable"]


class ModelChanged(Exception):
    """The picture was decoded for a model that no worker has any more: decode it for the present one."""


class Runner(Protocol):
    """Captions pictures; lives on one event loop."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    @property
    def state(self) -> State:
        """``loading`` until it has been ready once; ``unavailable`` when it was, and is not now."""

    @property
    def model(self) -> ModelInfo | None:
        """What it runs; None until it has been ready once."""

    @property
    def devices(self) -> list[str]:
        """Devices that are ready now."""

    async def reload(self) -> None:
        """Load the checkpoint folder anew; what runs goes on until the new one can take over.

        :raises ReloadRunning: that is under way already
        :raises CheckpointRefused: it cannot be used; what ran before runs on
        :raises NotReady: nobody here can reload
        """

    async def caption(
        self, pixels: NDArray[np.uint8], identity: str, beam: int, deadline: float
    ) -> Inference:
        """Caption one picture. Cancelling the call takes the picture out of the queue.

        :param pixels: uint8 [S, S, 3]
        :param identity: of the model they were decoded for; it is the one that captions them
        :param beam: beam width, 1 for greedy
        :param deadline: in seconds of :func:`time.monotonic`
        :raises ModelChanged: no worker has that model any more
        :raises DeadlinePassed: no answer in time
        :raises WorkerLost: the worker died with this picture, twice
        :raises InferenceError: the network failed on this picture, also alone
        """
