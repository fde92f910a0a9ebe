"""Benchmarks that wait for hardware go their whole way without it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_gpu_benchmark_goes_the_same_way_on_a_cpu() -> None:
    arguments = ("--device", "cpu", "--encoder", "resnet18", "--batches", "1,2")
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ([\d.]+)% \| (\d+) \| (\d+)% \| ([\d.]+) \|$", run.stdout, re.M)
    assert [row[0] for row in rows] == ["1", "2"]
    assert all(float(value) > 0 for row in rows for value in (row[1], row[3], row[5]))
    same, of = re.search(r"(\d+) of (\d+) captions the same", run.stdout).groups()
    assert same == of
