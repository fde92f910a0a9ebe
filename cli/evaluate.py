"""``captioner evaluate``: checkpoint + split → scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.caption import MAX_BEAM
from model.config import BUNDLED


def evaluate(
    data: Annotated[Path, typer.Option(help="folder of the data set, in Flickr8k's layout")],
    split: Annotated[str, typer.Option(help="train, dev or test: NAME in Flickr_8k.NAMEImages.txt")],
    checkpoint: Annotated[Path, typer.Option(help="checkpoint folder")] = BUNDLED,
    beam: Annotated[int, typer.Option(min=1, max=MAX_BEAM, help="beam width; 1 is greedy")] = 1,
    output: Annotated[Path | None, typer.Option(help="folder for report.json and captions.jsonl")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto")] = "auto",
) -> None:
    """Caption a whole split and print BLEU-1..4, ROUGE-L, CIDEr-D, and METEOR where Java is present."""
    import msgspec
    from rich.console import Console
    from rich.progress import Progress

    from model.captioner import resolve_device
    from training import evaluation

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"captioning {split}")
        report, captions = evaluation.evaluate(
            checkpoint,
            data,
            split,
            beam,
            resolve_device(device),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if output:
        evaluation.write_report(output, report, captions)
    print(msgspec.json.format(msgspec.json.encode(report)).decode())
