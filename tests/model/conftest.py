"""What several of the network's tests need."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture
def graph_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder for graphs, empty, and none of the installation's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "nowhere"))
    return tmp_path / "captioner"
