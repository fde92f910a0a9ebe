from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import cli
from model import checkpoint as checkpoints
from model.captioner import Captioner
from model.preprocessing import load_pixels
from tests.model.networks import small_checkpoint
from tests.training.toy import make_data_set, tiny_config
from training.card import make_card, write_card
from training.dataset import load_split
from training.errors import TrainingError
from training.evaluation import evaluate
from training.features import Recipe, compute
from training.metrics import all_metrics, cider
from training.prepare import prepare
from training.published import shortage
from training.validation import greedy_captions, images

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
    report, captions, examples = evaluate(checkpoint, data, "dev", beam=2)
    captioner = Captioner.load(checkpoint)
    assert examples == load_split(data, "dev")
    for found, example in zip(captions, examples, strict=True):
        pixels = load_pixels(example.path, captioner.config.preprocessing)
        result = captioner.caption(np.stack([pixels]), [2])[0]
        assert isinstance(result, list)
        assert (found.image, found.caption) == (example.name, result[0].text)
        assert found.log_probability == pytest.approx(result[0].log_probability, abs=1e-4)
        assert found.references == example.captions
    assert (report.pictures, report.beam, report.split) == (8, 2, "dev")
    assert report.revision == captioner.config.revision
    assert report.fluency.distinct_captions == len({c.caption for c in captions})


def test_the_splits_cider_is_the_mean_of_its_pictures(data: Path, checkpoint: Path) -> None:
    report, captions, _ = evaluate(checkpoint, data, "dev")
    assert report.scores["CIDEr-D"] == pytest.approx(sum(c.cider for c in captions) / 8)


def test_words_that_end_no_caption_are_learnt_from_the_training_captions(
    data: Path, checkpoint: Path
) -> None:
    said = evaluate(checkpoint, data, "dev")[1][0].caption.split()[-1]
    with (data / "Flickr8k.token.txt").open("a") as file:
        file.writelines(f"train0.jpg#{n}\t{said} people\n" for n in range(3, 300))
    report, captions, _ = evaluate(checkpoint, data, "dev")
    ending = [c for c in captions if c.caption.split()[-1] == said]
    assert captions[0] in ending
    assert all(f"ends in “{said}”" in c.faults for c in ending)
    assert report.fluency.bad_endings == len(ending) / 8
    assert report.fluency.judged_by == "train"
    (data / "Flickr_8k.trainImages.txt").unlink()
    report = evaluate(checkpoint, data, "dev")[0]
    assert report.fluency.judged_by == "dev"
    assert report.fluency.bad_endings == 0, "24 captions are too few to tell"


def test_captions_from_features_are_the_same(data: Path, checkpoint: Path) -> None:
    loaded = checkpoints.load(checkpoint)
    examples = load_split(data, "dev")
    depth = len(loaded.network.encoder.stages())
    features = compute(loaded.network, examples, loaded.config.preprocessing, Recipe(depth))
    fresh = images(loaded.network, examples, loaded.config.preprocessing, workers=0)
    expected = [c.caption for c in evaluate(checkpoint, data, "dev").captions]
    for parts, begin in ((features, depth), (fresh, 0)):
        assert (
            greedy_captions(loaded.network, loaded.vocabulary, loaded.config.decoding, parts, begin)
            == expected
        )


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


