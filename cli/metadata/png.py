"""PNG: chunks, of which ``eXIf`` and the ``iTXt`` that is named for XMP matter here."""

from __future__ import annotations

import struct
import zlib

from cli.metadata.parts import EXIF, OTHER, XMP, NotWritten, Part

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"XML:com.adobe.xmp\0"
LARGEST_TEXT = 10_000_000  # bytes
DAMAGED = "the PNG structure is damaged"


class Png:
    """A :class:`cli.metadata.parts.Container`."""

    def recognises(self, data: bytes) -> bool:
        return data.startswith(SIGNATURE)

    def split(self, data: bytes) -> list[Part]:
        parts, at = [Part(OTHER, SIGNATURE)], len(SIGNATURE)
        name = b""
        while name != b"IEND":
            if len(data) < at + 12:
                raise NotWritten(DAMAGED)
            length, name = struct.unpack_from(">I4s", data, at)
            raw = data[at : at + 12 + length]
            parts.append(_chunk(name, raw, raw[8:-4]))
            at += len(raw)
        return [*parts, Part(OTHER, data[at:])]

    def make(self, kind: str, payload: bytes) -> Part:
        # XMP: not compressed (two zeros), no language, no translated keyword
        name, content = (b"eXIf", payload) if kind == EXIF else (b"iTXt", KEYWORD + b"\0\0\0\0" + payload)
        checksum = zlib.crc32(name + content).to_bytes(4, "big")
        return Part(kind, len(content).to_bytes(4, "big") + name + content + checksum, payload)

    def place(self, parts: list[Part], kind: str) -> int:
        for at, part in enumerate(parts):
            if part.raw[4:8] == b"IDAT":
                return at
        raise NotWritten(DAMAGED)

    def join(self, parts: list[Part]) -> bytes:
        return b"".join(part.raw for part in parts)


def _chunk(name: bytes, raw: bytes, content: bytes) -> Part:
    if name == b"eXIf":
        return Part(EXIF, raw, content)
    if name == b"iTXt" and content.startswith(KEYWORD):
        return Part(XMP, raw, _text(content[len(KEYWORD) :]))
    return Part(OTHER, raw)


def _text(content: bytes) -> bytes:
    """Text of an ``iTXt`` chunk, whose first byte says whether it is compressed."""
    try:
        _, _, text = content[2:].split(b"\0", 2)  # language, keyword in it
        return zlib.decompressobj().decompress(text, LARGEST_TEXT) if content[0] else text
    except (ValueError, IndexError, zlib.error):
        raise NotWritten(DAMAGED) from None
