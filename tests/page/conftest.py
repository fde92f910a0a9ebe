"""One browser for the page's tests, and a service around a runner that needs no model."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from model.caption import Caption, Word
from service.app import create_app
from service.runner import Inference
from service.settings import Settings
from tests.page.browser import chromium, chromium_path, page_at
from tests.service.fakes import FakeRunner, on_a_port

SHARES = {"a": 0.98, "dog": 0.5, "&": 0.004}
CAPTION = " ".join(SHARES)


class PageRunner(FakeRunner):
    """Captions of words it is more and less sure of; keeps the pixels it was last given."""

    pixels: NDArray[np.uint8]

    async def caption(
        self, pixels: NDArray[np.uint8], identity: str, beam: int, deadline: float
    ) -> Inference:
        self.pixels = pixels
        await super().caption(pixels, identity, beam, deadline)
        words = tuple(Word(text, math.log(share)) for text, share in SHARES.items())
        captions = [
            Caption(CAPTION if n == 0 else f"another of {n}", math.log(0.37 / (n + 1)), words)
            for n in range(beam)
        ]
        return Inference(captions, 0.001, 0.02, 1)


# Closed before other packages' tests run: Playwright's loop would count as theirs.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not chromium_path():
        pytest.skip("NO CHROMIUM ON THIS MACHINE: THE WEB PAGE WAS NOT TESTED (Debian: `make browser`)")
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def runner() -> PageRunner:
    return PageRunner()


@pytest.fixture(scope="package")
def url(runner: PageRunner) -> Iterator[str]:
    with on_a_port(create_app(Settings(max_upload_bytes=600_000), runner)) as url:
        yield url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with page_at(browser, url) as page:
        yield page
