"""Faults of captions as English, which CIDEr-D does not see: sentences that break off, words said twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec

from model.vocabulary import tokenize

RARELY_LAST = 250

Word = TypeVar("Word", bound=Hashable)


class Fluency(msgspec.Struct, frozen=True):
    """Counts over the captions of a split; the shares are fractions of its captions.

    ``judged_by`` is the split whose captions by people tell which words cannot be the last.
    """

    bad_endings: float
    repetitions: float
    distinct_captions: int
    distinct_words: int
    mean_words: float
    judged_by: str


def never_last(captions: Sequence[Sequence[Sequence[Word]]]) -> set[Word]:
    """Words that end a caption less than once in :data:`RARELY_LAST` uses: articles and their like.

    :param captions: for each picture its captions by people, as words or as their ids. Few captions give few
        such words, for each must be used more than :data:`RARELY_LAST` times
    """
    used = Counter(word for group in captions for caption in group for word in caption)
    last = Counter(caption[-1] for group in captions for caption in group if caption)
    return {word for word, uses in used.items() if uses > RARELY_LAST * (last[word] + 1)}


def unfinished_endings(captions: Sequence[Sequence[Sequence[Word]]]) -> set[Hashable]:
    """Words and pairs of words that people hardly ever end a caption with: "with", but "a red" too.

    :param captions: for each picture its captions by people, as words or as their ids
    """
    pairs = [[list(pairwise(caption)) for caption in group] for group in captions]
    return {*never_last(captions), *never_last(pairs)}


def breaks_off(words: Sequence[Hashable], unfinished: Collection[Hashable]) -> bool:
    """Whether a caption has no words, or its last or its last two are among ``unfinished``."""
    return not words or words[-1] in unfinished or tuple(words[-2:]) in unfinished


def repetition(words: Sequence[Word]) -> Sequence[Word]:
    """The first words that are said twice in a row, the shortest such; empty where there are none."""
    for n in range(1, len(words) // 2 + 1):
        for i in range(len(words) - 2 * n + 1):
            if words[i : i + n] == words[i + n : i + 2 * n]:
                return words[i : i + n]
    return words[:0]


def faults(caption: str, unfinished: Collection[Hashable]) -> list[str]:
    """What is wrong with a caption as English, each in a few words to be shown beside it."""
    words = tokenize(caption)
    found = []
    if breaks_off(words, unfinished):
        ending = words[-1:] if words and words[-1] in unfinished else words[-2:]
        found.append(f"ends in “{' '.join(ending)}”" if words else "says nothing")
    if twice := repetition(words):
        found.append(f"says “{' '.join(twice)}” twice")
    return found


def measure(captions: Sequence[str], unfinished: Collection[Hashable], judged_by: str) -> Fluency:
    """Count the faults of at least one caption."""
    said = [tokenize(caption) for caption in captions]
    return Fluency(
        bad_endings=sum(breaks_off(words, unfinished) for words in said) / len(said),
        repetitions=sum(bool(repetition(words)) for words in said) / len(said),
        distinct_captions=len({tuple(words) for words in said}),
        distinct_words=len({word for words in said for word in words}),
        mean_words=sum(map(len, said)) / len(said),
        judged_by=judged_by,
    )
