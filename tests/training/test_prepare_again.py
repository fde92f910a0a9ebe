"""A second ``captioner prepare`` of the same folder: what is left to do, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import picture
from tests.training.toy import prepare_small
from training import copies
from training.dataset import complete, load_split
from training.errors import TrainingError
from training.prepare import prepare


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its bytes and time of change."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_second_run_does_nothing(data: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare_small(data, output).copied == 9
    before = contents(output)
    monkeypatch.setattr(copies, "open_picture", None)
    again = prepare_small(data, output)
    assert (again.copied, again.changed) == (0, False)
    assert contents(output) == before


def test_only_changed_pictures_are_done_again(data: Path, output: Path) -> None:
    prepare_small(data, output)
    before = contents(output)
    (data / "images" / "train3.jpg").write_bytes(picture(7))
    (output / "images" / "dev1.jpg").unlink()
    (output / "images" / "dev2.jpg").write_bytes(b"cut")
    assert prepare_small(data, output).copied == 3
    after = contents(output)
    done = {name for name in after if name.startswith("images") and after[name] != before[name]}
    assert done == {f"images/{name}.jpg" for name in ("train3", "dev1", "dev2")}
    assert after["images/dev2.jpg"][0] == before["images/dev2.jpg"][0]
    assert after["images/train3.jpg"][0] != before["images/train3.jpg"][0]


def test_a_picture_that_was_mended_is_no_longer_skipped(data: Path, output: Path) -> None:
    broken = data / "images" / "train1.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    assert len(prepare_small(data, output).skipped) == 1
    broken.write_bytes(whole)
    again = prepare_small(data, output)
    assert (again.copied, again.skipped) == (1, [])
    assert complete(output, "train") == (6, 6)


def test_changed_captions_alone(data: Path, output: Path) -> None:
    prepare_small(data, output)
    with (data / "Flickr8k.token.txt").open("a") as file:
        file.write("train0.jpg#3\tSomething else .\n")
    again = prepare_small(data, output)
    assert (again.copied, again.changed) == (0, True)
    assert load_split(output, "train")[0].captions[-1] == "Something else ."


def test_another_size_is_made_of_the_source(data: Path, output: Path) -> None:
    prepare_small(data, output)
    assert prepare(data, output, image_size=30).copied == 9
    assert min(Image.open(output / "images" / "dev0.jpg").size) == 30


def test_the_source_may_go_once_it_is_copied(data: Path, output: Path) -> None:
    prepare_small(data, output)
    shutil.rmtree(data / "images")
    assert not prepare_small(data, output).changed


def test_a_killed_run_goes_on(data: Path, output: Path) -> None:
    """SIGKILL while the fifth picture is being read and four are in the journal: those are not done again."""
    script = f"""
import os, signal, time
from pathlib import Path
from training import copies
from training.prepare import prepare
read, copies.os.cpu_count = copies.open_picture, lambda: 1
def read_or_die(path, *rest):
    if path.name == "train1.jpg":
        while Path({str(output / "pictures.jsonl")!r}).read_bytes().count(b"\\n") < 5:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return read(path, *rest)
copies.open_picture = read_or_die
prepare(Path({str(data)!r}), Path({str(output)!r}), image_size=20)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    with pytest.raises(TrainingError, match="is not complete: run captioner prepare again"):
        load_split(output, "train")
    with (output / "pictures.jsonl").open("a") as journal:
        journal.write('{"image":"train2.jpg","si')  # as if cut off while writing
    assert prepare_small(data, output).copied == 9 - 4
    assert len(load_split(output, "train")) == 6
    assert not prepare_small(data, output).changed


def test_a_folder_half_done_again_is_not_complete(
    data: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    prepare_small(data, output)
    monkeypatch.setattr(copies, "open_picture", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(data, output, image_size=30)
    with pytest.raises(TrainingError, match="is not complete: run captioner prepare again"):
        load_split(output, "train")
