"""One epoch of optimisation: the same for every phase, whatever its batches and its objective."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from model.network import CaptionNetwork
from training.batches import Batch, Batches, plan
from training.config import Phase
from training.distributed import ALONE, Processes
from training.features import run_stages
from training.objectives import Objective
from training.precision import autocast
from training.schedule import learning_rate_factor
from training.state import State

GRADIENT_CLIP = 1.0  # norm over all parameters


class Step(NamedTuple):
    """What one step of the optimiser did; ``loss`` is this process's share of the batch's."""

    loss: float
    gradient_norm: float
    learning_rate: float


class Learner:
    """A network under training in one phase: its optimiser, learning-rate curve and averaged weights."""

    def __init__(
        self,
        network: CaptionNetwork,
        phase: Phase,
        objective: Objective,
        batches: Batches,
        bfloat16: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self.network, self.phase, self.objective, self.batches = network, phase, objective, batches
        self.processes = processes
        _release(network, phase.encoder_stages)
        self.optimizer = torch.optim.AdamW(_parameter_groups(network, phase), betas=phase.betas, fused=True)
        self.average = AveragedModel(network, multi_avg_fn=_moving_average(phase.ema_decay), use_buffers=True)
        self.loss: nn.Module = _Loss(network, objective, batches, bfloat16)
        if processes.count > 1:
            self.loss = DistributedDataParallel(self.loss, broadcast_buffers=False)

    def epoch(self, seed: Sequence[int], scores: Sequence[float], first: int = 0) -> Iterator[Step]:
        """Train on every batch once, from batch ``first`` on.

        All chance depends on ``seed`` and a batch's position alone, so that a run that was broken off goes on
        as it would have gone.

        :param seed: numbers that no other epoch has
        :param scores: of the phase's epochs before this one
        """
        ordered = plan(
            self.batches.pictures, self.phase.batch_size, self.phase.passes, self.processes, _generator(seed)
        )
        inputs = self.batches.inputs(
            [part for batch in ordered[first:] for part in batch.parts], _generator([*seed, 1])
        )
        for number, batch in enumerate(ordered[first:], start=first):
            progress = (len(scores) + (number + 0.5) / len(ordered)) / self.phase.epochs
            torch.manual_seed(_mix([*seed, 2, number, self.processes.rank]))
            yield self._step(batch, inputs, progress, scores)

    def _step(self, batch: Batch, inputs: Iterator[Tensor], progress: float, scores: Sequence[float]) -> Step:
        factor = learning_rate_factor(self.phase, progress, scores)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.objective.prepare(self.network, progress)
        self.optimizer.zero_grad()
        # Gradients of several processes are averaged, not summed.
        share = self.processes.count / self.objective.total(batch.rows)
        total = 0.0
        for i, rows in enumerate(batch.parts, start=1):
            with nullcontext() if i == len(batch.parts) else self._unshared():
                loss = self.loss(next(inputs), rows) * share
                loss.backward()
            total += loss.item()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_CLIP)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return Step(total, norm.item(), self.phase.learning_rate * factor)

    def _unshared(self) -> AbstractContextManager[None]:
        """Gradients stay in this process until the last part of a batch."""
        return self.loss.no_sync() if isinstance(self.loss, DistributedDataParallel) else nullcontext()

    @property
    def averaged(self) -> CaptionNetwork:
        """The network with its weights' exponential moving average: the one that is measured and kept."""
        return cast(CaptionNetwork, self.average.module)

    def save_to(self, state: State) -> None:
        """Put all that the next step depends on into ``state``."""
        state.network = self.network.state_dict()
        state.average = self.average.state_dict()
        state.optimizer = self.optimizer.state_dict()

    def resume_from(self, state: State) -> None:
        """Take up what :meth:`save_to` put there."""
        self.network.load_state_dict(state.network)
        self.average.load_state_dict(state.average)
        self.optimizer.load_state_dict(state.optimizer)


class _Loss(nn.Module):
    """Inputs of a part of a batch → its loss: what runs alike in every process."""

    def __init__(
        self, network: CaptionNetwork, objective: Objective, batches: Batches, bfloat16: bool
    ) -> None:
        super().__init__()
        self.network, self.objective, self.batches, self.use_bfloat16 = network, objective, batches, bfloat16

    def forward(self, inputs: Tensor, rows: list[int]) -> Tensor:
        device, depth = self.network.mean.device, self.batches.depth
        inputs = inputs.to(device)
        with autocast(device, self.use_bfloat16):
            if not depth:
                inputs = self.network.normalise(inputs)
            return self.objective.loss(self.network, run_stages(self.network, inputs, depth), rows)


def _mix(numbers: Sequence[int]) -> int:
    """One seed of several numbers."""
    return int.from_bytes(hashlib.sha256(repr(list(numbers)).encode()).digest()[:7], "big")


def _generator(seed: Sequence[int]) -> torch.Generator:
    return torch.Generator().manual_seed(_mix(seed))


Tensors = tuple[Tensor, ...] | list[Tensor]


def _moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Exponential moving average that looks back less at first, so that it soon forgets where it began."""

    def average(old: Tensors, new: Tensors, updates: Tensor | int) -> None:
        if old[0].is_floating_point():
            keep = min(decay, (1 + int(updates)) / (10 + int(updates)))
            get_ema_multi_avg_fn(keep)(old, new, updates)
        else:
            for counter, newer in zip(old, new, strict=True):
                counter.copy_(newer)

    return average


def _release(network: CaptionNetwork, stages: int) -> None:
    """Let the decoder and the encoder's last ``stages`` stages learn, and nothing else."""
    network.zero_grad()  # a stage that rests from now on would keep its last gradient, which clipping counts
    network.requires_grad_(True)
    network.encoder.requires_grad_(False)
    for stage in network.encoder.stages()[-stages:] if stages else []:
        stage.requires_grad_(True)


def _parameter_groups(network: CaptionNetwork, phase: Phase) -> list[dict[str, object]]:
    """AdamW's groups: encoder and decoder, matrices with weight decay and vectors without."""
    encoder = {id(p) for p in network.encoder.parameters()}
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in encoder, parameter.dim() > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "peak": phase.encoder_learning_rate if in_encoder else phase.learning_rate,
            "weight_decay": phase.weight_decay if is_matrix else 0.0,
        }
        for (in_encoder, is_matrix), parameters in groups.items()
    ]
