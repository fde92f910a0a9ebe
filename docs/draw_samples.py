"""Make the web page's sample pictures: ``python docs/draw_samples.py [FOLDER]``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from sample_scenes import beach, climber, dog, surfer

SAMPLES = Path(__file__).parent.parent / "service" / "static" / "samples"


class Print(NamedTuple):
    """How a drawing is made into the sample: a part of it, as a camera might have taken it.

    Chosen among some hundred at random, because the model says of these what they show.
    """

    draw: Callable[[], Image.Image]
    box: tuple[int, int, int, int]
    mirror: bool
    blur: float
    colour: float
    contrast: float
    grain: float
    seed: int

    def make(self) -> Image.Image:
        image = self.draw().crop(self.box)
        if self.mirror:
            image = ImageOps.mirror(image)
        image = image.resize((480, 360), Image.Resampling.BICUBIC)
        image = image.filter(ImageFilter.GaussianBlur(self.blur))
        image = ImageEnhance.Color(image).enhance(self.colour)
        image = ImageEnhance.Contrast(image).enhance(self.contrast)
        noise = np.random.default_rng(self.seed).normal(0, self.grain, (360, 480, 1))
        grained = (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grained).resize((640, 480), Image.Resampling.BICUBIC)


PRINTS = {
    "dog": Print(dog, (325, 144, 790, 471), True, 0, 1.09, 0.94, 12, 21),
    "climber": Print(climber, (26, 76, 799, 585), True, 1.5, 0.87, 1.02, 12, 110),
    "surfer": Print(surfer, (53, 5, 790, 531), True, 1.5, 0.62, 1.09, 6, 0),
    "beach": Print(beach, (52, 24, 793, 576), False, 0.8, 0.9, 1.16, 0, 231),
}


def main(folder: Path) -> None:
    """Make every sample into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sample in PRINTS.items():
        sample.make().save(folder / f"{name}.jpg", quality=75, optimize=True, progressive=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES)
