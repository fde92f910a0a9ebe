"""The model card: what a checkpoint is, where it comes from, how good it is and where it fails."""

from __future__ import annotations

from typing import Any

from training.config import TrainConfig
from training.evaluation import Report

Card = dict[str, Any]

METHOD = """\
Captions and references are lower-cased and stripped of punctuation; BLEU, ROUGE-L and CIDEr-D are
pycocoevalcap's, CIDEr-D with document frequencies from the split's references. Pictures are captioned in
float32 by the code that serves them. The epochs were chosen by greedy CIDEr-D on this split, so it flatters
the checkpoint a little. Measured by:"""


def make_card(config: TrainConfig, pictures: int, reports: list[Report]) -> Card:
    """``card`` of ``config.json``: origin, terms, and scores under their split and way of decoding."""
    return {
        "data": config.card.data,
        "training_split": f"{config.data.train}, {pictures:,} pictures",
        "license": config.card.license,
        "encoder": config.card.encoder,
        "limits": " ".join(config.card.limits.split()),
        "scores": {
            f"{report.split}, {_decoding(report)}": {name: round(s, 4) for name, s in report.scores.items()}
            for report in reports
        },
    }


def write_card(config: TrainConfig, card: Card, reports: list[Report]) -> str:
    """The model card as Markdown; without reports it has no scores."""
    tuned = any(phase.encoder_stages for phase in config.phases)
    return "\n".join(
        [
            f"# {config.name}",
            "",
            f"Show and Tell (Vinyals et al. 2015): {config.architecture.encoder} encoder, LSTM decoder.",
            "One picture in, one English sentence out.",
            "",
            "## Data and terms",
            "",
            f"- Trained on: {config.card.data}; split {card['training_split']}.",
            f"- Encoder: {config.card.encoder}{'; trained further here' if tuned else ''}.",
            f"- Terms of use: {config.card.license}.",
            "",
            *(_scores(config, reports) if reports else []),
            "## Limits",
            "",
            config.card.limits.strip(),
            "",
        ]
    )


def _scores(config: TrainConfig, reports: list[Report]) -> list[str]:
    names = list(dict.fromkeys(name for report in reports for name in report.scores))
    rows = [
        f"| {report.split} ({report.pictures:,} pictures), {_decoding(report)} | "
        + " | ".join(f"{report.scores[name]:.4f}" if name in report.scores else "–" for name in names)
        + " |"
        for report in reports
    ]
    commands = [
        f"captioner evaluate --checkpoint DIR --data {config.data.root} --split {report.split} "
        f"--beam {report.beam}"
        for report in reports
    ]
    head = ["| split and decoding | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    return ["## Scores", "", *head, *rows, "", METHOD, "", "```", *commands, "```", ""]


def _decoding(report: Report) -> str:
    return "greedy" if report.beam == 1 else f"beam {report.beam}"
