"""Scores of a checkpoint on a split, from the captions that the service would give."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from model.bulk import caption_many
from model.caption import Caption
from model.captioner import Captioner
from model.errors import CaptionerError
from model.vocabulary import tokenize
from training import fluency
from training.dataset import Example, complete, load_split
from training.errors import TrainingError
from training.layouts.source import canonical_split
from training.metrics import all_metrics
from training.published import shortage

BATCH = 32
TRAIN = "train"


class Report(msgspec.Struct, frozen=True):
    """What ``captioner evaluate`` found. Scores are fractions: papers print a CIDEr-D of 0.5 as 50.

    ``not_measured`` says of each metric that is not among the scores why it is not.
    """

    checkpoint: str
    revision: str
    split: str
    pictures: int
    beam: int
    scores: dict[str, float]
    not_measured: dict[str, str]
    fluency: fluency.Fluency


class Captioned(msgspec.Struct, frozen=True):
    """A picture's caption, how good it is, and what people say. ``faults`` are for a person to read."""

    image: str
    beam: int
    caption: str
    log_probability: float
    cider: float = msgspec.field(name="CIDEr-D")
    faults: list[str]
    references: tuple[str, ...]


class Evaluation(NamedTuple):
    """A checkpoint on a split with one way of decoding; captions and examples in the order of its list."""

    report: Report
    captions: list[Captioned]
    examples: list[Example]


def evaluate(
    checkpoint: Path,
    data: Path,
    split: str,
    beam: int = 1,
    device: str = "cpu",
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> Evaluation:
    """Caption a whole split in float32 and score it.

    :param progress: called with the number of pictures done and their total
    :raises TrainingError: pictures of the split are not listed, or cannot be read or captioned: the score of
        the others would not be the split's
    :raises CheckpointError: see :func:`model.checkpoint.load`
    """
    examples = load_whole_split(data, split)
    captioner = Captioner.load(checkpoint, device, precision="float32")
    results: list[Caption] = []
    for result in caption_many(captioner, (e.path for e in examples), beam, BATCH):
        if isinstance(result, CaptionerError):
            raise TrainingError(_not_whole(split, f"{examples[len(results)].name} has no caption: {result}"))
        results.append(result)
        progress(len(results), len(examples))
    texts, references = [r.text for r in results], [e.captions for e in examples]
    scores = all_metrics(texts, references)
    unfinished, judged_by = _unfinished(data, split, examples)
    report = Report(
        captioner.config.name,
        captioner.config.revision,
        split,
        len(examples),
        beam,
        scores.split,
        scores.not_measured,
        fluency.measure(texts, unfinished, judged_by),
    )
    captions = [
        Captioned(e.name, beam, r.text, r.log_probability, c, fluency.faults(r.text, unfinished), e.captions)
        for e, r, c in zip(examples, results, scores.cider_of_each, strict=True)
    ]
    return Evaluation(report, captions, examples)


def load_whole_split(data: Path, split: str) -> list[Example]:
    """Examples of a split in the order of its list, every one of them.

    :raises TrainingError: see :func:`training.dataset.load_split`; or the list is not the whole split
    """
    examples = load_split(data, split)
    usable, listed = complete(data, split)
    if usable < listed:
        raise TrainingError(_not_whole(split, f"{usable:,} of {listed:,} can be used"))
    if absent := [e.name for e in examples if not e.path.is_file()]:
        more = f" and {len(absent) - 1:,} others are missing" if len(absent) > 1 else " is missing"
        raise TrainingError(_not_whole(split, f"{absent[0]}{more}"))
    if wrong := shortage(canonical_split(split), [e.name for e in examples]):
        raise TrainingError(_not_whole(split, wrong))
    return examples


def _not_whole(split: str, why: str) -> str:
    return f"a score of the split {split} needs all of its pictures: {why}"


def _unfinished(data: Path, split: str, examples: Sequence[Example]) -> tuple[set[Hashable], str]:
    """What cannot end a caption, and the split whose captions say so: ``train`` where there is one."""
    try:
        said, by = load_split(data, TRAIN), TRAIN
    except TrainingError:
        said, by = list(examples), split
    return fluency.unfinished_endings([[tokenize(c) for c in example.captions] for example in said]), by
