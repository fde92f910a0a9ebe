"""Sizes of published splits, by which a shortened list of pictures is known for what it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple


class DataSet(NamedTuple):
    """A data set whose pictures bear names that no other's do, and how many there are in its splits."""

    name: str
    picture: re.Pattern[str]
    sizes: dict[str, tuple[int, ...]]


DATA_SETS = (
    DataSet(  # Hodosh, Young and Hockenmaier 2013
        "Flickr8k",
        re.compile(r"\d+_[0-9a-f]{10}\.jpg"),
        {"train": (6_000,), "dev": (1_000,), "test": (1_000,)},
    ),
    DataSet(  # as it was released, and Karpathy's splits of it without and with "restval"
        "COCO 2014",
        re.compile(r"COCO_(train|val)2014_\d{12}\.jpg"),
        {"train": (82_783, 113_287), "dev": (40_504, 5_000), "test": (5_000,)},
    ),
)


def shortage(split: str, pictures: Sequence[str]) -> str | None:
    """What is wrong with the number of a split's pictures; None where that is right or not known.

    :param split: train, dev or test
    :param pictures: file names, with or without folders
    """
    for known in DATA_SETS:
        sizes = known.sizes.get(split)
        if (
            sizes
            and len(pictures) not in sizes
            and all(known.picture.fullmatch(PurePosixPath(name).name) for name in pictures)
        ):
            right = " or ".join(f"{size:,}" for size in sizes)
            return f"{known.name}'s split {split} has {right} pictures, and the list has {len(pictures):,}"
    return None
