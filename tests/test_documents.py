"""The documents name what there is: files, metrics, make's targets, licences."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from tests.pictures import picture
from tests.service.fakes import FakeRunner, on_a_port

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "clients/python/README.md"]
DOCUMENTS += [ROOT / "training/RESULTS.md", ROOT / "model/bundled/README.md"]
NAMES = [str(document.relative_to(ROOT)) for document in DOCUMENTS]


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_linked_file_is_there(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_file_of_ours_that_is_named_is_there(document: Path) -> None:
    rooms = "cli|clients|docs|model|service|tests|training"
    for name in re.findall(rf"`((?:{rooms})/[\w./-]*)`", document.read_text("utf-8")):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_a_table_has_as_many_cells_in_every_row(document: Path) -> None:
    """What has not is shown as text with bars in it."""
    text = re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.S)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        rows = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", row))) for row in rows}) == 1, rows[0]


def test_every_target_of_make_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for document in DOCUMENTS:
        for target in re.findall(r"(?:`|^|[A-Z]+=\S+ )make ([a-z-]+)", document.read_text("utf-8"), re.M):
            assert re.search(rf"^{target}:", makefile, re.M), f"{document.name}: make {target}"


def test_every_metric_that_is_named_exists() -> None:
    with on_a_port(create_app(Settings(), FakeRunner())) as url:
        httpx.post(f"{url}/caption", files={"image": picture()})
        known = httpx.get(f"{url}/metrics").text
    named = re.findall(r"captioner_[a-z_]+[a-z]", (ROOT / "docs/OPERATIONS.md").read_text("utf-8"))
    assert len(set(named)) >= 7
    for name in named:
        assert re.search(rf"^# TYPE {re.sub('_(bucket|sum|count)$', '', name)} ", known, re.M), name


def test_every_dependency_has_its_licence_in_the_notices() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [
        *project["dependencies"],
        *(d for extra in project["optional-dependencies"].values() for d in extra),
    ]
    names = {re.split(r"[\[<>=;]", requirement)[0] for requirement in needed} - {"captioner"}
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_text("utf-8")
    assert set(re.findall(r"^\| ([\w-]+)(?:, [^|]*)? \|", notices, re.M)) - {"package"} == names
