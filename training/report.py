"""The folder that ``captioner evaluate`` leaves: figures, captions, and a page to look through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from training import contact_sheet
from training.errors import TrainingError
from training.evaluation import Evaluation
from training.files import write_atomically


def to_json(evaluations: Sequence[Evaluation]) -> bytes:
    """The report of one evaluation as an object, those of several as a list."""
    reports = [evaluation.report for evaluation in evaluations]
    return msgspec.json.format(msgspec.json.encode(reports[0] if len(reports) == 1 else reports), indent=2)


def write(folder: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write ``report.json``, ``captions.jsonl`` and ``contact-sheet.html`` with its thumbnails.

    :param evaluations: of one checkpoint on one split, each with another beam width
    :raises TrainingError: the folder cannot be written
    """
    lines = [msgspec.json.encode(caption) for evaluation in evaluations for caption in evaluation.captions]
    try:
        write_atomically(folder / "report.json", to_json(evaluations) + b"\n")
        write_atomically(folder / "captions.jsonl", b"\n".join(lines) + b"\n")
        contact_sheet.write(folder, evaluations)
    except OSError as error:
        raise TrainingError(f"{folder} cannot be written: {error.strerror or error}") from None
