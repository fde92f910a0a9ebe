"""Where a phase's batches come from: features computed beforehand, or pictures through the encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from model.config import Preprocessing
from training.augment import random_views
from training.dataset import Example, Pixels
from training.distributed import Processes


class Batch(NamedTuple):
    """Pictures that make one step of the optimiser.

    ``rows`` are the positions of all of them in the split, ``parts`` those of this process, a list for each
    pass through the network.
    """

    rows: list[int]
    parts: list[list[int]]


class Batches(Protocol):
    """How many pictures there are, and what enters the network for some of them."""

    @property
    def pictures(self) -> int: ...

    @property
    def depth(self) -> int:
        """Stages of the encoder that have run already."""
        ...

    def inputs(self, parts: list[list[int]], generator: torch.Generator) -> Iterator[Tensor]:
        """For each part: images uint8 [B, S, S, 3], or after ``depth`` stages maps [B, C, H, W]."""
        ...


class CachedBatches:
    """Outputs of the encoder's first ``depth`` stages [views, N, C, H, W], computed beforehand; of every
    picture one view, drawn at random."""

    def __init__(self, cached: Tensor, depth: int) -> None:
        self.cached = cached
        self.depth = depth

    @property
    def pictures(self) -> int:
        return self.cached.shape[1]

    def inputs(self, parts: list[list[int]], generator: torch.Generator) -> Iterator[Tensor]:
        drawn = torch.randint(0, len(self.cached), (self.pictures,), generator=generator)
        for rows in parts:
            yield self.cached[drawn[rows], rows].float()


class EncodedBatches:
    """Pictures, each time in a new random view.

    They are read so large that even the smallest crop need not be enlarged.
    """

    depth = 0

    def __init__(
        self,
        examples: Sequence[Example],
        preprocessing: Preprocessing,
        crop: tuple[float, float],
        workers: int,
    ) -> None:
        self.size = preprocessing.image_size
        read_size = round(self.size / crop[0])
        self.pixels = Pixels(examples, msgspec.structs.replace(preprocessing, image_size=read_size))
        self.crop, self.workers = crop, workers

    @property
    def pictures(self) -> int:
        return len(self.pixels)

    def inputs(self, parts: list[list[int]], generator: torch.Generator) -> Iterator[Tensor]:
        # Seeds of the views are drawn beforehand and for all, so that each is the same wherever one begins.
        seeds = torch.randint(0, 2**62, (self.pictures,), generator=generator)
        # Without a generator of its own the loader would draw from the one that dropout draws from, in the
        # first step of an epoch alone, or in the first after a resume.
        yield from DataLoader(
            self.pixels,
            batch_sampler=parts,
            num_workers=self.workers,
            generator=generator,
            collate_fn=_Views(seeds, self.size, self.crop),  # drawn where they are read: beside the training
        )


class _Views:
    """Pictures of a part, as :class:`training.dataset.Pixels` gives them → their views uint8 [B, S, S, 3]."""

    def __init__(self, seeds: Tensor, size: int, crop: tuple[float, float]) -> None:
        self.seeds, self.size, self.crop = seeds, size, crop

    def __call__(self, pictures: list[tuple[int, NDArray[np.uint8]]]) -> Tensor:
        chance = torch.Generator().manual_seed(int(self.seeds[pictures[0][0]]))
        pixels = torch.from_numpy(np.stack([pixels for _, pixels in pictures]))  # [B, R, R, 3]
        return random_views(pixels, chance, self.size, self.crop)


def plan(
    pictures: int, batch_size: int, passes: int, processes: Processes, generator: torch.Generator
) -> list[Batch]:
    """An epoch: each picture once, in an order drawn at random.

    :param passes: parts that a batch is shared out to in each process, one after the other
    """
    order = torch.randperm(pictures, generator=generator)
    batches: list[Batch] = []
    for chunk in order.split(batch_size)[: count_steps(pictures, batch_size, passes, processes)]:
        rows: list[int] = chunk.tolist()
        batches.append(Batch(rows, [processes.share(rows[i::passes]) for i in range(passes)]))
    return batches


def count_steps(pictures: int, batch_size: int, passes: int, processes: Processes) -> int:
    """Batches in an epoch. A last one of fewer than :func:`least_pictures` is left out."""
    return pictures // batch_size + (pictures % batch_size >= least_pictures(passes, processes))


def least_pictures(passes: int, processes: Processes) -> int:
    """Of a batch: in each pass every process must have one, and BatchNorm cannot learn from a single one."""
    return passes * max(2, processes.count)
