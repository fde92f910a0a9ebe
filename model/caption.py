"""What captioning gives: plain values that cross process borders. Importing this loads no PyTorch."""

from __future__ import annotations

import msgspec

MAX_BEAM = 10


class Word(msgspec.Struct, frozen=True):
    """A word of a caption and its log-probability given the words before it (natural logarithm)."""

    text: str
    log_probability: float


class Caption(msgspec.Struct, frozen=True):
    """One caption. ``log_probability`` sums over its words and the end of the sentence."""

    text: str
    log_probability: float
    words: tuple[Word, ...]
