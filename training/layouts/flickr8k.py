"""Flickr8k (Hodosh, Young and Hockenmaier 2013) as its authors published it.

``Flickr8k.token.txt`` has a line ``PICTURE#N<tab>CAPTION`` for every caption, ``Flickr_8k.SPLITImages.txt``
a picture's file name on every line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.errors import TrainingError
from training.layouts.source import DataSet, Listing, Problem, canonical_split, read_text

NAME = "flickr8k"
LOOKS_FOR = "Flickr8k.token.txt and Flickr_8k.trainImages.txt"
CAPTIONS = "Flickr8k.token.txt"
LISTS = "Flickr_8k.*Images.txt"


def found(root: Path) -> bool:
    return (root / CAPTIONS).is_file() or any(root.glob(LISTS))


def read(root: Path) -> DataSet:
    """:raises TrainingError: a file is missing"""
    listing = Listing()
    lists = sorted(root.glob(LISTS))
    if not lists:
        raise TrainingError(f"{root / LISTS} is missing: nothing says which pictures are for training")
    for path in lists:
        split = canonical_split(path.name.removeprefix("Flickr_8k.").removesuffix("Images.txt"))
        for line in read_text(path).splitlines():
            if name := line.strip():
                listing.picture(name, split, path.name)
    for name, caption, where in token_lines(root / CAPTIONS, listing.problems):
        listing.caption(name, caption, where)  # some are of pictures in no split
    return listing.finish(root)


def token_lines(path: Path, problems: list[Problem]) -> Iterator[tuple[str, str, str]]:
    """Picture, caption and place of every line of a ``.token`` file.

    :param problems: takes the lines that are not of this form
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        key, tab, caption = line.rstrip("\r").partition("\t")
        name, hash_sign, _ = key.rpartition("#")
        where = f"{path.name} line {number}"
        if tab and hash_sign:
            yield name, caption, where
        elif line.strip():
            problems.append(Problem(where, f"is not PICTURE#N, tab, caption: {line[:60]!r}"))
