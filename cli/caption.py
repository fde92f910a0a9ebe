"""``captioner caption``: captions for files and folders, without a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from model.caption import MAX_BEAM
from model.config import BUNDLED

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"))
STDIN = "-"


def caption(
    paths: Annotated[
        list[str], typer.Argument(help="Files, folders, or - for one picture on standard input.")
    ],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line.")] = False,
    beam: Annotated[int, typer.Option(min=1, max=MAX_BEAM, help="Beam width; 1 is greedy.")] = 1,
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder.", show_default="bundled")] = BUNDLED,
) -> None:
    """Caption pictures, one line each.

    A folder stands for every JPEG, PNG, WebP, GIF and BMP below it. A file that has no caption is reported
    on standard error and the rest goes on; the exit code is then 1.

        captioner caption photo.jpg

        captioner caption ~/Pictures --jsonl > captions.jsonl

        cat photo.jpg | captioner caption -
    """
    from model.bulk import caption_many
    from model.captioner import Captioner, resolve_device

    captioner = Captioner.load(checkpoint, resolve_device("auto"))
    names = list(_expand(paths))
    sources = (sys.stdin.buffer.read() if name == STDIN else Path(name) for name in names)
    failed = False
    results = caption_many(captioner, sources, beam)
    with _progress(len(names)) as advance:
        for name, result in zip(names, results, strict=True):
            if isinstance(result, Exception):
                failed = True
                print(f"captioner: {_printable(name)}: {result}", file=sys.stderr)
                entry: dict[str, Any] = {"path": name, "error": str(result)}
            else:
                entry = {
                    "path": name,
                    "caption": result.text,
                    "log_probability": round(result.log_probability, 4),
                }
            if jsonl:
                print(json.dumps(entry), flush=True)
            elif "caption" in entry:
                print(f"{_printable(name)}\t{entry['caption']}", flush=True)
            advance()
    raise typer.Exit(1 if failed else 0)


def _expand(paths: list[str]) -> Iterator[str]:
    for path in paths:
        if path != STDIN and Path(path).is_dir():
            inside = (file for file in Path(path).rglob("*") if file.suffix.lower() in SUFFIXES)
            yield from (str(file) for file in sorted(inside) if file.is_file())
        else:
            yield path


def _printable(name: str) -> str:
    """A file name on one line, whatever its bytes are."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _progress(total: int) -> Any:
    """A progress bar where there is a terminal to show it on, giving a function that moves it on by one."""
    if not sys.stderr.isatty() or total < 2:
        return nullcontext(lambda: None)
    from cli.progress import bar

    return bar("captioning", total)
