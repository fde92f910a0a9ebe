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

_AS_PNG = frozenset(("1", "P", "LA", "RGBA", "I;16"))  # JPEG would lose transparency or depth
# what no file holds, as what PNG does
_PLAIN = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA", "I": "I;16"}
_JPEG_QUALITY = 95


def to_bytes(picture: Picture) -> bytes:
    """The encoded picture. A PIL image becomes JPEG, or PNG where that would lose something.

    :raises UnreadableFile: a path that cannot be read, or an image that cannot be loaded or encoded
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, (str, os.PathLike)):
        try:
            return Path(picture).read_bytes()
        except OSError as error:
            raise UnreadableFile(f"the file cannot be read: {error.strerror or error}") from None
        except ValueError as error:  # a zero in the path
            raise UnreadableFile(f"the file cannot be read: {error}") from None
    try:
        return _encode(picture)  # Pillow reads a file only now, and may find it broken
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableFile(f"the image cannot be encoded: {error}") from None


def _encode(image: Image) -> bytes:
    from PIL import ImageOps  # whoever has a PIL image has Pillow

    upright = ImageOps.exif_transpose(image)
    if upright.mode in _PLAIN:
        upright = upright.convert(_PLAIN[upright.mode])
    buffer = io.BytesIO()
    if upright.mode in _AS_PNG:
        upright.save(buffer, "PNG")
    else:
        upright.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
