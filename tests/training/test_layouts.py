from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from cli.prepare import Layout
from tests.training import raw_sets
from training.dataset import complete, load_split
from training.errors import TrainingError
from training.layouts import LAYOUTS, recognise
from training.layouts.source import split_by_hash


def said(root: Path, split: str) -> dict[str, tuple[str, ...]]:
    """Captions by name; every picture must be where the example says."""
    examples = load_split(root, split)
    assert all(example.path.is_file() for example in examples)
    return {example.name: example.captions for example in examples}


def test_flickr8k(tmp_path: Path) -> None:
    root = raw_sets.flickr8k(tmp_path)
    assert said(root, "train") == {"b.jpg": ("One b .",), "a.jpg": ("One a .", "Two a .")}
    assert list(said(root, "train")) == ["b.jpg", "a.jpg"], "in the order of the list"
    assert said(root, "dev") == said(root, "val") == {"c.jpg": ("One c .",)}


@pytest.mark.parametrize("make", [raw_sets.flickr30k_token, raw_sets.flickr30k_kaggle])
def test_flickr30k_is_split_by_names(make: raw_sets.Make, tmp_path: Path) -> None:
    root = make(tmp_path)
    assert recognise(root).name == "flickr30k"
    found = {split: said(root, split) for split in ("train", "dev", "test")}
    assert sum(map(len, found.values())) == 60
    for split, captions in found.items():
        assert captions
        assert all(split_by_hash(name) == split for name in captions)
        assert set(captions.values()) == {("Say 0 .", "Say 1 .")}


def test_the_split_by_names_is_the_same_for_ever() -> None:
    """Another rule would make scores of before and after those of different splits."""
    fixed = {
        "8.jpg": "test",
        "20.jpg": "test",
        "22.jpg": "test",
        "30.jpg": "test",
        "x.jpg": "train",
        "in/x.jpg": "train",
    }
    assert {name: split_by_hash(name) for name in fixed} == fixed
    splits = [split_by_hash(f"{number}.jpg") for number in range(1000)]
    assert (splits.count("train"), splits.count("dev"), splits.count("test")) == (806, 108, 86)


def test_flickr30k_takes_karpathys_split_where_it_is(tmp_path: Path) -> None:
    root = raw_sets.karpathy_flickr(tmp_path, "flickr30k")
    raw_sets.put(root / "results_20130124.token", "a.jpg#0\tOther .\n")
    assert said(root, "test") == {"c.jpg": ("One c .",)}
    read = recognise(root, "flickr30k").read(root)
    assert read.listed == {"train": 1, "dev": 1, "test": 1}


