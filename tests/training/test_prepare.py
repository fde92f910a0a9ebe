from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import cli
from model.config import Preprocessing
from model.preprocessing import load_pixels
from model.vocabulary import SPECIALS
from tests.pictures import picture
from tests.training import raw_sets
from tests.training.toy import prepare_small
from training import copies
from training.dataset import complete, load_split
from training.errors import TrainingError
from training.prepare import prepare

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "photos"


def test_what_is_made_is_loaded_like_the_source(data: Path, output: Path) -> None:
    prepare_small(data, output)
    for split in ("train", "dev"):
        raw, made = load_split(data, split), load_split(output, split)
        assert [(e.name, e.captions) for e in made] == [(e.name, e.captions) for e in raw]
        assert all(output in example.path.parents for example in made)
        assert complete(output, split) == complete(data, split) == (len(raw), len(raw))
    with pytest.raises(TrainingError, match="has no split test: it has dev, train"):
        load_split(output, "test")


@pytest.mark.parametrize(
    "make",
    [
        raw_sets.flickr8k,
        raw_sets.flickr30k_token,
        raw_sets.flickr30k_kaggle,
        raw_sets.karpathy_flickr,
        raw_sets.karpathy_coco,
        raw_sets.coco,
    ],
)
def test_every_layout(make: raw_sets.Make, tmp_path: Path, output: Path) -> None:
    data = make(tmp_path / "data")
    splits = prepare_small(data, output).manifest.splits
    for split in splits:
        raw, made = load_split(data, split), load_split(output, split)
        assert [(e.name, e.captions) for e in made] == [(e.name, e.captions) for e in raw]
        assert all(min(Image.open(example.path).size) == 20 for example in made)


