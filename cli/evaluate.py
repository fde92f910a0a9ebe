"""``captioner evaluate``: checkpoint + split → scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.caption import MAX_BEAM
from model.config import BUNDLED

if TYPE_CHECKING:
    from rich.table import Table

    from training.evaluation import Report


def evaluate(
    data: Annotated[Path, typer.Option(help="folder of the data set")],
    split: Annotated[str, typer.Option(help="train, dev or test: a split of the data set")],
    checkpoint: Annotated[Path, typer.Option(help="checkpoint folder")] = BUNDLED,
    beam: Annotated[
        list[int],
        typer.Option(min=1, max=MAX_BEAM, help="beam width, 1 is greedy; repeat it to compare several"),
    ] = [1],  # noqa: B006 - typer's way of a repeated option
    output: Annotated[
        Path | None, typer.Option(help="folder for report.json, captions.jsonl and contact-sheet.html")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto")] = "auto",
) -> None:
    """Caption a whole split and print BLEU-1..4, ROUGE-L, CIDEr-D, and METEOR where Java is present.

    Standard output is JSON: an object, or a list of them for several beam widths. A split of which a picture
    is missing or unreadable is refused, for the score of the others would not be its own.

        captioner evaluate --data FLICKR8K --split dev --beam 1 --beam 3 --output report
    """
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from training import report
    from training.contact_sheet import PAGE
    from training.device import choose_device
    from training.evaluation import evaluate as evaluate_once

    console = Console(stderr=True)
    evaluations = []
    with Progress(console=console, transient=True) as bar:
        for width in dict.fromkeys(beam):
            task = bar.add_task(f"{split}, {_decoding(width)}")

            def show(done: int, total: int, task: TaskID = task) -> None:
                bar.update(task, completed=done, total=total)

            evaluations.append(
                evaluate_once(checkpoint, data, split, width, choose_device(device), progress=show)
            )
    first = evaluations[0].report
    title = f"{first.checkpoint} {first.revision} on {first.split}, {first.pictures:,} pictures"
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    console.print(_table([evaluation.report for evaluation in evaluations]))
    for metric, why in first.not_measured.items():
        console.print(f"{metric} is not measured: {why}.", markup=False)
    print(report.to_json(evaluations).decode(), flush=True)
    if output:
        with console.status("writing the contact sheet"):
            report.write(output, evaluations)
        console.print(f"captions to look through: {output / PAGE}", markup=False, soft_wrap=True)


def _decoding(beam: int) -> str:
    return "greedy" if beam == 1 else f"beam {beam}"


def _table(reports: list[Report]) -> Table:
    from rich.table import Table

    table = Table("")
    for each in reports:
        table.add_column(_decoding(each.beam), justify="right")
    for metric in reports[0].scores:
        table.add_row(
            metric, *(f"{each.scores[metric]:.4f}" if metric in each.scores else "–" for each in reports)
        )
    table.add_section()
    facts = [each.fluency for each in reports]
    table.add_row("captions that break off", *(f"{fact.bad_endings:.1%}" for fact in facts))
    table.add_row("captions that repeat themselves", *(f"{fact.repetitions:.1%}" for fact in facts))
    table.add_row("different captions", *(f"{fact.distinct_captions:,}" for fact in facts))
    table.add_row("different words", *(f"{fact.distinct_words:,}" for fact in facts))
    table.add_row("words a caption", *(f"{fact.mean_words:.1f}" for fact in facts))
    return table
