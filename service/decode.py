"""Decoding in a small pool of threads: Pillow releases the interpreter, so the event loop goes on."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from model.config import Preprocessing
from model.preprocessing import load_pixels
from service.errors import DeadlinePassed


class DecodePool:
    """Turns uploads into the network's pixels."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._threads = ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 1)), "decode")

    async def decode(self, data: bytes, preprocessing: Preprocessing, deadline: float) -> NDArray[np.uint8]:
        """Upload → uint8 pixels [S, S, 3].

        :raises PictureError: see :func:`model.preprocessing.load_pixels`
        :raises DeadlinePassed: not done by ``deadline``
        """
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, load_pixels, data, preprocessing, self._max_pixels
        )
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await work
        except TimeoutError:
            raise DeadlinePassed("the picture could not be decoded in time") from None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
