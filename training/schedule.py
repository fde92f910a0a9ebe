"""Learning rates over a phase, and when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi

from training.config import Phase


def learning_rate_factor(phase: Phase, progress: float, scores: Sequence[float]) -> float:
    """Part of the peak learning rate.

    :param progress: how much of the phase is over, 0..1
    :param scores: of the phase's epochs so far
    """
    if progress < phase.warmup:
        return progress / phase.warmup
    if phase.schedule == "cosine":
        return 0.5 * (1 + cos(pi * (progress - phase.warmup) / (1 - phase.warmup)))
    if phase.schedule == "plateau":
        return 0.5 ** sum(score <= max(scores[:i]) for i, score in enumerate(scores) if i)
    return 1.0


def is_over(phase: Phase, scores: Sequence[float]) -> bool:
    """Whether the phase has had all its epochs, or too many in a row without a better score."""
    if len(scores) >= phase.epochs:
        return True
    return 0 < phase.patience <= epochs_since_best(scores)


def epochs_since_best(scores: Sequence[float]) -> int:
    """Epochs after the one with the best score."""
    return len(scores) - 1 - scores.index(max(scores)) if scores else 0
