"""Captioning many pictures without a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from model.bulk import caption_many
from model.caption import Caption
from model.captioner import Captioner, Pixels, Result
from model.config import BUNDLED
from model.errors import CaptionerError

SAMPLES = sorted((Path(__file__).parents[2] / "service" / "static" / "samples").iterdir())


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner.load(BUNDLED)


class Overlapping:
    """Says that its device goes on by itself, and writes down who began and who was waited for."""

    def __init__(self, captioner: Captioner) -> None:
        self.config = captioner.config
        self.overlaps = True
        self.said: list[str] = []
        self._captioner = captioner

    def record(self, batches: Sequence[int]) -> None:
        self.said.append(f"record {list(batches)}")

    def begin(self, pixels: Pixels, beams: Sequence[int]) -> Callable[[], list[Result]]:
        number = sum(entry.startswith("begin") for entry in self.said)
        self.said.append(f"begin {number}")
        wait = self._captioner.begin(pixels, beams)

        def waited() -> list[Result]:
            self.said.append(f"wait {number}")
            return wait()

        return waited


def test_results_are_in_order_whatever_the_batches(captioner: Captioner) -> None:
    def text(result: Caption | CaptionerError) -> str:
        return result.text if isinstance(result, Caption) else type(result).__name__

    sources = [*SAMPLES, b"no picture", *reversed(SAMPLES)]
    alone = [text(next(caption_many(captioner, [source]))) for source in sources]
    assert "UnsupportedPicture" in alone
    for batch_size in (2, 5, 100):
        assert [text(r) for r in caption_many(captioner, sources, batch_size=batch_size)] == alone
    overlapping: Captioner = Overlapping(captioner)  # type: ignore[assignment]
    assert [text(r) for r in caption_many(overlapping, sources, batch_size=2)] == alone


def test_the_next_batch_is_begun_before_one_is_waited_for(captioner: Captioner) -> None:
    overlapping = Overlapping(captioner)
    results = caption_many(overlapping, SAMPLES[:3] * 2, batch_size=2)  # type: ignore[arg-type]
    assert len(list(results)) == 6
    recorded = {entry for entry in overlapping.said if entry.startswith("record")}
    assert recorded == {"record [2]"}
    begun = [entry for entry in overlapping.said if not entry.startswith("record")]
    assert begun == ["begin 0", "begin 1", "wait 0", "begin 2", "wait 1", "wait 2"]


def test_pixels_come_as_one_array_or_several(captioner: Captioner) -> None:
    size = captioner.config.preprocessing.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    assert captioner.caption(pixels, [1, 2, 1]) == captioner.caption(list(pixels), [1, 2, 1])
