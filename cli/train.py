"""``captioner train``: data set + configuration → checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[
        str,
        typer.Argument(
            help="A TOML file, or one that ships: flickr8k, flickr8k-cpu, tiny, coco-best, coco-resnet152.",
            metavar="CONFIG",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the checkpoint; an earlier run in it is resumed.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set, in place of the configuration's.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto.")] = "auto",
) -> None:
    """Train a checkpoint, or go on where an earlier run in the same folder stopped.

        captioner train tiny --data ~/flickr8k --output runs/tiny     # seconds; its captions are no good

        captioner train flickr8k --data ~/flickr8k --output runs/flickr8k

        captioner train my-own.toml --output runs/mine

        torchrun --nproc-per-node 8 -m training.train coco-best --data data/coco --output runs/coco

        tensorboard --logdir runs/flickr8k/run     # the curves of a run

    A configuration is a short TOML file: copy one from `training/configs`. Kill a run whenever you like; the
    same command takes it up again and ends as if nothing had happened. The best checkpoint of the phase that
    runs lies in the output folder all the while.
    """
    from training.config import load_config, with_data
    from training.device import choose_device
    from training.train import train as run_training

    settings = load_config(config)
    run_training(with_data(settings, data) if data else settings, output, choose_device(device))
