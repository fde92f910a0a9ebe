"""Writing files so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what lies there at the end takes the place of ``path``.

    The folder is made where needed.

    :raises OSError: the disk is full or not writable; ``path`` is as it was and nothing is left beside it
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (RuntimeError, SafetensorError) as error:  # so PyTorch and safetensors say that the disk is full
        why = str(error).partition("\n")[0]
        raise OSError(errno.EIO, f"the file cannot be written ({why})", str(path)) from None
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path``, making its folder where needed.

    :raises OSError: see :func:`replace_atomically`
    """
    with replace_atomically(path) as partial:
        partial.write_bytes(content)
