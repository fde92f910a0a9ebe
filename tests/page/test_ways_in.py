"""How pictures come in: chooser, drop, paste, samples; one or several."""

from __future__ import annotations

import base64

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.page.browser import add, file, generate, sample
from tests.page.conftest import CAPTION
from tests.pictures import picture

# Dispatches a drop or paste that carries files, as the browser does for a person's.
TRANSFER = """([kind, files]) => {
  const transfer = new DataTransfer();
  for (const { name, type, data } of files) {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste"
    ? new ClipboardEvent(kind, { ...options, clipboardData: transfer })
    : new DragEvent(kind, { ...options, dataTransfer: transfer });
  document.querySelector("main").dispatchEvent(event);
}"""


def transfer(page: Page, kind: str, *files: FilePayload) -> None:
    sent = [
        {"name": f["name"], "type": f["mimeType"], "data": base64.b64encode(f["buffer"]).decode()}
        for f in files
    ]
    page.evaluate(TRANSFER, [kind, sent])


def test_choose_see_press_read(page: Page) -> None:
    add(page, sample("dog.jpg"))
    expect(page.get_by_alt_text("Your picture dog.jpg")).to_be_visible()
    expect(page.locator(".caption")).to_be_hidden()
    generate(page)
    expect(page.locator(".caption")).to_have_text(CAPTION)
    expect(page.get_by_alt_text(CAPTION)).to_be_visible()
    expect(page.get_by_role("button", name="Generate")).to_be_hidden()


def test_drop(page: Page) -> None:
    transfer(page, "dragenter", sample("dog.jpg"))
    expect(page.get_by_text("Drop to add")).to_be_visible()
    transfer(page, "drop", sample("dog.jpg"), sample("beach.jpg"))
    expect(page.get_by_text("Drop to add")).to_be_hidden()
    expect(page.locator(".card")).to_have_count(2)


def test_paste(page: Page) -> None:
    transfer(page, "paste", file("image.png", picture(kind="PNG"), "image/png"))
    expect(page.locator(".card")).to_have_count(1)
    generate(page)
    expect(page.locator(".caption")).to_have_text(CAPTION)


def test_what_is_no_file_is_said_to_be_none(page: Page) -> None:
    transfer(page, "drop")
    expect(page.get_by_role("status")).to_contain_text("That was not a file")
    transfer(page, "paste")
    expect(page.get_by_role("status")).to_contain_text("no picture on the clipboard")


def test_a_sample(page: Page) -> None:
    page.get_by_role("button", name="a surfer on a wave").click()
    expect(page.get_by_role("button", name="Generate caption")).to_be_focused()
    generate(page)
    expect(page.locator(".caption")).to_have_text(CAPTION)


def test_several_at_once_with_progress_and_one_bad_among_them(page: Page) -> None:
    pictures = [file(f"{n}.jpg", picture(n)) for n in range(7)]
    add(page, *pictures[:3], file("notes.jpg", b"not a picture"), *pictures[3:])
    expect(page.locator(".card")).to_have_count(8)
    page.get_by_role("button", name="Generate 8 captions").click()
    expect(page.locator("#progress-text")).to_have_text("7 of 8 pictures captioned")
    states = page.locator(".card").evaluate_all("cards => cards.map((card) => card.dataset.state)")
    assert states == ["done"] * 3 + ["failed"] + ["done"] * 4
    add(page, pictures[0])
    page.get_by_role("button", name="Generate caption").click()
    expect(page.locator('[data-state="done"]')).to_have_count(8)


def test_pictures_can_be_removed(page: Page) -> None:
    add(page, sample("dog.jpg"), sample("beach.jpg"))
    page.get_by_role("button", name="Remove dog.jpg").click()
    expect(page.locator(".name")).to_have_text(["beach.jpg"])
    expect(page.get_by_role("button", name="Remove beach.jpg")).to_be_focused()
    page.get_by_role("button", name="Start over").click()
    expect(page.locator(".card")).to_have_count(0)
    expect(page.get_by_label("Choose pictures")).to_be_focused()
    add(page, sample("dog.jpg"))
    expect(page.locator("#progress")).to_be_hidden()


@pytest.mark.row(70)
def test_a_file_name_is_only_text(page: Page) -> None:
    evil = "<img src=x onerror=alert(1)>\"'&.jpg"
    add(page, file(evil, picture()), file("<script>alert(2)</script>.png", b"no"))
    generate(page)
    expect(page.locator('[data-state="failed"]')).to_have_count(1)
    expect(page.locator(".name").first).to_have_text(evil)
    assert page.locator(".card img:not(.picture), .card script").count() == 0
