"""COCO's caption files (Chen et al. 2015): ``captions_train2014.json``, ``captions_val2017.json``, ...

They lie in ``annotations/`` or in the folder itself, the pictures of ``captions_X.json`` in ``X/``,
``images/X/`` or ``images/``. ``{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}``;
val is the split dev.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from training.errors import TrainingError
from training.layouts.source import (
    PICTURE_FOLDERS,
    DataSet,
    Listing,
    Problem,
    canonical_split,
    clean_name,
    read_bytes,
)

NAME = "coco"
LOOKS_FOR = "annotations/captions_train2014.json, captions_val2014.json or those of 2017"
_FILE = re.compile(r"captions_((train|val|dev|test)\w*)\.json")


class _Image(msgspec.Struct):
    id: int | str
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: int | str
    caption: Any = None


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]


def found(root: Path) -> bool:
    return bool(_files(root))


def read(root: Path) -> DataSet:
    """:raises TrainingError: there are no such files, several of one split, or one is not of this form"""
    files = _files(root)
    if not files:
        raise TrainingError(f"no caption files of COCO in {root}: looked for {LOOKS_FOR}")
    listing = Listing()
    seen: dict[str, Path] = {}
    for path, folder, split in files:
        if split in seen:
            raise TrainingError(
                f"{root} holds {seen[split].name} and {path.name}, both for the split {split}: "
                "move the one that is not meant away"
            )
        seen[split] = path
        _read_file(root, path, folder, split, listing)
    return listing.finish(root)


def _read_file(root: Path, path: Path, folder: str, split: str, listing: Listing) -> None:
    try:
        content = msgspec.json.decode(read_bytes(path), type=_File)
    except msgspec.DecodeError as error:
        raise TrainingError(f"{path} is not a caption file of COCO: {error}") from None
    apart = any((root / parent / folder).is_dir() for parent in PICTURE_FOLDERS)
    names: dict[int | str, str] = {}
    for image in content.images:
        prefixed = apart and not image.file_name.startswith(f"{folder}/")
        name = names[image.id] = clean_name(f"{folder}/{image.file_name}" if prefixed else image.file_name)
        listing.picture(name, split, path.name)
    for number, annotation in enumerate(content.annotations, 1):
        where = f"{path.name} annotation {number}"
        if annotation.image_id in names:
            listing.caption(names[annotation.image_id], annotation.caption, where)
        else:
            listing.problems.append(Problem(where, f"there is no picture {annotation.image_id}"))


def _files(root: Path) -> list[tuple[Path, str, str]]:
    """Each caption file with the folder of its pictures and its split."""
    places = [*sorted(root.glob("annotations/captions_*.json")), *sorted(root.glob("captions_*.json"))]
    return [
        (path, match[1], canonical_split(match[2]))
        for path in places
        if (match := _FILE.fullmatch(path.name))
    ]
