"""The layouts in which captioned pictures are published, recognised by what lies in the folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from training.errors import TrainingError
from training.layouts import coco, flickr8k, flickr30k, karpathy, prepared, table
from training.layouts.source import DataSet


class Layout(NamedTuple):
    """``found`` tells from file names whether a folder is in the layout, ``read`` reads it."""

    name: str
    looks_for: str
    found: Callable[[Path], bool]
    read: Callable[[Path], DataSet]


# The first that fits is taken: Karpathy's files and the CSV's may lie beside the files of another layout.
LAYOUTS = {
    module.NAME: Layout(module.NAME, module.LOOKS_FOR, module.found, module.read)
    for module in (prepared, karpathy, flickr8k, flickr30k, coco, table)
}


def recognise(root: Path, forced: str | None = None) -> Layout:
    """The layout of a folder.

    :param forced: the name of a layout that is taken untested
    :raises TrainingError: there is no such folder or layout, or none fits
    """
    if not root.is_dir():
        raise TrainingError(f"there is no folder {root}")
    if forced:
        if forced not in LAYOUTS:
            raise TrainingError(f"{forced!r} is not one of the layouts {', '.join(LAYOUTS)}")
        return LAYOUTS[forced]
    for layout in LAYOUTS.values():
        if layout.found(root):
            return layout
    looked = "; ".join(f"{layout.name}: {layout.looks_for}" for layout in LAYOUTS.values())
    raise TrainingError(f"{root} is in none of the known layouts. Looked for {looked}")
