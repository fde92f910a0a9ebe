"""``captioner prepare``: data set → resized pictures, captions by split, vocabulary."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

Layout = Literal["flickr8k", "flickr30k", "coco", "karpathy", "csv", "prepared"]
SHOWN = 20  # of what was skipped; the file has all


def prepare(
    data: Annotated[
        str, typer.Argument(help="Folder of the data set; or coco2014, coco2017 to download it.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for what is made.")],
    layout: Annotated[Layout | None, typer.Option(help="Read it as this.", show_default="recognised")] = None,
    image_size: Annotated[int, typer.Option(min=32, help="Pixels of the shorter side at most.")] = 256,
    vocabulary_threshold: Annotated[
        int, typer.Option(min=1, help="Times a word must stand in the training captions.")
    ] = 4,
    base_url: Annotated[
        str | None, typer.Option(help="A mirror of COCO's server.", show_default="COCO's server")
    ] = None,
) -> None:
    """Make a data set ready for training: pictures resized, captions by split, vocabulary.

    What is made is given to `captioner train --data` and `captioner evaluate --data`. Both take the data set
    itself too; with large photographs they then decode them at full size every time.

        captioner prepare ~/flickr8k --output data/flickr8k

        captioner prepare coco2014 --output data/coco    # downloads 20 GB into data/coco/source first

        captioner prepare ~/coco --layout karpathy --output data/coco

        captioner prepare ~/my-photos --output data/mine --vocabulary-threshold 2

    Taken are Flickr8k, Flickr30k and COCO as they are published, Karpathy's split files
    (`dataset_coco.json`, ...) beside the pictures, and a folder of pictures with a `captions.csv`:

        image,caption,split

        cats/one.jpg,A cat sleeps on a chair.,train

        cats/one.jpg,A sleeping cat.,train

    Without the column `split` a tenth of the pictures each, by a hash of their names, is dev and test.

    Pictures and captions that cannot be used are skipped and listed in `skipped.tsv`. Run it again after it
    was interrupted or pictures have changed: only what is missing is done. The copies keep their shape.
    """
    from training.coco import HOST, RELEASES
    from training.prepare import SKIPPED, prepare_release
    from training.prepare import prepare as run_prepare

    settings = (layout, image_size, vocabulary_threshold, _say, _meter)
    if data in RELEASES:
        done = prepare_release(data, output, base_url or HOST, *settings)
    else:
        done = run_prepare(Path(data), output, *settings)
    for where, what in done.skipped[:SHOWN]:
        _say(f"skipped {where}: {what}")
    if len(done.skipped) > SHOWN:
        _say(f"skipped {len(done.skipped) - SHOWN:,} more")
    for name, split in done.manifest.splits.items():
        print(f"{name}: {split.pictures:,} of {split.listed:,} pictures, {split.captions:,} captions")
    print(f"vocabulary: {done.manifest.words:,} words")
    if done.skipped:
        print(f"skipped: {len(done.skipped):,} pictures and captions, listed in {output / SKIPPED}")
    print(f"{output}: {done.copied:,} pictures copied" if done.changed else f"{output}: nothing left to do")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


@contextmanager
def _meter(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere a line at the beginning."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    amount = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
    if not console.is_terminal:
        _say(f"{title}: {total:,} {unit}")
    columns = (TextColumn("{task.description}"), BarColumn(), *amount, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.update(task, completed=done)
