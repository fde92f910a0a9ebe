from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from cli.main import cli
from model import checkpoint as checkpoints
from model.captioner import Captioner
from model.config import load_card
from tests.training.toy import make_data_set, only_phases, tiny_config
from training.config import Phase
from training.errors import TrainingError
from training.run import Run
from training.tracking import Silence
from training.train import train

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data_set(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the shipped ``tiny`` configuration makes of the toy data set, by the command line."""
    output = tmp_path_factory.mktemp("runs") / "tiny"
    arguments = ["train", "tiny", "--output", str(output), "--data", str(data), "--device", "cpu"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return output


class Told(Silence):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load(folder).network.state_dict()


def log(folder: Path) -> list[dict]:
    lines = (folder / "run" / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in msgspec.json.decode(line).items() if k != "seconds"} for line in lines]


def test_the_checkpoint_captions_pictures(trained: Path) -> None:
    captioner = Captioner.load(trained)
    pixels = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    captions = captioner.caption(pixels, [1])[0]
    assert isinstance(captions, list)
    assert captions[0].text


def test_every_phase_ran_to_its_end(trained: Path) -> None:
    ran = [(line["phase"], line["epoch"]) for line in log(trained)]
    assert ran == [("decoder", 1), ("decoder", 2), ("encoder", 1), ("reward", 1)]


def test_the_card_says_what_was_measured(trained: Path, data: Path) -> None:
    card = checkpoints.load(trained).config.card
    best = log(trained)[-1]["cider"]  # the last phase has one epoch
    assert card["scores"]["dev, greedy"]["CIDEr-D"] == pytest.approx(best, abs=0.02)
    assert set(card["scores"]) == {"dev, greedy", "dev, beam 3"}
    text = load_card(trained)
    assert f"captioner evaluate --checkpoint DIR --data {data} --split dev --beam 1" in text
    assert f"{card['scores']['dev, greedy']['CIDEr-D']:.4f}" in text


def test_a_second_start_of_a_complete_run_changes_nothing(trained: Path, data: Path) -> None:
    before = weights(trained)
    train(tiny_config(data), trained, tracker=Silence())
    after = weights(trained)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert len(log(trained)) == 4


@pytest.mark.timeout(600)
@pytest.mark.parametrize("after", [1, 5, 7])  # of eight steps; the phases end after 4, 6 and 8
def test_a_run_that_was_killed_ends_as_an_unbroken_one(
    after: int, trained: Path, data: Path, tmp_path: Path
) -> None:
    """SIGKILL between two steps, inside epochs and at their end."""
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    arguments = [sys.executable, str(script), str(data), str(tmp_path / "out"), str(after)]
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(arguments, env=path, capture_output=True, text=True, timeout=500)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(log(tmp_path / "out")) < 4
    train(tiny_config(data), tmp_path / "out", tracker=Silence())
    assert log(tmp_path / "out") == log(trained)
    resumed = weights(tmp_path / "out")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in weights(trained).items())


KILLED = """
import os, signal, sys
from pathlib import Path
import msgspec
from tests.training.toy import tiny_config
from training.tracking import Silence
from training.train import train

class Deadly(Silence):
    def step(self, number, step):
        if number > int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    config = msgspec.structs.replace(tiny_config(Path(sys.argv[1])), save_seconds=0.0)
    train(config, Path(sys.argv[2]), tracker=Deadly())
"""


def test_a_full_disk_costs_nothing_that_was_saved(trained: Path, data: Path, tmp_path: Path) -> None:
    """No file may grow past a few KB from the second epoch on, as when the disk is full."""
    output = tmp_path / "out"
    before: dict[str, bytes] = {}

    class Full(Silence):
        def begin_epoch(self, phase: Phase, epoch: int, done: int, steps: int) -> None:
            if epoch == 2:
                before.update({p.name: p.read_bytes() for p in files(output)})
                resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(TrainingError, match=r"File too large.*What was saved before is whole"):
            train(tiny_config(data), output, tracker=Full())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, handler)
    assert {p.name: p.read_bytes() for p in files(output)} == before
    assert Captioner.load(output)
    train(tiny_config(data), output, tracker=Silence())
    assert log(output) == log(trained)


def files(folder: Path) -> list[Path]:
    """Of a run, as far as they must outlive a failure: not TensorBoard's and not what is computed again."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(("events", "features"))
    ]


def test_a_run_can_be_taken_further(trained: Path, data: Path, tmp_path: Path) -> None:
    config = tiny_config(data)
    train(only_phases(config, "decoder"), tmp_path / "out", tracker=Silence())
    train(config, tmp_path / "out", tracker=Silence())
    assert log(tmp_path / "out") == log(trained)


def test_another_configuration_in_the_same_folder_is_refused(trained: Path, data: Path) -> None:
    other = msgspec.structs.replace(tiny_config(data), seed=2)
    with pytest.raises(TrainingError, match="another configuration"):
        train(other, trained)


