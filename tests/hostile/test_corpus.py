"""Row 45: every file of a folder gets the answer that Pillow alone would give it.

``make corpus CORPUS=FOLDER`` sends all files below a folder. Without ``CORPUS`` it is some of the usual.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.hostile import oracle
from tests.hostile.answers import NAME, assert_allowed

USUAL = Path(__file__).parents[3] / "shared" / "corpus"
SAMPLED = 4  # one file in so many, unless all are asked for
AT_ONCE = 8


@pytest.fixture
def paths() -> list[Path]:
    """What to send, in an order that is always the same."""
    folder = Path(os.environ.get("CORPUS") or USUAL)
    if not folder.is_dir():
        pytest.skip(f"no corpus of odd pictures: there is no folder {folder}; say CORPUS=FOLDER")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return found if os.environ.get("CORPUS") else found[::SAMPLED]


@pytest.mark.row(45)
@pytest.mark.timeout(3600)
def test_each_file_is_answered_as_pillow_decides(
    paths: list[Path], http: httpx.Client, measured: Callable[[str], None]
) -> None:
    assert paths

    def send(path: Path) -> tuple[int, str]:
        data = path.read_bytes()
        response = http.post("/caption", files={"image": (NAME, data)})
        assert_allowed(response)
        expected = oracle.statuses(data)
        agreed = response.status_code in expected
        return response.status_code, "" if agreed else f"{path}: {response.status_code}, Pillow: {expected}"

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(send, paths))
    disagreements = [words for _, words in answers if words]
    counts = Counter(status for status, _ in answers)
    statuses = ", ".join(f"{count} × {status}" for status, count in sorted(counts.items()))
    words = f"{len(paths)} files: {statuses}; {len(disagreements)} answered otherwise than Pillow decides"
    print(words)
    measured(words)
    assert not disagreements, "\n".join(disagreements)
