"""``captioner caption`` by way of a service, which needs no model: what it writes, and how it goes on."""

from __future__ import annotations

import contextlib
import csv
import html.parser
import io
import json
import os
import pty
import re
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from cli.main import cli
from model.errors import CaptionerError
from service.app import create_app
from service.settings import Settings
from tests.cli.test_commands import CAPTIONER
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port

KEY = "sesame"
HOSTILE = '"><img src=x onerror=alert(1)>.jpg'


@pytest.fixture(scope="module")
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture(scope="module")
def server(runner: FakeRunner) -> Iterator[str]:
    with on_a_port(create_app(Settings(api_keys=KEY), runner)) as url:
        yield url


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTIONER_API_KEY", KEY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one of them below, and one that is broken."""
    photos = tmp_path / "photos"
    (photos / "inner").mkdir(parents=True)
    (photos / HOSTILE).write_bytes(picture(0))
    (photos / "b.png").write_bytes(picture(1, kind="PNG"))
    (photos / "broken.jpg").write_bytes(picture(2)[:300])
    (photos / "inner" / "c,1.webp").write_bytes(picture(3, kind="WEBP"))
    (photos / "notes.txt").write_text("not a picture")
    return photos


def captioner(*arguments: str, stdin: bytes = b"") -> Result:
    """The program in this process: a process of its own takes a second to begin."""
    return CliRunner().invoke(cli, arguments, input=stdin)


NAMES = (HOSTILE, "b.png", "broken.jpg", "inner/c,1.webp")


def test_json_lines(server: str, folder: Path) -> None:
    done = captioner("caption", str(folder), "--jsonl", "--server", server)
    assert done.exit_code == 1
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["path"] for entry in entries] == [str(folder / name) for name in NAMES]
    for entry in entries:
        if entry["path"].endswith("broken.jpg"):
            assert entry.keys() == {"path", "error"}
            assert done.stderr == f"captioner: {entry['path']}: {entry['error']}\n"
        else:
            assert entry == {"path": entry["path"], "caption": "a red ball", "log_probability": -1.5}


def test_a_table(server: str, folder: Path) -> None:
    odd = os.fsencode(folder) + b"/\xff,\n.jpg"
    Path(os.fsdecode(odd)).write_bytes(picture())
    done = captioner("caption", str(folder), "--csv", "--server", server)
    text = done.stdout_bytes.decode("utf-8", "surrogateescape")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == ["path", "caption", "log_probability", "error"]
    assert {row["path"] for row in rows} == {*(str(folder / name) for name in NAMES), os.fsdecode(odd)}
    for row in rows:
        good = {"caption": "a red ball", "log_probability": "-1.5", "error": ""}
        assert row.items() >= good.items() or (row["path"].endswith("broken.jpg") and row["error"])


def test_img_elements(server: str, folder: Path) -> None:
    done = captioner("caption", str(folder), "--alt-html", "--server", server)
    found = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attributes: list) -> None:
            found.append((tag, dict(attributes)))

    Reader().feed(done.stdout)
    assert [tag for tag, _ in found] == ["img"] * 3
    for (_, attributes), name in zip(found, (HOSTILE, "b.png", "inner/c,1.webp"), strict=True):
        assert attributes.keys() == {"src", "alt"}
        assert urllib.parse.unquote(attributes["src"]) == str(folder / name)
        assert attributes["alt"] == "a red ball"


