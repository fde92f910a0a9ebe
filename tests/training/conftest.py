from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.toy import make_data_set
from training import download


@pytest.fixture(scope="session", autouse=True)
def _without_java() -> Iterator[None]:
    """METEOR takes seconds to start; the one test of it brings Java back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.meteor.which", lambda name: None)
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data_set(tmp_path / "data", train=6, dev=3)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which are not made."""
    made: list[float] = []
    monkeypatch.setattr(download.time, "sleep", made.append)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return made
