"""Free-running captions of a network under training, by which its epochs are compared."""

from __future__ import annotations

import torch
from torch import Tensor

from model.config import Decoding
from model.decoding import greedy
from model.network import CaptionNetwork
from model.vocabulary import Vocabulary, detokenize
from training.features import run_stages

BATCH = 128


@torch.inference_mode()
def greedy_captions(
    network: CaptionNetwork, vocabulary: Vocabulary, limits: Decoding, cached: Tensor, depth: int
) -> list[str]:
    """One caption for each of N pictures.

    :param cached: what the encoder's first ``depth`` stages made of the pictures [N, C, H, W]
    """
    network.eval()
    captions: list[str] = []
    for part in cached.split(BATCH):
        seen = network.look(run_stages(network, part.to(network.mean.device), depth))
        tokens = greedy(network, seen, limits).tokens[:, 0]  # [B, T]
        captions += [detokenize(vocabulary.decode(ids)) for ids in tokens.tolist()]
    return captions
