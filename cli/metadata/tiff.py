"""ImageDescription in a TIFF structure, which is what EXIF is.

Everything in it is found by offsets from its start, some of them in notes of camera makers that nobody else
can read. So nothing is moved: a new first directory is appended, and the header made to point to it.
"""

from __future__ import annotations

import struct

from cli.metadata.parts import NotWritten

IMAGE_DESCRIPTION = 0x010E
ASCII = 2
TEXTS = frozenset((1, ASCII, 7, 129))  # BYTE and UNDEFINED, as some programs write text; UTF-8 of EXIF 3
EMPTY = b"II*\0" + struct.pack("<IHI", 8, 0, 0)  # a directory without entries


def description(tiff: bytes) -> str:
    """ImageDescription; "" where there is none.

    :raises NotWritten: the structure is damaged
    """
    if not tiff:
        return ""
    order = _order(tiff)
    for entry in _entries(tiff, order)[0]:
        tag, kind, count, value = struct.unpack(f"{order}HHI4s", entry)
        if tag == IMAGE_DESCRIPTION and kind in TEXTS:
            start = struct.unpack(f"{order}I", value)[0]
            raw = value[:count] if count <= 4 else tiff[start : start + count]
            return raw.rstrip(b"\0").decode("utf-8", "replace")
    return ""


def with_description(tiff: bytes, text: str) -> bytes:
    """The structure with ``text`` as ImageDescription, in UTF-8, as EXIF 3 and most readers have it.

    :raises NotWritten: the structure is damaged
    """
    tiff = tiff or EMPTY
    order = _order(tiff)
    entries, next_directory = _entries(tiff, order)
    body = tiff + b"\0" * (len(tiff) % 2)  # offsets are even
    value = text.encode() + b"\0"
    new = struct.pack(f"{order}HHI", IMAGE_DESCRIPTION, ASCII, len(value))
    if len(value) <= 4:
        new += value.ljust(4, b"\0")
    else:
        new += struct.pack(f"{order}I", len(body))
        body += value + b"\0" * (len(value) % 2)
    kept = [entry for entry in entries if _tag(entry, order) != IMAGE_DESCRIPTION]
    directory = sorted([*kept, new], key=lambda entry: _tag(entry, order))
    header = body[:4] + struct.pack(f"{order}I", len(body))
    count = struct.pack(f"{order}H", len(directory))
    return header + body[8:] + count + b"".join(directory) + next_directory


def _order(tiff: bytes) -> str:
    orders = {b"II*\0": "<", b"MM\0*": ">"}
    if tiff[:4] not in orders or len(tiff) < 8:
        raise NotWritten("its EXIF data is damaged")
    return orders[tiff[:4]]


def _entries(tiff: bytes, order: str) -> tuple[list[bytes], bytes]:
    """Entries of the first directory, 12 bytes each, and the 4 that say where the next one is."""
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    count = int.from_bytes(tiff[start : start + 2], "little" if order == "<" else "big")
    first, end = start + 2, start + 2 + 12 * count
    if len(tiff) < end + 4 or start < 8:
        raise NotWritten("its EXIF data is damaged")
    return [tiff[at : at + 12] for at in range(first, end, 12)], tiff[end : end + 4]


def _tag(entry: bytes, order: str) -> int:
    return int(struct.unpack_from(f"{order}H", entry)[0])
