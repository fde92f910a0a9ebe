"""Flickr30k (Young et al. 2014): the authors' ``results_20130124.token`` or Kaggle's ``results.csv``.

The first has a line ``PICTURE#N<tab>CAPTION`` for every caption; the second ``PICTURE| N| CAPTION`` under the
header ``image_name| comment_number| comment``, itself in the folder or in ``flickr30k_images``. The data set
has no split of its own: Karpathy's is taken where ``dataset_flickr30k.json`` lies with it, otherwise each
picture's follows from its name (:func:`training.layouts.source.split_by_hash`).
"""

from __future__ import annotations

from pathlib import Path

from training.errors import TrainingError
from training.layouts import karpathy, table
from training.layouts.flickr8k import token_lines
from training.layouts.source import DataSet, Listing, split_by_hash

NAME = "flickr30k"
LOOKS_FOR = "results_20130124.token, or results.csv with bars"
TOKENS = "results_20130124.token"
TABLES = ("results.csv", "flickr30k_images/results.csv")
KARPATHY = "dataset_flickr30k.json"


def found(root: Path) -> bool:
    return (root / TOKENS).is_file() or _table(root) is not None


def read(root: Path) -> DataSet:
    """:raises TrainingError: neither of the files is there"""
    if (root / KARPATHY).is_file():
        return karpathy.read_file(root / KARPATHY)
    listing = Listing()
    if (root / TOKENS).is_file():
        lines = token_lines(root / TOKENS, listing.problems)
    elif path := _table(root):
        lines = ((row.image, row.caption, row.where) for row in table.rows(path, listing.problems))
    else:
        raise TrainingError(f"no captions of Flickr30k in {root}: looked for {LOOKS_FOR}")
    for name, caption, where in lines:
        listing.picture(name, split_by_hash(name), where)
        listing.caption(name, caption, where)
    return listing.finish(root)


def _table(root: Path) -> Path | None:
    for name in TABLES:
        path = root / name
        if path.is_file():
            with path.open("rb") as file:
                if b"|" in file.readline(1000):
                    return path
    return None
