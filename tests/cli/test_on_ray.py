"""``captioner caption --engine ray``: pictures from anywhere, part files that a later run goes on with."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.pictures import picture
from tests.service.processes import CAPTIONER

pyarrow = pytest.importorskip("pyarrow", reason="Ray is not installed, so captioning on it is NOT tested")
pytest.importorskip("ray", reason="Ray is not installed, so captioning on it is NOT tested")

from cli.formats import Entry, NotOurFile  # noqa: E402
from cli.on_ray import _lists, names  # noqa: E402
from cli.parts import Parts, file_system  # noqa: E402
from model.errors import CaptionerError  # noqa: E402


def caption(*arguments: str | Path, code: int = 0) -> str:
    command = [CAPTIONER, "caption", *map(str, arguments), "--engine", "ray"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == code, run.stderr
    return run.stderr


def rows(folder: Path) -> list[dict[str, object]]:
    return [
        json.loads(line) for part in folder.glob("part-*.jsonl") for line in part.read_text().splitlines()
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.jpg").write_bytes(picture(number))
    return folder


@pytest.mark.usefixtures("ray_folder")
def test_a_run_goes_on_where_another_ended(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"no picture")
    output = tmp_path / "captions"
    assert "6 captioned, 1 failed" in caption(folder, "--output", output, code=1)
    assert {row["path"]: "error" in row for row in rows(output)} == {
        **{str(folder / f"{number}.jpg"): False for number in range(6)},
        str(folder / "broken.jpg"): True,
    }
    (folder / "broken.jpg").write_bytes(picture(7))
    (folder / "new.jpg").write_bytes(picture(8))
    assert "2 captioned, 0 failed" in caption(folder, "--output", output, "--precision", "int8")
    seen = Counter(row["path"] for row in rows(output))
    assert set(seen.values()) == {1}
    assert len(seen) == 8
    assert all(row["caption"] for row in rows(output))


@pytest.mark.usefixtures("ray_folder")
def test_urls_from_a_table_into_parquet(folder: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    urls = [f"file://{folder}/{number}.jpg" for number in range(3)] + [f"file://{folder}/none.jpg"]
    pyarrow.parquet.write_table(pyarrow.table({"path": urls}), tmp_path / "urls.parquet")
    output = tmp_path / "captions"
    arguments = (tmp_path / "urls.parquet", "--output", f"file://{output}", "--parquet")
    assert "3 captioned, 1 failed" in caption(*arguments, code=1)
    table = pyarrow.parquet.read_table(output).to_pylist()
    assert {row["path"]: bool(row["caption"]) for row in table} == dict(
        zip(urls, (True, True, True, False), strict=True)
    )
    assert all(row["error"] for row in table if not row["caption"])


@pytest.mark.parametrize(
    "name", ["my photo.jpg", "100%.jpg", "a#b.jpg", "a?b=c.jpg", "müller.jpg", "%41.jpg"]
)
def test_a_listed_url_leads_back_to_its_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "my pictures").mkdir()
    file = tmp_path / "my pictures" / name
    file.write_bytes(b"it")
    (url,) = names([f"file://{quote(str(file.parent))}"])
    files, path = file_system(url)
    assert path == str(file)
    assert files.open_input_stream(path).read() == b"it"


def test_names_are_absolute_and_listed_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("pictures/0.jpg\r\npictures/1.jpg\n\n")
    known = {str(folder / "1.jpg")}
    lists = list(_lists(names(["list.txt", "pictures"]), known, str))
    assert [os.fsdecode(path) for path in lists[0]] == [str(folder / f"{n}.jpg") for n in (0, 2, 3, 4, 5)]


def test_what_names_stand_for(folder: Path, tmp_path: Path) -> None:
    files = [str(folder / f"{number}.jpg") for number in range(6)]
    (tmp_path / "list.txt").write_text("\n".join(files[:2]) + "\n")
    (folder / "notes.md").write_text("no picture")
    assert list(names([str(tmp_path / "list.txt")])) == files[:2]
    assert list(names([str(folder)])) == files
    assert sorted(names([f"file://{folder}"])) == [f"file://{file}" for file in files]
    assert list(names([f"file://{folder}/0.jpg"])) == [f"file://{folder}/0.jpg"]
    for wrong in (tmp_path / "none.txt", tmp_path / "none.parquet", "nosuch://bucket/key.jpg"):
        with pytest.raises(CaptionerError, match="cannot be re"):
            list(names([str(wrong)]))


@pytest.mark.parametrize("parquet", [False, True])
def test_parts_are_whole_and_gone_on_with(tmp_path: Path, parquet: bool) -> None:
    parts = Parts(str(tmp_path / "parts"), parquet)
    good, bad = Entry("a.jpg", "a dog", -1.5), Entry("b.jpg", error="no picture")
    parts.write([good, bad])
    parts.write([good, bad])  # a list that is done again writes over itself
    (tmp_path / "parts" / ".unfinished-1-part-x").write_text("cut o")
    assert len(list((tmp_path / "parts").iterdir())) == 2
    assert parts.captioned() == {"a.jpg"}
    assert len(list((tmp_path / "parts").iterdir())) == 1
    assert parts.captioned() == {"a.jpg"}
    parts.write([Entry("\udcff.jpg", "a name that is no UTF-8", -2.0)])
    assert parts.captioned() == {"a.jpg", parts.key("\udcff.jpg")}
    (part, *_) = (tmp_path / "parts").iterdir()
    part.write_text("something else\n")
    with pytest.raises(NotOurFile, match="cannot be gone on with"):
        parts.captioned()


def test_other_peoples_parts_are_left_alone(tmp_path: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.jpg"], "size": [1]}), tmp_path / "part-0.parquet")
    (tmp_path / "part-0.jsonl").write_text('{"path": "a.jpg"}\n')
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for parquet in (False, True):
        with pytest.raises(NotOurFile):
            Parts(str(tmp_path), parquet).captioned()
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["x", "--engine", "ray"], "--output"),
        (["x", "--engine", "ray", "--output", "y", "--csv"], "--csv"),
        (["-", "--engine", "ray", "--output", "y"], "standard input"),
        (["x", "--parquet"], "--parquet"),
    ],
)
def test_what_does_not_go_together(arguments: list[str], complaint: str) -> None:
    run = subprocess.run([CAPTIONER, "caption", *arguments], capture_output=True, text=True)
    assert run.returncode == 2
    assert complaint in run.stderr
