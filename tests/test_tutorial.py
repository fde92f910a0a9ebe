"""``docs/TRAINING.md`` from its folder and table to a served model, as it stands but for size.

Made smaller for the test: fewer and simpler pictures, one epoch, and an encoder with random weights in place
of those that are downloaded. So the captions say nothing; that every step takes what the one before made is
shown.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import httpx
import msgspec
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from cli.main import cli
from tests.service.processes import running
from training.config import TrainConfig

TEXT = (Path(__file__).parent.parent / "docs" / "TRAINING.md").read_text("utf-8")
SMALLER = {
    r'encoder_weights = ".*"': 'encoder_weights = ""',
    "epochs = 12": "epochs = 1",
    r"\[architecture\]": "[preprocessing]\nimage_size = 64\n\n[architecture]",
}
COLOURS = ("red", "green", "blue", "yellow")
PICTURES = 48


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


def make_photos(folder: Path) -> None:
    folder.mkdir()
    rows = ["image,caption"]
    for number in range(PICTURES):
        colour = COLOURS[number % 4]
        image = Image.new("RGB", (40, 30), "white")
        ImageDraw.Draw(image).ellipse((8, 4, 30, 26), fill=colour)
        image.save(folder / f"ball{number}.jpg")
        rows += [f"ball{number}.jpg,A {colour} ball on white.", f"ball{number}.jpg,One {colour} ball."]
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")


def run(line: str) -> None:
    """A line of the page, in this process: PyTorch takes seconds to load in each new one."""
    command, _, target = line.partition(" > ")
    program, *arguments = shlex.split(command)
    assert program == "captioner"
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}"
    if target:
        Path(target).write_text(done.stdout)


@pytest.mark.timeout(900)  # half a minute on a machine that has nothing else to do
def test_from_a_folder_and_a_table_to_a_served_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.meteor.which", lambda name: None)  # Java takes longer than all the rest
    make_photos(Path("my-photos"))
    config = blocks("toml")[0]
    for pattern, replacement in SMALLER.items():
        config, changes = re.subn(pattern, replacement, config)
        assert changes == 1
    Path("my-captions.toml").write_text(config)
    *lines, serve = "".join(blocks("sh")).splitlines()
    for line in lines:
        run(line)
    captions = [json.loads(line) for line in Path("captions.jsonl").read_text().splitlines()]
    assert len(captions) == PICTURES
    assert json.loads(Path("report/report.json").read_text())
    command, *flags = shlex.split(serve)[1:]
    assert command == "serve"
    with running(*flags, cwd=tmp_path) as service:
        assert service.caption(Path("my-photos/ball0.jpg").read_bytes()).status_code == 200
        assert httpx.get(f"{service.url}/model", timeout=30).json()["name"] == "my-captions"


def test_the_phases_that_may_be_appended_are_phases() -> None:
    first, more = blocks("toml")
    whole = msgspec.toml.decode(first + more, type=TrainConfig)
    assert [phase.name for phase in whole.phases] == ["decoder", "encoder", "reward"]
