"""One training run in several processes, as torchrun starts them: who does what, and what they share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec
import torch
import torch.distributed as dist
from torch import Tensor, nn


class Processes(msgspec.Struct, frozen=True):
    """This process's number among all of the run."""

    rank: int = 0
    count: int = 1

    @property
    def main(self) -> bool:
        """Whether this process validates, saves and reports for all."""
        return self.rank == 0

    def share(self, rows: list[int]) -> list[int]:
        """This process's part of a batch."""
        return rows[self.rank :: self.count]

    def agree(self, value: float) -> float:
        """The main process's value, in every process."""
        if self.count == 1:
            return value
        shared = [value]
        dist.broadcast_object_list(shared, src=0)
        return float(shared[0])

    def mean(self, value: float) -> float:
        """The mean of all processes' values, in every process."""
        if self.count == 1:
            return value
        values: list[float] = [0.0] * self.count
        dist.all_gather_object(values, value)
        return sum(values) / self.count

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The main process does alone what stands inside; then the others, who find what it left."""
        if not self.main:
            dist.barrier()
        yield
        if self.main and self.count > 1:
            dist.barrier()


ALONE = Processes()
LONGEST_WAIT = timedelta(hours=12)  # of the others while one computes features or validates


@contextmanager
def processes(device: str) -> Iterator[tuple[Processes, str]]:
    """Join the others if torchrun started this process, else stand alone.

    :param device: ``cuda`` becomes this process's own GPU
    """
    if "RANK" not in os.environ:
        yield ALONE, device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()


class SharedBatchNorm(nn.BatchNorm1d):
    """BatchNorm over the batches of all processes, so that they learn what one process would.

    PyTorch's own SyncBatchNorm runs on GPUs alone.
    """

    @classmethod
    def of(cls, norm: nn.BatchNorm1d) -> SharedBatchNorm:
        """Takes the place of ``norm``, with its parameters and statistics."""
        shared = cls(norm.num_features, norm.eps, norm.momentum)
        shared.load_state_dict(norm.state_dict())
        return shared.train(norm.training).to(norm.weight.device)

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, C] → [B, C]; B may differ between processes."""
        if not self.training:
            return super().forward(vectors)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        vectors = vectors.float()  # sums of squares and counts would be lost in bfloat16
        ones = vectors.new_ones(len(vectors), 1)
        sums = _Sum.apply(torch.cat([vectors.sum(0), (vectors**2).sum(0), ones.sum(0)]))  # [2 C + 1]
        count = sums[-1]
        mean = sums[: self.num_features] / count  # [C]
        variance = sums[self.num_features : -1] / count - mean**2  # [C]
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            unbiased = variance * count / (count - 1)
            self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)
        return (vectors - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias


class _Sum(torch.autograd.Function):
    """A sum over all processes through which gradients flow back to each of them."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
