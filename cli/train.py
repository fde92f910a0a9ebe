"""``captioner train``: data set + configuration → checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[str, typer.Argument(help="a TOML file, or the name of one that ships: flickr8k, tiny")],
    output: Annotated[Path, typer.Option(help="folder for the checkpoint; an earlier run in it is resumed")],
    data: Annotated[
        Path | None, typer.Option(help="folder of the data set, in place of the configuration's")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto")] = "auto",
) -> None:
    """Train a checkpoint, or go on where an earlier run in the same folder stopped."""
    from model.captioner import resolve_device
    from training.config import load_config, with_data
    from training.train import train as run_training

    settings = load_config(config)
    run_training(with_data(settings, data) if data else settings, output, resolve_device(device))
