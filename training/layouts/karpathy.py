"""Karpathy's split files (Karpathy and Li 2015): ``dataset_flickr8k.json``, ``dataset_flickr30k.json``,
``dataset_coco.json``, beside the pictures of the data set.

``{"images": [{"filename", "filepath" (COCO alone), "split", "sentences": [{"raw"}]}]}``. COCO's ``restval``,
the pictures of val2014 that neither validate nor test, counts as train, as in all papers that use the split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from training.errors import TrainingError
from training.layouts.source import DataSet, Listing, canonical_split, clean_name, read_bytes

NAME = "karpathy"
LOOKS_FOR = "dataset_flickr8k.json, dataset_flickr30k.json or dataset_coco.json"
FILES = ("dataset_flickr8k.json", "dataset_flickr30k.json", "dataset_coco.json")


class _Sentence(msgspec.Struct):
    raw: Any = None


class _Image(msgspec.Struct):
    filename: str
    split: str
    sentences: list[_Sentence] = []
    filepath: str = ""


class _File(msgspec.Struct):
    images: list[_Image]


def found(root: Path) -> bool:
    return any((root / name).is_file() for name in FILES)


def read(root: Path) -> DataSet:
    """:raises TrainingError: there is none, there are several, or it is not of this form"""
    files = [root / name for name in FILES if (root / name).is_file()]
    if not files:
        raise TrainingError(f"no split file of Karpathy's in {root}: looked for {LOOKS_FOR}")
    if len(files) > 1:
        names = " and ".join(path.name for path in files)
        raise TrainingError(f"{root} holds {names}: leave only the one that belongs to the pictures")
    return read_file(files[0])


def read_file(path: Path) -> DataSet:
    """:raises TrainingError: it is missing or not of this form"""
    try:
        images = msgspec.json.decode(read_bytes(path), type=_File).images
    except msgspec.DecodeError as error:
        raise TrainingError(f"{path} is not a split file of Karpathy's: {error}") from None
    listing = Listing()
    for image in images:
        name = clean_name(f"{image.filepath}/{image.filename}".lstrip("/"))
        split = "train" if image.split == "restval" else canonical_split(image.split)
        listing.picture(name, split, path.name)
        for number, sentence in enumerate(image.sentences, 1):
            listing.caption(name, sentence.raw, f"{path.name} {name}, caption {number}")
    return listing.finish(path.parent)
