"""What lies ahead of a run: its size, and how long its steps will take on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from datetime import timedelta
from math import log
from typing import TYPE_CHECKING

import msgspec
import torch
from torch import Tensor

from model.network import CaptionNetwork
from model.vocabulary import END_ID
from training.batches import least_pictures
from training.distributed import ALONE
from training.features import run_stages
from training.loop import Learner

if TYPE_CHECKING:
    from training.run import Run

WORDS = 10  # of a caption; an untrained network would draw longer ones
TRIALS = 4  # steps, of which the fastest counts: the first prepare kernels and start the reward's processes


def first_line(run: Run) -> str:
    """Device, parameters, pictures, words, steps to go, and an estimate of their time.

    Validation and features that are computed beforehand are not in the estimate.
    """
    ahead = list(enumerate(run.config.phases))[run.state.phase :]
    steps = [run.steps(phase) * phase.epochs for _, phase in ahead]
    done = run.steps(ahead[0][1]) * run.state.epoch + run.state.step if ahead else 0
    seconds = sum(n * _seconds_a_step(run, i) for n, (i, _) in zip(steps, ahead, strict=True))
    if done:
        seconds *= 1 - done / sum(steps)
    learning = sum(p.numel() for p in run.network.parameters())
    where = run.device if run.processes.count == 1 else f"{run.processes.count} × {run.device}"
    return (
        f"{run.config.name} on {where}: {learning / 1e6:.1f} million parameters, "
        f"{len(run.examples):,} pictures, {len(run.vocabulary):,} words, {sum(steps) - done:,} steps to go, "
        f"about {timedelta(seconds=round(seconds))} of them"
    )


class _Noise:
    """A batch of what a phase's batches are like."""

    def __init__(self, network: CaptionNetwork, size: int, depth: int, pictures: int) -> None:
        self.network, self.size, self.depth, self.pictures = network, size, depth, pictures

    def inputs(self, parts: list[list[int]], generator: torch.Generator) -> Iterator[Tensor]:
        device = self.network.mean.device
        for rows in parts:
            pixels = torch.zeros(len(rows), self.size, self.size, 3, dtype=torch.uint8, device=device)
            if not self.depth:
                yield pixels
                continue
            with torch.no_grad():
                made = run_stages(self.network, self.network.normalise(pixels[:1]), 0, self.depth)
            yield made.expand(len(rows), -1, -1, -1).contiguous()


def _seconds_a_step(run: Run, number: int) -> float:
    """Time of one step of a phase on a copy of the network, which the run does not notice."""
    phase = run.config.phases[number]
    share = max(least_pictures(phase.passes, ALONE), phase.batch_size // run.processes.count)
    # All trials are alike and the network stays as it was: the first time that a GPU meets some number of
    # captions still being drawn takes it long, and a network that learns draws others in the next trial.
    phase = msgspec.structs.replace(phase, batch_size=share, learning_rate=0.0, encoder_learning_rate=0.0)
    network = deepcopy(run.network)
    if not run.state.best:
        with torch.no_grad():
            network.output.bias[END_ID] += log(len(run.vocabulary) / WORDS)
    pictures = min(len(run.examples), share)
    batches = _Noise(network, run.config.preprocessing.image_size, run.depth(phase), pictures)
    learner = Learner(network, phase, run.objective(run.config.phases[number]), batches, run.config.bfloat16)
    taken: list[float] = []
    for _ in range(TRIALS):
        started = time.monotonic()
        for _ in learner.epoch((0,), ()):
            pass
        taken.append(time.monotonic() - started)
    return min(taken)
