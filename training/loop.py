"""One epoch of optimisation: the same for every phase, whatever its batches and its objective."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import cos, pi
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from model.network import CaptionNetwork
from training.batches import Batches
from training.config import Phase
from training.objectives import Objective
from training.state import State

GRADIENT_CLIP = 1.0  # norm over all parameters


class Learner:
    """A network under training in one phase: its optimiser, learning-rate curve and averaged weights."""

    def __init__(self, network: CaptionNetwork, phase: Phase, objective: Objective, bfloat16: bool) -> None:
        self.network, self.phase, self.objective, self.bfloat16 = network, phase, objective, bfloat16
        _release(network, phase.encoder_stages)
        self.optimizer = torch.optim.AdamW(_parameter_groups(network, phase), betas=(0.9, 0.98), fused=True)
        self.average = AveragedModel(network, avg_fn=_moving_average(phase.ema_decay), use_buffers=True)

    def epoch(self, batches: Batches, number: int, generator: torch.Generator) -> Iterator[float]:
        """Train on every batch once; gives each batch's loss.

        :param number: epochs of the phase before this one
        """
        self.objective.prepare(self.network)
        device = self.network.mean.device
        for i, (inputs, rows) in enumerate(batches.epoch(generator)):
            self._set_learning_rates((number + (i + 0.5) / len(batches)) / self.phase.epochs)
            # No cache: weights that were cast while captions were drawn would carry no gradient.
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False):
                loss = self.objective.loss(self.network, batches.features(inputs), rows)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_CLIP)
            self.optimizer.step()
            self.average.update_parameters(self.network)
            yield loss.item()

    @property
    def averaged(self) -> CaptionNetwork:
        """The network with its weights' exponential moving average: the one that is measured and kept."""
        return cast(CaptionNetwork, self.average.module)

    def save_to(self, state: State) -> None:
        """Put all that the next epoch depends on into ``state``."""
        state.network = self.network.state_dict()
        state.average = self.average.state_dict()
        state.optimizer = self.optimizer.state_dict()

    def resume_from(self, state: State) -> None:
        """Take up what :meth:`save_to` put there."""
        self.network.load_state_dict(state.network)
        self.average.load_state_dict(state.average)
        self.optimizer.load_state_dict(state.optimizer)

    def _set_learning_rates(self, progress: float) -> None:
        factor = warmup_cosine(progress, self.phase.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor


def warmup_cosine(progress: float, warmup: float) -> float:
    """Part of the peak learning rate at ``progress`` (0..1) of a phase: a line up, half a cosine down."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + cos(pi * (progress - warmup) / (1 - warmup)))


def _moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average that looks back less at first, so that it soon forgets where it began."""

    def average(old: Tensor, new: Tensor, updates: Tensor | int) -> Tensor:
        keep = min(decay, (1 + int(updates)) / (10 + int(updates)))
        return old + (new - old) * (1 - keep) if old.is_floating_point() else new

    return average


def _release(network: CaptionNetwork, stages: int) -> None:
    """Let the decoder and the encoder's last ``stages`` stages learn, and nothing else."""
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
