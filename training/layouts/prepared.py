"""A folder that ``captioner prepare`` made.

``prepared.json`` is written last and says what the folder is. ``SPLIT.jsonl`` has a line
``{"image", "file", "captions"}`` for every picture, ``file`` in ``images/``. ``vocabulary.json`` lists the
words as a checkpoint does, ``skipped.tsv`` what was left out and why, ``pictures.jsonl`` from which files the
copies were made.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from training.errors import TrainingError
from training.layouts.source import DataSet, Example, leaves, read_bytes

NAME = "prepared"
LOOKS_FOR = "prepared.json"
MANIFEST, JOURNAL, IMAGES = "prepared.json", "pictures.jsonl", "images"
FORMAT_VERSION = 1


class Split(msgspec.Struct, frozen=True):
    """``listed``: pictures that the source puts into the split, those that were skipped included."""

    pictures: int
    captions: int
    listed: int


class Manifest(msgspec.Struct, frozen=True):
    """The whole of ``prepared.json``. ``image_size``: pixels of the shorter side at most."""

    layout: str
    image_size: int
    vocabulary_threshold: int
    words: int
    splits: dict[str, Split]
    format_version: int = FORMAT_VERSION


class Picture(msgspec.Struct, frozen=True):
    """A line of ``SPLIT.jsonl``."""

    image: str
    file: str
    captions: tuple[str, ...]


def found(root: Path) -> bool:
    return (root / MANIFEST).is_file() or (root / JOURNAL).is_file()


def read(root: Path) -> DataSet:
    """:raises TrainingError: the folder is not complete or a file of it is damaged"""
    if not (root / MANIFEST).is_file():
        raise TrainingError(
            f"{root} is not complete: run captioner prepare again, it goes on where it stopped"
        )
    data = DataSet({}, {}, [])
    try:
        manifest = msgspec.json.decode(read_bytes(root / MANIFEST), type=Manifest)
        if manifest.format_version != FORMAT_VERSION:
            raise TrainingError(f"{root} was prepared by another version of captioner: prepare it again")
        for name, split in manifest.splits.items():
            lines = read_bytes(root / f"{name}.jsonl").splitlines()
            pictures = [msgspec.json.decode(line, type=Picture) for line in lines]
            if any(leaves(path) for picture in pictures for path in (picture.image, picture.file)):
                raise TrainingError(f"{root} is damaged: {name}.jsonl names a picture outside the folder")
            data.listed[name] = split.listed
            data.splits[name] = [Example(root / IMAGES / p.file, p.captions, p.image) for p in pictures]
    except msgspec.DecodeError as error:
        raise TrainingError(f"{root} is damaged, prepare it again: {error}") from None
    return data
