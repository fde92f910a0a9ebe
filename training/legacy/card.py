"""The model card of an imported checkpoint: where it comes from, and what nobody knows of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from model.config import Config


class Files(NamedTuple):
    """SHA-256 of each imported file."""

    encoder: str
    decoder: str
    vocab: str


# encoder-5-3000.pkl, decoder-5-3000.pkl and vocab.pkl, as the ancestor's README offers them.
PUBLISHED = Files(
    encoder="cc92a0a6606dab88ebe7188ac8f2eeca6cd40d7454d6aadc63aa84ba9e04e05f",
    decoder="327db7d6adf6039ee28f94b6e3a8a2e818883ac30311c33cdcee8e80bfb9ba2c",
    vocab="dce4f8624dcef238adda5526bf066c9d21d98cbdd52d9b3878da35379680e03c",
)


def make_card(files: Files, encoder: str) -> dict[str, Any]:
    """``card`` of ``config.json``."""
    published = files == PUBLISHED
    return {
        "origin": "imported from files of yunjey/pytorch-tutorial, image_captioning",
        "published": "yes: the pair its README offers" if published else "no: not the pair its README offers",
        "data": "COCO 2014, training split, by its README" if published else "unknown",
        "license": "unknown: the files state none",
        "encoder": f"{encoder}, as it was saved with the decoder",
        "scores": "unknown",
        "sha256": files._asdict(),
    }


def write_card(config: Config) -> str:
    """The model card as Markdown."""
    card = config.card
    return "\n".join(
        [
            f"# {config.name}",
            "",
            f"Show and Tell (Vinyals et al. 2015): {config.architecture.encoder} encoder, LSTM decoder, "
            f"{config.vocabulary_size:,} words; {card['origin']}.",
            "",
            "Pictures are resized and captions chosen as the ancestor's `sample.py` does. The weights are "
            "the files' own, unrounded. As with every checkpoint here, a picture is first turned upright by "
            "its EXIF orientation, and transparency is laid on white.",
            "",
            "## Files",
            "",
            "| file | SHA-256 |",
            "|---|---|",
            *(f"| {name} | `{digest}` |" for name, digest in card["sha256"].items()),
            "",
            f"Published files: {card['published']}.",
            "",
            "## Data and terms",
            "",
            f"Training data: {card['data']}.",
            "",
            f"Terms of use: {card['license']}.",
            "",
            "## Scores",
            "",
            "Unknown: an import measures nothing. `captioner evaluate` does.",
            "",
        ]
    )
