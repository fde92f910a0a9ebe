from __future__ import annotations

from pathlib import Path

import pytest

from model.config import Preprocessing
from tests.training.toy import make_data_set
from training.dataset import Pixels, complete, drop_unreadable, load_split
from training.errors import TrainingError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data_set(tmp_path / "data", train=4, dev=2)


def test_a_split_in_the_order_of_its_list(data: Path) -> None:
    examples = load_split(data, "train")
    assert [example.name for example in examples] == [f"train{i}.jpg" for i in range(4)]
    assert examples[1].captions == ("A green circle .", "There is a green circle on white .", "One circle .")


def test_pixels_are_those_of_the_service(data: Path) -> None:
    pixels = Pixels(load_split(data, "train"), Preprocessing(image_size=32))
    index, first = pixels[2]
    assert (index, first.shape, first.dtype.name) == (2, (32, 32, 3), "uint8")
    assert first[16, 16, 2] > 200 > first[16, 16, 0], "a blue circle"


def test_missing_split(data: Path) -> None:
    with pytest.raises(TrainingError, match="has no split test: it has dev, train"):
        load_split(data, "test")


def test_missing_captions(data: Path) -> None:
    (data / "Flickr8k.token.txt").unlink()
    with pytest.raises(TrainingError, match=r"Flickr8k\.token\.txt is missing"):
        load_split(data, "train")


def test_picture_without_captions(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "Flickr_8k.devImages.txt").write_text("dev0.jpg\nstranger.jpg\n")
    assert [example.name for example in load_split(data, "dev")] == ["dev0.jpg"]
    assert "stranger.jpg: has no caption" in caplog.text
    assert complete(data, "dev") == (1, 2)


def test_line_without_a_tab(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (data / "Flickr8k.token.txt").open("a") as file:
        file.write("dev0.jpg#9 A red circle .\n")
    assert len(load_split(data, "dev")[0].captions) == 3
    assert "Flickr8k.token.txt line 19: is not PICTURE#N, tab, caption" in caplog.text


def test_split_without_captions(data: Path) -> None:
    (data / "Flickr8k.token.txt").write_text("train0.jpg#0\tA red circle .\n")
    with pytest.raises(TrainingError, match="none of the 2 pictures of the split dev can be used"):
        load_split(data, "dev")


def test_nothing_readable(data: Path) -> None:
    for path in (data / "images").iterdir():
        path.write_bytes(b"words")
    with pytest.raises(TrainingError, match="none of the 4 pictures can be read"):
        drop_unreadable(load_split(data, "train"), Preprocessing(), lambda line: None)
