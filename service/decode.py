"""Decoding in a few threads: Pillow releases the interpreter, so the event loop goes on.

Where nobody else waits, a small JPEG is decoded at once: handing it to a thread and back would take a sixth
of the time. Large pictures have threads of their own, which give way: a stranger who sends the largest
that are taken, one after the other, delays a small one by little.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from model import preprocessing
from model.config import Preprocessing
from model.memory import PICTURES, keep_blocks
from service.errors import DeadlinePassed

LARGE = 2_000_000  # pixels; those below take 20 ms at most
SMALL, SMALL_BYTES = 400_000, 2**18  # pixels and bytes of a JPEG: 2 to 8 ms, 150 if it was made to take long
JPEG = b"\xff\xd8\xff"
NICENESS = 10


class DecodePool:
    """Turns uploads into the network's pixels."""

    def __init__(self, max_pixels: int) -> None:
        keep_blocks(PICTURES)
        self._max_pixels = max_pixels
        threads = max(2, min(8, os.cpu_count() or 1))
        self._threads = ThreadPoolExecutor(threads, "decode")
        self._large = ThreadPoolExecutor(threads, "decode-large", _give_way)

    async def decode(
        self, data: bytes, config: Preprocessing, deadline: float, alone: bool
    ) -> NDArray[np.uint8]:
        """Upload → uint8 pixels [S, S, 3].

        :param alone: no other picture is in the service
        :raises PictureError: see :func:`model.preprocessing.load_pixels`
        :raises DeadlinePassed: not done by ``deadline``
        """
        if alone and len(data) <= SMALL_BYTES and data.startswith(JPEG):
            pixels = self._decode_up_to(SMALL, data, config)
            if pixels is not None:
                return pixels
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                pixels = await loop.run_in_executor(self._threads, self._decode_up_to, LARGE, data, config)
                if pixels is not None:
                    return pixels
                # From its bytes again: a picture that was decoded in place would live as long as its request.
                return await loop.run_in_executor(
                    self._large, preprocessing.load_pixels, data, config, self._max_pixels
                )
        except TimeoutError:
            raise DeadlinePassed("the picture could not be decoded in time") from None

    def close(self) -> None:
        for threads in (self._threads, self._large):
            threads.shutdown(wait=False, cancel_futures=True)

    def _decode_up_to(self, most: int, data: bytes, config: Preprocessing) -> NDArray[np.uint8] | None:
        """Pixels; of a picture that has more than so many none, though its header has been judged."""
        image = preprocessing.read_header(io.BytesIO(data), self._max_pixels)
        if image.width * image.height > most:
            return None
        return preprocessing.to_pixels(preprocessing.decode(image, config), config)


def _give_way() -> None:
    if sys.platform == "linux":  # elsewhere threads have no niceness of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
