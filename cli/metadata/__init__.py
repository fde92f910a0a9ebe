"""A description put into a JPEG, PNG or WebP file with nothing else of it changed.

The file's own structure is taken apart and put together again; no pixel is decoded, and every part but EXIF
and XMP stays byte for byte what it was. No well-kept library does that: Pillow encodes anew.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from cli.metadata import jpeg, png, tiff, webp, xmp
from cli.metadata.parts import EXIF, XMP, Container, NotWritten, Part

CONTAINERS: tuple[Container, ...] = (jpeg.Jpeg(), png.Png(), webp.WebP())
# What cameras put there by themselves and nobody wrote: their names, or where a drone kept the picture.
_BY_CAMERAS = re.compile(
    r"((olympus|(konica )?minolta|kodak) )?digital (still ?)?camera|(minolta|sony) dsc"
    r"|samsung( camera pictures)?|dcf 1\.0|exif[_ ]jpeg([_ ]picture)?|default|dcim[/\\].*",
    re.IGNORECASE,
)


def describe_file(path: Path, text: str) -> None:
    """Write ``text`` into the file as EXIF ImageDescription and XMP dc:description, and swap it in at once.

    :raises NotWritten: the format has no place for it, its metadata cannot be extended, or it has a
        description that this program did not write
    :raises OSError: the file cannot be read or replaced
    """
    target = path.resolve()  # a link stays a link
    before = target.read_bytes()
    after = describe(before, text)
    if after != before:
        _replace(target, after)


def describe(data: bytes, text: str) -> bytes:
    """The file's bytes with ``text`` as their description.

    :raises NotWritten: see :func:`describe_file`
    """
    container = next((known for known in CONTAINERS if known.recognises(data)), None)
    if container is None:
        raise NotWritten("only JPEG, PNG and WebP files can carry a description")
    parts = container.split(data)
    exif, packet = _payload(parts, EXIF), _payload(parts, XMP)
    own = xmp.own_description(packet)
    for found in (tiff.description(exif), xmp.foreign_description(packet)):
        if found not in (own, text) and not _says_nothing(found):
            raise NotWritten(f"it has a description already: {found!r}")
    if own == text == tiff.description(exif):
        return data
    _put(container, parts, EXIF, tiff.with_description(exif, text))
    _put(container, parts, XMP, xmp.with_description(packet, text))
    return container.join(parts)


def _says_nothing(found: str) -> bool:
    words = " ".join(found.split())
    return not words or _BY_CAMERAS.fullmatch(words) is not None


def _payload(parts: list[Part], kind: str) -> bytes:
    return next((part.payload for part in parts if part.kind == kind), b"")


def _put(container: Container, parts: list[Part], kind: str, payload: bytes) -> None:
    made = container.make(kind, payload)
    for position, part in enumerate(parts):
        if part.kind == kind:
            parts[position] = made
            return
    parts.insert(container.place(parts, kind), made)


def _replace(target: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # or a power cut might leave an empty photograph
        whose = target.stat()
        with suppress(OSError, AttributeError):  # not root, or Windows: then it is ours
            os.chown(name, whose.st_uid, whose.st_gid)
        shutil.copymode(target, name)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
