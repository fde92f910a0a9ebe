"""COCO's releases: archives are fetched, checked, unpacked, and gone on with."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import cli
from tests.pictures import picture
from tests.training import raw_sets
from tests.training.web import Web, serving
from training import coco
from training.coco import Archive, fetch, unpack
from training.errors import TrainingError
from training.layouts import recognise

pytestmark = pytest.mark.usefixtures("pauses")


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("name", ["../out.jpg", "train2014/../../out.jpg", "/out.jpg"])
def test_an_archive_that_leads_outside(name: str, tmp_path: Path) -> None:
    raw_sets.put(tmp_path / "a.zip", zipped({"train2014/fine.jpg": b"1", name: b"2"}))
    with pytest.raises(TrainingError, match="would write outside its folder"):
        unpack(tmp_path / "a.zip", tmp_path / "in" / "here", "*")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_a_damaged_archive(tmp_path: Path) -> None:
    content = zipped({"train2014/a.jpg": b"the bytes of a picture", "train2014/b.jpg": b"others"})
    raw_sets.put(tmp_path / "a.zip", content.replace(b"the bytes", b"the bites"))
    with pytest.raises(TrainingError, match=r"a\.zip is damaged: Bad CRC-32"):
        unpack(tmp_path / "a.zip", tmp_path, "*.jpg")
    assert not (tmp_path / "train2014" / "a.jpg").exists()
    raw_sets.put(tmp_path / "a.zip", content[:-10])
    with pytest.raises(TrainingError, match="is damaged"):
        unpack(tmp_path / "a.zip", tmp_path, "*.jpg")


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """COCO's archives of a small data set, published as coco2014 and served."""
    served: dict[str, bytes] = {}
    raw = raw_sets.coco(tmp_path / "raw")
    archives = []
    for path, members in (
        ("annotations/annotations_trainval2014.zip", "annotations/captions_*.json"),
        ("zips/val2014.zip", "val2014/*.jpg"),
        ("zips/train2014.zip", "train2014/*.jpg"),
    ):
        folder = raw / members.partition("/")[0]
        files = {f"{folder.name}/{file.name}": file.read_bytes() for file in folder.iterdir()}
        content = served[path] = zipped(files | {f"{folder.name}/instances.json": b"{}"})
        archives.append(Archive(path, len(content), hashlib.md5(content).hexdigest(), members))
    monkeypatch.setattr(coco, "RELEASES", {"coco2014": tuple(archives)})
    with serving(served) as web:
        yield web


def test_a_release_on_the_command_line(release: Web, tmp_path: Path) -> None:
    output = tmp_path / "coco"
    release.cut_after = [100]
    arguments = ["prepare", "coco2014", "--output", str(output), "--base-url", f"{release.url}/"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "train: 2 of 2 pictures, 4 captions" in result.stdout
    assert [example.captions[0] for example in recognise(output).read(output).splits["dev"]] == [
        "Caption 0 of 3."
    ]
    left = sorted(path.name for path in (output / "source").rglob("*") if path.is_file())
    assert [name for name in left if not name.endswith(".jpg")] == [
        ".annotations_trainval2014.zip.unpacked",
        ".train2014.zip.unpacked",
        ".val2014.zip.unpacked",
        "captions_train2014.json",
        "captions_val2014.json",
    ]
    asked = len(release.requests)
    again = CliRunner().invoke(cli, arguments)
    assert again.exit_code == 0
    assert again.stdout.endswith("nothing left to do\n")
    assert len(release.requests) == asked


def test_unpacking_goes_on_where_it_was_cut_off(release: Web, tmp_path: Path) -> None:
    there = tmp_path / "source" / "train2014" / "COCO_train2014_000000000001.jpg"
    raw_sets.put(there, (tmp_path / "raw" / "train2014" / there.name).read_bytes())
    half = there.with_name("COCO_train2014_000000000002.jpg")
    raw_sets.put(half, picture()[:100])
    before = there.stat().st_mtime_ns
    fetch("coco2014", tmp_path / "source", release.url)
    assert there.stat().st_mtime_ns == before
    assert half.read_bytes() == (tmp_path / "raw" / "train2014" / half.name).read_bytes()


def test_what_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of both releases, each part under an address of its own and with a real MD5."""
    assert set(coco.RELEASES) == {"coco2014", "coco2017"}
    for release, archives in coco.RELEASES.items():
        year = release.removeprefix("coco")
        assert {archive.path for archive in archives} == {
            f"annotations/annotations_trainval{year}.zip",
            f"zips/train{year}.zip",
            f"zips/val{year}.zip",
        }
        assert all(len(bytes.fromhex(archive.md5)) == 16 for archive in archives)


def test_an_occupied_folder_is_refused_before_the_download(release: Web, tmp_path: Path) -> None:
    raw_sets.put(tmp_path / "out" / "thesis.tex", "years of work")
    result = CliRunner().invoke(cli, ["prepare", "coco2014", "--output", str(tmp_path / "out")])
    assert isinstance(result.exception, TrainingError)
    assert "holds something else (thesis.tex)" in str(result.exception)
    assert release.requests == []
