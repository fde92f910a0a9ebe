"""Data set + configuration → checkpoint: ``captioner train``, and ``torchrun -m training.train`` for several
processes."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from model.config import load_config as load_model_config
from model.errors import CaptionerError
from training.config import TrainConfig, load_config, with_data
from training.device import choose_device
from training.distributed import processes as join_processes
from training.errors import TrainingError
from training.estimate import first_line
from training.run import RUN, Run
from training.tracking import Silence, Tracker, live


def train(config: TrainConfig, output: Path, device: str = "cpu", tracker: Tracker | None = None) -> None:
    """Run every phase that is not complete yet; leave the best checkpoint of the last, scored, in ``output``.

    :param device: as PyTorch names it; ``cuda`` is each process's own GPU under torchrun
    :param tracker: takes what happens; a progress bar, lines and TensorBoard's files unless given
    :raises TrainingError: the data set, the configuration or an earlier run cannot be used; the disk is full
    """
    try:
        with join_processes(device) as (processes, own_device):
            telling = nullcontext(tracker) if tracker else live(output / RUN) if processes.main else None
            with telling or nullcontext(Silence()) as teller:
                run = Run(config, output, own_device, teller, _workers(), processes)
                teller.say(first_line(run))
                for number in range(run.state.phase, len(config.phases)):
                    run.phase(number)
                if processes.main and not load_model_config(output).card["scores"]:
                    run.score()
    except OSError as error:
        raise TrainingError(
            f"{error.strerror or error}: {error.filename or output}. What was saved before is whole: "
            "the same command goes on from there"
        ) from None


def _workers() -> int:
    """Processes that read pictures or count rewards for this one: its share of the machine's cores."""
    neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's word for how many we are here
    return max(1, min(8, len(os.sched_getaffinity(0)) // neighbours))


def main(
    config: Annotated[str, typer.Argument(help="A TOML file, or the name of one that ships.")],
    output: Annotated[Path, typer.Option(help="Folder for the checkpoint; an earlier run in it is resumed.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set, in place of the configuration's.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto.")] = "auto",
) -> None:
    """Train a checkpoint, or go on where an earlier run in the same folder stopped."""
    settings = load_config(config)
    train(with_data(settings, data) if data else settings, output, choose_device(device))


if __name__ == "__main__":
    try:
        typer.run(main)
    except CaptionerError as problem:
        print(f"captioner: {problem}", file=sys.stderr)
        raise SystemExit(1) from None
