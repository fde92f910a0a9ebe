"""A folder of part files of captions, JSON lines or Parquet, on any file system that Arrow knows."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

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
    """Where a path or a URL (``s3://``, ``gs://``, ``file://``) lies, and how it is called there.

    :raises CaptionerError: it is no such URL, or what it names cannot be reached
    """
    if "://" not in name:
        return LocalFileSystem(), os.path.abspath(name)
    url = urlsplit(name, allow_fragments=False)
    path = unquote(url.path)
    if url.scheme == "file":
        return LocalFileSystem(), path
    if url.scheme not in ("s3", "gs"):
        raise CaptionerError(f"{name} cannot be reached: neither s3://, gs:// nor file://")
    return _bucket(url.scheme, url.netloc, url.query), url.netloc.rpartition("@")[2] + path


@lru_cache
def _bucket(scheme: str, netloc: str, query: str) -> FileSystem:
    try:
        return FileSystem.from_uri(f"{scheme}://{netloc}/?{query}")[0]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise CaptionerError(f"{scheme}://{netloc} cannot be reached: {error}") from None


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

    def key(self, path: str) -> str:
        """A path as a part holds it."""
        return _plain(path) if self._parquet else path

    def write(self, entries: list[Entry], name: str = "") -> None:
        """Make a part of these.

        :param name: of a part that they take the place of
        """
        pictures = "\n".join(entry.path for entry in entries).encode("utf-8", "surrogateescape")
        name = name or f"part-{hashlib.sha256(pictures).hexdigest()[:20]}{self._suffix}"
        unfinished = f"{self._folder}/{UNFINISHED}{uuid.uuid4().hex}"
        with self._files.open_output_stream(unfinished) as file:
            if self._parquet:
                columns = {field.name: [_value(e, field.name) for e in entries] for field in SCHEMA}
                pyarrow.parquet.write_table(pyarrow.table(columns, SCHEMA), file)
            else:
                file.write("".join(map(JsonLines().line, entries)).encode())
        self._files.move(unfinished, f"{self._folder}/{name}")

    def captioned(self) -> frozenset[str]:
        """Paths that have a caption, as :meth:`key` gives them. What failed is taken out, to be tried again.

        :raises NotOurFile: a part holds something else; it is left alone
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
                    table = pyarrow.parquet.read_table(file)
                    if not table.schema.equals(SCHEMA):
                        raise NotOurFile("its columns are not ours")
                    return [Entry(**row) for row in table.to_pylist()]
                entries = list(JsonLines().read(file.read().decode().splitlines(keepends=True)))
                if not all(entry.caption or entry.error for entry in entries):
                    raise NotOurFile("a line has neither caption nor error")
                return entries
        except (NotOurFile, pyarrow.ArrowException, ValueError) as error:
            raise NotOurFile(f"{path} cannot be gone on with: {error}") from None


def _value(entry: Entry, column: str) -> str | float | None:
    value: str | float | None = getattr(entry, column)
    return _plain(value) if isinstance(value, str) else value


def _plain(text: str) -> str:
    """Arrow's strings are UTF-8, file names need not be."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
