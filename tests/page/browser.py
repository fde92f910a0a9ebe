"""A real Chromium, and the page in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, FilePayload, Page, expect, sync_playwright

from service.routes.pages import STATIC

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
QUIET = (
    "--no-sandbox",  # it refuses to start as root otherwise
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE_MS = 60_000  # for what takes a fraction of a second on an idle machine
START_MS = 150_000
expect.set_options(timeout=PATIENCE_MS)
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def chromium_path() -> str | None:
    """Where this machine has a Chromium; None if nowhere."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. There must be one: ask :func:`chromium_path`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=list(QUIET), timeout=START_MS
        )
        yield browser
        browser.close()


@contextmanager
def page_at(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """The page at ``url`` in a fresh profile; fails if any script did, or a policy was broken."""
    wrong: list[str] = []
    with browser.new_context(**context) as fresh:
        fresh.set_default_timeout(PATIENCE_MS)
        page = fresh.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: "Content Security" in message.text and wrong.append(message.text))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.goto(url)
        yield page
    assert not wrong, wrong


def file(name: str, data: bytes, kind: str = "image/jpeg") -> FilePayload:
    """A file to choose, drop or paste."""
    return {"name": name, "mimeType": kind, "buffer": data}


def sample(name: str) -> FilePayload:
    """One of the page's own sample pictures, as a file."""
    return file(name, (STATIC / "samples" / name).read_bytes())


def add(page: Page, *files: FilePayload) -> None:
    """Choose files, as a person does by the button "Choose pictures"."""
    page.get_by_label("Choose pictures").set_input_files(files)


def generate(page: Page) -> None:
    page.get_by_role("button", name="Generate").click()
