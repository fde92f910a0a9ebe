"""Rows 29 to 39, 43 and 44: what a picture must not cost, and what is none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.hostile import oracle
from tests.hostile.pictures import (
    NO_PICTURES,
    animation,
    chunk,
    declared,
    frames,
    grey_rows,
    huge_gif,
    many_scans,
    opened,
    png,
    saved,
    text_bomb,
)
from tests.pictures import picture
from tests.service.processes import Service

Measured = Callable[[str], None]
GOOD = picture(3)
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
PEAK = 50 * 2**20  # bytes that a picture may cost the front end while it is looked at


def answer(http: httpx.Client, data: bytes, name: str = "x.jpg", kind: str = "image/jpeg") -> httpx.Response:
    return http.post("/caption", files={"image": (name, data, kind)})


@contextmanager
def peak(service: Service) -> Iterator[list[int]]:
    """Gives, at the end, by how many bytes the front end's memory grew at most."""
    (front_end,) = service.children("frontend")
    base = front_end.memory_info().rss
    grown: list[int] = [0]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            grown[0] = max(grown[0], front_end.memory_info().rss - base)

    looking = threading.Thread(target=look)
    looking.start()
    yield grown
    over.set()
    looking.join()


@pytest.mark.row(29)
@pytest.mark.parametrize("kind", NO_PICTURES)
def test_what_is_no_picture(http: httpx.Client, kind: str, measured: Measured) -> None:
    assert answer(http, NO_PICTURES[kind], "x.png", "image/png").status_code == 415
    measured("415")


@pytest.mark.row(30)
def test_formats_that_are_not_taken(http: httpx.Client, measured: Measured) -> None:
    brand = {b"heic", b"avif", b"mif1"}
    others = [b"\0\0\0\x18ftyp" + name + bytes(200) for name in brand]
    image = opened(GOOD)
    others += [saved(image, kind) for kind in ("TIFF", "ICO", "PPM", "TGA", "JPEG2000")]
    for data in others:
        refused = answer(http, data)
        assert refused.status_code == 415
        assert all(name in refused.json()["detail"] for name in ("JPEG", "PNG", "WebP", "GIF", "BMP"))
    measured("415, with the list")


@pytest.mark.row(31)
def test_the_bytes_decide(http: httpx.Client, measured: Measured) -> None:
    for kind in KINDS:
        data = picture(3, kind=kind)
        assert answer(http, data, "x.txt", "image/jpeg").status_code == 200
        raw = http.post("/caption", content=data, headers={"Content-Type": "image/x-none"})
        assert raw.status_code == 200
    measured("200")


@pytest.mark.row(32)
def test_a_picture_that_is_also_something_else(http: httpx.Client, measured: Measured) -> None:
    page = b"<html><script>alert(1)</script></html>"
    archive = b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18)
    script = b"/*\n*/=1;alert(1)"
    caption = answer(http, GOOD).json()["caption"]
    for tail in (page, archive, script, GOOD, b"\0" * 100_000):
        both = answer(http, GOOD + tail)
        assert both.status_code == 200
        assert both.json()["caption"] == caption
    measured("200, the picture's caption")


