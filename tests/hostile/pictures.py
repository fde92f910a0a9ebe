"""Pictures that are meant ill, and files that are none."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

from tests.pictures import picture

PNG = b"\x89PNG\r\n\x1a\n"

NO_PICTURES = {
    "text": b"a dog runs over the grass\n" * 20,
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer<<>>\n%%EOF\n",
    "html": b"<!doctype html><html><body><script>alert(1)</script></body></html>",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "zip": b"PK\x03\x04" + bytes(60),
    "noise": bytes(range(256)) * 4,
}


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    """A chunk of PNG (RFC 2083, 3.2), with a wrong checksum if one is given."""
    checksum = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(width: int, height: int, *chunks: bytes, mode: int = 0, depth: int = 8) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, mode, 0, 0, 0))
    return PNG + header + b"".join(chunks) + chunk(b"IEND", b"")


def grey_rows(width: int, height: int) -> bytes:
    return chunk(b"IDAT", zlib.compress((b"\0" + b"\x80" * width) * height, 9))


def huge_gif() -> bytes:
    """A few hundred bytes that declare 8289 × 8192 pixels, which Pillow's own limit lets through."""
    size = struct.pack("<HH", 8289, 8192)
    palette = bytes([0, 0, 0, 255, 255, 255])
    codes = bytes([2, 4, 0x84, 0x51, 0x00, 0x00]) + b"\0"
    return b"GIF89a" + size + b"\x80\0\0" + palette + b"," + bytes(4) + size + b"\0" + codes + b";"


def declared(kind: str, width: int = 65_535, height: int = 65_535) -> bytes:
    """The header of a picture of that size, with next to nothing behind it."""
    if kind == "PNG":
        return png(width, height, chunk(b"IDAT", zlib.compress(bytes(100))))
    if kind == "GIF":
        return b"GIF89a" + struct.pack("<HH", width, height) + huge_gif()[10:]
    if kind == "BMP":
        info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54 + 100, 0, 0, 54) + info + bytes(100)
    jpeg = bytearray(picture(1))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def text_bomb() -> bytes:
    """50 MB of text packed into the chunk of a good PNG."""
    text = b"Comment\0\0" + zlib.compress(b"a" * 50_000_000, 9)
    return png(8, 8, chunk(b"zTXt", text), grey_rows(8, 8))


def many_scans(times: int) -> bytes:
    """A progressive JPEG with so many copies of its last scan: each takes the decoder over all pixels."""
    image = Image.new("RGB", (1000, 1000), (120, 130, 140))
    jpeg = saved(image, "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * times + jpeg[-2:]


def frames(kind: str, count: int) -> bytes:
    """An animation of so many frames, made of one frame's bytes again and again."""
    if kind == "GIF":
        one, two = animation("GIF", 1), animation("GIF", 2)
        frame = two[len(one) - 1 : -1]  # the second, without the trailer
        return one[:-1] + frame * (count - 1) + b";"
    control = struct.pack(">IIIIHHBB", 8, 8, 0, 0, 1, 10, 0, 0)
    data = zlib.compress((b"\0" + b"\x80" * 8) * 8)
    parts = [chunk(b"acTL", struct.pack(">II", count, 0))]
    parts += [chunk(b"fcTL", struct.pack(">I", 0) + control), chunk(b"IDAT", data)]
    for n in range(1, count):
        parts += [chunk(b"fcTL", struct.pack(">I", 2 * n - 1) + control)]
        parts += [chunk(b"fdAT", struct.pack(">I", 2 * n) + data)]
    return png(8, 8, *parts)


def animation(kind: str, count: int) -> bytes:
    images = [Image.new("L", (8, 8), 40 * n) for n in range(count)]
    return saved(images[0], kind, **({"save_all": True, "append_images": images[1:]} if count > 1 else {}))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))
