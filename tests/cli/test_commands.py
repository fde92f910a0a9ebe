"""The ``captioner`` program, run as its users run it, with the bundled checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import cli
from model.config import BUNDLED, load_config
from service.settings import Settings
from tests.pictures import picture

CAPTIONER = str(Path(sys.executable).with_name("captioner"))


def captioner(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([CAPTIONER, *arguments], input=stdin, capture_output=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    for number, name in enumerate(("b.jpg", "a.PNG", "inner/c.webp")):
        kind = "JPEG" if name.endswith("jpg") else Path(name).suffix[1:].upper()
        (tmp_path / name).write_bytes(picture(number, kind=kind))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_heavy_imports_wait_for_their_command() -> None:
    heavy = {"torch", "numpy", "PIL", "rich.progress", "openvino", "fastapi"}
    program = f"import sys, cli.main; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_gives_one_json_line_a_picture(folder: Path) -> None:
    done = captioner("caption", str(folder), "--jsonl")
    assert (done.returncode, done.stderr) == (0, b"")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["path"] for entry in entries] == [
        str(folder / n) for n in ("a.PNG", "b.jpg", "inner/c.webp")
    ]
    for entry in entries:
        assert entry.keys() == {"path", "caption", "log_probability"}
        assert entry["caption"]
        assert entry["log_probability"] < 0


def test_a_file_that_cannot_be_read_is_reported_and_the_rest_goes_on(folder: Path) -> None:
    broken, missing = folder / "broken.jpg", folder / "missing.jpg"
    broken.write_bytes(picture()[:300])
    done = captioner("caption", str(broken), str(missing), str(folder / "b.jpg"), "--jsonl")
    assert done.returncode == 1
    first, second, third = (json.loads(line) for line in done.stdout.splitlines())
    assert first.keys() == second.keys() == {"path", "error"}
    assert third["caption"]
    said = done.stderr.decode().splitlines()
    assert len(said) == 2
    assert str(broken) in said[0]
    assert str(missing) in said[1]


def test_a_picture_on_standard_input(folder: Path) -> None:
    file = folder / "b.jpg"
    done = captioner("caption", str(file), "-", stdin=file.read_bytes())
    (name, caption), (stdin, same) = (line.split("\t") for line in done.stdout.decode().splitlines())
    assert (name, stdin) == (str(file), "-")
    assert caption
    assert caption == same


def test_beam_search_never_finds_a_less_likely_caption(folder: Path) -> None:
    greedy, beam = (  # in this process: PyTorch takes seconds to load in each new one
        [json.loads(line) for line in done.stdout.splitlines()]
        for done in (
            CliRunner().invoke(cli, ["caption", str(folder), "--jsonl", *flags])
            for flags in ((), ("--beam", "5"))
        )
    )
    assert len(greedy) == len(beam) == 3
    assert sum(b["log_probability"] for b in beam) >= sum(g["log_probability"] for g in greedy)


def test_info_says_what_the_bundled_checkpoint_is() -> None:
    said = captioner("info").stdout.decode()
    config = load_config(BUNDLED)
    for fact in (
        config.name,
        config.revision,
        config.architecture.encoder,
        config.files["model.safetensors"],
    ):
        assert fact in said
    assert "CIDEr" in said


def test_an_unusable_checkpoint_is_one_line(tmp_path: Path) -> None:
    done = captioner("info", "--checkpoint", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        f"captioner: config.json is missing from the checkpoint folder {tmp_path}"
    ]


def test_every_setting_is_a_flag_and_a_variable() -> None:
    said = " ".join(captioner("serve", "--help").stdout.decode().replace("│", " ").split())
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')} " in said
        assert f"CAPTIONER_{name.upper()}]" in said
