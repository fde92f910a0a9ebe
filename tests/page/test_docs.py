"""The OpenAPI page in a browser: whole without internet, and a picture can be tried from it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.page.browser import page_at, sample
from tests.page.conftest import CAPTION


@pytest.mark.row(71)
def test_a_picture_can_be_tried(browser: Browser, url: str) -> None:
    with page_at(browser, "about:blank") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{url}/docs")
        page.get_by_role("button", name="/caption").filter(has_text="Caption one").first.click()
        route = page.locator("#operations-captions-caption")
        for kind in ("multipart/form-data", "image/*"):
            route.get_by_label("Request content type").select_option(kind)
            route.locator('input[type="file"]').set_input_files(sample("dog.jpg"))
            route.get_by_role("button", name="Execute").click()
            status = route.locator(".live-responses-table .response-col_status").last
            expect(status).to_contain_text("200")
            expect(route.locator(".live-responses-table")).to_contain_text(CAPTION)
            route.get_by_role("button", name="Clear").click()
    assert f"{url}/caption?beam=1&n=1&tokens=false" in asked
    assert all(address.startswith((url, "data:", "blob:")) for address in asked), asked
