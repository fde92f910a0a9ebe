"""Resized copies of pictures, made in parallel and only where there is none yet.

A copy keeps its picture's shape: whatever the network's own resizing makes of the picture, squashed or
cropped, it makes of the copy too. A picture that is no larger than asked for is copied byte by byte.

``pictures.jsonl`` tells from which state of its file each copy was made. It is written line by line, so that
a run that is cut off loses next to nothing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from PIL import Image

from model.config import MAX_IMAGE_PIXELS, Preprocessing
from model.errors import PictureError
from model.preprocessing import open_picture
from training.files import write_atomically
from training.layouts.prepared import IMAGES, JOURNAL
from training.layouts.source import Example

QUALITY = 95  # of the JPEG: its loss comes on top of that in the picture itself
JPEG_SUFFIXES = (".jpg", ".jpeg")
NO_FILE, TRY_AGAIN = -1, -2  # in place of a picture's bytes


class Header(msgspec.Struct, frozen=True):
    """First line of the journal: a copy made otherwise is no copy."""

    image_size: int
    quality: int = QUALITY


class Copy(msgspec.Struct, frozen=True):
    """A line of the journal: the picture as it was (bytes, ns), and its copy or why there is none."""

    image: str
    size: int = NO_FILE
    mtime_ns: int = NO_FILE
    file: str = ""
    copy_size: int = 0
    problem: str = ""


class Copies:
    """The copies in a prepared folder."""

    def __init__(self, folder: Path, image_size: int) -> None:
        """:param image_size: pixels of the shorter side at most"""
        self.folder = folder
        self.image_size = image_size
        self.made = self._read_journal()

    def stale(self, examples: Sequence[Example]) -> list[Example]:
        """Those without a copy of what the picture is now. Where it is gone, an earlier copy holds."""
        return [example for example in examples if not self._holds(example)]

    def make(self, examples: Sequence[Example], done: Callable[[int], None]) -> None:
        """Copy pictures; one that cannot be read gets a problem in its place.

        :param done: takes the number of pictures that are done
        :raises OSError: the copies cannot be written
        """
        lines = [Header(self.image_size), *self.made.values()]
        write_atomically(self.folder / JOURNAL, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            with (self.folder / JOURNAL).open("ab", buffering=0) as journal:
                for number, copy in enumerate(pool.map(self._copy, examples), 1):
                    journal.write(msgspec.json.encode(copy) + b"\n")
                    self.made[copy.image] = copy
                    done(number)
        finally:
            pool.shutdown(cancel_futures=True)

    def _copy(self, example: Example) -> Copy:
        """One picture's copy; reading may fail as it likes, writing may not."""
        try:
            status = example.path.stat()
            try:
                content, shrunk = self._shrink(example.path)
            except PictureError as error:
                return Copy(example.name, status.st_size, status.st_mtime_ns, problem=str(error))
        except FileNotFoundError:
            return Copy(example.name, problem=f"there is no file {example.path}")
        except OSError as error:
            return Copy(example.name, TRY_AGAIN, problem=f"cannot be read: {error.strerror}")
        jpeg = example.path.suffix.lower() in JPEG_SUFFIXES
        file = f"{example.name}.jpg" if shrunk and not jpeg else example.name
        target = self.folder / IMAGES / file
        partial = target.with_name(f".{target.name}.partial")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)  # not synced each: the journal knows the size that must be found
        partial.replace(target)
        return Copy(example.name, status.st_size, status.st_mtime_ns, file, len(content))

    def _shrink(self, path: Path) -> tuple[bytes, bool]:
        """The picture as a smaller JPEG, or its file where it is small enough; and which of the two."""
        image = open_picture(path, Preprocessing(image_size=self.image_size), MAX_IMAGE_PIXELS)
        scale = self.image_size / min(image.size)
        if scale >= 1:
            return path.read_bytes(), False
        width, height = (round(side * scale) for side in image.size)
        out = io.BytesIO()
        image.resize((width, height), Image.Resampling.BICUBIC).save(out, "JPEG", quality=QUALITY)
        return out.getvalue(), True

    def _holds(self, example: Example) -> bool:
        copy = self.made.get(example.name)
        if copy is None:
            return False
        try:
            status = example.path.stat()
            now = (status.st_size, status.st_mtime_ns)
        except OSError:
            now = (NO_FILE, NO_FILE)
        if copy.problem:
            return now == (copy.size, copy.mtime_ns)
        there = self.folder / IMAGES / copy.file
        whole = there.is_file() and there.stat().st_size == copy.copy_size
        return whole and now in ((copy.size, copy.mtime_ns), (NO_FILE, NO_FILE))

    def _read_journal(self) -> dict[str, Copy]:
        """The last line about each picture; none where the copies are of another size."""
        made: dict[str, Copy] = {}
        journal = self.folder / JOURNAL
        header, *lines = (journal.read_bytes() if journal.is_file() else b"").splitlines() or [b""]
        try:
            if msgspec.json.decode(header, type=Header) == Header(self.image_size):
                for line in lines:
                    copy = msgspec.json.decode(line, type=Copy)
                    made[copy.image] = copy
        except msgspec.DecodeError:
            pass  # cut off here
        return made
