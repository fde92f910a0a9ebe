"""Take the pictures of the page that README shows: ``python -m tests.page.screenshots [FOLDER]``.

With the real service, the bundled model and the project's own sample pictures.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.page.browser import PHONE, add, chromium, file, generate, page_at, sample
from tests.service.processes import running

IMAGES = Path(__file__).parents[2] / "docs" / "images"
DESK: dict[str, Any] = {"viewport": {"width": 1120, "height": 800}}
DARK: dict[str, Any] = {"color_scheme": "dark"}
ALL = tuple(f"{name}.jpg" for name in ("dog", "surfer", "climber", "beach"))
NOT_A_PICTURE = file("holiday.jpg", b"once upon a time")


def captioned(page: Page, *names: str) -> None:
    add(page, *(sample(name) for name in names))
    generate(page)
    page.locator('[data-state="working"]').first.wait_for(state="detached")
    page.mouse.move(0, 0)


def with_details(page: Page) -> None:
    captioned(page, "dog.jpg")
    page.get_by_role("button", name="Other captions").click()
    page.locator(".others li").first.wait_for()
    page.get_by_text("How sure is it?").click()
    page.mouse.move(0, 0)


def with_error(page: Page) -> None:
    add(page, sample("surfer.jpg"), NOT_A_PICTURE)
    generate(page)
    page.locator('[data-state="failed"]').wait_for()
    page.locator('[data-state="done"]').wait_for()


def shoot(browser: Browser, url: str, folder: Path) -> None:
    """Every picture, by the name of its file."""
    views: list[tuple[str, dict[str, Any], Any]] = [
        ("start", DESK, lambda page: None),
        ("light", DESK, with_details),
        ("dark", DESK | DARK, with_details),
        ("gallery", DESK, lambda page: captioned(page, *ALL)),
        ("error", DESK, with_error),
        ("phone", PHONE | {"device_scale_factor": 2}, lambda page: captioned(page, "dog.jpg")),
    ]
    for name, context, prepare in views:
        with page_at(browser, url, **context) as page:
            prepare(page)
            page.wait_for_function("[...document.images].every((image) => image.complete)")
            # A window as high as the page: for a full_page shot the browser forgets that it is a phone.
            height = page.evaluate("document.documentElement.scrollHeight")
            page.set_viewport_size({"width": context["viewport"]["width"], "height": height})
            shot = page.screenshot(animations="disabled")
        Image.open(io.BytesIO(shot)).convert("RGB").save(folder / f"{name}.webp", quality=84, method=6)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with running() as service, chromium() as browser:
        shoot(browser, service.url, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
