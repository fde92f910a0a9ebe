"""Measures the table of docs/RELIABILITY.md again: ``python -m tests.hostile.table``.

Runs every test marked with a row and writes, for each row, which tests hold it and what they saw.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "RELIABILITY.md"
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \|.*$", re.M)


def marked_tests() -> dict[int, list[str]]:
    """For each row the tests marked with it, as ``hostile/test_load.py::test_name``, read from the source."""
    tests: dict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                for call in node.decorator_list:
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.row":
                        for number in map(ast.literal_eval, call.args):
                            tests[number].append(f"{path.relative_to(ROOT / 'tests')}::{node.name}")
    return tests


def run() -> tuple[int, dict[int, list[str]]]:
    """Exit code of the marked tests, and for each row what they saw."""
    names = sorted({f"tests/{name}" for tests in marked_tests().values() for name in tests})
    seen: dict[int, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n2",
            "--dist=loadfile",
            f"--junitxml={report}",
            "-o",
            "junit_family=xunit1",
        ]
        code = subprocess.run([*command, *names], cwd=ROOT).returncode
        for case in ElementTree.parse(report).iter("testcase"):
            properties = [(p.get("name"), p.get("value", "")) for p in case.iter("property")]
            for row in (int(value) for name, value in properties if name == "row"):
                words = (value for name, value in properties if name == "measured")
                seen[row] += [w for w in words if w not in seen[row]]
    return code, seen


def main() -> int:
    code, seen = run()
    tests = marked_tests()

    def fill(match: re.Match[str]) -> str:
        number = int(match[1])
        held_by = ", ".join(f"`{name}`" for name in tests[number])
        return f"| {number} | {match[2].strip()} | {'; '.join(seen[number])} | {held_by} |"

    DOCUMENT.write_text(ROW.sub(fill, DOCUMENT.read_text()))
    return code


if __name__ == "__main__":
    sys.exit(main())
