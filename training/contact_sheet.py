"""A page on which a person looks through the captions of a split: best first, worst first, or those at fault.

The page names no other host and works without its script; pictures lie beside it as thumbnails, so that a
browser loads only those that are looked at.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined

from model.config import MAX_IMAGE_PIXELS, Preprocessing
from model.preprocessing import open_picture
from training.evaluation import Captioned, Evaluation
from training.files import write_atomically

PAGE = "contact-sheet.html"
THUMBNAILS = "thumbnails"
SIDE = 320  # pixels of a thumbnail's longer side: sharp at the 280 CSS pixels of a card, some 12 KB
EXTREMES = 12  # pictures in the sections of the best and the worst

_TEMPLATE = Path(__file__).with_name("contact_sheet.html")


class Card(NamedTuple):
    """A picture with its captions, one of each way of decoding; the first decides its place."""

    position: int  # in the split's list
    thumbnail: str
    size: tuple[int, int]
    captions: tuple[Captioned, ...]


def write(folder: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write :data:`PAGE` and the folder :data:`THUMBNAILS`.

    :param evaluations: of one checkpoint on one split, each with another beam width
    :raises PictureError: a picture cannot be read any more
    :raises OSError: a file cannot be written
    """
    (folder / THUMBNAILS).mkdir(parents=True, exist_ok=True)
    sources = [example.path for example in evaluations[0].examples]
    # Named by position: a picture's own name may be no file name here, or no URL.
    names = [f"{THUMBNAILS}/{i:06}.jpg" for i in range(len(sources))]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        sizes = list(threads.map(_write_thumbnail, sources, [folder / name for name in names]))
    captions = zip(*(evaluation.captions for evaluation in evaluations), strict=True)
    cards = list(map(Card, range(len(sources)), names, sizes, captions))
    cards.sort(key=lambda card: card.captions[0].cider)
    write_atomically(folder / PAGE, _render(cards, evaluations).encode())


def _write_thumbnail(source: Path, target: Path) -> tuple[int, int]:
    image = open_picture(source, Preprocessing(image_size=SIDE), MAX_IMAGE_PIXELS)
    image.thumbnail((SIDE, SIDE))
    image.save(target, "JPEG", quality=75)
    return image.size


def _render(cards: Sequence[Card], evaluations: Sequence[Evaluation]) -> str:
    """:param cards: worst first"""
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    reports = [evaluation.report for evaluation in evaluations]
    return page.from_string(_TEMPLATE.read_text("utf-8")).render(
        cards=cards, worst=cards[:EXTREMES], best=cards[::-1][:EXTREMES], reports=reports
    )
