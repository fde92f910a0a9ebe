from __future__ import annotations

import pytest

from training.device import choose_device
from training.errors import TrainingError


def test_devices_that_are_here() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") in ("cpu", "cuda")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "'gpu' is no device: auto, cpu, cuda or cuda:1"),
        ("meta", "training runs on cpu and cuda, not on meta"),
        ("cuda:99", "the device cuda:99 is not here: PyTorch finds"),
    ],
)
def test_others_are_named(name: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        choose_device(name)
