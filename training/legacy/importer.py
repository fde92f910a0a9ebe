"""The ancestor's three files → a checkpoint folder that captions as its ``sample.py`` does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from model import checkpoint as checkpoints
from model.config import Config, Decoding, Preprocessing
from model.network import CaptionNetwork
from training.legacy.card import Files, make_card, write_card
from training.legacy.errors import LegacyError
from training.legacy.vocabulary import read_vocabulary
from training.legacy.weights import DECODER, ENCODER, fit, read_architecture, read_weights

NAME = "show-and-tell-imported"
# sample.py: squashed to 224 × 224 by LANCZOS, ImageNet's mean and deviation; 20 steps, <start> and <end>
# among them, and at each of them any token.
PREPROCESSING = Preprocessing(image_size=224, resize="squash", filter="lanczos")
DECODING = Decoding(max_length=18, no_repeat_ngram=0, predicts_start=True)


def import_legacy(encoder: Path, decoder: Path, vocab: Path, output: Path) -> Config:
    """Write a checkpoint folder with the weights as they are, in float32.

    :returns: what was written
    :raises LegacyError: a file cannot be used, the three do not fit, or ``output`` cannot be written
    """
    vocabulary = read_vocabulary(vocab)
    encoder_weights, decoder_weights = read_weights(encoder, ENCODER), read_weights(decoder, DECODER)
    architecture, words = read_architecture(encoder_weights, decoder_weights)
    if words != len(vocabulary):
        raise LegacyError(
            f"{decoder} knows {words:,} words and {vocab} has {len(vocabulary):,}: "
            "they are not of one training"
        )
    card = make_card(Files(_sha256(encoder), _sha256(decoder), _sha256(vocab)), architecture.encoder)
    config = Config(NAME, words, architecture, PREPROCESSING, DECODING, card=card)
    with torch.device("meta"):  # shapes without values: only the state is read and written below
        network = CaptionNetwork(config)
    expected = network.state_dict()
    state = fit(encoder_weights, ENCODER, expected) | fit(decoder_weights, DECODER, expected)
    network.load_state_dict(state, assign=True)
    checkpoint = checkpoints.Checkpoint(config, vocabulary, network)
    try:
        # Rounded weights would change words.
        checkpoints.save(output, checkpoint, write_card(config), exact=True)
    except OSError as error:
        raise LegacyError(f"{output} cannot be written: {error.strerror or error}") from None
    return config


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
