"""What the device worker does when the model fails. The failures are injected where the network is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.caption import Caption
from model.captioner import Result
from model.config import BUNDLED, load_config
from service.batching import Job
from service.engine import Engine
from service.settings import SettingsError

SIZE = load_config(BUNDLED).preprocessing.image_size


@pytest.fixture(scope="module")
def engine() -> Engine:
    engine = Engine(BUNDLED, "cpu", "torch")
    engine.warm_up([1, 2, 4])
    return engine


def jobs(*shades: int) -> list[Job]:
    pixels = [np.full((SIZE, SIZE, 3), shade, np.uint8) for shade in shades]
    later = time.monotonic() + 60
    return [Job(b"c", n, "r", 1, later, False, memoryview(p).cast("B"), 0.0) for n, p in enumerate(pixels)]


def run(engine: Engine, *shades: int) -> list[list[Caption] | str]:
    return engine.run(jobs(*shades), lambda: None)


def failing(
    engine: Engine,
    fails: Callable[[NDArray[np.uint8]], Exception | None],
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> list[int]:
    """Make the model raise on batches of the test's choosing, when they begin or when they are waited for;
    gives the sizes of the batches it was given."""
    sizes: list[int] = []
    begin = engine._captioner.begin

    def fail(error: Exception) -> NoReturn:
        raise error

    def begin_or_fail(
        pixels: Sequence[NDArray[np.uint8]], beams: Sequence[int]
    ) -> Callable[[], list[Result]]:
        sizes.append(len(pixels))
        error = fails(np.stack(pixels))
        if error and at == "begin":
            raise error
        return partial(fail, error) if error else begin(pixels, beams)

    monkeypatch.setattr(engine._captioner, "begin", begin_or_fail)
    return sizes


at_both_ends = pytest.mark.parametrize("at", ["begin", "end"])


def test_a_batch_is_captioned(engine: Engine) -> None:
    outcomes = run(engine, 0, 128, 255)
    assert all(isinstance(outcome, list) and outcome[0].text for outcome in outcomes)


@at_both_ends
def test_one_bad_picture_fails_no_other(engine: Engine, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    sizes = failing(
        engine, lambda p: ValueError("bad") if (p == 13).all((1, 2, 3)).any() else None, monkeypatch, at
    )
    good, bad, other = run(engine, 0, 13, 255)
    assert isinstance(good, list)
    assert isinstance(other, list)
    assert bad == "the model failed on this picture"
    assert sizes == [3, 1, 1, 1]


@at_both_ends
def test_a_picture_that_fails_once_is_captioned(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    failures = iter([ValueError("once")])
    sizes = failing(engine, lambda p: next(failures, None), monkeypatch, at)
    (outcome,) = run(engine, 99)
    assert isinstance(outcome, list)
    assert sizes == [1, 1]


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"--device .* no cuda:99 here"):
        Engine(BUNDLED, "cuda:99")


@at_both_ends
def test_out_of_memory_halves_the_batch(engine: Engine, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    sizes = failing(engine, lambda p: torch.OutOfMemoryError() if len(p) > 2 else None, monkeypatch, at)
    outcomes = run(engine, 0, 64, 128, 255)
    assert all(isinstance(outcome, list) for outcome in outcomes)
    assert sizes == [4, 2, 2]


def test_values_that_are_not_finite_give_no_caption(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    bias = engine._captioner.network.module.output.bias
    monkeypatch.setattr(bias, "data", torch.full_like(bias.data, float("nan")))
    outcomes = run(engine, 0, 255)
    assert outcomes == ["the network gave no finite caption for this picture"] * 2


def test_openvino_is_refused_on_a_gpu_and_bfloat16_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="CAPTIONER_PRECISION"):
        Engine(BUNDLED, "cpu", "torch", "bfloat16")
    with pytest.raises(SettingsError, match="int8 needs OpenVINO on a CPU"):
        Engine(BUNDLED, "cpu", "torch", "int8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingsError, match="CAPTIONER_ENGINE"):
        Engine(BUNDLED, "cuda", "openvino")