def test_kaggles_row_without_a_bar_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The published results.csv has one: ``2199200615.jpg| 4   A dog runs across the grass .``"""
    raw_sets.put_pictures(tmp_path / "images", ["a.jpg"])
    rows = 'a.jpg| 0| He said " hi " , twice .\na.jpg| 4   A dog runs .\n'
    raw_sets.put(tmp_path / "results.csv", f"{raw_sets.KAGGLE_HEADER}\n{rows}")
    assert said(tmp_path, split_by_hash("a.jpg")) == {"a.jpg": ('He said " hi " , twice .',)}
    assert "1 captions or pictures left out, first results.csv line 3: lacks a field" in caplog.text


def test_karpathys_files(tmp_path: Path) -> None:
    root = raw_sets.karpathy_flickr(tmp_path)
    assert said(root, "train") == {"a.jpg": ("One a .", "Two a .")}
    assert said(root, "val") == {"b.jpg": ("One b .",)}
    assert said(root, "test") == {"c.jpg": ("One c .",)}


def test_karpathys_restval_is_for_training(tmp_path: Path) -> None:
    root = raw_sets.karpathy_coco(tmp_path)
    raw_sets.put(root / "annotations" / "captions_val2014.json", "{}")  # may lie there too
    assert list(said(root, "train")) == ["train2014/COCO_train2014_1.jpg", "val2014/COCO_val2014_2.jpg"]
    assert said(root, "dev") == {"val2014/COCO_val2014_3.jpg": ("Picture 3.",)}


def test_two_of_karpathys_files(tmp_path: Path) -> None:
    raw_sets.karpathy_flickr(tmp_path)
    raw_sets.karpathy_coco(tmp_path)
    with pytest.raises(TrainingError, match=r"dataset_flickr8k\.json and dataset_coco\.json: leave only"):
        load_split(tmp_path, "train")


def test_splits_whose_names_would_be_paths(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = raw_sets.karpathy_flickr(tmp_path)
    path = root / "dataset_flickr8k.json"
    path.write_text(path.read_text().replace('"test"', '"../../test"'))
    assert list(said(root, "train")) == ["a.jpg"]
    assert "c.jpg is in a split called '../../test'" in caplog.text


@pytest.mark.parametrize("year", [2014, 2017])
@pytest.mark.parametrize("pictures", [".", "images"])
def test_coco(year: int, pictures: str, tmp_path: Path) -> None:
    root = raw_sets.coco(tmp_path, year, pictures)
    assert set(said(root, "train").values()) == {
        ("Caption 0 of 1.", "Caption 1 of 1."),
        ("Caption 0 of 2.", "Caption 1 of 2."),
    }
    (name,) = said(root, "validation")
    assert name.startswith(f"val{year}/")


def test_pictures_of_the_same_name_in_different_folders(tmp_path: Path) -> None:
    for split in ("train", "val"):
        raw_sets.put_pictures(tmp_path / f"{split}2017", ["1.jpg"])
        content = {
            "images": [{"id": 1, "file_name": "1.jpg"}],
            "annotations": [{"image_id": 1, "caption": f"From {split}."}],
        }
        raw_sets.put(tmp_path / "annotations" / f"captions_{split}2017.json", content)
    assert said(tmp_path, "train") == {"train2017/1.jpg": ("From train.",)}
    assert said(tmp_path, "dev") == {"val2017/1.jpg": ("From val.",)}


def test_coco_of_two_years(tmp_path: Path) -> None:
    raw_sets.coco(raw_sets.coco(tmp_path, 2014), 2017)
    with pytest.raises(TrainingError, match=r"captions_train2014\.json and captions_train2017\.json, both"):
        load_split(tmp_path, "train")


PLAIN = 'image,caption,split\nx.jpg,An x.,train\nin/x.jpg,Another.,val\nx.jpg,"Again, x.",train\n'
VARIANTS = {
    "plain": PLAIN,
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "UTF-16 of a spreadsheet": PLAIN.replace(",", "\t").replace("Again\t", "Again,").encode("utf-16"),
    "Windows' line ends": PLAIN.replace("\n", "\r\n"),
    "semicolons": 'Image;Caption;Split\nx.jpg;An x.;train\nin/x.jpg;Another.;dev\nx.jpg;Again, x.;train',
    "other names": "split , File Name , TEXT\ntrain, x.jpg, An x.\nVal, in/x.jpg, Another.\n"
    'train, x.jpg, "Again, x."',
    "other columns": "id,image,lang,caption,split\n1,x.jpg,en,An x.,train\n\n2,./in//x.jpg,en,Another.,dev\n"
    '3,x.jpg,en,"Again, x.",train\n',
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_table_of_ones_own(variant: str, tmp_path: Path) -> None:
    root = raw_sets.table(tmp_path, VARIANTS[variant])
    assert said(root, "train") == {"x.jpg": ("An x.", "Again, x.")}
    assert said(root, "dev") == {"in/x.jpg": ("Another.",)}


def test_a_table_without_splits(tmp_path: Path) -> None:
    rows = "".join(f"{number}.jpg,Say {number}.\n" for number in range(60))
    raw_sets.put_pictures(tmp_path / "images", [f"{number}.jpg" for number in range(60)])
    raw_sets.put(tmp_path / "mine.csv", f"image,caption\n{rows}")
    for split in ("train", "dev", "test"):
        assert {split_by_hash(name) for name in said(tmp_path, split)} == {split}


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (b"x.jpg,,train", "line 4: the caption is empty"),
        (b"x.jpg,...,train", "line 4: the caption has no words"),
        (b"x.jpg,caf\xe9 au lait,train", "line 4: the caption is not UTF-8"),
        (b"x.jpg,A cat.,training", "line 4: the split 'training' is not"),
        (b"x.jpg", "line 4: lacks a field"),
        (b",A cat.,train", "line 4: lacks a field"),
        (b"x.jpg,A cat.,dev", "line 4: x.jpg is in the split train already, not in dev"),
        (b'x.jpg,"A cat.,train\ny.jpg,Open.,train', "lines 4-5: "),
        (b"../up.jpg,A cat.,train", "../up.jpg: lies outside"),
        (b"/up.jpg,A cat.,train", "/up.jpg: lies outside"),
    ],
)
def test_rows_that_cannot_be_used(
    rows: bytes, problem: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = raw_sets.table(tmp_path, b"image,caption,split\nx.jpg,An x.,train\ny.jpg,A y.,dev\n" + rows)
    assert said(root, "train")["x.jpg"][0] == "An x."
    assert problem in caplog.text
    assert list(said(root, "train")) == ["x.jpg"]


def test_a_picture_without_a_caption_is_missing_from_its_split(tmp_path: Path) -> None:
    root = raw_sets.flickr8k(tmp_path)
    assert complete(root, "train") == (2, 2)
    raw_sets.put(root / "Flickr_8k.trainImages.txt", "a.jpg\nstranger.jpg\nb.jpg\n")
    assert complete(root, "train") == (2, 3)
    assert complete(root, "val") == (1, 1)


def test_tables_that_cannot_be_used(tmp_path: Path) -> None:
    raw_sets.table(tmp_path, "picture;words\nx.jpg;An x.\n", "one.csv")
    with pytest.raises(TrainingError, match=r"has no column image .or image_name, .*its first line is"):
        load_split(tmp_path, "train")
    raw_sets.put(tmp_path / "two.csv", "image,caption\n")
    with pytest.raises(TrainingError, match=r"several tables \(one\.csv, two\.csv\): call the right one"):
        load_split(tmp_path, "train")
    raw_sets.put(tmp_path / "captions.csv", "image,caption\n")
    with pytest.raises(TrainingError, match="lists no picture"):
        load_split(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset_coco.json", '{"images": [{"filename": "a.jpg", "spl'),
        ("dataset_coco.json", '{"images": [{"filename": "a.jpg"}]}'),
        ("captions_train2014.json", '{"images": []}'),
        ("annotations/captions_val2017.json", "words"),
    ],
)
def test_damaged_json(name: str, content: str, tmp_path: Path) -> None:
    raw_sets.put(tmp_path / name, content)
    with pytest.raises(TrainingError, match=rf"{Path(name).name} is not a (split|caption) file of"):
        load_split(tmp_path, "train")


def test_an_unknown_layout_says_what_was_looked_for(tmp_path: Path) -> None:
    raw_sets.put_pictures(tmp_path, ["x.jpg"])
    with pytest.raises(TrainingError) as caught:
        load_split(tmp_path, "train")
    for file in (
        "Flickr8k.token.txt",
        "results_20130124.token",
        "dataset_coco.json",
        "captions_train2014.json",
    ):
        assert file in str(caught.value)
    with pytest.raises(TrainingError, match="there is no folder"):
        load_split(tmp_path / "nowhere", "train")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "prepared"])
def test_a_forced_layout_that_does_not_fit(layout: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"missing|looked for"):
        recognise(tmp_path, layout).read(tmp_path)


def test_the_flag_knows_every_layout() -> None:
    assert set(get_args(Layout)) == set(LAYOUTS)
