"""The ``captioner`` program: one Typer application. Heavy imports wait for their command."""

from __future__ import annotations

import sys

import typer

from cli.calibrate import calibrate
from cli.caption import caption
from cli.evaluate import evaluate
from cli.import_legacy import import_legacy
from cli.info import info
from cli.prepare import prepare
from cli.serve import serve
from cli.train import train
from model.errors import CaptionerError

INSTALLED_BY = {  # packages of the extras
    **dict.fromkeys(("jinja2", "pycocoevalcap", "tensorboard"), "`make training` installs it"),
    **dict.fromkeys(("ray", "pyarrow"), "pip install 'captioner[ray]'"),
}

cli = typer.Typer(
    name="captioner",
    help="Self-hosted image captioning: send a picture, get one English sentence about it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


cli.command("serve")(serve)
cli.command("caption")(caption)
cli.command("info")(info)
cli.command("prepare")(prepare)
cli.command("train")(train)
cli.command("evaluate")(evaluate)
cli.command("calibrate")(calibrate)
cli.command("import-legacy")(import_legacy)


def app() -> None:
    """Entry point: an error we know is one line on stderr and exit code 1, never a traceback."""
    try:
        cli()
    except CaptionerError as error:
        print(f"captioner: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        if (remedy := INSTALLED_BY.get((error.name or "").partition(".")[0])) is None:
            raise
        print(f"captioner: {error.name} is missing: {remedy}", file=sys.stderr)
        raise SystemExit(1) from None
