"""``captioner import-legacy``: the ancestor's files → checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_legacy(
    encoder: Annotated[Path, typer.Option(help="the encoder, .pkl or .ckpt")],
    decoder: Annotated[Path, typer.Option(help="the decoder of the same training")],
    vocab: Annotated[Path, typer.Option(help="their vocab.pkl")],
    output: Annotated[Path, typer.Option(help="folder for the checkpoint")],
) -> None:
    """Make a checkpoint of files that yunjey's pytorch-tutorial (image_captioning) wrote.

    It captions as `sample.py` there does. No code in the files is run.
    """
    from training.legacy.importer import import_legacy as run_import

    config = run_import(encoder, decoder, vocab, output)
    architecture = config.architecture
    print(f"{output}: {architecture.encoder}, {config.vocabulary_size:,} words")
    print(f"published files: {config.card['published']}")
