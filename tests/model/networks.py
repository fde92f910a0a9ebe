"""Small networks for the tests."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import msgspec
import torch

from model.checkpoint import Checkpoint
from model.config import Architecture, Config, Decoding, Preprocessing
from model.network import CaptionNetwork, Seen
from model.vocabulary import SPECIALS, Vocabulary

SIZE = 32


@cache
def _initial(vocabulary_size: int, attention_size: int) -> CaptionNetwork:
    """Built once for each size: filling the encoder with random numbers is most of a test's time."""
    torch.manual_seed(0)
    return CaptionNetwork(_config(vocabulary_size, attention_size)).eval()


def _config(vocabulary_size: int, attention_size: int) -> Config:
    return Config(
        name="small",
        vocabulary_size=vocabulary_size,
        architecture=Architecture(
            encoder="resnet18", embed_size=16, hidden_size=24, attention_size=attention_size
        ),
        preprocessing=Preprocessing(image_size=SIZE),
    )


def small_checkpoint(
    words: int = 30,
    decoding: Decoding | None = None,
    seed: int = 0,
    spread: float = 4.0,
    attention_size: int = 0,
) -> Checkpoint:
    """A random ResNet-18 captioner of a few words; the larger ``spread``, the surer of its words it is."""
    vocabulary = Vocabulary([*SPECIALS, *(f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(words))])
    config = _config(len(vocabulary), attention_size)
    config = msgspec.structs.replace(config, decoding=decoding or Decoding())
    network = deepcopy(_initial(len(vocabulary), attention_size))
    torch.manual_seed(seed)
    for module in (network.project, network.embed, network.lstm, network.output):
        module.reset_parameters()
    with torch.no_grad():
        for parameter in (*network.lstm.parameters(), *network.output.parameters()):
            parameter.mul_(spread)
    return Checkpoint(config, vocabulary, network)


def random_seen(network: CaptionNetwork, pictures: int, seed: int = 0) -> Seen:
    """What a small network knows of pictures that never were: of four regions each."""
    generator = torch.Generator().manual_seed(seed)
    features = 3 * torch.randn(pictures, network.encoder.feature_size, 2, 2, generator=generator)
    regions = network.attention.regions(features) if network.attention else None
    return Seen(3 * torch.randn(pictures, network.embed.embedding_dim, generator=generator), regions)
