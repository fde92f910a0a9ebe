"""The page's sample pictures, and what the bundled model says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.bulk import caption_many
from model.caption import Caption
from model.captioner import Captioner, resolve_engine
from model.config import BUNDLED

SAMPLES = Path(__file__).parents[2] / "service" / "static" / "samples"
SHOWS = {
    "beach.jpg": {"standing", "beach"},
    "climber.jpg": {"jacket", "snow"},
    "dog.jpg": {"dog", "running", "grass"},
    "surfer.jpg": {"surfer", "wave"},
}


@pytest.mark.parametrize("engine", sorted({"torch", resolve_engine("auto", "cpu")}))
def test_each_is_captioned_as_what_it_shows(engine: str) -> None:
    assert sorted(path.name for path in SAMPLES.iterdir()) == sorted(SHOWS)
    captioner = Captioner.load(BUNDLED, engine=engine)
    for name, caption in zip(SHOWS, caption_many(captioner, [SAMPLES / name for name in SHOWS]), strict=True):
        assert isinstance(caption, Caption)
        assert SHOWS[name] <= set(caption.text.split())
