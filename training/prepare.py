"""Data set → resized copies, captions by split and vocabulary. Does only what is not done yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from model.vocabulary import Vocabulary
from training import coco
from training.copies import Copies
from training.errors import TrainingError
from training.files import write_atomically
from training.layouts import recognise
from training.layouts.prepared import JOURNAL, MANIFEST, Manifest, Picture, Split
from training.layouts.source import DataSet, Problem
from training.progress import Meter, no_meter

VOCABULARY, SKIPPED = "vocabulary.json", "skipped.tsv"
SOURCE = "source"  # folder for a data set that is downloaded


class Prepared(NamedTuple):
    """What a run found, and did: pictures copied, and whether anything in the folder changed."""

    manifest: Manifest
    skipped: list[Problem]
    copied: int
    changed: bool


def prepare(
    data: Path,
    output: Path,
    layout: str | None = None,
    image_size: int = 256,
    vocabulary_threshold: int = 4,
    report: Callable[[str], None] = lambda line: None,
    meter: Meter = no_meter,
) -> Prepared:
    """Make ``output`` a folder that training and evaluation take like the data set itself.

    Captions and pictures that cannot be used are left out and listed in ``skipped.tsv``.

    :param layout: name of the layout of ``data``, recognised unless given
    :param image_size: pixels of the copies' shorter side; smaller pictures stay as they are
    :param vocabulary_threshold: a word enters the vocabulary when the training captions hold it so often
    :param report: takes a line about what is found
    :raises TrainingError: ``data`` is in no known layout, nothing of a split can be used, or ``output``
        cannot be written or holds something else
    """
    chosen = recognise(data, layout)
    _check_output(data, output)
    source = chosen.read(data)
    listed = ", ".join(f"{name} {count:,}" for name, count in source.listed.items())
    report(f"{data}: layout {chosen.name}; pictures: {listed}")
    try:
        copies = Copies(output, image_size)
        stale = copies.stale([example for examples in source.splits.values() for example in examples])
        if stale:
            # Until all is done again, nobody shall take the folder for complete.
            (output / MANIFEST).unlink(missing_ok=True)
            with meter("resizing", len(stale), "pictures") as done:
                copies.make(stale, done)
        files, manifest, skipped = _describe(source, copies, chosen.name, vocabulary_threshold)
        changed = [name for name, content in files.items() if _differs(output / name, content)]
        if changed:
            (output / MANIFEST).unlink(missing_ok=True)
            for name in dict.fromkeys([*changed, MANIFEST]):
                write_atomically(output / name, files[name])
    except OSError as error:
        raise TrainingError(f"{output} cannot be written: {error.strerror}") from None
    copied = sum(not copies.made[example.name].problem for example in stale)
    return Prepared(manifest, skipped, copied, bool(copied or changed))


def prepare_release(
    release: str,
    output: Path,
    base_url: str = coco.HOST,
    layout: str | None = None,
    image_size: int = 256,
    vocabulary_threshold: int = 4,
    report: Callable[[str], None] = lambda line: None,
    meter: Meter = no_meter,
) -> Prepared:
    """As :func:`prepare`, of a release of COCO that is downloaded into ``output/source`` first.

    :param release: one of :data:`training.coco.RELEASES`
    :raises TrainingError: see :func:`prepare` and :func:`training.coco.fetch`
    """
    folder = output / SOURCE
    _check_output(folder, output)  # before hours of downloading
    coco.fetch(release, folder, base_url, report, meter)
    return prepare(folder, output, layout, image_size, vocabulary_threshold, report, meter)


def _describe(
    source: DataSet, copies: Copies, layout: str, threshold: int
) -> tuple[dict[str, bytes], Manifest, list[Problem]]:
    """Every file of the folder but the copies, by name; what they say."""
    files: dict[str, bytes] = {}
    splits: dict[str, Split] = {}
    skipped = list(source.problems)
    training: list[str] = []
    for name, listed in source.listed.items():
        pictures = []
        for example in source.splits[name]:
            copy = copies.made[example.name]
            if copy.problem:
                skipped.append(Problem(example.name, copy.problem))
            else:
                pictures.append(Picture(example.name, copy.file, example.captions))
        if not pictures:
            where, what = skipped[-1]
            raise TrainingError(
                f"none of the {listed:,} pictures of the split {name} can be used, last {where}: {what}"
            )
        captions = [caption for picture in pictures for caption in picture.captions]
        if name == "train":
            training = captions
        splits[name] = Split(len(pictures), len(captions), listed)
        files[f"{name}.jsonl"] = b"".join(msgspec.json.encode(picture) + b"\n" for picture in pictures)
    vocabulary = Vocabulary.build(training, threshold)
    manifest = Manifest(layout, copies.image_size, threshold, len(vocabulary), splits)
    files[VOCABULARY] = msgspec.json.format(msgspec.json.encode(vocabulary.words), indent=0)
    files[SKIPPED] = _table(skipped)
    files[MANIFEST] = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    return files, manifest, skipped


def _table(skipped: list[Problem]) -> bytes:
    rows = [("where", "problem"), *skipped]
    return "".join("\t".join(" ".join(field.split()) for field in row) + "\n" for row in rows).encode()


def _differs(path: Path, content: bytes) -> bool:
    return not path.is_file() or path.read_bytes() != content


def _check_output(data: Path, output: Path) -> None:
    """:raises TrainingError: the folder holds anything that a run of ours did not put there"""
    if output.resolve() == data.resolve():
        raise TrainingError(f"the copies need a folder of their own, not that of the data set, {data}")
    if output.is_dir():
        names = {path.name for path in output.iterdir()} - {SOURCE}
        if names and not names & {MANIFEST, JOURNAL}:
            raise TrainingError(
                f"{output} holds something else ({min(names)}): choose an empty or new folder"
            )
    elif output.exists():
        raise TrainingError(f"{output} is not a folder")