def test_copies_keep_their_shape_and_small_pictures_every_bit(data: Path, output: Path) -> None:
    wide, tall, little = picture(1, (300, 100)), picture(2, (90, 300)), picture(3, (50, 64), "PNG")
    for name, content in (("train0.jpg", wide), ("train1.jpg", tall), ("train2.jpg", little)):
        (data / "images" / name).write_bytes(content)
    prepare(data, output, image_size=64)
    assert Image.open(output / "images" / "train0.jpg").size == (192, 64)
    assert Image.open(output / "images" / "train1.jpg").size == (64, 213)
    assert (output / "images" / "train2.jpg").read_bytes() == little


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_the_network_sees_the_same_picture(resize: str, data: Path, output: Path) -> None:
    """Turned by EXIF, transparent, grey: preprocessing makes of the copy what it makes of the source."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (data / "images" / "train0.jpg").write_bytes(picture(5, (400, 240), exif=exif))
    Image.new("LA", (300, 200), (90, 100)).save(data / "images" / "train1.jpg", "PNG")
    Image.new("L", (300, 200), 30).save(data / "images" / "train2.jpg", "JPEG")
    prepare(data, output, image_size=128)
    config = Preprocessing(image_size=112, resize=resize)  # type: ignore[arg-type]
    for raw, made in zip(load_split(data, "train")[:3], load_split(output, "train")[:3], strict=True):
        difference = load_pixels(raw.path, config).astype(int) - load_pixels(made.path, config)
        assert np.abs(difference).mean() < 3


def test_a_copy_that_is_a_jpeg_is_called_so(output: Path, tmp_path: Path) -> None:
    data = raw_sets.table(tmp_path / "data", "image,caption,split\n")
    for kind in ("png", "gif", "webp", "bmp", "jpeg"):
        raw_sets.put(data / f"x.{kind}", picture(1, (100, 80), kind))
    names = [f"x.{kind}" for kind in ("jpg", "png", "gif", "webp", "bmp", "jpeg")]
    raw_sets.put(data / "captions.csv", "image,caption,split\n" + "".join(f"{n},Say,train\n" for n in names))
    prepare_small(data, output)
    examples = load_split(output, "train")
    assert [example.name for example in examples] == names
    assert {Image.open(example.path).format for example in examples} == {"JPEG"}
    assert all(example.path.suffix in (".jpg", ".jpeg") for example in examples)
    assert len({example.path for example in examples}) == 6


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_pictures_of_the_same_name(suffix: str, output: Path, tmp_path: Path) -> None:
    rows = f"image,caption,split\nx.{suffix},Outer.,train\nin/x.{suffix},Inner.,train\n"
    data = raw_sets.table(tmp_path / "data", rows)
    for name, colour in ((f"x.{suffix}", "red"), (f"in/x.{suffix}", "blue")):
        Image.new("RGB", (60, 40), colour).save(data / name)
    prepare_small(data, output)
    outer, inner = load_split(output, "train")
    assert (outer.name, inner.name) == (f"x.{suffix}", f"in/x.{suffix}")
    assert Image.open(outer.path).getpixel((10, 10))[0] > 200, "red"  # type: ignore[index]
    assert Image.open(inner.path).getpixel((10, 10))[2] > 200, "blue"  # type: ignore[index]


@pytest.mark.parametrize(("threshold", "words"), [(1, ["a", "b", "c", "d"]), (2, ["a", "b"]), (4, ["a"])])
def test_the_vocabulary_is_of_training_captions(
    threshold: int, words: list[str], tmp_path: Path, output: Path
) -> None:
    rows = ["x.jpg,a a b,train", "x.jpg,a a b c d,train", "y.jpg,e e e e,dev", "gone.jpg,f f f f,train"]
    data = raw_sets.table(tmp_path / "data", "\n".join(["image,caption,split", *rows]))
    prepare(data, output, vocabulary_threshold=threshold)
    assert json.loads((output / "vocabulary.json").read_text()) == [*SPECIALS, *words]


def test_what_cannot_be_used_is_listed_and_skipped(data: Path, output: Path) -> None:
    (data / "images" / "train1.jpg").write_bytes(picture()[:-300])
    (data / "images" / "train2.jpg").unlink()
    (data / "images" / "dev0.jpg").write_bytes(b"words")
    with (data / "Flickr8k.token.txt").open("a") as file:
        file.write("train0.jpg#3\t\ntrain0.jpg without a tab\n")
    result = CliRunner().invoke(cli, ["prepare", str(data), "--output", str(output)])
    assert result.exit_code == 0, result.output
    assert complete(output, "train") == (4, 6)
    assert complete(output, "dev") == (2, 3)
    header, *rows = (line.split("\t") for line in (output / "skipped.tsv").read_text().splitlines())
    assert header == ["where", "problem"]
    assert dict(rows) == {
        "Flickr8k.token.txt line 28": "the caption is empty",
        "Flickr8k.token.txt line 29": "is not PICTURE#N, tab, caption: 'train0.jpg without a tab'",
        "train1.jpg": "the picture is damaged or cut off",
        "train2.jpg": f"there is no file {data / 'images' / 'train2.jpg'}",
        "dev0.jpg": "not a supported picture: send JPEG, PNG, WebP, GIF or BMP",
    }
    for where, problem in rows:
        assert f"skipped {where}: {problem}" in result.stderr
    assert "train: 4 of 6 pictures, 12 captions" in result.stdout
    assert f"skipped: 5 pictures and captions, listed in {output / 'skipped.tsv'}" in result.stdout
    again = CliRunner().invoke(cli, ["prepare", str(data), "--output", str(output)])
    assert again.stdout.endswith("nothing left to do\n")
    assert "skipped: 5 pictures" in again.stdout


def test_a_split_of_which_nothing_is_left(data: Path, output: Path) -> None:
    for path in (data / "images").glob("dev*"):
        path.write_bytes(b"words")
    with pytest.raises(
        TrainingError, match=r"none of the 3 pictures of the split dev can be used, last dev2\."
    ):
        prepare(data, output)
    with pytest.raises(TrainingError, match="is not complete: run captioner prepare again"):
        load_split(output, "train")


def test_a_folder_made_to_write_elsewhere(data: Path, output: Path, tmp_path: Path) -> None:
    prepare_small(data, output)
    lines = (output / "dev.jsonl").read_text()
    (output / "dev.jsonl").write_text(lines.replace('"image":"dev0.jpg"', '"image":"../../dev0.jpg"'))
    with pytest.raises(TrainingError, match=r"dev\.jsonl names a picture outside the folder"):
        prepare(output, tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_a_full_disk(data: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copies.Path, "replace", full)
    with pytest.raises(TrainingError, match="out cannot be written: No space left on device"):
        prepare(data, output)


def test_folders_that_hold_something_else(data: Path, output: Path) -> None:
    with pytest.raises(TrainingError, match="need a folder of their own"):
        prepare(data, data)
    raw_sets.put(output / "thesis.tex", "years of work")
    with pytest.raises(TrainingError, match=r"out holds something else \(thesis\.tex\)"):
        prepare(data, output)
    raw_sets.put(output.with_name("file"), "words")
    with pytest.raises(TrainingError, match="is not a folder"):
        prepare(data, output.with_name("file"))


def test_the_command_line_end_to_end(data: Path, output: Path) -> None:
    arguments = ["prepare", str(data), "--output", str(output), "--image-size", "40"]
    result = CliRunner().invoke(cli, [*arguments, "--vocabulary-threshold", "3", "--layout", "flickr8k"])
    assert result.exit_code == 0, result.output
    manifest = json.loads((output / "prepared.json").read_text())
    assert (manifest["image_size"], manifest["vocabulary_threshold"]) == (40, 3)
    assert manifest["splits"]["train"] == {"pictures": 6, "captions": 18, "listed": 6}
    words = json.loads((output / "vocabulary.json").read_text())
    assert f"vocabulary: {len(words)} words" in result.stdout
    forced = CliRunner().invoke(cli, [*arguments, "--layout", "coco"])
    assert "no caption files of COCO" in str(forced.exception)


def test_help_teaches_by_example() -> None:
    said = " ".join(CliRunner().invoke(cli, ["prepare", "--help"], env={"COLUMNS": "200"}).stdout.split())
    said = re.sub("\x1b[^m]*m", "", said)
    assert "captioner prepare coco2014 --output data/coco" in said
    assert "image,caption,split" in said


@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"photographs at original size are not here: {PHOTOS}")
def test_photographs_look_the_same(tmp_path: Path, output: Path) -> None:
    """What the bundled network's preprocessing makes of a copy differs by less than JPEG's own noise."""
    names = sorted(path.name for path in PHOTOS.glob("*.jpg"))[:10]
    for name in names:
        raw_sets.put(tmp_path / "data" / name, (PHOTOS / name).read_bytes())
    rows = "".join(f"{name},A photograph.,train\n" for name in names)
    raw_sets.put(tmp_path / "data" / "captions.csv", "image,caption,split\n" + rows)
    prepare(tmp_path / "data", output)
    for example in load_split(output, "train"):
        raw = load_pixels(PHOTOS / example.name, Preprocessing()).astype(int)
        assert np.abs(raw - load_pixels(example.path, Preprocessing())).mean() < 4