@pytest.mark.parametrize("flag", ["--jsonl", "--csv"])
def test_a_run_that_was_stopped_goes_on(
    server: str, runner: FakeRunner, folder: Path, tmp_path: Path, flag: str
) -> None:
    output = tmp_path / "captions"

    def run() -> int:
        before = runner.seen
        done = captioner("caption", str(folder), flag, "--output", str(output), "--server", server)
        assert (done.exit_code, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1  # the broken one, tried again each time
        return runner.seen - before

    assert run() == 3
    whole = output.read_bytes()
    assert run() == 0
    assert sorted(output.read_bytes().splitlines()) == sorted(whole.splitlines())
    lines = whole.splitlines(keepends=True)
    kept = lines[: 2 if flag == "--csv" else 1]
    output.write_bytes(b"".join(kept) + lines[len(kept)][:20])  # stopped in the middle of a line
    assert run() == 2
    assert output.read_bytes() == whole


@pytest.mark.parametrize("flag", ["--jsonl", "--csv"])
def test_a_caption_that_its_picture_did_not_take_is_tried_again(
    server: str, tmp_path: Path, flag: str
) -> None:
    film, output = tmp_path / "film.gif", tmp_path / "captions"
    film.write_bytes(picture(kind="GIF"))
    command = ("caption", str(film), flag, "--output", str(output), "--server", server)
    for _ in range(2):
        done = captioner(*command, "--write-exif")
        assert (done.exit_code, done.stderr.count("not written")) == (1, 1)
        said = output.read_text()
        assert (said.count("a red ball"), said.count("not written")) == (1, 1)
    assert captioner(*command).exit_code == 0
    assert "not written" not in output.read_text()


@pytest.mark.parametrize(
    ("flag", "content"),
    [
        ("--jsonl", '{"name": "x"}\n'),
        ("--jsonl", "hello\n"),
        ("--jsonl", "hello"),  # not the beginning of a line of ours that was cut off
        ("--jsonl", '[{"path": "x"}]'),
        ("--csv", "a,b\n1,2\n"),
        ("--csv", "\n"),
        ("--csv", "path,caption,log_probability,error\nx,a dog,likely,\n"),
    ],
)
def test_a_file_of_something_else_is_left_alone(
    server: str, folder: Path, tmp_path: Path, flag: str, content: str
) -> None:
    output = tmp_path / "mine"
    output.write_text(content)
    done = captioner("caption", str(folder), flag, "--output", str(output), "--server", server)
    assert isinstance(done.exception, CaptionerError)
    assert str(output) in str(done.exception)
    assert output.read_text() == content
    assert sorted(tmp_path.iterdir()) == [output, folder]


def test_captions_are_written_into_the_files_only_when_asked(server: str, folder: Path) -> None:
    (folder / "film.gif").write_bytes(picture(kind="GIF"))
    link = folder.parent / "link.jpg"
    link.symlink_to(folder / HOSTILE)
    (folder / "b.png").chmod(0o640)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    captioner("caption", str(folder), "--server", server)
    assert {path: path.read_bytes() for path in before} == before
    done = captioner(
        "caption", str(folder), str(link), "-", "--write-exif", "--server", server, stdin=picture()
    )
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 6
    reported = sorted(line.split(": ")[1] for line in done.stderr.splitlines())
    assert reported == ["-", str(folder / "broken.jpg"), str(folder / "film.gif")]
    for name in (HOSTILE, "b.png", "inner/c,1.webp"):
        with Image.open(folder / name) as image:
            assert image.getexif()[0x010E] == "a red ball"
    for name in ("film.gif", "broken.jpg", "notes.txt"):
        assert (folder / name).read_bytes() == before[folder / name]
    assert link.is_symlink()
    assert (folder / "b.png").stat().st_mode & 0o777 == 0o640
    assert {path for path in folder.rglob("*") if path.is_file()} == before.keys()


def test_without_a_service_or_a_way_in_the_run_ends_at_once(server: str, folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        done = captioner("caption", str(folder), "--server", address)
    assert isinstance(done.exception, CaptionerError)
    assert str(done.exception) == f"nothing answers at {address}/"
    assert done.output == ""
    for key in ("wrong", "schlüssel"):
        done = captioner("caption", str(folder), "--server", server, "--api-key", key)
        assert isinstance(done.exception, CaptionerError)
        assert "key" in str(done.exception)
        assert done.output == ""


def test_where_no_picture_is_it_says_so(server: str, tmp_path: Path) -> None:
    (tmp_path / "photo.heic").write_bytes(b"not among the formats")
    done = captioner("caption", str(tmp_path), "--server", server)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no JPEG, PNG, WebP, GIF or BMP" in done.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--jsonl", "--csv"),
        ("--output", "x"),
        ("--alt-html", "--output", "x"),
        ("--jsonl", "--output", "no-such-folder/x"),
        ("--server", "http://x", "--checkpoint", "x"),
        ("--beam", "11"),
    ],
)
def test_flags_that_do_not_go_together(folder: Path, flags: tuple[str, ...]) -> None:
    done = captioner("caption", str(folder), *flags)
    assert done.exit_code == 2
    assert done.stdout == ""


def test_a_reader_that_goes_away_is_no_error_to_speak_of(server: str, folder: Path) -> None:
    command = f"{CAPTIONER} caption photos --server {server} | head -n 1"
    done = subprocess.run(command, shell=True, cwd=folder.parent, capture_output=True, timeout=120)
    assert len(done.stdout.splitlines()) == 1
    assert b"Traceback" not in done.stderr


def test_a_terminal_gets_a_progress_bar(server: str, folder: Path) -> None:
    shown = on_a_terminal(CAPTIONER, "caption", str(folder), "--server", server)
    assert "4/4" in shown
    *_, last = re.split(r"\x1b\[2K|\n", shown.partition("a red ball")[0])
    assert last.startswith(str(folder)), "the bar gives its line up to a caption"


def on_a_terminal(*command: str) -> str:
    """What a program shows on a terminal, control characters included."""
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}):
        os.close(theirs)
        with contextlib.suppress(OSError):  # Linux says so that nobody is at the other end any more
            while part := os.read(ours, 65536):
                shown += part
    os.close(ours)
    return shown.decode()


def test_completion_for_shells() -> None:
    def complete(**variables: str) -> str:
        environment = {**os.environ, **variables}
        return subprocess.run(
            [CAPTIONER], capture_output=True, text=True, env=environment, timeout=120
        ).stdout

    assert "complete -o default -F _captioner_completion captioner" in complete(
        _CAPTIONER_COMPLETE="source_bash"
    )
    asked = {"COMP_WORDS": "captioner caption --js", "COMP_CWORD": "2"}
    assert complete(_CAPTIONER_COMPLETE="complete_bash", **asked).split() == ["--jsonl"]


def test_no_model_is_loaded_for_a_service(server: str, folder: Path) -> None:
    check = "import sys; from cli.main import app\ntry: app()\nfinally: assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", check, "caption", str(folder / "b.png"), "--server", server]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
