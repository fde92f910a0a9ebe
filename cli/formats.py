"""How captions are written: a line a picture, as text, JSON, CSV or HTML."""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from cli.listing import printable
from model.errors import CaptionerError


class NotOurFile(CaptionerError):
    """A file that was to be gone on with is not what this program writes."""

    code = "not-our-file"


@dataclass(frozen=True)
class Entry:
    """What became of a picture: a caption, or in its place an error; both if the picture did not take it."""

    path: str
    caption: str = ""
    log_probability: float | None = None
    error: str = ""


class Format(Protocol):
    """A way of writing entries; ``header`` begins a file."""

    header: str

    def line(self, entry: Entry) -> str:
        """The entry with its line end; "" if this format has nothing to say of it."""


class Text:
    """Path, tab, caption."""

    header = ""

    def line(self, entry: Entry) -> str:
        return f"{printable(entry.path)}\t{entry.caption}\n" if entry.caption else ""


class AltHtml:
    """An ``img`` element with the caption as its ``alt``."""

    header = ""

    def line(self, entry: Entry) -> str:
        if not entry.caption:
            return ""
        source, alt = html.escape(quote(os.fsencode(entry.path))), html.escape(entry.caption)
        return f'<img src="{source}" alt="{alt}">\n'


class JsonLines:
    """One object a line: ``path``, ``caption`` and ``log_probability``, or ``path`` and ``error``.

    A caption that could not be written into its picture has all four.
    """

    header = ""
    beginning = '{"path": "'

    def line(self, entry: Entry) -> str:
        shown: dict[str, Any] = {"path": entry.path}
        if entry.log_probability is not None:
            shown.update(caption=entry.caption, log_probability=entry.log_probability)
        if entry.error:
            shown["error"] = entry.error
        return json.dumps(shown) + "\n"

    def read(self, lines: Iterable[str]) -> Iterator[Entry]:
        """Entries of a file; a last line that was cut off is left out.

        :raises NotOurFile: it holds something else
        """
        for line in lines:
            try:
                yield Entry(**json.loads(line))
            except (ValueError, TypeError):
                if line.endswith("\n") or not self._begins(line):
                    raise NotOurFile(f"{line[:60].strip()!r} is no line of --jsonl") from None

    def _begins(self, line: str) -> bool:
        """Whether it may be the beginning of a line of ours."""
        return line.startswith(self.beginning) or self.beginning.startswith(line)


class Csv:
    """A table for spreadsheets, with a header."""

    columns = ("path", "caption", "log_probability", "error")
    header = ",".join(columns) + "\n"

    def line(self, entry: Entry) -> str:
        line = io.StringIO()
        row = (entry.path, entry.caption, entry.log_probability, entry.error)
        csv.writer(line, lineterminator="\n").writerow(row)
        return line.getvalue()

    def read(self, lines: Iterable[str]) -> Iterator[Entry]:
        """Entries of a file; a last line that was cut off is left out.

        :raises NotOurFile: it holds something else
        """
        cut_off = False

        def watched() -> Iterator[str]:
            nonlocal cut_off
            for line in lines:
                cut_off = not line.endswith("\n")
                yield line

        rows = csv.reader(watched())
        if next(rows, None) != list(self.columns):
            raise NotOurFile(f"its first line is not {self.header.strip()}")
        for row in rows:
            if cut_off:
                return
            if len(row) != len(self.columns):
                raise NotOurFile(f"{','.join(row)[:60]!r} is no line of --csv")
            path, caption, log_probability, error = row
            try:
                number = float(log_probability) if log_probability else None
            except ValueError:
                raise NotOurFile(f"{log_probability[:60]!r} is no log_probability") from None
            yield Entry(path, caption, number, error)
