"""What callers have, a path, bytes or a PIL image, as the bytes that are sent."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from captioner_client.errors import UnreadableFile

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = Union[str, "os.PathLike[str]", bytes, "Image"]

_AS_PNG = frozenset(("1", "P", "LA", "PA", "RGBA", "I", "I;16"))  # JPEG would lose transparency or depth
_JPEG_QUALITY = 95


def to_bytes(picture: Picture) -> bytes:
    """The encoded picture. A PIL image becomes JPEG, or PNG where that would lose something.

    :raises UnreadableFile: a path that cannot be read
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, (str, os.PathLike)):
        try:
            return Path(picture).read_bytes()
        except OSError as error:
            raise UnreadableFile(f"the file cannot be read: {error.strerror or error}") from None
    return _encode(picture)


def _encode(image: Image) -> bytes:
    from PIL import ImageOps  # whoever has a PIL image has Pillow

    upright = ImageOps.exif_transpose(image)
    buffer = io.BytesIO()
    if upright.mode in _AS_PNG:
        upright.save(buffer, "PNG")
    else:
        upright.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
