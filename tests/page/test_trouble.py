"""What the page says and does when something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, Route, expect

from service.app import create_app
from service.board import Board
from service.settings import Settings
from tests.page.browser import add, file, generate, page_at, sample
from tests.page.conftest import CAPTION, PageRunner
from tests.pictures import picture
from tests.service.fakes import on_a_port

LARGE = picture(size=(700, 700), kind="GIF") + bytes(600_000)  # a GIF is sent as it is


def test_what_is_wrong_with_a_picture_is_said_plainly(page: Page) -> None:
    wrong = {
        "This is not a picture that can be read.": file("a.jpg", b"once upon a time"),
        "damaged or cut off": file("b.jpg", picture()[:3000]),
        "This picture is too large for the service (": file("c.gif", LARGE, "image/gif"),
        "This picture is damaged": file("d.bmp", b""),
    }
    add(page, *wrong.values())
    generate(page)
    expect(page.locator(".note")).to_contain_text(list(wrong))
    expect(page.get_by_role("status")).to_contain_text("0 of 4 pictures captioned")
    expect(page.get_by_role("button", name="Try again").first).to_be_focused()


def test_a_file_that_went_away_is_said_to_be_gone(page: Page, tmp_path: Path) -> None:
    gone = tmp_path / "gone.jpg"
    gone.write_bytes(picture())
    page.get_by_label("Choose pictures").set_input_files(gone)
    gone.unlink()
    generate(page)
    expect(page.locator(".note")).to_contain_text("cannot be opened")


@contextmanager
def page_of(browser: Browser, settings: Settings, runner: PageRunner, board: Board) -> Iterator[Page]:
    with on_a_port(create_app(settings, runner, board)) as url, page_at(browser, url) as page:
        yield page


def test_busy_is_tried_again_by_itself(browser: Browser) -> None:
    board = Board.private()
    board.add_admitted(0, 1)  # somebody else's picture takes the only place
    with page_of(browser, Settings(max_queue=1), PageRunner(), board) as page:
        add(page, sample("dog.jpg"))
        generate(page)
        expect(page.locator(".note")).to_contain_text("The service is busy. Trying again by itself in 1 s")
        expect(page.get_by_role("status")).to_have_text("The service is busy. Trying again by itself.")
        board.add_admitted(0, -1)
        expect(page.locator(".caption")).to_have_text(CAPTION)


def test_a_service_that_is_loading_is_waited_for(browser: Browser) -> None:
    runner = PageRunner(state="loading")
    with page_of(browser, Settings(), runner, Board.private()) as page:
        add(page, sample("dog.jpg"))
        generate(page)
        expect(page.locator(".note")).to_contain_text("not ready yet. Trying again by itself")
        runner.state = "ok"
        expect(page.locator(".caption")).to_have_text(CAPTION)


def test_a_failure_of_the_model_is_not_tried_again_by_itself(browser: Browser) -> None:
    runner = PageRunner(error=RuntimeError("unforeseen"))
    with page_of(browser, Settings(), runner, Board.private()) as page:
        add(page, sample("dog.jpg"))
        generate(page)
        expect(page.locator(".note")).to_contain_text("has a problem")
        assert runner.seen == 1
        runner.error = None
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".caption")).to_have_text(CAPTION)


def test_a_key_is_asked_for_where_one_is_needed(browser: Browser) -> None:
    with page_of(browser, Settings(api_keys="sesame"), PageRunner(), Board.private()) as page:
        add(page, sample("dog.jpg"), sample("beach.jpg"))
        generate(page)
        key = page.get_by_label("API key")
        expect(key).to_be_focused()
        key.fill("wrong")
        key.press("Enter")
        expect(page.get_by_text("That key was not accepted")).to_be_visible()
        key.fill("sesame")
        key.press("Enter")
        expect(page.locator(".caption")).to_have_text([CAPTION, CAPTION])
        expect(key).to_be_hidden()
        page.get_by_role("button", name="Other captions").first.click()
        expect(page.locator(".others li")).to_have_count(4)


@contextmanager
def key_wanted(browser: Browser) -> Iterator[tuple[Page, Locator, Route]]:
    """A page with two pictures, one of which was refused for want of a key; the field for it; and the other's
    request, which has not reached the service yet."""
    held: list[Route] = []
    with page_of(browser, Settings(api_keys="sesame"), PageRunner(), Board.private()) as page:
        page.route("**/caption?*", lambda route: route.continue_() if held else held.append(route))
        add(page, sample("dog.jpg"), sample("beach.jpg"))
        generate(page)
        key = page.get_by_label("API key")
        expect(key).to_be_focused()
        yield page, key, held[0]


def test_a_picture_refused_late_is_sent_again_with_the_key_given_meanwhile(browser: Browser) -> None:
    with key_wanted(browser) as (page, key, first):
        key.fill("sesame")
        key.press("Enter")
        expect(page.locator(".card[data-state=done]")).to_have_count(1)
        first.continue_()
        expect(page.locator(".caption")).to_have_text([CAPTION, CAPTION])
        expect(key).to_be_hidden()


def test_a_second_picture_refused_leaves_the_key_being_typed_alone(browser: Browser) -> None:
    with key_wanted(browser) as (page, key, first):
        key.press_sequentially("ses")
        first.continue_()
        expect(page.locator(".card[data-state=chosen]")).to_have_count(2)
        key.press_sequentially("ame")
        expect(key).to_have_value("sesame")


def test_a_key_that_was_not_given_is_asked_for_again(browser: Browser) -> None:
    with key_wanted(browser) as (page, key, first):
        first.continue_()
        expect(page.locator(".card[data-state=chosen]")).to_have_count(2)
        page.get_by_role("button", name="Generate 2 captions").click()
        expect(key).to_be_focused()


def test_a_service_that_is_gone_is_said_to_be_gone(page: Page) -> None:
    page.context.set_offline(True)
    add(page, file("a.jpg", picture()))
    generate(page)
    expect(page.locator(".note")).to_contain_text("The service cannot be reached.")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".caption")).to_have_text(CAPTION)


def test_a_picture_removed_while_it_waits_leaves_the_service(browser: Browser) -> None:
    runner = PageRunner(seconds=60)
    with page_of(browser, Settings(request_timeout=90), runner, Board.private()) as page:
        add(page, sample("dog.jpg"))
        generate(page)
        expect(page.locator(".note")).to_have_text("Looking…")
        while not runner.seen:
            page.wait_for_timeout(20)
        page.get_by_role("button", name="Remove dog.jpg").click()
        while not runner.cancelled:
            page.wait_for_timeout(20)
