"""Rows 40 to 42: pictures that are turned, oddly coloured or carry broken notes."""

from __future__ import annotations

import struct
from collections.abc import Callable

import httpx
import pytest
from PIL import Image, ImageOps

from tests.hostile.pictures import opened, saved
from tests.pictures import picture

Measured = Callable[[str], None]
UPRIGHT = opened(picture(6, (320, 240), "PNG")).convert("RGB")
ORIENTATION = 0x0112  # EXIF 2.3, 4.6.4
HOW_TO_TURN = {  # what a camera held so has stored: the inverse of what the reader must do
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def caption(http: httpx.Client, data: bytes) -> tuple[str, float]:
    answer = http.post("/caption", files={"image": data})
    assert answer.status_code == 200, answer.text
    return answer.json()["caption"], answer.json()["log_probability"]


@pytest.mark.row(40)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_picture_is_seen_upright(http: httpx.Client, kind: str, measured: Measured) -> None:
    # JPEG's losses differ between a picture and the same picture turned: its words must still be the same.
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True}
    expected = caption(http, saved(UPRIGHT, kind, **options))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        stored = UPRIGHT.transpose(HOW_TO_TURN[orientation]) if orientation > 1 else UPRIGHT
        data = saved(stored, kind, exif=exif, **options)
        assert ImageOps.exif_transpose(opened(data)).size == UPRIGHT.size
        words, log_probability = caption(http, data)
        assert words == expected[0], orientation
        assert kind == "JPEG" or log_probability == expected[1], orientation
    measured(f"{kind}: the upright picture's caption")


@pytest.mark.row(41)
def test_broken_notes_cost_nothing(http: httpx.Client, measured: Measured) -> None:
    image = UPRIGHT
    endless = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 65_535, ORIENTATION, 3, 0xFFFFFFFF, 0xFFFFFFFF)
    notes: dict[str, bytes] = {
        "rubbish": b"Exif\0\0" + b"\xff" * 50,
        "nothing": b"Exif\0\0",
        "an endless table": endless,
        "a wrong orientation": b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, ORIENTATION, 3, 1, 77, 0),
        "an orientation of text": b"Exif\0\0II*\0"
        + struct.pack("<IHHHI4sI", 8, 1, ORIENTATION, 2, 4, b"abc\0", 0),
    }
    expected = caption(http, saved(image, "JPEG"))
    for kind in ("JPEG", "WEBP", "PNG"):
        for exif in notes.values():
            words = caption(http, saved(image, kind, exif=exif))
            assert kind != "JPEG" or words == expected
        for profile in (b"", b"rubbish", b"\0" * 200, b"\xff" * 60_000):
            caption(http, saved(image, kind, icc_profile=profile))
    measured("200")


@pytest.mark.row(42)
def test_every_kind_of_colour(http: httpx.Client, measured: Measured) -> None:
    grey = UPRIGHT.convert("L")
    clear = UPRIGHT.convert("RGBA")
    clear.putalpha(grey)
    palette = UPRIGHT.quantize(16)
    pictures = {
        "L": saved(grey, "PNG"),
        "LA": saved(clear.convert("LA"), "PNG"),
        "P, transparent": saved(palette, "PNG", transparency=0),
        "P, transparent by a table": saved(palette, "PNG", transparency=bytes(range(16))),
        "P, GIF": saved(palette, "GIF", transparency=3),
        "1": saved(UPRIGHT.convert("1"), "PNG"),
        "I;16": saved(grey.convert("I").point(lambda value: value * 257).convert("I;16"), "PNG"),
        "CMYK": saved(UPRIGHT.convert("CMYK"), "JPEG"),
        "YCbCr": saved(UPRIGHT.convert("YCbCr"), "JPEG"),
        "RGBA": saved(clear, "PNG"),
        "RGBA, WebP": saved(clear, "WEBP"),
        "RGBA, BMP": saved(clear, "BMP"),
    }
    captions = {name: caption(http, data) for name, data in pictures.items()}
    # 16 bits that say the same as 8 are the same picture; opaque or not, white is what lies behind.
    assert captions["I;16"] == captions["L"]
    white = Image.new("RGBA", clear.size, "white")
    assert captions["RGBA"] == caption(http, saved(Image.alpha_composite(white, clear).convert("RGB"), "PNG"))
    measured("200")
