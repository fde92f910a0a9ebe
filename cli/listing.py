"""Which pictures a list of files and folders stands for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"))
STDIN = "-"


def pictures(paths: list[str]) -> Iterator[str]:
    """Files as they are given; of a folder every picture below it, by name, listed as it is walked."""
    for path in paths:
        if path != STDIN and os.path.isdir(path):
            yield from _below(path)
        else:
            yield path


def _below(folder: str) -> Iterator[str]:
    unreadable: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: unreadable.append(error.filename)):
        folders.sort()
        for name in sorted(names):
            file = Path(parent, name)
            if file.suffix.lower() in SUFFIXES and file.is_file():
                yield str(file)
    yield from unreadable  # whoever tries to read them will say why they cannot be read


def printable(name: str) -> str:
    """A file name on one line, whatever its bytes are."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