@pytest.mark.row(33)
def test_pictures_that_are_cut_off(http: httpx.Client, measured: Measured) -> None:
    for kind in KINDS:
        data = picture(3, kind=kind)
        for part in (20, len(data) // 3, len(data) * 2 // 3):
            assert answer(http, data[:part]).status_code == 422, (kind, part)
    measured("422")


@pytest.mark.row(34)
def test_damage_is_judged_as_pillow_does(http: httpx.Client, measured: Measured) -> None:
    rows = zlib_of(8)
    damaged = {
        "checksum of the header": png(8, 8, grey_rows(8, 8)).replace(b"IHDR", b"IHDR", 1)[:-20],
        "checksum of the pixels": png(8, 8, chunk(b"IDAT", rows, crc=1)),
        "zlib": png(8, 8, chunk(b"IDAT", b"\x78\x9c" + b"\xff" * 40)),
        "no palette": png(8, 8, grey_rows(8, 8), mode=3),
        "short palette": png(8, 8, chunk(b"PLTE", b"\1\2\3"), grey_rows(8, 8), mode=3),
        "palette of two and a half": png(8, 8, chunk(b"PLTE", bytes(8)), grey_rows(8, 8), mode=3),
        "no pixels": png(8, 8),
        "unknown colour type": png(8, 8, grey_rows(8, 8), mode=5),
        "GIF without a colour table": b"GIF89a" + huge_gif()[6:10] + b"\0" + huge_gif()[11:],
    }
    statuses = {}
    for name, data in damaged.items():
        statuses[name] = answer(http, data).status_code
        assert statuses[name] in oracle.statuses(data), name
    assert set(statuses.values()) <= {200, 422}
    measured(f"{list(statuses.values()).count(422)} × 422, {list(statuses.values()).count(200)} × 200")


def zlib_of(side: int) -> bytes:
    return grey_rows(side, side)[8:-4]


@pytest.mark.row(35)
def test_a_small_file_that_is_a_huge_picture(
    service: Service, http: httpx.Client, measured: Measured
) -> None:
    bomb = huge_gif()
    assert opened(bomb).size == (8289, 8192)
    with peak(service) as grown:
        for _ in range(5):
            assert answer(http, bomb).status_code == 422
    assert grown[0] < PEAK
    measured(f"422, {grown[0] / 2**20:.0f} MB")


@pytest.mark.row(36)
def test_a_size_is_believed_from_the_header_alone(
    service: Service, http: httpx.Client, measured: Measured
) -> None:
    with peak(service) as grown:
        for kind in ("JPEG", "PNG", "GIF", "BMP"):
            refused = answer(http, declared(kind))
            assert refused.status_code == 422, kind
            assert "65,535 × 65,535" in refused.json()["detail"]
    assert grown[0] < PEAK
    measured(f"422, {grown[0] / 2**20:.0f} MB")


@pytest.mark.row(37)
def test_text_that_unpacks_to_megabytes(service: Service, http: httpx.Client, measured: Measured) -> None:
    with peak(service) as grown:
        assert answer(http, text_bomb()).status_code == 422
    assert grown[0] < PEAK
    measured(f"422, {grown[0] / 2**20:.0f} MB")


@pytest.mark.row(51)
def test_a_jpeg_of_thousands_of_scans_is_not_begun(http: httpx.Client, measured: Measured) -> None:
    bomb = many_scans(5000)
    with opened(bomb) as image:
        assert image.size == (1000, 1000)
    assert answer(http, many_scans(1)).status_code == 200
    refused = answer(http, bomb)
    assert refused.status_code == 422
    assert "scans" in refused.json()["detail"]
    film = b"\xff\xda" * 1000  # what follows the image's end, as behind a phone's moving pictures, is not it
    assert answer(http, GOOD + film).status_code == 200
    measured(f"a JPEG of 5,000 scans in {len(bomb) / 1000:.0f} KB: 422")


@pytest.mark.row(38)
def test_a_picture_of_three_lines(http: httpx.Client, measured: Measured) -> None:
    statuses = {answer(http, picture(3, size, "PNG")).status_code for size in ((59_424, 3), (3, 59_424))}
    assert statuses <= {200, 422}
    measured(str(statuses)[1:-1])


@pytest.mark.row(39)
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_next_to_nothing(http: httpx.Client, kind: str, measured: Measured) -> None:
    for size in ((1, 1), (2, 2), (1, 300), (300, 1)):
        assert answer(http, picture(3, size, kind)).status_code == 200, size
    measured("200")


@pytest.mark.row(43)
@pytest.mark.parametrize("kind", ["GIF", "APNG"])
def test_ten_thousand_frames(http: httpx.Client, kind: str, measured: Measured) -> None:
    first = answer(http, frames(kind, 2)).json()["caption"]
    long = frames(kind, 10_000)
    started = time.monotonic()
    shown = answer(http, long)
    seconds = time.monotonic() - started
    assert shown.status_code == 200
    assert shown.json()["caption"] == first
    decode_ms = shown.json()["timing"]["decode_ms"]
    measured(f"{kind}: 200 after {seconds * 1000:.0f} ms, of which decoding {decode_ms:.1f} ms")


@pytest.mark.row(43)
def test_frames_after_the_first_are_not_looked_at(http: httpx.Client) -> None:
    first, both = frames("GIF", 1), frames("GIF", 2)
    rubbish = both[: len(first) - 1] + b"\xff" * 100_000
    assert answer(http, rubbish).status_code == 200


@pytest.mark.row(44)
def test_a_picture_of_several_views(http: httpx.Client, measured: Measured) -> None:
    left, right = opened(picture(3)), opened(picture(4))
    both = saved(left, "MPO", save_all=True, append_images=[right])
    assert opened(both).format == "MPO"
    assert answer(http, both).status_code == 200
    assert answer(http, animation("WEBP", 3)).status_code == 200
    measured("200")
