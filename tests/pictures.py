"""Pictures made for the tests."""

from __future__ import annotations

import io
import random
from typing import Any

from PIL import Image, ImageDraw


def picture(seed: int = 0, size: tuple[int, int] = (320, 240), kind: str = "JPEG", **options: Any) -> bytes:
    """A picture of coloured shapes, a different one for each seed, encoded as ``kind``."""
    rng = random.Random(seed)

    def colour() -> tuple[int, int, int]:
        return rng.randrange(256), rng.randrange(256), rng.randrange(256)

    image = Image.new("RGB", size, colour())
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        draw.ellipse((x, y, x + rng.randrange(20, 120), y + rng.randrange(20, 120)), fill=colour())
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
