"""Captioned pictures in Flickr8k's layout.

``Flickr8k.token.txt`` has a line ``PICTURE#N<tab>CAPTION`` for every caption, ``Flickr_8k.SPLITImages.txt``
a picture's file name on every line, ``images/`` the pictures.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from model.config import Preprocessing
from model.errors import PictureError
from model.preprocessing import load_pixels
from training.errors import TrainingError

CAPTIONS = "Flickr8k.token.txt"
IMAGES = "images"


class Example(msgspec.Struct, frozen=True):
    """A picture and all that people said about it."""

    path: Path
    captions: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path.name


def load_split(root: Path, split: str) -> list[Example]:
    """Examples of a split in the order of its list; the pictures are not opened.

    :raises TrainingError: a file of the layout is missing or a listed picture has no caption
    """
    captions: dict[str, list[str]] = defaultdict(list)
    for line in _read_lines(root / CAPTIONS):
        key, tab, caption = line.partition("\t")
        if not tab:
            raise TrainingError(f"{CAPTIONS} has a line without a tab: {line[:60]!r}")
        captions[key.rpartition("#")[0]].append(caption.strip())
    names = _read_lines(root / f"Flickr_8k.{split}Images.txt")
    bare = [name for name in names if name not in captions]
    if bare:
        raise TrainingError(f"{CAPTIONS} has no caption for {bare[0]} of the split {split}")
    if not names:
        raise TrainingError(f"the split {split} is empty")
    return [Example(root / IMAGES / name, tuple(captions[name])) for name in names]


def drop_unreadable(
    examples: Sequence[Example], config: Preprocessing, report: Callable[[str], None]
) -> list[Example]:
    """Decode every picture once; those that are missing or damaged are reported and left out.

    :raises TrainingError: none can be read
    """

    def problem(example: Example) -> str | None:
        try:
            load_pixels(example.path, config)
        except FileNotFoundError:
            return "there is no such file"
        except (PictureError, OSError) as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        problems = list(threads.map(problem, examples))
    for example, trouble in zip(examples, problems, strict=True):
        if trouble:
            report(f"skipped {example.name}: {trouble}")
    usable = [e for e, trouble in zip(examples, problems, strict=True) if not trouble]
    if not usable:
        raise TrainingError(f"none of the {len(examples)} pictures can be read, first {examples[0].path}")
    return usable


class Pixels(Dataset[tuple[int, NDArray[np.uint8]]]):
    """Decodes pictures by position, for PyTorch's DataLoader."""

    def __init__(self, examples: Sequence[Example], config: Preprocessing) -> None:
        self.examples = examples
        self.config = config

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[int, NDArray[np.uint8]]:
        """``index`` itself and uint8 pixels [S, S, 3]."""
        return index, np.array(load_pixels(self.examples[index].path, self.config))


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise TrainingError(f"{path} is missing: the data set is not in Flickr8k's layout") from None
