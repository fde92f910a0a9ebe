"""The OpenAPI page in a browser: whole without internet, and a picture can be tried from it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.page.browser import page_at, sample
from tests.page.conftest import CAPTION


@pytest.mark.parametrize("kind", ["multipart/form-data", "image/*"])
def test_a_picture_can_be_tried(browser: Browser, url: str, kind: str) -> None:
    with page_at(browser, f"{url}/docs") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        page.get_by_role("button", name="/caption", exact=False).filter(has_text="Caption one").first.click()
        route = page.locator("#operations-captions-caption")
        route.get_by_label("Request content type").select_option(kind)
        route.locator('input[type="file"]').set_input_files(sample("dog.jpg"))
        route.get_by_role("button", name="Execute").click()
        expect(route.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        expect(route.locator(".live-responses-table")).to_contain_text(CAPTION)
    assert asked
    assert all(address.startswith((url, "data:", "blob:")) for address in asked), asked
