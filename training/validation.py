"""Free-running captions of a network under training, by which its epochs are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from model.config import Decoding, Preprocessing
from model.decoding import greedy
from model.network import CaptionNetwork
from model.vocabulary import Vocabulary, detokenize
from training.dataset import Example, Pixels
from training.features import run_stages

BATCH = 64


@torch.inference_mode()
def greedy_captions(
    network: CaptionNetwork,
    vocabulary: Vocabulary,
    limits: Decoding,
    parts: Iterable[Tensor],
    depth: int,
) -> list[str]:
    """One caption for each picture.

    :param parts: what the encoder's first ``depth`` stages made of some pictures [B, C, H, W]; with 0 the
        images themselves
    """
    network.eval()
    captions: list[str] = []
    for part in parts:
        seen = network.look(run_stages(network, part.to(network.mean.device), depth))
        tokens = greedy(network, seen, limits).tokens[:, 0]  # [B, T]
        captions += [detokenize(vocabulary.decode(ids)) for ids in tokens.tolist()]
    return captions


def images(
    network: CaptionNetwork, examples: Sequence[Example], preprocessing: Preprocessing, workers: int
) -> Iterator[Tensor]:
    """Normalised pictures [B, 3, S, S], a batch at a time: those of a large split do not fit into memory."""
    for _, pixels in DataLoader(Pixels(examples, preprocessing), BATCH, num_workers=workers):
        yield network.normalise(pixels.to(network.mean.device))
