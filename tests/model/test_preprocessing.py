from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.config import Preprocessing
from model.errors import TooManyPixels, UnreadablePicture, UnsupportedPicture
from model.preprocessing import load_pixels

CONFIG = Preprocessing(image_size=64)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def quarters() -> Image.Image:
    """Red, green over blue, white: no two orientations look alike."""
    image = Image.new("RGB", (64, 64), RED)
    image.paste(GREEN, (32, 0, 64, 32))
    image.paste(BLUE, (0, 32, 32, 64))
    image.paste(WHITE, (32, 32, 64, 64))
    return image


def corners(pixels: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """Colours of the four quarters' middles, rounded to 0 or 255 each."""
    return [
        tuple(int(v > 127) * 255 for v in pixels[y, x]) for y, x in ((16, 16), (16, 48), (48, 16), (48, 48))
    ]


UNDO = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera would have stored an upright scene under each EXIF orientation."""


@pytest.mark.parametrize("orientation", UNDO)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation(orientation: int, kind: str) -> None:
    how = UNDO[orientation]
    stored = quarters() if how is None else quarters().transpose(how)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = load_pixels(encode(stored, kind, exif=exif), CONFIG)
    assert corners(pixels) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_picture() -> None:
    raw = encode(quarters(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff\xff")
    assert corners(load_pixels(raw, CONFIG)) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK", "I;16"])
def test_every_mode_comes_out_as_rgb(mode: str) -> None:
    grey = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "P":
        image = Image.fromarray(grey).convert("RGB").quantize(256)
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    pixels = load_pixels(encode(image, "JPEG" if mode == "CMYK" else "PNG"), CONFIG)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    if mode != "1":  # a dithered one has the same brightness over larger parts alone
        np.testing.assert_allclose(pixels, np.asarray(Image.fromarray(grey).convert("RGB")), atol=8)
    assert pixels[:, :16].mean() < 64 < 192 < pixels[:, 48:].mean()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(mode: str) -> None:
    if mode == "P":
        image = Image.new("P", (64, 64), 0)
        image.putpalette([0, 0, 0])
        raw = encode(image, transparency=0)
    else:
        raw = encode(Image.new(mode, (64, 64), 0))
    assert (load_pixels(raw, CONFIG) == 255).all()


def test_half_transparency_is_blended() -> None:
    raw = encode(Image.new("RGBA", (64, 64), (0, 0, 0, 128)))
    np.testing.assert_allclose(load_pixels(raw, CONFIG), 127, atol=1)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    raw = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert corners(load_pixels(raw, CONFIG)) == [RED] * 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_every_supported_format(kind: str) -> None:
    assert corners(load_pixels(encode(quarters(), kind), CONFIG)) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.9])
def test_truncated_is_unreadable(kind: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    raw = encode(Image.fromarray(noise), kind)
    with pytest.raises(UnreadablePicture):
        load_pixels(raw[: int(len(raw) * keep)], CONFIG)


@pytest.mark.parametrize(
    "raw",
    [b"just words", b"<svg/>", b"%PDF-1.7", b"\0" * 100, b"RIFF\0\0\0\0WAVE", encode(quarters(), "TIFF")],
)
def test_other_formats_are_unsupported(raw: bytes) -> None:
    with pytest.raises(UnsupportedPicture, match="JPEG, PNG, WebP, GIF or BMP"):
        load_pixels(raw, CONFIG)


def test_empty_is_unreadable() -> None:
    with pytest.raises(UnreadablePicture, match="empty"):
        load_pixels(b"", CONFIG)


def png_header(width: int, height: int) -> bytes:
    """A PNG up to the point where its pixels would begin."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 1000) + b"IDAT"


@pytest.mark.parametrize(("width", "height"), [(6401, 6250), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_from_the_header_alone(width: int, height: int) -> None:
    with pytest.raises(TooManyPixels):
        load_pixels(png_header(width, height), CONFIG)


def test_the_pixel_limit_itself_is_allowed() -> None:
    raw = encode(quarters())
    load_pixels(raw, CONFIG, max_pixels=64 * 64)
    with pytest.raises(TooManyPixels, match="64 × 64 pixels; at most 4,095"):
        load_pixels(raw, CONFIG, max_pixels=64 * 64 - 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 7), (640, 480)])
@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_any_size_comes_out_square(size: tuple[int, int], resize: str) -> None:
    config = Preprocessing(image_size=64, resize=resize)  # type: ignore[arg-type]
    assert load_pixels(encode(Image.new("RGB", size)), config).shape == (64, 64, 3)


def test_squash_keeps_the_edges_and_crop_the_middle() -> None:
    image = Image.new("RGB", (192, 64), GREEN)
    image.paste(RED, (0, 0, 64, 64))
    image.paste(BLUE, (128, 0, 192, 64))
    squashed = load_pixels(encode(image), Preprocessing(image_size=64, resize="squash"))
    assert [tuple(squashed[32, x]) for x in (8, 32, 56)] == [RED, GREEN, BLUE]
    cropped = load_pixels(encode(image), Preprocessing(image_size=64, resize="crop"))
    assert [tuple(cropped[32, x]) for x in (8, 32, 56)] == [GREEN] * 3


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("size", [(500, 375), (301, 640), (90, 70)])
def test_the_fast_filter_is_pillows_but_for_rounding(
    size: tuple[int, int], resize: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shades = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    raw = encode(Image.fromarray(shades).resize(size, Image.Resampling.BICUBIC))

    def pixels(name: str) -> NDArray[np.int64]:
        config = Preprocessing(image_size=128, resize=resize, filter=name)  # type: ignore[arg-type]
        return load_pixels(raw, config).astype(np.int64)

    apart = abs(pixels("catmull-rom") - pixels("bicubic"))
    assert apart.max() <= 2
    assert apart.mean() < 0.3
    monkeypatch.setattr("model.preprocessing.fast", None)  # a machine that there is no wheel for
    np.testing.assert_array_equal(pixels("catmull-rom"), pixels("bicubic"))


def test_a_picture_already_of_the_right_size_is_untouched() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(load_pixels(encode(Image.fromarray(noise)), CONFIG), noise)


def test_a_path_reads_as_its_bytes(tmp_path: Path) -> None:
    raw = encode(quarters(), "JPEG")
    (tmp_path / "x.jpg").write_bytes(raw)
    np.testing.assert_array_equal(load_pixels(tmp_path / "x.jpg", CONFIG), load_pixels(raw, CONFIG))