def test_command_line(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "report"
    result = run("--checkpoint", checkpoint, "--data", data, "--split", "dev", "--output", output)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads((output / "report.json").read_text())
    assert report["scores"].keys() == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D"}
    assert report["not_measured"] == {"METEOR": "METEOR needs Java, which is not installed"}
    assert "METEOR is not measured" in result.stderr
    lines = [json.loads(line) for line in (output / "captions.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == [f"dev{i}.jpg" for i in range(8)]
    assert all(line["caption"] and line["log_probability"] < 0 and line["CIDEr-D"] >= 0 for line in lines)


def test_several_beam_widths(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    given = ("--checkpoint", checkpoint, "--data", data, "--split", "dev", "--output", tmp_path / "report")
    result = run(*given, "--beam", 1, "--beam", 3, "--beam", 1)
    assert result.exit_code == 0, result.output
    reports = json.loads(result.stdout)
    assert [report["beam"] for report in reports] == [1, 3]
    assert "greedy" in result.stderr
    assert "beam 3" in result.stderr
    lines = [json.loads(line) for line in (tmp_path / "report" / "captions.jsonl").read_text().splitlines()]
    assert [line["beam"] for line in lines] == [1] * 8 + [3] * 8
    assert all(
        b["log_probability"] > a["log_probability"] - 1e-4 for a, b in zip(lines[:8], lines[8:], strict=True)
    )


def without_captions(data: Path) -> None:
    captions = (data / "Flickr8k.token.txt").read_text()
    (data / "Flickr8k.token.txt").write_text(re.sub(r"dev[23]\.jpg#.*\n", "", captions))


def cut_short(data: Path) -> None:
    """A data set whose pictures bear Flickr8k's names, and eight of its thousand dev pictures."""
    for name in ("Flickr8k.token.txt", "Flickr_8k.devImages.txt"):
        text = (data / name).read_text()
        (data / name).write_text(re.sub(r"dev(\d)\.jpg", r"2090545563_a4e66ec76\1.jpg", text))
    for i in range(8):
        (data / "images" / f"dev{i}.jpg").rename(data / "images" / f"2090545563_a4e66ec76{i}.jpg")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: (data / "images" / "dev3.jpg").write_bytes(b"words"), "dev3.jpg has no caption: not a"),
        (
            lambda data: (data / "images" / "dev3.jpg").write_bytes(b""),
            "dev3.jpg has no caption: the picture",
        ),
        (lambda data: (data / "images" / "dev3.jpg").unlink(), "dev3.jpg is missing"),
        (lambda data: shutil.rmtree(data / "images"), "dev0.jpg and 7 others are missing"),
        (without_captions, "6 of 8 can be used"),
        (cut_short, "Flickr8k's split dev has 1,000 pictures, and the list has 8"),
    ],
)
def test_the_score_of_a_part_is_not_the_splits(
    spoil: Callable[[Path], None], why: str, data: Path, checkpoint: Path, tmp_path: Path
) -> None:
    spoil(data)
    with pytest.raises(TrainingError) as caught:
        evaluate(checkpoint, data, "dev")
    assert str(caught.value).startswith(f"a score of the split dev needs all of its pictures: {why}")


def test_a_split_is_known_by_its_other_names(data: Path, checkpoint: Path) -> None:
    cut_short(data)
    with pytest.raises(TrainingError, match="the list has 8"):
        evaluate(checkpoint, data, "validation")


def test_a_prepared_folder_that_skipped_a_picture(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    (data / "images" / "dev3.jpg").write_bytes(b"words")
    prepare(data, tmp_path / "prepared", image_size=32)
    assert evaluate(checkpoint, tmp_path / "prepared", "train").report.pictures == 16
    with pytest.raises(TrainingError, match="needs all of its pictures: 7 of 8 can be used"):
        evaluate(checkpoint, tmp_path / "prepared", "dev")


def test_the_card_of_a_checkpoint_whose_meteor_failed_once(data: Path, checkpoint: Path) -> None:
    report = evaluate(checkpoint, data, "dev").report
    both = [msgspec.structs.replace(report, scores={**report.scores, "METEOR": 0.25}), report]
    config = tiny_config(data)
    lines = write_card(config, make_card(config, 16, both), both).splitlines()
    assert [line.split("|")[-2].strip() for line in lines if line.startswith("| dev")] == ["0.2500", "–"]


@pytest.mark.parametrize(
    ("split", "pictures", "whole"),
    [
        ("dev", ["1_0123456789.jpg"] * 1000, True),
        ("dev", ["1_0123456789.jpg"] * 999, False),
        ("dev", ["1.jpg"] * 999, True),
        ("mine", ["1_0123456789.jpg"] * 999, True),
        ("dev", ["val2014/COCO_val2014_000000000042.jpg"] * 5000, True),
        ("dev", ["val2014/COCO_val2014_000000000042.jpg"] * 4999, False),
    ],
)
def test_sizes_of_published_splits(split: str, pictures: list[str], whole: bool) -> None:
    assert (shortage(split, pictures) is None) == whole


def test_perfect_captions() -> None:
    scores = all_metrics([group[0] for group in REFERENCES], REFERENCES).split
    assert scores["BLEU-1"] == pytest.approx(1)
    assert scores["ROUGE-L"] == pytest.approx(1)


def test_case_and_punctuation_do_not_count() -> None:
    assert cider(["a DOG runs", "a rider!", "Two birds, fly"], REFERENCES) == pytest.approx(
        cider(["A dog runs .", "A rider .", "two birds fly"], REFERENCES)
    )


def test_cider_by_hand() -> None:
    """Two pictures, one reference and one word each: the right word scores in 1-grams alone, 10 · 1/4."""
    assert cider(["dog", "dog"], [["dog"], ["cat"]]) == pytest.approx(10 / 4 / 2)


def test_cider_of_each_picture() -> None:
    scores = all_metrics(["a dog runs", "two birds", "two birds fly"], REFERENCES)
    assert scores.cider_of_each[1] == 0
    assert scores.split["CIDEr-D"] == pytest.approx(sum(scores.cider_of_each) / 3)


def test_captions_without_words() -> None:
    scores = all_metrics([".", "a rider", ""], REFERENCES)
    assert scores.cider_of_each[0] == scores.cider_of_each[2] == 0