def test_a_damaged_state_is_named(trained: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").write_bytes((trained / "run" / "state.pt").read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"state\.pt is damaged"):
        train(tiny_config(data), tmp_path)


def test_unreadable_pictures_are_listed_and_left_out(tmp_path: Path) -> None:
    data = make_data_set(tmp_path / "data")
    (data / "images" / "train3.jpg").write_bytes(b"\xff\xd8\xff but no picture")
    (data / "images" / "train5.jpg").unlink()
    (data / "images" / "dev2.jpg").unlink()
    told = Told()
    config = only_phases(tiny_config(data), "decoder")
    train(config, tmp_path / "out", tracker=told)
    lines = told.lines
    assert [line.split(":")[0] for line in lines if line.startswith("skipped")] == [
        "skipped train3.jpg",
        "skipped train5.jpg",
        "skipped dev2.jpg",
    ]
    loaded = checkpoints.load(tmp_path / "out")
    assert loaded.config.card["training_split"] == "train, 14 pictures"
    assert loaded.config.card["scores"] == {}, "the score of seven pictures is not the split's"
    assert "bears no scores" in lines[-1]


@pytest.mark.parametrize("stages", [0, 1, 9])
def test_released_stages_learn_and_the_others_rest(stages: int, data: Path, tmp_path: Path) -> None:
    config = tiny_config(data)
    phase = msgspec.structs.replace(config.phases[1], encoder_stages=stages)
    config = msgspec.structs.replace(config, phases=[phase])
    run = Run(config, tmp_path / "out", "cpu", Silence(), workers=0)
    before = [p.clone() for p in run.network.encoder.parameters()]
    run.phase(0)
    changed = {
        i: not torch.equal(old, new)
        for i, (old, new) in enumerate(zip(before, run.network.encoder.parameters(), strict=True))
    }
    expected = sum(len(list(s.parameters())) for s in run.network.encoder.stages()[-stages:] if stages)
    assert sum(changed.values()) == expected
    assert not any(changed[i] for i in range(len(changed) - expected))


def test_training_learns(data: Path, tmp_path: Path) -> None:
    """The toy set can be learnt by heart; a decoder that does not see the picture cannot do it."""
    config = only_phases(tiny_config(data), "decoder")
    phase = msgspec.structs.replace(config.phases[0], epochs=30, batch_size=8)
    learnt = msgspec.structs.replace(config, phases=[phase])
    train(learnt, tmp_path / "out", tracker=Silence())
    assert max(line["cider"] for line in log(tmp_path / "out")) > 1.0


def test_spatial_attention_learns_too(data: Path, tmp_path: Path) -> None:
    config = tiny_config(data)
    config = msgspec.structs.replace(
        config, architecture=msgspec.structs.replace(config.architecture, attention_size=16)
    )
    train(config, tmp_path / "out", tracker=Silence())
    assert checkpoints.load(tmp_path / "out").network.attention is not None
    assert [line["phase"] for line in log(tmp_path / "out")] == ["decoder", "decoder", "encoder", "reward"]


def test_the_first_line_says_what_lies_ahead(data: Path, tmp_path: Path) -> None:
    told = Told()
    config = only_phases(tiny_config(data), "decoder")
    few = msgspec.structs.replace(config.data, pictures=10)  # in batches of 8
    train(msgspec.structs.replace(config, data=few), tmp_path / "out", tracker=told)
    ahead = r"10 pictures, \d+ words, 4 steps to go, about 0:[\d:]+ of them"
    assert re.fullmatch(rf"tiny on cpu: 2\.9 million parameters, {ahead}", told.lines[0])


def test_curves_for_tensorboard(trained: Path) -> None:
    curves = EventAccumulator(str(trained / "run")).Reload()
    losses = curves.Scalars("step/loss")
    assert [event.step for event in losses] == list(range(1, 9))
    assert len(curves.Scalars("epoch/cider")) == 4


def test_more_stages_than_the_encoder_has(data: Path, tmp_path: Path) -> None:
    config = tiny_config(data)
    phase = msgspec.structs.replace(config.phases[1], encoder_stages=12)
    with pytest.raises(TrainingError, match=r"encoder_stages is 12, but mobilenet_edgetpu has 9 stages"):
        train(msgspec.structs.replace(config, phases=[phase]), tmp_path / "out", tracker=Silence())


def test_a_batch_may_go_through_the_network_in_parts(data: Path, tmp_path: Path) -> None:
    """BatchNorm apart, which sees less at a time, two passes give the gradients of one."""
    config = tiny_config(data)
    phase = msgspec.structs.replace(config.phases[0], batch_size=16)
    gradients = []
    for passes in (1, 2):
        whole = msgspec.structs.replace(phase, passes=passes)
        run = Run(
            msgspec.structs.replace(config, phases=[whole]), tmp_path / "out", "cpu", Silence(), workers=0
        )
        learner = run.learner(whole)
        learner.objective.prepare = lambda network, progress: network.eval()  # type: ignore[method-assign]
        (step,) = learner.epoch((1,), ())
        gradients.append([p.grad for p in run.network.parameters() if p.grad is not None])
    assert step.loss > 0
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
