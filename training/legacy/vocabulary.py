"""The ancestor's ``vocab.pkl`` → :class:`model.vocabulary.Vocabulary`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.vocabulary import Vocabulary
from training.legacy.errors import LegacyError, quoted
from training.legacy.pickles import Global, read_attributes

# Whether build_vocab.py was run as a program or imported decides which.
CLASSES = (Global("__main__", "Vocabulary"), Global("build_vocab", "Vocabulary"))
ATTRIBUTES = {"word2idx", "idx2word", "idx"}


def read_vocabulary(path: Path) -> Vocabulary:
    """Words in the order of their ids, which the decoder's rows are in.

    :raises LegacyError: the file cannot be read, is no pickle of the ancestor's Vocabulary, or its maps
        disagree
    """
    try:
        return _to_vocabulary(read_attributes(path.read_bytes(), CLASSES))
    except OSError as error:
        raise LegacyError(f"{path} cannot be read: {error.strerror or error}") from None
    except (LegacyError, ValueError) as error:
        raise LegacyError(f"{path} {error}") from None


def _to_vocabulary(attributes: dict[Any, Any]) -> Vocabulary:
    """:raises LegacyError, ValueError: what is wrong, to be read after the file's name"""
    if attributes.keys() != ATTRIBUTES:
        found = ", ".join(sorted(quoted(str(name)) for name in attributes)[:6]) or "none"
        raise LegacyError(f"has the attributes {found} where idx, idx2word and word2idx were expected")
    words, ids, count = attributes["idx2word"], attributes["word2idx"], attributes["idx"]
    if type(words) is not dict or type(ids) is not dict or type(count) is not int:
        raise LegacyError("does not hold two maps and a number in word2idx, idx2word and idx")
    if words.keys() != set(range(len(words))) or count != len(words):
        raise LegacyError(f"numbers its {len(words):,} words otherwise than from 0 to {len(words) - 1:,}")
    ordered = [words[i] for i in range(len(words))]
    if any(type(word) is not str or not _is_text(word) for word in ordered):
        raise LegacyError("holds words that are not text")
    if ids != {word: i for i, word in enumerate(ordered)}:
        raise LegacyError("disagrees with itself: word2idx is not the reverse of idx2word")
    return Vocabulary(ordered)


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True
