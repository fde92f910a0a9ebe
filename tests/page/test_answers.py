"""What a caption's card offers: copies, alternatives, certainty, timing; and a caption of the real model."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from model.config import BUNDLED
from tests.page.browser import add, generate, page_at, sample
from tests.page.conftest import CAPTION, SHARES
from tests.service.processes import running


@pytest.fixture
def captioned(page: Page) -> Page:
    add(page, sample("dog.jpg"))
    generate(page)
    expect(page.locator(".caption")).to_have_text(CAPTION)
    return page


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "insecure"])
def test_copy(captioned: Page, secure: bool) -> None:
    if secure:
        captioned.context.grant_permissions(["clipboard-read", "clipboard-write"])
    else:  # as on a page that came over plain HTTP from another machine
        captioned.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    captioned.evaluate("document.body.append(document.createElement('textarea'))")
    for button, text in (("Copy text", CAPTION), ("Copy alt attribute", 'alt="a dog &amp;"')):
        captioned.get_by_role("button", name=button).click()
        expect(captioned.get_by_role("status")).to_have_text(f"Copied: {text}")
        field = captioned.locator("textarea")
        field.fill("")
        field.press("Control+V")
        expect(field).to_have_value(text)


def test_other_captions_come_on_request_and_say_how_sure(captioned: Page) -> None:
    others = captioned.get_by_role("button", name="Other captions")
    others.click()
    expect(captioned.locator(".others .text")).to_have_text(
        [CAPTION, "another of 1", "another of 2", "another of 3"]
    )
    expect(captioned.locator(".others .share")).to_have_text(["37%", "18%", "12%", "9%"])
    expect(others).to_have_attribute("aria-expanded", "true")
    others.click()
    expect(captioned.locator(".others")).to_be_hidden()


def test_a_second_press_while_they_come_asks_for_nothing_more(captioned: Page) -> None:
    asked: list[str] = []
    captioned.on("request", lambda request: asked.append(request.url))
    others = captioned.get_by_role("button", name="Other captions")
    others.evaluate("button => { button.click(); button.click(); }")
    expect(captioned.locator(".others .text")).to_have_count(4)
    assert len(asked) == 1


def test_words_are_shaded_by_doubt_and_the_time_is_told(captioned: Page) -> None:
    captioned.get_by_text("How sure is it?").click()
    words = captioned.locator(".shaded span")
    expect(words.locator("b")).to_have_text(list(SHARES))
    expect(words.locator("small")).to_have_text(["98%", "50%", "under 1%"])
    doubts = words.evaluate_all("words => words.map((w) => getComputedStyle(w).backgroundColor)")
    alphas = [float(colour.rstrip(")").replace("/", ",").split(",")[-1]) for colour in doubts]
    assert alphas == sorted(alphas)
    assert alphas[0] < alphas[1] < alphas[2]
    expect(captioned.locator(".timing")).to_contain_text("The whole sentence: 37%")
    expect(captioned.locator(".timing")).to_contain_text("20 ms in the network, alone")


@pytest.mark.skipif(not BUNDLED.exists(), reason="no bundled checkpoint")
def test_the_real_models_caption_is_the_one_shown(browser: Browser) -> None:
    with running() as service, page_at(browser, service.url) as page:
        page.get_by_role("button", name="a dog in the grass").click()
        generate(page)
        picture = httpx.get(f"{service.url}/static/samples/dog.jpg").content
        answer = httpx.post(f"{service.url}/caption", files={"image": picture}, timeout=90)
        expect(page.locator(".caption")).to_have_text(answer.json()["caption"])
        page.get_by_role("button", name="Other captions").click()
        expect(page.locator(".others li")).to_have_count(4)
