"""WebP: RIFF chunks. A file of one bare image chunk becomes the extended kind, which may have metadata."""

from __future__ import annotations

import struct

from cli.metadata.parts import EXIF, OTHER, XMP, NotWritten, Part

NAMES = {EXIF: b"EXIF", XMP: b"XMP "}
FLAGS = {EXIF: 0x08, XMP: 0x04}
ALPHA = 0x10
DAMAGED = "the WebP structure is damaged"


class WebP:
    """A :class:`cli.metadata.parts.Container`."""

    def recognises(self, data: bytes) -> bool:
        return data[:4] == b"RIFF" and data[8:12] == b"WEBP"

    def split(self, data: bytes) -> list[Part]:
        end = 8 + int.from_bytes(data[4:8], "little")
        parts, at = [Part(OTHER, data[:12])], 12
        while at < end:
            if len(data) < at + 8:
                raise NotWritten(DAMAGED)
            name, length = struct.unpack_from("<4sI", data, at)
            raw = data[at : at + 8 + length + length % 2]
            if len(raw) < 8 + length:
                raise NotWritten(DAMAGED)
            parts.append(_chunk(name, raw, raw[8 : 8 + length]))
            at += len(raw)
        return [*parts, Part(OTHER, data[at:])]

    def make(self, kind: str, payload: bytes) -> Part:
        return Part(kind, _raw(NAMES[kind], payload), payload)

    def place(self, parts: list[Part], kind: str) -> int:
        kinds = [part.kind for part in parts]
        return kinds.index(XMP) if kind == EXIF and XMP in kinds else len(parts) - 1

    def join(self, parts: list[Part]) -> bytes:
        head, *chunks, tail = (part.raw for part in parts)
        if chunks[0][:4] != b"VP8X":
            chunks.insert(0, _extended(chunks[0]))
        flags = chunks[0][8]
        for part in parts:
            flags |= FLAGS.get(part.kind, 0)
        chunks[0] = chunks[0][:8] + bytes((flags,)) + chunks[0][9:]
        body = b"".join(chunks)
        return head[:4] + (4 + len(body)).to_bytes(4, "little") + head[8:] + body + tail


def _chunk(name: bytes, raw: bytes, content: bytes) -> Part:
    if name == NAMES[EXIF]:
        return Part(EXIF, raw, content.removeprefix(b"Exif\0\0"))  # some programs write JPEG's prefix
    return Part(XMP, raw, content) if name == NAMES[XMP] else Part(OTHER, raw)


def _extended(image: bytes) -> bytes:
    """The VP8X chunk that says of a bare image chunk what it is."""
    name, content = image[:4], image[8:]
    if name == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 6))
        alpha = 0
    elif name == b"VP8L" and content[:1] == b"\x2f":
        (bits,) = struct.unpack_from("<I", content, 1)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        alpha = ALPHA if bits >> 28 & 1 else 0
    else:
        raise NotWritten(DAMAGED)
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return _raw(b"VP8X", bytes((alpha, 0, 0, 0)) + size)


def _raw(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
