from __future__ import annotations

from typing import Any

import pytest

from training.config import Phase
from training.schedule import is_over, learning_rate_factor


def phase(**fields: Any) -> Phase:
    return Phase(name="x", learning_rate=1.0, **{"epochs": 10, **fields})


def test_learning_rate_rises_then_falls() -> None:
    half = phase(warmup=0.1)
    factors = [learning_rate_factor(half, progress, ()) for progress in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert learning_rate_factor(phase(warmup=0.0), 0.0, ()) == 1


def test_plateau_halves_after_epochs_that_brought_nothing() -> None:
    plateau = phase(schedule="plateau", warmup=0.0)
    factors = [
        learning_rate_factor(plateau, 0.5, scores)
        for scores in ((), (0.1,), (0.1, 0.2), (0.1, 0.2, 0.2), (0.1, 0.2, 0.2, 0.15), (0.1, 0.2, 0.1, 0.3))
    ]
    assert factors == [1, 1, 1, 0.5, 0.25, 0.5]


def test_constant_warms_up_and_stays() -> None:
    constant = phase(schedule="constant", warmup=0.2)
    assert [learning_rate_factor(constant, p, ()) for p in (0.1, 0.2, 1.0)] == [0.5, 1, 1]


@pytest.mark.parametrize(
    ("scores", "patience", "over"),
    [
        ((), 2, False),
        ((0.3, 0.2), 2, False),
        ((0.3, 0.2, 0.1), 2, True),
        ((0.3, 0.2, 0.4), 2, False),
        ((0.3, 0.2, 0.1), 0, False),
        ((0.1,) * 10, 0, True),
    ],
)
def test_a_phase_ends_early_when_nothing_gets_better(scores: tuple, patience: int, over: bool) -> None:
    assert is_over(phase(patience=patience), scores) is over
