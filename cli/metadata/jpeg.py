"""JPEG: marker segments up to the first scan, which with all that follows stays one part."""

from __future__ import annotations

from cli.metadata.parts import EXIF, OTHER, XMP, NotWritten, Part

START, SCAN, APP0, APP1 = 0xD8, 0xDA, 0xE0, 0xE1
PREFIXES = {EXIF: b"Exif\0\0", XMP: b"http://ns.adobe.com/xap/1.0/\0"}
LONGEST = 65_533  # bytes a segment holds


class Jpeg:
    """A :class:`cli.metadata.parts.Container`."""

    def recognises(self, data: bytes) -> bool:
        return data.startswith(b"\xff\xd8\xff")

    def split(self, data: bytes) -> list[Part]:
        parts, at = [Part(OTHER, data[:2])], 2
        while True:
            marker_at = at
            while data[marker_at : marker_at + 2] == b"\xff\xff":  # fill bytes may precede a marker
                marker_at += 1
            if len(data) < marker_at + 4 or data[marker_at] != 0xFF:
                raise NotWritten("the JPEG structure is damaged")
            marker = data[marker_at + 1]
            if marker == SCAN:
                return [*parts, Part(OTHER, data[at:])]
            end = marker_at + 2 + int.from_bytes(data[marker_at + 2 : marker_at + 4], "big")
            parts.append(_segment(marker, data[at:end], data[marker_at + 4 : end]))
            at = end

    def make(self, kind: str, payload: bytes) -> Part:
        content = PREFIXES[kind] + payload
        if len(content) > LONGEST:
            raise NotWritten(f"its {kind.upper()} data has no room for more")
        return Part(kind, bytes((0xFF, APP1)) + (len(content) + 2).to_bytes(2, "big") + content, payload)

    def place(self, parts: list[Part], kind: str) -> int:
        # As early as may be: offsets that other segments hold point backwards from the file's end or from
        # themselves forwards, so nothing may come between them and what they mean.
        at = 1
        while parts[at].raw[1] == APP0 or (kind == XMP and parts[at].kind == EXIF):
            at += 1
        return at

    def join(self, parts: list[Part]) -> bytes:
        return b"".join(part.raw for part in parts)


def _segment(marker: int, raw: bytes, content: bytes) -> Part:
    if marker == APP1:
        for kind, prefix in PREFIXES.items():
            if content.startswith(prefix):
                return Part(kind, raw, content[len(prefix) :])
    return Part(OTHER, raw)
