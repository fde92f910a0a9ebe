"""CIDEr-D (Vedantam et al. 2015) of drawn captions against a picture's references, fast enough to train on.

The same numbers as pycocoevalcap's scorer, with the references' vectors computed once and their document
frequencies those of the training captions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from math import exp, log, sqrt

MAX_N = 4
SIGMA = 6.0

Words = Sequence[Hashable]
Gram = tuple[Hashable, ...]


class CiderD:
    """Scores captions of the pictures it was made with. Words may be strings or ids."""

    def __init__(self, references: Sequence[Sequence[Words]]) -> None:
        """:param references: for each picture its captions, as words"""
        counted = [[_count(words) for words in captions] for captions in references]
        frequency: Counter[Gram] = Counter()
        for captions in counted:
            frequency.update({gram for grams in captions for gram in grams})
        documents = log(len(references))
        self._unseen = documents  # idf of an n-gram in no document: as if in one
        self._idf = {gram: documents - log(n) for gram, n in frequency.items()}
        self._references = [[self._vector(grams) for grams in captions] for captions in counted]

    def score(self, picture: int, words: Words) -> float:
        """CIDEr-D ×10 of one caption of the picture at position ``picture``."""
        vector, norms, length = self._vector(_count(words))
        references = self._references[picture]
        total = 0.0
        for other, other_norms, other_length in references:
            products = [0.0] * MAX_N
            for gram, weight in vector.items():
                if gram in other:
                    products[len(gram) - 1] += min(weight, other[gram]) * other[gram]
            penalty = exp(-((length - other_length) ** 2) / (2 * SIGMA**2))
            for product, norm, other_norm in zip(products, norms, other_norms, strict=True):
                if norm and other_norm:
                    total += penalty * product / (norm * other_norm)
        return 10 * total / (MAX_N * len(references))

    def _vector(self, grams: Counter[Gram]) -> tuple[dict[Gram, float], list[float], int]:
        """tf-idf weights, their norm for each n, and the length (in bigrams, as the original counts it)."""
        vector = {gram: n * self._idf.get(gram, self._unseen) for gram, n in grams.items()}
        squares, length = [0.0] * MAX_N, 0
        for gram, weight in vector.items():
            squares[len(gram) - 1] += weight**2
            if len(gram) == 2:
                length += grams[gram]
        return vector, [sqrt(square) for square in squares], length


def _count(words: Words) -> Counter[Gram]:
    words = tuple(words)
    return Counter(words[i : i + n] for n in range(1, MAX_N + 1) for i in range(len(words) - n + 1))
