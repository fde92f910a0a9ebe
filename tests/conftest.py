"""What docs/RELIABILITY.md says of each row comes from the tests marked with its number."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "row(*numbers): rows of docs/RELIABILITY.md that a test holds")


@pytest.fixture(autouse=True)
def _rows(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    for marker in request.node.iter_markers("row"):
        for number in marker.args:
            record_property("row", number)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes what a test saw, in a few words, for the table."""
    return lambda words: record_property("measured", words)


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[None]:
    """A short path for Ray's sockets, which may have 107 characters; pytest's temporary folders are deep."""
    with (
        tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)
        yield
