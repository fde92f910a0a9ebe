"""Where a phase's batches come from: features computed beforehand, or pictures through the encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from model.config import Preprocessing
from model.network import CaptionNetwork
from training.augment import random_views
from training.dataset import Example, Pixels


class Batches(Protocol):
    """An epoch of batches, and the way from a batch to pooled features."""

    def __len__(self) -> int: ...

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, list[int]]]:
        """Each picture once: a batch of inputs, and the positions of its pictures in the split."""
        ...

    def features(self, inputs: Tensor) -> Tensor:
        """Inputs of a batch → pooled features [B, C] on the network's device."""
        ...


class CachedBatches:
    """Features [views, N, C] computed beforehand; of every picture one view an epoch, drawn at random."""

    def __init__(self, network: CaptionNetwork, cached: Tensor, batch_size: int) -> None:
        self.network = network
        self.cached = cached
        self.batch_size = batch_size

    def __len__(self) -> int:
        return _count(self.cached.shape[1], self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, list[int]]]:
        views, pictures, _ = self.cached.shape
        drawn = torch.randint(0, views, (pictures,), generator=generator)
        for rows in _shuffled(pictures, self.batch_size, generator):
            yield self.cached[drawn[rows], rows], rows

    def features(self, inputs: Tensor) -> Tensor:
        return inputs.to(self.network.mean.device)


class EncodedBatches:
    """Pictures that go through the encoder, with gradients, each time in a new random view."""

    def __init__(
        self,
        network: CaptionNetwork,
        examples: Sequence[Example],
        preprocessing: Preprocessing,
        batch_size: int,
    ) -> None:
        self.network = network
        self.pixels = Pixels(examples, preprocessing)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return _count(len(self.pixels), self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, list[int]]]:
        order = _shuffled(len(self.pixels), self.batch_size, generator)
        for rows, pixels in DataLoader(self.pixels, batch_sampler=order, num_workers=1):
            yield random_views(pixels, generator), rows.tolist()

    def features(self, inputs: Tensor) -> Tensor:
        return self.network.features(self.network.normalise(inputs.to(self.network.mean.device)))


def _count(pictures: int, batch_size: int) -> int:
    """Batches in an epoch. BatchNorm cannot learn from one picture: a last batch of one is left out."""
    return pictures // batch_size + (pictures % batch_size > 1)


def _shuffled(pictures: int, batch_size: int, generator: torch.Generator) -> list[list[int]]:
    order = torch.randperm(pictures, generator=generator)
    return [rows.tolist() for rows in order.split(batch_size)][: _count(pictures, batch_size)]
