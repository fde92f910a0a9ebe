"""A folder of pictures with a table of captions of one's own: CSV with a header row.

One row for every caption, so a picture may stand in several. The columns ``image`` and ``caption`` are
needed, ``split`` is not; :data:`COLUMNS` has the other names they may bear. Fields are separated by comma,
semicolon, tab or bar, whichever the header has.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from training.errors import TrainingError
from training.layouts.source import (
    DataSet,
    Listing,
    Problem,
    canonical_split,
    clean_name,
    read_bytes,
    read_text,
    split_by_hash,
)

NAME = "csv"
LOOKS_FOR = "captions.csv, captions.txt or a single *.csv with the columns image and caption"
USUAL = ("captions.csv", "captions.txt")
COLUMNS = {
    "image": ("image", "image_name", "image_path", "image_file", "filename", "file_name", "file", "path"),
    "caption": ("caption", "captions", "comment", "text", "sentence", "description"),
    "split": ("split", "set", "subset", "partition"),
}
SPLITS = ("train", "dev", "test")
DELIMITERS = ",;\t|"


class _Bars(csv.excel):
    """The published table with bars does not quote, and its captions have quotation marks of their own."""

    quoting = csv.QUOTE_NONE


class Row(NamedTuple):
    """``split`` is None where the table has no such column; ``where`` names file and line."""

    image: str
    caption: str
    split: str | None
    where: str


def found(root: Path) -> bool:
    return any((root / name).is_file() for name in USUAL) or any(root.glob("*.csv"))


def read(root: Path) -> DataSet:
    """:raises TrainingError: it is not clear which table is meant, or it lacks a column"""
    listing = Listing()
    for row in rows(_table(root), listing.problems):
        if row.split is None:
            split = split_by_hash(row.image)
        elif (split := canonical_split(row.split)) not in SPLITS:
            listing.problems.append(Problem(row.where, f"the split {row.split!r} is not train, dev or test"))
            continue
        listing.picture(row.image, split, row.where)
        listing.caption(row.image, row.caption, row.where)
    return listing.finish(root)


def rows(path: Path, problems: list[Problem]) -> Iterator[Row]:
    """Rows of a table.

    :param problems: takes the rows that lack a field
    :raises TrainingError: the file is missing, lacks a column, or is no table at all
    """
    utf16 = read_bytes(path)[:2] in (b"\xff\xfe", b"\xfe\xff")  # as spreadsheets write "Unicode text"
    text = read_text(path, "utf-16" if utf16 else "utf-8-sig")
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)
    lines = io.StringIO(text, newline="")
    dialect = _Bars if delimiter == "|" else csv.excel
    table = csv.reader(lines, dialect, delimiter=delimiter, skipinitialspace=True)
    try:
        columns = _columns(path, next(table, []))
        end = table.line_num
        for fields in table:
            start, end = end + 1, table.line_num
            where = f"{path.name} line {start}" if start == end else f"{path.name} lines {start}-{end}"
            if not any(field.strip() for field in fields):
                continue
            if len(fields) <= max(columns.values()) or not fields[columns["image"]].strip():
                problems.append(Problem(where, f"lacks a field: {delimiter.join(fields)[:60]!r}"))
                continue
            split = fields[columns["split"]] if "split" in columns else None
            yield Row(clean_name(fields[columns["image"]]), fields[columns["caption"]], split, where)
    except csv.Error as error:
        raise TrainingError(f"{path} is not a table from line {table.line_num} on: {error}") from None


def _table(root: Path) -> Path:
    usual = [root / name for name in USUAL if (root / name).is_file()]
    tables = usual[:1] or sorted(root.glob("*.csv"))
    if not tables:
        raise TrainingError(f"no table of captions in {root}: looked for {LOOKS_FOR}")
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise TrainingError(f"{root} holds several tables ({names}): call the right one captions.csv")
    return tables[0]


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Position of each column that is there."""
    names = [name.strip().lower().replace(" ", "_") for name in header]
    columns = {
        column: names.index(name)
        for column, variants in COLUMNS.items()
        if (name := next((variant for variant in variants if variant in names), None))
    }
    for column in ("image", "caption"):
        if column not in columns:
            raise TrainingError(
                f"{path} has no column {column} (or {', '.join(COLUMNS[column][1:])}); "
                f"its first line is {', '.join(header)[:200]!r}"
            )
    return columns
