"""Going on with a file of captions that an earlier run left half done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from cli.formats import Csv, JsonLines, NotOurFile


def open_text(path: Path, mode: str) -> IO[str]:
    """UTF-8, file names kept byte for byte, lines as they are."""
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")


def captioned(path: Path, form: JsonLines | Csv) -> frozenset[str]:
    """Paths that have a caption and no error in the file; it is then ready to be added to.

    What else stands there, a failed picture or a line that was cut off, is taken out: it is tried again.

    :raises NotOurFile: the file holds something else; it is left alone
    """
    if not path.exists() or not path.stat().st_size:
        with open_text(path, "w") as file:
            file.write(form.header)
        return frozenset()
    kept = path.with_name(f"{path.name}.{os.getpid()}")
    names: set[str] = set()
    try:
        with open_text(path, "r") as file, open_text(kept, "x") as to:
            to.write(form.header)
            for entry in form.read(file):
                if entry.caption and not entry.error:
                    names.add(entry.path)
                    to.write(form.line(entry))
        kept.replace(path)
    except NotOurFile as error:
        raise NotOurFile(f"{path} cannot be gone on with: {error}") from None
    finally:
        kept.unlink(missing_ok=True)
    return frozenset(names)
