from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import cli
from model import checkpoint as checkpoints
from model.captioner import Captioner
from model.preprocessing import load_pixels
from tests.model.networks import small_checkpoint
from tests.training.toy import make_data_set
from training.dataset import load_split
from training.errors import TrainingError
from training.evaluation import evaluate, greedy_captions
from training.features import compute
from training.metrics import all_metrics, cider

JAVA = shutil.which("java")
REFERENCES = [
    ["A dog runs .", "The dog is running ."],
    ["A man on a horse .", "A rider ."],
    ["Two birds fly .", "Birds in the sky ."],
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data_set(tmp_path / "data")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    checkpoints.save(tmp_path / "checkpoint", small_checkpoint())
    return tmp_path / "checkpoint"


def test_captions_are_those_the_captioner_gives(data: Path, checkpoint: Path) -> None:
    report, captions = evaluate(checkpoint, data, "dev", beam=2)
    captioner = Captioner.load(checkpoint)
    for example in load_split(data, "dev"):
        pixels = load_pixels(example.path, captioner.config.preprocessing)
        result = captioner.caption(np.stack([pixels]), [2])[0]
        assert isinstance(result, list)
        assert captions[example.name] == result[0].text
    assert (report.pictures, report.beam, report.split) == (8, 2, "dev")
    assert report.revision == captioner.config.revision


def test_captions_from_features_are_the_same(data: Path, checkpoint: Path) -> None:
    loaded = checkpoints.load(checkpoint)
    examples = load_split(data, "dev")
    features = compute(loaded.network, examples, loaded.config.preprocessing)
    captions = greedy_captions(loaded.network, loaded.vocabulary, loaded.config.decoding, features[0])
    assert captions == list(evaluate(checkpoint, data, "dev")[1].values())


def test_command_line(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--split", "dev"]
    result = CliRunner().invoke(cli, [*arguments, "--output", str(tmp_path / "report")])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "report" / "report.json").read_text())
    assert {"BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D"} <= report["scores"].keys()
    lines = [json.loads(line) for line in (tmp_path / "report" / "captions.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == [f"dev{i}.jpg" for i in range(8)]
    assert all(line["caption"] for line in lines)


def test_the_score_of_a_part_is_not_the_splits(data: Path, checkpoint: Path) -> None:
    (data / "images" / "dev3.jpg").write_bytes(b"words")
    with pytest.raises(TrainingError, match="split dev cannot be read, and scores of the others are not"):
        evaluate(checkpoint, data, "dev")


def test_perfect_captions() -> None:
    scores = all_metrics([group[0] for group in REFERENCES], REFERENCES)
    assert scores["BLEU-1"] == pytest.approx(1)
    assert scores["ROUGE-L"] == pytest.approx(1)


def test_case_and_punctuation_do_not_count() -> None:
    assert cider(["a DOG runs", "a rider!", "Two birds, fly"], REFERENCES) == pytest.approx(
        cider(["A dog runs .", "A rider .", "two birds fly"], REFERENCES)
    )


def test_cider_by_hand() -> None:
    """Two pictures, one reference and one word each: the right word scores in 1-grams alone, 10 · 1/4."""
    assert cider(["dog", "dog"], [["dog"], ["cat"]]) == pytest.approx(10 / 4 / 2)


@pytest.mark.skipif(JAVA is None, reason="METEOR needs Java, which is not here")
def test_meteor_where_java_is_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.metrics.which", lambda name: JAVA)
    right, wrong = ([group[i] for group in REFERENCES] for i in (0, 1))
    perfect = all_metrics(right, REFERENCES)["METEOR"]
    shifted = all_metrics([*wrong[1:], wrong[0]], REFERENCES)["METEOR"]
    assert perfect > 0.9 > 0.3 > shifted
