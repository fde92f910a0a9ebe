"""Captioned pictures of a data set, in whichever layout it lies there (:mod:`training.layouts`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from model.config import Preprocessing
from model.errors import PictureError
from model.preprocessing import load_pixels
from training.errors import TrainingError
from training.layouts import recognise
from training.layouts.source import DataSet, Example, canonical_split

log = logging.getLogger(__name__)


def load_split(root: Path, split: str) -> list[Example]:
    """Examples of a split in the source's order; the pictures are not opened.

    Captions that cannot be used, and pictures left without one, are left out with a warning.

    :param root: folder of a data set as published or as ``captioner prepare`` leaves it
    :param split: train, dev (or val, validation) or test
    :raises TrainingError: the layout is not known or not complete, or the split is empty
    """
    data, split = _read(root, split)
    if data.problems:
        where, what = data.problems[0]
        log.warning(
            "%s: %d captions or pictures left out, first %s: %s", root, len(data.problems), where, what
        )
    if not data.splits[split]:
        raise TrainingError(f"none of the {data.listed[split]} pictures of the split {split} can be used")
    return data.splits[split]


def complete(root: Path, split: str) -> tuple[int, int]:
    """How many pictures :func:`load_split` gives, and how many the source puts into the split.

    Scores are the split's only where the two are equal: in a prepared folder the pictures that were skipped
    are missing from the first.

    :raises TrainingError: the layout is not known or not complete, or there is no such split
    """
    data, split = _read(root, split)
    return len(data.splits[split]), data.listed[split]


def _read(root: Path, split: str) -> tuple[DataSet, str]:
    data, name = recognise(root).read(root), canonical_split(split)
    if name not in data.listed:
        raise TrainingError(f"the data set in {root} has no split {name}: it has {', '.join(data.listed)}")
    return data, name


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
