"""What Pillow alone says of some bytes: the judge that :mod:`model.preprocessing` is held against.

Nothing here may come from the package it judges.
"""

from __future__ import annotations

import io
import warnings

from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 40_000_000
MAX_BYTES = 10 * 2**20
PREFIX = 16  # bytes that Pillow tells formats apart by


def statuses(data: bytes) -> set[int]:
    """The statuses that ``POST /caption`` may answer a body of these bytes with."""
    if len(data) > MAX_BYTES:
        return {413}
    if not data:
        return {422}
    if not _is_recognised(data[:PREFIX]):
        # A WebP whose first chunk has no known name is nothing to Pillow; one may as well call it damaged.
        return {415, 422} if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else {415}
    return {200} if _decodes(data) else {422}


def _is_recognised(prefix: bytes) -> bool:
    Image.init()
    accepts = (Image.OPEN[name][1] for name in FORMATS)
    return any(accept is None or accept(prefix) is True for accept in accepts)


def _decodes(data: bytes) -> bool:
    """The header declares few enough pixels, and the first frame decodes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    return False
                image.load()
        except Exception:  # its decoders raise whatever they please
            return False
    return True
