"""The house keeps its floors: ``model`` imports none of the others, ``service`` and ``training`` only it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"model", "service", "training", "cli", "benchmarks", "tests"}
ALLOWED = {
    "model": set(),
    "service": {"model"},
    "training": {"model"},
    "cli": {"model", "service", "training"},
}


def imported(file: Path) -> set[str]:
    """Top-level packages that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        strangers = (imported(file) & ROOMS) - ALLOWED[room] - {room}
        assert not strangers, f"{file.relative_to(ROOT)} imports {', '.join(strangers)}"


@pytest.mark.parametrize("module", ["service.frontend", "service.supervisor", "cli.main"])
def test_pytorch_is_loaded_only_where_it_runs(module: str) -> None:
    """Every front end would otherwise pay seconds at the start and hundreds of megabytes."""
    check = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0
