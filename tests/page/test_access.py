"""The page without a mouse, without sight, in the dark and on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FileChooser, Page, expect

from tests.page.browser import PHONE, add, file, generate, page_at, sample
from tests.page.conftest import CAPTION


def assert_accessible(page: Page) -> None:
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def assert_fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    "context",
    [{}, {"color_scheme": "dark"}, PHONE, {"forced_colors": "active"}],
    ids=["light", "dark", "phone", "forced"],
)
def test_no_violations_in_any_state(browser: Browser, url: str, context: dict[str, Any]) -> None:
    with page_at(browser, url, reduced_motion="reduce", **context) as page:
        assert_accessible(page)
        assert_fits(page)
        long_name = "a-rather-long-name-of-a-picture-" * 4 + ".jpg"
        add(page, sample("dog.jpg"), file(long_name, b"not a picture"))
        generate(page)
        expect(page.locator('[data-state="failed"]')).to_have_count(1)
        page.get_by_role("button", name="Other captions").click()
        page.get_by_text("How sure is it?").first.click()
        expect(page.locator(".others li")).to_have_count(4)
        page.evaluate("document.getElementById('key').hidden = false")
        assert_accessible(page)
        assert_fits(page)


def test_dark_is_dark(page: Page) -> None:
    def brightness() -> int:
        return page.evaluate("parseInt(getComputedStyle(document.body).backgroundColor.slice(4))")

    page.emulate_media(color_scheme="light")
    assert brightness() > 200
    page.emulate_media(color_scheme="dark")
    assert brightness() < 50


def test_a_phone_offers_its_camera(browser: Browser, url: str) -> None:
    with page_at(browser, url, **PHONE) as page:
        camera = page.get_by_label("Take a photo")
        expect(camera).to_be_visible()
        expect(camera).to_have_attribute("capture", "environment")


def test_keyboard_alone(page: Page) -> None:
    def tab_to(name: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "(e => e.ariaLabel || e.labels?.[0]?.textContent || e.alt || e.querySelector('img')?.alt"
                " || e.textContent)(document.activeElement)"
            )
            if name in focused:
                return
        raise AssertionError(f"the keyboard does not reach {name}")

    opened: list[FileChooser] = []
    page.on("filechooser", lambda chooser: opened.append(chooser))
    tab_to("Choose pictures")
    page.keyboard.press("Enter")
    while not opened:
        page.wait_for_timeout(20)
    tab_to("a climber in the snow")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Generate caption")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".caption")).to_be_focused()
    expect(page.get_by_role("status")).to_have_text(CAPTION)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab_to("Copy alt attribute")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Copied: alt=")
    tab_to("Other captions")
    page.keyboard.press("Space")
    expect(page.locator(".others li")).to_have_count(4)
    tab_to("How sure is it?")
    page.keyboard.press("Enter")
    expect(page.locator(".shaded")).to_be_visible()
    tab_to("Remove climber.jpg")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Choose pictures")).to_be_focused()
