"""Scores of a checkpoint on a split, from the captions that the service would give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from model.captioner import Captioner
from model.config import Decoding
from model.decoding import greedy
from model.errors import InferenceError, PictureError
from model.network import CaptionNetwork
from model.preprocessing import load_pixels
from model.vocabulary import Vocabulary, detokenize
from training.dataset import load_split
from training.errors import TrainingError
from training.files import write_atomically
from training.metrics import all_metrics

BATCH = 32


class Report(msgspec.Struct, frozen=True):
    """What ``captioner evaluate`` found. Scores are fractions: papers print a CIDEr-D of 0.5 as 50."""

    checkpoint: str
    revision: str
    split: str
    pictures: int
    beam: int
    scores: dict[str, float]


def evaluate(
    checkpoint: Path,
    data: Path,
    split: str,
    beam: int = 1,
    device: str = "cpu",
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> tuple[Report, dict[str, str]]:
    """Caption a whole split in float32 and score it.

    :param progress: called with the number of pictures done and their total
    :returns: the report, and the caption of each picture by file name
    :raises TrainingError: a picture of the split cannot be read or captioned: the score of the others would
        not be the split's
    :raises CheckpointError: see :func:`model.checkpoint.load`
    """
    captioner = Captioner.load(checkpoint, device)
    examples = load_split(data, split)
    captions: dict[str, str] = {}
    for first in range(0, len(examples), BATCH):
        part = examples[first : first + BATCH]
        try:
            pixels = np.stack([load_pixels(e.path, captioner.config.preprocessing) for e in part])
        except (PictureError, OSError) as error:
            raise TrainingError(
                f"a picture of the split {split} cannot be read, and scores of the others are not "
                f"the split's: {error}"
            ) from None
        for example, result in zip(part, captioner.caption(pixels, [beam] * len(part)), strict=True):
            if isinstance(result, InferenceError):
                raise TrainingError(f"{example.name}: {result}")
            captions[example.name] = result[0].text
        progress(first + len(part), len(examples))
    scores = all_metrics(list(captions.values()), [e.captions for e in examples])
    report = Report(captioner.config.name, captioner.config.revision, split, len(examples), beam, scores)
    return report, captions


def write_report(folder: Path, report: Report, captions: dict[str, str]) -> None:
    """``report.json`` and ``captions.jsonl`` (``{"image", "caption"}`` a line) in ``folder``."""
    write_atomically(folder / "report.json", msgspec.json.format(msgspec.json.encode(report), indent=2))
    lines = [msgspec.json.encode({"image": name, "caption": text}) for name, text in captions.items()]
    write_atomically(folder / "captions.jsonl", b"\n".join(lines) + b"\n")


@torch.inference_mode()
def greedy_captions(
    network: CaptionNetwork, vocabulary: Vocabulary, limits: Decoding, features: Tensor
) -> list[str]:
    """Captions for pooled features [N, C], for choosing between epochs without running the encoder again."""
    network.eval()
    captions: list[str] = []
    for part in features.to(network.mean.device).split(256):
        tokens = greedy(network, network.embed_features(part), limits).tokens[:, 0]  # [B, T]
        captions += [detokenize(vocabulary.decode(ids)) for ids in tokens.tolist()]
    return captions
