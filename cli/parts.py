"""A folder of part files of captions, JSON lines or Parquet, on any file system that Arrow knows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import PurePosixPath

import pyarrow
import pyarrow.parquet
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from cli.formats import Entry, JsonLines, NotOurFile
from model.errors import CaptionerError

SCHEMA = pyarrow.schema(
    [
        ("path", pyarrow.string()),
        ("caption", pyarrow.string()),
        ("log_probability", pyarrow.float64()),
        ("error", pyarrow.string()),
    ]
)
UNFINISHED = ".unfinished-"


def file_system(name: str) -> tuple[FileSystem, str]:
    """Where a path or a URL (``s3://``, ``gs://``, ``hdfs://``, ``file://``) lies, and its name there.

    :raises CaptionerError: it is no such URL
    """
    if "://" not in name:
        return LocalFileSystem(), os.path.abspath(name)
    try:
        found: tuple[FileSystem, str] = FileSystem.from_uri(name)
    except (pyarrow.ArrowException, ValueError) as error:
        raise CaptionerError(f"{name} cannot be reached: {error}") from None
    return found


class Parts:
    """Part files in one folder. A part is written whole or not at all, and is named after its pictures: who
    writes the same part once more writes over it."""

    def __init__(self, folder: str, parquet: bool) -> None:
        """:raises CaptionerError: the folder cannot be made"""
        self._parquet = parquet
        self._suffix = ".parquet" if parquet else ".jsonl"
        self._files, self._folder = file_system(folder)
        try:
            self._files.create_dir(self._folder, recursive=True)
        except OSError as error:
            raise CaptionerError(f"{folder} cannot be written: {error}") from None

    def write(self, entries: list[Entry], name: str = "") -> None:
        """
        :param name: of a part that these take the place of
        """
        pictures = "\n".join(entry.path for entry in entries).encode("utf-8", "surrogateescape")
        name = name or f"part-{hashlib.sha256(pictures).hexdigest()[:20]}{self._suffix}"
        unfinished = f"{self._folder}/{UNFINISHED}{os.getpid()}-{name}"
        with self._files.open_output_stream(unfinished) as file:
            if self._parquet:
                columns = {field.name: [_plain(getattr(e, field.name)) for e in entries] for field in SCHEMA}
                pyarrow.parquet.write_table(pyarrow.table(columns, SCHEMA), file)
            else:
                file.write("".join(map(JsonLines().line, entries)).encode())
        self._files.move(unfinished, f"{self._folder}/{name}")

    def captioned(self) -> frozenset[str]:
        """Paths that have a caption. What failed is taken out, to be tried again.

        :raises NotOurFile: a part holds something else
        """
        done: set[str] = set()
        for info in self._files.get_file_info(FileSelector(self._folder)):
            name = PurePosixPath(info.path).name
            if info.type != FileType.File:
                continue
            if name.startswith(UNFINISHED):
                self._files.delete_file(info.path)
            elif name.startswith("part-") and name.endswith(self._suffix):
                entries = list(self._read(info.path))
                good = [entry for entry in entries if entry.caption]
                done.update(entry.path for entry in good)
                if not good:
                    self._files.delete_file(info.path)
                elif len(good) < len(entries):
                    self.write(good, name)
        return frozenset(done)

    def _read(self, path: str) -> Iterable[Entry]:
        try:
            with self._files.open_input_file(path) as file:
                if self._parquet:
                    rows = pyarrow.parquet.read_table(file, schema=SCHEMA).to_pylist()
                    return [Entry(**row) for row in rows]
                return list(JsonLines().read(file.read().decode().splitlines(keepends=True)))
        except (NotOurFile, pyarrow.ArrowException, ValueError) as error:
            raise NotOurFile(f"{path} cannot be gone on with: {error}") from None


def _plain(value: str | float | None) -> str | float | None:
    """Arrow's strings are UTF-8, file names need not be."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
