from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

from training.files import replace_atomically

LARGE = {"x": torch.zeros(100_000)}


@pytest.fixture
def _full_disk() -> Iterator[None]:
    """No file may grow past a few KB."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("_full_disk")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: torch.save(LARGE, path),
        lambda path: safetensors.torch.save_file(LARGE, path),
        lambda path: path.write_bytes(bytes(400_000)),
    ],
)
def test_a_full_disk_is_an_os_error_whoever_writes(write: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    with (
        pytest.raises(OSError, match=r"File too large|cannot be written") as caught,
        replace_atomically(tmp_path / "file") as partial,
    ):
        write(partial)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
