"""What a run tells the person who waits for it: a progress bar, a line an epoch, and TensorBoard's files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard.writer import SummaryWriter

from training.config import Phase
from training.loop import Step


class Tracker(Protocol):
    """Takes what happens in a run."""

    def say(self, line: str) -> None:
        """Something a person should read."""
        ...

    def begin_epoch(self, phase: Phase, epoch: int, done: int, steps: int) -> None:
        """An epoch, counted from 1, of which ``done`` of ``steps`` steps are complete already."""
        ...

    def step(self, number: int, step: Step) -> None:
        """Step ``number`` of the whole run is complete."""
        ...

    def end_epoch(self, number: int, entry: dict[str, Any]) -> None:
        """An epoch is complete, with its line for the log; ``number`` steps of the run are."""
        ...


class Silence:
    """Says nothing: for the processes beside the main one."""

    def say(self, line: str) -> None: ...

    def begin_epoch(self, phase: Phase, epoch: int, done: int, steps: int) -> None: ...

    def step(self, number: int, step: Step) -> None: ...

    def end_epoch(self, number: int, entry: dict[str, Any]) -> None: ...


class Live(Silence):
    """Lines on standard output, a bar on standard error if it is a terminal, curves for TensorBoard."""

    def __init__(self, progress: Progress, curves: SummaryWriter) -> None:
        self.progress, self.curves = progress, curves
        self.task = progress.add_task("", total=None, figures="")

    def say(self, line: str) -> None:
        print(line, flush=True)

    def begin_epoch(self, phase: Phase, epoch: int, done: int, steps: int) -> None:
        title = f"{phase.name}, epoch {epoch} of {phase.epochs}"
        self.progress.reset(self.task, description=title, completed=done, total=steps, figures="")

    def step(self, number: int, step: Step) -> None:
        figures = f"loss {step.loss:.3f}  gradient {step.gradient_norm:.2f}  rate {step.learning_rate:.1e}"
        self.progress.update(self.task, advance=1, figures=figures)
        self.curves.add_scalar("step/loss", step.loss, number)
        self.curves.add_scalar("step/gradient_norm", step.gradient_norm, number)
        self.curves.add_scalar("step/learning_rate", step.learning_rate, number)

    def end_epoch(self, number: int, entry: dict[str, Any]) -> None:
        self.curves.add_scalar("epoch/loss", entry["loss"], number)
        self.curves.add_scalar("epoch/cider", entry["cider"], number)
        self.curves.flush()
        self.say("  ".join(f"{key} {value}" for key, value in entry.items()))


@contextmanager
def live(folder: Path) -> Iterator[Live]:
    """A tracker whose curves go to ``folder``: ``tensorboard --logdir`` shows them."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    console = Console(stderr=True)
    with (
        Progress(*columns, console=console, redirect_stdout=console.is_terminal) as progress,
        SummaryWriter(str(folder)) as curves,
    ):
        yield Live(progress, curves)
