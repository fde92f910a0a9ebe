"""Bytes of a picture → the uint8 pixels the network takes. Used alike by training, service and command line.

Normalisation is not here: it runs on the device (:meth:`model.network.CaptionNetwork.normalise`).
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from model.config import MAX_IMAGE_PIXELS, Preprocessing

try:
    import cykooz_resizer as fast
except ImportError:  # made for most machines, but not for Linux on ARM
    fast = None

from model.errors import TooManyPixels, UnreadablePicture, UnsupportedPicture

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_JPEG_SCANS = 32  # cameras and editors write 1 to about 12; each costs another pass over all pixels

_MARKER = re.compile(
    rb"\xff([\x02-\xcf\xd8-\xfe])"
)  # all but those that have no length and may stand in a scan
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "catmull-rom": Image.Resampling.BICUBIC,  # the same filter, where there is nothing faster
    "lanczos": Image.Resampling.LANCZOS,
}
# Pillow warns of oddities in files that anyone may send; what matters becomes a PictureError.
warnings.filterwarnings("ignore", module=r"PIL\.")
Image.MAX_IMAGE_PIXELS = None  # our own limit is checked from the header, before any pixel is decoded


def load_pixels(
    source: bytes | Path, config: Preprocessing, max_pixels: int = MAX_IMAGE_PIXELS
) -> NDArray[np.uint8]:
    """Decode one picture to uint8 RGB of shape [image_size, image_size, 3].

    The format is decided by the bytes alone; only the first frame of an animation is read; EXIF
    orientation is applied; transparency is laid on white.

    :raises UnsupportedPicture: the bytes are none of :data:`FORMATS`
    :raises UnreadablePicture: they are, but damaged, cut off, empty, or a JPEG of hundreds of scans
    :raises TooManyPixels: the header declares more than ``max_pixels``
    """
    return to_pixels(open_picture(source, config, max_pixels), config)


def open_picture(source: bytes | Path, config: Preprocessing, max_pixels: int) -> Image.Image:
    """Decode to an upright RGB picture of any size (a large JPEG may come out already reduced)."""
    if isinstance(source, bytes):
        return decode(read_header(io.BytesIO(source), max_pixels), config)
    with source.open("rb") as file:
        return decode(read_header(file, max_pixels), config)


def read_header(stream: BinaryIO, max_pixels: int) -> Image.Image:
    """The picture's format and size; no pixel is decoded yet, and ``stream`` stays in use until it is.

    :raises PictureError: see :func:`load_pixels`
    """
    head = stream.read(16)
    stream.seek(0)
    if not head:
        raise UnreadablePicture("the picture is empty")
    if not _is_supported(head):
        raise UnsupportedPicture("not a supported picture: send JPEG, PNG, WebP, GIF or BMP")
    try:
        image = Image.open(stream, formats=FORMATS)
        width, height = image.size
    except Image.DecompressionBombError:
        raise TooManyPixels(f"the picture has more than {max_pixels:,} pixels") from None
    except Exception:  # decoders raise OSError, ValueError, SyntaxError, struct.error and others
        raise UnreadablePicture("the picture's header is damaged or cut off") from None
    if width * height > max_pixels:
        raise TooManyPixels(
            f"the picture is {width:,} × {height:,} pixels; at most {max_pixels:,} pixels are taken"
        )
    if image.format in ("JPEG", "MPO") and _scans(stream) > MAX_JPEG_SCANS:
        raise UnreadablePicture(f"the JPEG has more than {MAX_JPEG_SCANS} scans")
    return image


def decode(image: Image.Image, config: Preprocessing) -> Image.Image:
    """What :func:`read_header` gave → an upright RGB picture, a large JPEG perhaps already reduced.

    :raises UnreadablePicture: it is damaged or cut off
    """
    try:
        # JPEG can be decoded at half size almost for free; twice the target leaves the filter its work.
        if config.filter != "lanczos":
            image.draft("RGB", (2 * config.image_size, 2 * config.image_size))
        image.load()
        _make_upright(image)
        return _to_rgb(image)
    except Exception:
        raise UnreadablePicture("the picture is damaged or cut off") from None


def _is_supported(head: bytes) -> bool:
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")) or (
        head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    )


def _scans(stream: BinaryIO) -> int:
    """How many scans a JPEG has, or one more than are taken (ITU-T T.81, annex B): up to the image's end, for
    behind it cameras put films, in which any bytes may stand."""
    position = stream.tell()
    stream.seek(0)
    data = stream.read()
    stream.seek(position)
    count, at = 0, 2
    while count <= MAX_JPEG_SCANS and (marker := _MARKER.search(data, at)) and marker[1] != b"\xd9":
        count += marker[1] == b"\xda"
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return count


def _make_upright(image: Image.Image) -> None:
    with contextlib.suppress(Exception):  # broken EXIF must not cost the picture
        ImageOps.exif_transpose(image, in_place=True)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode == "P" and image.palette is None:
        image = image.copy()  # Pillow gives the copy of a damaged picture a palette, all black
    if image.mode.startswith(("I", "F")):  # 16-bit greyscale; convert("RGB") would clip instead of scale
        values = np.asarray(image, dtype=np.float64)
        image = Image.fromarray((values / 257.0).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def to_pixels(image: Image.Image, config: Preprocessing) -> NDArray[np.uint8]:
    """Resize an RGB picture as ``config`` says → uint8 array [image_size, image_size, 3]."""
    size, resample = config.image_size, _FILTERS[config.filter]
    if config.filter == "catmull-rom" and fast:
        return _resize_fast(image, size, config.resize == "crop")
    if config.resize == "squash":
        image = image.resize((size, size), resample)
    else:
        image = ImageOps.fit(image, (size, size), resample)
    return np.asarray(image)


def _resize_fast(image: Image.Image, size: int, crop: bool) -> NDArray[np.uint8]:
    """What Pillow's bicubic filter gives, but for its rounding, in a fifth of its time."""
    target = Image.new("RGB", (size, size))
    filtering = fast.ResizeAlg.convolution(fast.FilterType.catmull_rom)
    fast.Resizer().resize_pil(image, target, fast.ResizeOptions(filtering, fit_into_destination=crop))
    return np.asarray(target)
