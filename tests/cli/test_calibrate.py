"""``captioner calibrate``, run as its users run it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from cli.calibrate import compare
from model import checkpoint as checkpoints
from model.config import BUNDLED, load_config
from tests.pictures import picture
from tests.service.processes import CAPTIONER


def captioner(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [CAPTIONER, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The bundled one as it is after training: without ranges."""
    folder = tmp_path / "mine"
    shutil.copytree(BUNDLED, folder)
    config = msgspec.structs.replace(load_config(folder), activation_ranges={})
    (folder / "config.json").write_bytes(msgspec.json.encode(config))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.jpg").write_bytes(picture(number))
    return folder


def test_a_checkpoint_captions_in_int8_once_it_is_calibrated(checkpoint: Path, photos: Path) -> None:
    caption = ("caption", photos / "0.jpg", "--checkpoint", checkpoint, "--precision", "int8")
    refused = captioner(*caption)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "captioner calibrate" in refused.stderr
    (photos / "1.jpg").write_bytes(b"no picture")  # measured with
    (photos / "3.jpg").write_bytes(b"no picture")  # held out
    done = captioner("calibrate", photos, "--checkpoint", checkpoint)
    assert done.returncode == 0, done.stderr
    assert [line.partition(".jpg: ")[0][-1] for line in done.stderr.splitlines()] == ["1", "3"]
    ranges, compared = done.stdout.splitlines()
    assert ranges.endswith("from 5 pictures")
    assert re.fullmatch(r"int8 gives [01] of 1 other pictures .+", compared)
    assert load_config(checkpoint).activation_ranges
    captioned = captioner(*caption)
    assert captioned.returncode == 0, captioned.stderr
    assert captioned.stdout.strip().split("\t")[1]


def test_without_a_picture_nothing_is_written(checkpoint: Path, tmp_path: Path) -> None:
    before = (checkpoint / "config.json").read_bytes()
    (tmp_path / "empty").mkdir()
    done = captioner("calibrate", tmp_path / "empty", "--checkpoint", checkpoint)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "none of these is a picture" in done.stderr
    assert (checkpoint / "config.json").read_bytes() == before


def test_captions_that_int8_changes_are_counted(checkpoint: Path, photos: Path) -> None:
    config = load_config(checkpoint)
    of_bundled = load_config(BUNDLED).activation_ranges
    nothing_fits = dict.fromkeys(of_bundled, (0.0, 1e-6))
    checkpoints.save_ranges(checkpoint, config, nothing_fits)
    paths = sorted(photos.iterdir())
    assert compare(checkpoint, paths) == (0, len(paths))


def test_a_service_has_its_own_precision(photos: Path) -> None:
    done = captioner("caption", photos, "--server", "http://127.0.0.1:9", "--precision", "int8")
    assert done.returncode == 2
    assert "--precision" in done.stderr
