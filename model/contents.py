"""A checkpoint folder's files, read and held against each other. Importing this loads no PyTorch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from model.config import CONFIG, VOCABULARY, WEIGHTS, Config, load_config, read_file
from model.errors import CheckpointError
from model.vocabulary import Vocabulary


class Contents(NamedTuple):
    """What a checkpoint folder holds; ``weights`` is the whole file."""

    config: Config
    vocabulary: Vocabulary
    weights: bytes


def load_vocabulary(folder: Path, config: Config) -> Vocabulary:
    """Read ``vocabulary.json`` and hold it against ``config``.

    :raises CheckpointError: missing, not a list of words, altered, or of another size
    """
    raw = read_file(folder, VOCABULARY)
    _check_hash(raw, VOCABULARY, config)
    try:
        vocabulary = Vocabulary(msgspec.json.decode(raw, type=list[str]))
    except (msgspec.DecodeError, ValueError) as error:
        raise CheckpointError(f"{VOCABULARY} is not usable: {error}") from None
    if len(vocabulary) != config.vocabulary_size:
        raise CheckpointError(
            f"{VOCABULARY} has {len(vocabulary)} words but {CONFIG} says {config.vocabulary_size}"
        )
    return vocabulary


def read(folder: Path) -> Contents:
    """Read a checkpoint without building its network.

    :raises CheckpointError: a file is missing or altered, or vocabulary and configuration do not agree
    """
    config = load_config(folder)
    vocabulary = load_vocabulary(folder, config)
    weights = read_file(folder, WEIGHTS)
    _check_hash(weights, WEIGHTS, config)
    return Contents(config, vocabulary, weights)


def _check_hash(raw: bytes, name: str, config: Config) -> None:
    expected = config.files.get(name)
    actual = hashlib.sha256(raw).hexdigest()
    if actual != expected:
        raise CheckpointError(f"{name} was altered or cut off: its SHA-256 is not the one in {CONFIG}")
