"""What the threads that decode hold on to."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest
from PIL import Image

from model.config import Preprocessing
from service.decode import LARGE, DecodePool
from service.errors import DeadlinePassed
from tests.pictures import picture
from tests.service.processes import until


def large_pictures() -> list[Image.Image]:
    return [o for o in gc.get_objects() if isinstance(o, Image.Image) and o.width * o.height > LARGE]


@pytest.mark.parametrize(
    ("data", "alone", "here"),
    [
        (picture(), True, True),
        (picture(), False, False),
        (picture(size=(800, 600)), True, False),
        (picture(kind="PNG"), True, False),
        (picture()[:2] + b"\xff\xfe\x00\x02" * 70_000 + picture()[2:], True, False),
    ],
    ids=["small JPEG", "not alone", "more pixels", "PNG", "more bytes"],
)
def test_only_a_small_jpeg_with_nobody_else_is_decoded_on_the_event_loop(
    data: bytes, alone: bool, here: bool
) -> None:
    pool = DecodePool(max_pixels=40_000_000)
    before = set(threading.enumerate())
    pixels = asyncio.run(pool.decode(data, Preprocessing(), time.monotonic() + 10, alone))
    assert pixels.shape == (224, 224, 3)
    assert (set(threading.enumerate()) == before) == here
    pool.close()


def test_a_large_picture_whose_time_is_over_is_forgotten_when_its_thread_is_done() -> None:
    """Sent 64 at once, they took a front end beyond 3 GB: each was held by its error until collected."""
    data = picture(size=(8000, 5000), kind="PNG")
    pool = DecodePool(max_pixels=40_000_000)

    async def decode_in_vain() -> None:
        await pool.decode(data, Preprocessing(), time.monotonic() + 0.1, alone=True)

    with pytest.raises(DeadlinePassed) as error:
        asyncio.run(decode_in_vain())
    until(lambda: not large_pictures())
    pool.close()
    assert error.value
