"""What a run is made of, without running it to its end."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from tests.training.toy import make_data_set, only_phases, tiny_config
from training.config import TrainConfig
from training.errors import TrainingError
from training.loop import Learner
from training.run import Run
from training.state import State, _fingerprint, save_state
from training.tracking import Silence


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data_set(tmp_path_factory.mktemp("data"))


def make_run(config: TrainConfig, output: Path) -> Run:
    return Run(config, output, "cpu", Silence(), workers=0)


def changed(config: TrainConfig, phase: int, **fields: Any) -> TrainConfig:
    phases = list(config.phases)
    phases[phase] = msgspec.structs.replace(phases[phase], **fields)
    return msgspec.structs.replace(config, phases=phases)


def test_the_step_after_a_resume_is_the_one_that_would_have_followed(data: Path, tmp_path: Path) -> None:
    """With dropout, and with pictures that are read anew: chance depends on a step's position alone."""
    config = changed(only_phases(tiny_config(data), "encoder"), 0, dropout=0.5)

    def begin() -> tuple[Run, Learner]:
        run = make_run(config, tmp_path / "out")
        return run, run.learner(config.phases[0])

    run, learner = begin()
    steps = learner.epoch((1,), ())
    next(steps)
    between = State()
    learner.save_to(between)
    between = deepcopy(between)
    followed = next(steps)
    expected = deepcopy(run.network.state_dict())
    run, learner = begin()
    learner.resume_from(between)
    (resumed,) = learner.epoch((1,), (), first=1)
    assert resumed == followed
    assert all(torch.equal(tensor, expected[name]) for name, tensor in run.network.state_dict().items())


def test_what_rests_again_has_no_gradient_left(data: Path, tmp_path: Path) -> None:
    """Clipping would count it, and not after a resume."""
    config = tiny_config(data)
    run = make_run(config, tmp_path)
    for _ in run.learner(config.phases[1]).epoch((1,), ()):
        pass
    assert all(p.grad is not None for p in run.network.encoder.parameters())
    run.learner(config.phases[2])
    assert all(p.grad is None for p in run.network.parameters())


def other_architecture(**fields: Any) -> Callable[[TrainConfig], TrainConfig]:
    return lambda config: msgspec.structs.replace(
        config, architecture=msgspec.structs.replace(config.architecture, **fields)
    )


def other_data(**fields: Any) -> Callable[[TrainConfig], TrainConfig]:
    return lambda config: msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, **fields))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_architecture(encoder="vgg16"), "architecture is not usable: unknown encoder 'vgg16'; known: "),
        (other_architecture(attention_size=12), "attention_size 12 is not a multiple of 8"),
        (other_architecture(hidden_size=0), "architecture is not usable: "),
        (other_data(vocabulary_threshold=1000), "hold no word 1000 times: lower vocabulary_threshold"),
        (other_data(validation="test"), "has no split test: it has dev, train"),
        (
            lambda config: msgspec.structs.replace(config, encoder_weights="none.safetensors"),
            r"the encoder weights none\.safetensors are missing",
        ),
        (
            lambda config: changed(config, 0, batch_size=3, passes=2),
            "phase decoder: a batch needs at least 4 pictures, and its batch_size is 3",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    change: Callable[[TrainConfig], TrainConfig], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        make_run(change(tiny_config(data)), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_single_picture(tmp_path: Path) -> None:
    data = make_data_set(tmp_path / "data", train=1)
    with pytest.raises(TrainingError, match="at least 2 pictures, and in the split train there are 1"):
        make_run(tiny_config(data), tmp_path / "out")


def test_a_run_on_a_data_set_of_other_words(data: Path, tmp_path: Path) -> None:
    config = tiny_config(data)
    state = State(best=make_run(config, tmp_path).network.state_dict(), phase=1)
    save_state(tmp_path / "run" / "state.pt", state, config)
    other = make_data_set(tmp_path / "other")
    captions = (other / "Flickr8k.token.txt").read_text()
    (other / "Flickr8k.token.txt").write_text(captions.replace("There is", "Behold"))
    with pytest.raises(TrainingError, match=r"holds a run with \d+ words, and the data set in .* has \d+: "):
        make_run(tiny_config(other), tmp_path)


def test_a_run_of_before_a_data_set_could_be_shortened_goes_on(data: Path) -> None:
    config = tiny_config(data)
    whole, part = (other_data(pictures=count)(config) for count in (0, 3))
    assert '"pictures"' not in _fingerprint(whole, State())
    assert '"pictures":3' in _fingerprint(part, State())
