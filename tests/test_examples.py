"""What the documents show is run: each block of ``sh``, ``python``, ``javascript`` and ``go``, as it stands.

The blocks of a document run in one folder, in their order. ``http://127.0.0.1:8000`` is a service with a fake
model; ``captioner serve``, which would not end, has its flags checked in place of being started.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.main import get_command

from cli.main import cli
from cli.serve import serve
from service.app import create_app
from service.settings import Settings, load_settings
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/EXAMPLES.md",
    "docs/OPERATIONS.md",
    "clients/python/README.md",
)
ADDRESS = "http://127.0.0.1:8000"
RUN = {
    "sh": ["bash", "-euo", "pipefail"],
    "python": [sys.executable],
    "javascript": ["node"],
    "go": ["go", "run"],
}
OLDEST = {"node": (20, 0), "curl": (7, 76)}  # openAsBlob, --fail-with-body
SUFFIX = {"sh": "sh", "python": "py", "javascript": "cjs", "go": "go"}


class Block(NamedTuple):
    document: str
    line: int
    language: str
    code: str


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text("utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [Block(document, text.count("\n", 0, m.start()) + 2, m[1], m[2]) for m in found]


ALL = [block for document in DOCUMENTS for block in blocks(document)]
RUNNABLE = [block for block in ALL if block.language in RUN]


def test_readme_is_among_what_is_run() -> None:
    assert {"sh", "python"} <= {block.language for block in RUNNABLE if block.document == "README.md"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with on_a_port(create_app(Settings(), FakeRunner())) as url:
        yield url


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each document, with the pictures that the examples name."""
    made: dict[str, Path] = {}
    for document in DOCUMENTS:
        made[document] = folder = tmp_path_factory.mktemp("examples")
        (folder / "photos").mkdir()
        for number, name in enumerate(("photo.jpg", "one.jpg", "photos/a.jpg", "photos/b.jpg")):
            (folder / name).write_bytes(picture(number))
        (folder / "two.png").write_bytes(picture(5, kind="PNG"))
        shutil.copytree(
            ROOT / "clients", folder / "clients", ignore=shutil.ignore_patterns("build", "*.egg-info")
        )
    return made


@pytest.mark.timeout(900)  # Go compiles its own library the first time
@pytest.mark.parametrize("block", RUNNABLE, ids=[f"{b.document}:{b.line}" for b in RUNNABLE])
def test_a_block_runs(block: Block, url: str, folders: dict[str, Path]) -> None:
    code = "".join(line for line in block.code.splitlines(keepends=True) if "captioner serve" not in line)
    if not code.strip():
        return
    command = RUN[block.language]
    for program in [command[0], *re.findall(r"^ *(curl)\b", code, re.M)]:
        if not usable(program):
            pytest.skip(f"{program} is not here or too old, so this example is NOT tested")
    folder = folders[block.document]
    script = folder / f"example{block.line}.{SUFFIX[block.language]}"
    script.write_text(code.replace(ADDRESS, url))
    done = subprocess.run(
        [*command, script.name], cwd=folder, env=_environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{block.document}:{block.line}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.strip() or ">" in code or "--output" in code or "pip" in code


@cache
def usable(program: str) -> bool:
    """Whether it is here, in a version that the examples work with."""
    if not shutil.which(program):
        return False
    if program not in OLDEST:
        return True
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    return bool(found) and (int(found[1]), int(found[2])) >= OLDEST[program]


HELP = [Block("cli/serve.py", 1, "sh", inspect.getdoc(serve) or "")]
SERVES = [(b.document, line) for b in ALL + HELP for line in b.code.splitlines() if "captioner serve" in line]


@pytest.mark.parametrize(("document", "line"), SERVES)
def test_the_flags_of_a_service_are_right(document: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _, after = line.partition("captioner serve")
    for name, value in re.findall(r"(CAPTIONER_\w+)=(\S+)", before):
        monkeypatch.setenv(name, value)
    words = [word for word in shlex.split(after, comments=True) if word != "&"]
    command = get_command(cli).commands["serve"]  # type: ignore[attr-defined]
    load_settings(command.make_context("serve", words).params)


def _environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        # what an example installs goes into its own folder
        "PIP_TARGET": str(folder / "installed"),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
