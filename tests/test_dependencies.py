"""What is pinned is new enough to be without the weaknesses that are known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parent.parent / "requirements"
# The first versions without known weaknesses that somebody's request or checkpoint could reach.
FLOORS = {
    "h11": "0.16",
    "pillow": "12.3.0",
    "python-multipart": "0.0.31",
    "starlette": "1.6",
    "torch": "2.10",
}


@pytest.mark.parametrize("lock", ["serve.txt", "train.txt", "dev.txt", "ray.txt"])
@pytest.mark.parametrize("package", FLOORS)
def test_each_lock_is_above_the_floor(lock: str, package: str) -> None:
    text = (REQUIREMENTS / lock).read_text("utf-8")
    pinned = re.findall(rf"^{re.escape(package)}==([\d.]+)", text, re.M)  # several, for several platforms
    assert pinned
    assert min(map(_numbers, pinned)) >= _numbers(FLOORS[package])


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]
