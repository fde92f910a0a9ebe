"""What every layout is read into: pictures with their captions by split, and what was wrong with the rest."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from training.errors import TrainingError

SYNONYMS = {"val": "dev", "valid": "dev", "validation": "dev"}

# Where the published archives of Flickr8k, Flickr30k and COCO put their pictures, and people theirs.
PICTURE_FOLDERS = (
    ".",
    "images",
    "Images",
    "Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "flickr30k-images",
    "flickr30k_images",
    "flickr30k_images/flickr30k_images",
)
_TRIED = 50  # pictures that are looked for in a folder before it is taken for the wrong one


class Example(msgspec.Struct, frozen=True):
    """A picture and all that people said about it."""

    path: Path
    captions: tuple[str, ...]
    relative: str = ""  # to the data set's pictures; the file name alone may stand for several pictures

    @property
    def name(self) -> str:
        """What tells it from all other pictures of the data set."""
        return self.relative or self.path.name


class Problem(NamedTuple):
    """A caption or picture that cannot be used: where it stands in the source, and why."""

    where: str
    what: str


class DataSet(msgspec.Struct, frozen=True):
    """``splits`` holds the pictures that have a caption, in the source's order and not opened yet;
    ``listed`` counts all that the source puts into each split."""

    splits: dict[str, list[Example]]
    listed: dict[str, int]
    problems: list[Problem]


class Listing:
    """Collects pictures and captions while a layout is read; what cannot be used becomes a problem."""

    def __init__(self) -> None:
        self._splits: dict[str, str] = {}
        self._captions: dict[str, list[str]] = {}
        self.problems: list[Problem] = []

    def picture(self, name: str, split: str, where: str) -> None:
        """Put a picture into a split; in the first one it stays, lest it be learnt and tested alike."""
        if not split.isidentifier():  # it will be a file's name
            self.problems.append(Problem(where, f"{name} is in a split called {split!r}"))
            return
        taken = self._splits.setdefault(name, split)
        self._captions.setdefault(name, [])
        if taken != split:
            self.problems.append(Problem(where, f"{name} is in the split {taken} already, not in {split}"))

    def caption(self, name: str, caption: Any, where: str) -> None:
        """Add a caption to a picture that was listed; others are no matter of ours."""
        if name not in self._captions:
            return
        if trouble := _trouble(caption):
            self.problems.append(Problem(where, trouble))
        else:
            self._captions[name].append(caption.strip())

    def finish(self, root: Path) -> DataSet:
        """:raises TrainingError: no picture was listed"""
        if not self._splits:
            first = f": {self.problems[0].where}: {self.problems[0].what}" if self.problems else ""
            raise TrainingError(f"the data set in {root} lists no picture{first}")
        folder = pictures_folder(root, self._splits)
        data = DataSet({}, {}, self.problems)
        for name, split in self._splits.items():
            data.listed[split] = data.listed.get(split, 0) + 1
            examples = data.splits.setdefault(split, [])
            if leaves(name):
                data.problems.append(Problem(name, "lies outside the data set's folder"))
            elif captions := self._captions[name]:
                examples.append(Example(folder / name, tuple(captions), name))
            else:
                data.problems.append(Problem(name, "has no caption"))
        return data


def canonical_split(name: str) -> str:
    """train, dev or test for whatever the data set or the user calls it."""
    name = name.strip().lower()
    return SYNONYMS.get(name, name)


def split_by_hash(name: str) -> str:
    """The split of a picture where its data set has none: a tenth each is test and dev, the rest train.

    Decided by the SHA-256 of its name alone, so that it is the same on every machine and stays when
    pictures are added.
    """
    return {0: "test", 1: "dev"}.get(hashlib.sha256(name.encode()).digest()[0] % 10, "train")


def pictures_folder(root: Path, names: Iterable[str]) -> Path:
    """The one of :data:`PICTURE_FOLDERS` that holds some of the first pictures."""
    first = list(islice(names, _TRIED))
    for folder in PICTURE_FOLDERS:
        if any((root / folder / name).is_file() for name in first):
            return root / folder
    return root / "images"


def clean_name(name: str) -> str:
    """One spelling for each file: ``./a//b.jpg`` is ``a/b.jpg``."""
    return posixpath.normpath(name.strip())


def leaves(name: str) -> bool:
    """Whether a path leads out of the folder it is relative to."""
    return name.startswith("/") or ".." in name.split("/")


def read_text(path: Path, encoding: str = "utf-8-sig") -> str:
    """A text file without its byte order mark; bytes that are no text become U+FFFD.

    :raises TrainingError: it is missing or cannot be read
    """
    return read_bytes(path).decode(encoding, errors="replace")


def read_bytes(path: Path) -> bytes:
    """:raises TrainingError: the file is missing or cannot be read"""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise TrainingError(f"{path} is missing") from None
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}") from None


def _trouble(caption: Any) -> str | None:
    if not isinstance(caption, str):
        return "the caption is not text"
    caption = caption.strip()
    if not caption:
        return "the caption is empty"
    if "\N{REPLACEMENT CHARACTER}" in caption or "\0" in caption:
        return f"the caption is not UTF-8 text: {caption[:60]!r}"
    if "\n" in caption:
        return f"the caption runs over several lines (an open quotation mark?): {caption[:60]!r}"
    if not any(map(str.isalnum, caption)):  # tokenize would find none
        return f"the caption has no words: {caption[:60]!r}"
    return None
