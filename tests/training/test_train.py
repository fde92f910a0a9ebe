from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cli.main import cli
from model import checkpoint as checkpoints
from model.captioner import Captioner
from model.config import load_card
from tests.training.toy import make_data_set, only_phases, tiny_config
from training.errors import TrainingError
from training.train import Run, train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data_set(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the shipped ``tiny`` configuration makes of the toy data set, by the command line."""
    output = tmp_path_factory.mktemp("runs") / "tiny"
    result = CliRunner().invoke(cli, ["train", "tiny", "--output", str(output), "--data", str(data)])
    assert result.exit_code == 0, result.output
    return output


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
    train(tiny_config(data), trained, report=lambda line: None)
    after = weights(trained)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert len(log(trained)) == 4


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_run_that_was_killed_ends_as_an_unbroken_one(
    epochs: int, trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def save_and_die(run: Run) -> None:
        save(run)
        if len(run.state.history) == epochs and run.state.epoch:
            raise Killed

    save = Run._save_state
    monkeypatch.setattr(Run, "_save_state", save_and_die)
    with pytest.raises(Killed):
        train(tiny_config(data), tmp_path / "out", report=lambda line: None)
    monkeypatch.undo()
    assert len(log(tmp_path / "out")) == epochs
    train(tiny_config(data), tmp_path / "out", report=lambda line: None)
    assert log(tmp_path / "out") == log(trained)
    resumed = weights(tmp_path / "out")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in weights(trained).items())


def test_a_run_can_be_taken_further(trained: Path, data: Path, tmp_path: Path) -> None:
    config = tiny_config(data)
    train(only_phases(config, "decoder"), tmp_path / "out", report=lambda line: None)
    train(config, tmp_path / "out", report=lambda line: None)
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
    lines: list[str] = []
    config = only_phases(tiny_config(data), "decoder")
    train(config, tmp_path / "out", report=lines.append)
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
    run = Run(msgspec.structs.replace(config, phases=[phase]), tmp_path / "out", "cpu", lambda line: None)
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
    lines: list[str] = []
    learnt = msgspec.structs.replace(config, phases=[phase])
    train(learnt, tmp_path / "out", report=lines.append)
    assert max(line["cider"] for line in log(tmp_path / "out")) > 1.0
