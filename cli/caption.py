"""``captioner caption``: captions for files and folders, with a model here or by a service elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Annotated, Literal

import typer

from cli.captioners import by_model, by_service, results
from cli.formats import AltHtml, Csv, Entry, Format, JsonLines, Text
from cli.listing import STDIN, pictures, printable
from cli.metadata import NotWritten, describe_file
from cli.resume import captioned, open_text
from model.caption import MAX_BEAM
from model.config import BUNDLED, Precision

ERASE = "\r\x1b[2K"  # takes the bar off its line; it is drawn again below what is then written there


def caption(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders, or - for one picture on standard input.", show_default=False),
    ],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A table with a header, for spreadsheets.")] = False,
    alt_html: Annotated[bool, typer.Option("--alt-html", help="One HTML img element a line.")] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="With --engine ray: Parquet in place of JSON.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="File for --jsonl or --csv, added to as captions come. Pictures that have a caption and no "
            "error in it are skipped, so a run that was stopped goes on.",
        ),
    ] = None,
    write_exif: Annotated[
        bool,
        typer.Option(
            "--write-exif",
            help="Write each caption into its JPEG, PNG or WebP file (EXIF ImageDescription and XMP "
            "dc:description) and change nothing else in it. A description that someone else wrote stays; "
            "what cameras put there by themselves, like OLYMPUS DIGITAL CAMERA, does not.",
        ),
    ] = False,
    beam: Annotated[int, typer.Option(min=1, max=MAX_BEAM, help="Beam width; 1 is greedy.")] = 1,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint folder.", show_default="bundled")
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="See captioner serve. int8 is fastest on a CPU with VNNI, and changes some captions."
        ),
    ] = "auto",
    engine: Annotated[
        Literal["auto", "ray"],
        typer.Option(
            help="ray: on the Ray cluster of RAY_ADDRESS, or one of this machine. Pictures may then also be "
            "URLs (s3://, gs://, file://) and be named by lists (.txt, one a line) and tables (.parquet, "
            "column path); --output is a folder or URL for part files."
        ),
    ] = "auto",
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Use a running service in place of a model here. A picture of more than 10 MiB is sent "
            "smaller: services take no more unless told to.",
        ),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="CAPTIONER_API_KEY", help="Key for --server.", metavar="KEY")
    ] = None,
) -> None:
    """Caption pictures, one line each: path, tab, caption.

    A folder stands for every JPEG, PNG, WebP, GIF and BMP below it. A file that has no caption is reported
    on standard error and the rest goes on; the exit code is then 1.

        captioner caption photo.jpg

        captioner caption photos --jsonl --output captions.jsonl

        captioner caption photos --csv > captions.csv

        captioner caption photos --alt-html > gallery.html

        captioner caption photos --write-exif

        captioner caption photos --server http://127.0.0.1:8000

        cat photo.jpg | captioner caption -

        captioner caption s3://bucket/photos --engine ray --output s3://bucket/captions --parquet
    """
    if engine == "ray":
        others = {"--csv": csv, "--alt-html": alt_html, "--write-exif": write_exif, "--server": server}
        others["--jsonl"] = jsonl and parquet
        if unfit := next((name for name, value in others.items() if value), None):
            raise typer.BadParameter("does not go with --engine ray", param_hint=unfit)
        raise typer.Exit(_on_ray(paths, output, parquet, checkpoint, beam, precision))
    if parquet:
        raise typer.BadParameter("goes with --engine ray", param_hint="--parquet")
    paths = [str(Path(path)) for path in paths]  # a picture has one name, however it is given
    form = _format(jsonl, csv, alt_html)
    done: frozenset[str] = frozenset()
    if output:
        if not isinstance(form, (JsonLines, Csv)):
            raise typer.BadParameter("goes with --jsonl or --csv", param_hint="--output")
        try:
            done = captioned(Path(output), form)
        except OSError as error:
            raise typer.BadParameter(f"{output}: {error.strerror or error}", param_hint="--output") from None
    own = {"--checkpoint": checkpoint is not None, "--precision": precision != "auto"}
    if server and (unfit := next((name for name, value in own.items() if value), None)):
        raise typer.BadParameter("the service has its own", param_hint=unfit)

    def names() -> Iterator[str]:
        return (name for name in pictures(paths) if name not in done)

    ask = by_service(server, api_key) if server else by_model(checkpoint or BUNDLED, precision)
    failed, found = False, bool(done)
    with _destination(Path(output) if output else None) as to, _progress(names) as advance:
        above_bar = ERASE if advance and to.isatty() else ""
        if not output:
            to.write(form.header)
        for name, result in results(names(), ask, beam):
            found = True
            if isinstance(result, Exception):
                trouble = str(result)
                entry = Entry(name, error=trouble)
            else:
                trouble = _write(name, result.text) if write_exif else ""
                entry = Entry(name, result.text, round(result.log_probability, 4), trouble)
            if line := form.line(entry):
                to.write(above_bar + line)  # last, so that a run that is stopped here does this picture again
                to.flush()
            if trouble:
                failed = True
                print(f"captioner: {printable(name)}: {trouble}", file=sys.stderr)
            if advance:
                advance()
    if not found:
        print("captioner: no JPEG, PNG, WebP, GIF or BMP file is there", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)


def _on_ray(
    paths: list[str],
    output: str | None,
    parquet: bool,
    checkpoint: Path | None,
    beam: int,
    precision: Precision,
) -> int:
    if not output:
        raise typer.BadParameter("--engine ray needs a folder to write to", param_hint="--output")
    if STDIN in paths:
        raise typer.BadParameter("--engine ray reads no standard input", param_hint="PATHS")
    from cli.on_ray import caption_on_ray

    captioned, failed = caption_on_ray(paths, output, parquet, checkpoint, beam, precision)
    print(f"captioner: {captioned} captioned, {failed} failed; they are in {output}", file=sys.stderr)
    return 1 if failed else 0


def _format(jsonl: bool, csv: bool, alt_html: bool) -> Format:
    chosen: list[Format] = [
        form for wanted, form in ((jsonl, JsonLines()), (csv, Csv()), (alt_html, AltHtml())) if wanted
    ]
    if len(chosen) > 1:
        raise typer.BadParameter("choose one of --jsonl, --csv and --alt-html")
    return chosen[0] if chosen else Text()


def _destination(output: Path | None) -> AbstractContextManager[IO[str]]:
    if output:
        return open_text(output, "a")
    # file names go out byte for byte, lines end as on every system
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")  # type: ignore[union-attr]
    return nullcontext(sys.stdout)


def _write(name: str, text: str) -> str:
    """Write a caption into its file → what went wrong."""
    if name == STDIN:
        return "standard input has no file to write to"
    try:
        describe_file(Path(name), text)
    except NotWritten as error:
        return f"not written: {error}"
    except OSError as error:
        return f"not written: {error.strerror or error}"
    return ""


def _progress(names: Callable[[], Iterator[str]]) -> AbstractContextManager[Callable[[], None] | None]:
    """A progress bar where there is a terminal to show it on, giving a function that moves it on by one."""
    total = sum(1 for _ in names()) if sys.stderr.isatty() else 0
    from cli.progress import bar_on_terminal

    return bar_on_terminal("captioning", total)
