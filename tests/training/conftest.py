from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _without_java() -> Iterator[None]:
    """METEOR takes seconds to start; the one test of it brings Java back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.meteor.which", lambda name: None)
        yield
