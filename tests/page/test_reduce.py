"""A large photo is made small before it is sent from a phone; what need not or cannot be is sent as it is."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.page.browser import PHONE, add, file, generate, page_at
from tests.page.conftest import CAPTION, PageRunner
from tests.pictures import picture

LIMIT = 600_000  # bytes the service takes of one picture


def large_photo() -> bytes:
    """A photo lying on its side, as cameras store it: upright it is red above and blue below."""
    noise = np.random.default_rng(0).integers(0, 60, (1500, 2000, 3), dtype=np.uint8)
    noise[:, :1000, 0] += 190
    noise[:, 1000:, 2] += 190
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90° clockwise to stand upright
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "JPEG", quality=92, exif=exif)
    return out.getvalue()


PHOTO = large_photo()


def send(page: Page, name: str, data: bytes, kind: str) -> None:
    add(page, file(name, data, kind))
    generate(page)


def test_a_phone_sends_a_smaller_copy_that_stands_upright(
    browser: Browser, url: str, runner: PageRunner
) -> None:
    assert len(PHOTO) > LIMIT
    with page_at(browser, url, **PHONE) as page:
        send(page, "photo.jpg", PHOTO, "image/jpeg")
        expect(page.locator(".caption")).to_have_text(CAPTION)
        expect(page.locator(".timing")).to_contain_text("reduced here from")
    above, below = runner.pixels[:100].mean(axis=(0, 1)), runner.pixels[124:].mean(axis=(0, 1))
    assert above[0] > 2 * above[2], "red above"
    assert below[2] > 2 * below[0], "blue below"


def test_a_slow_connection_sends_a_smaller_copy(page: Page) -> None:
    page.evaluate("Object.defineProperty(navigator, 'connection', { value: { effectiveType: '3g' } })")
    send(page, "photo.jpg", PHOTO, "image/jpeg")
    expect(page.locator(".timing")).to_contain_text("reduced here from")


def test_a_fast_connection_sends_the_original(page: Page) -> None:
    send(page, "photo.jpg", PHOTO, "image/jpeg")
    expect(page.locator(".note")).to_contain_text("too large for the service")


def test_a_phone_sends_the_original_where_reducing_helps_or_works_not(browser: Browser, url: str) -> None:
    small = file("small.jpg", picture())
    moving = file("moving.gif", picture(kind="GIF") + bytes(560_000), "image/gif")
    broken = file("broken.jpg", b"\xff\xd8\xff" + bytes(560_000))
    with page_at(browser, url, **PHONE) as page:
        add(page, small, moving, broken)
        generate(page)
        expect(page.locator('[data-state="done"]')).to_have_count(2)
        expect(page.locator('[data-state="failed"] .note')).to_contain_text("damaged")
        for timing in page.locator('[data-state="done"] .timing').all():
            expect(timing).not_to_contain_text("reduced here")
