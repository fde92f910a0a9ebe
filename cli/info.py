"""``captioner info``: what a checkpoint is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from model.config import BUNDLED, WEIGHTS, load_config


def info(
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder.", show_default="bundled")] = BUNDLED,
) -> None:
    """Say what a checkpoint is: encoder, sizes, vocabulary, training data, scores, hash.

    The bundled one, unless a folder is named.

        captioner info

        captioner info --checkpoint runs/mine
    """
    config = load_config(checkpoint)
    a, p, d = config.architecture, config.preprocessing, config.decoding
    facts: dict[str, Any] = {
        "name": config.name,
        "revision": config.revision,
        "encoder": a.encoder,
        "decoder": f"LSTM, {a.num_layers} × {a.hidden_size}, embedding {a.embed_size}",
        "vocabulary": f"{config.vocabulary_size:,} words",
        "picture": f"{p.image_size} × {p.image_size}, {p.resize}, {p.filter}",
        "caption": f"at most {d.max_length} words",
        "weights": _weights_size(checkpoint),
        "sha256": config.files.get(WEIGHTS, "unknown"),
    }
    _print(facts)
    _print(config.card)


def _weights_size(checkpoint: Path) -> str:
    path = checkpoint / WEIGHTS
    return f"{path.stat().st_size / 1e6:.1f} MB" if path.is_file() else "missing"


def _print(facts: dict[str, Any], indent: str = "") -> None:
    for name, value in facts.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print(value, indent + "  ")
        else:
            print(f"{indent}{name:<{16 - len(indent)}} {value}")
