"""CIDEr-D (Vedantam et al. 2015) of drawn captions against a picture's references, fast enough to train on.

The same numbers as pycocoevalcap's scorer, with the document frequencies of the training captions, counted
once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import exp, log, sqrt
from multiprocessing import get_context, parent_process
from threading import Thread

MAX_N = 4
SIGMA = 6.0

Words = Sequence[Hashable]
Gram = tuple[Hashable, ...]
Vector = tuple[dict[Gram, float], list[float], int]


class CiderD:
    """Scores captions of the pictures it was made with. Words may be strings or ids."""

    def __init__(self, references: Sequence[Sequence[Words]]) -> None:
        """:param references: for each picture its captions, as words"""
        frequency: Counter[Gram] = Counter()
        for captions in references:
            frequency.update({gram for words in captions for gram in _count(words)})
        documents = log(len(references))
        self._unseen = documents  # idf of an n-gram in no document: as if in one
        self._idf = {gram: documents - log(n) for gram, n in frequency.items()}
        self._references = references

    def scores(self, picture: int, captions: Sequence[Words]) -> list[float]:
        """CIDEr-D ×10 of captions of the picture at position ``picture``."""
        # Made anew each time: those of a large data set would not fit into the memory of every process.
        references = [self._vector(_count(words)) for words in self._references[picture]]
        return [self._score(self._vector(_count(words)), references) for words in captions]

    @staticmethod
    def _score(caption: Vector, references: list[Vector]) -> float:
        vector, norms, length = caption
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

    def _vector(self, grams: Counter[Gram]) -> Vector:
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


class Rewards:
    """CIDEr-D of whole batches, in ``workers`` processes of their own, or in this one if there are none."""

    def __init__(self, references: Sequence[Sequence[Words]], workers: int) -> None:
        self._workers = workers
        if workers:
            # Not forked: a child of a process that computes in threads may hang.
            context = get_context("forkserver")
            self._pool = ProcessPoolExecutor(workers, context, _begin, (references,))
        else:
            self._scorer = CiderD(references)

    def score(self, pictures: Sequence[int], captions: Sequence[Sequence[Words]]) -> list[list[float]]:
        """For each picture the scores of its captions."""
        if not self._workers:
            return [self._scorer.scores(*pair) for pair in zip(pictures, captions, strict=True)]
        size = -(-len(pictures) // self._workers)
        return list(self._pool.map(_score, pictures, captions, chunksize=size))


_scorer: CiderD  # of a worker process


def _begin(references: Sequence[Sequence[Words]]) -> None:
    global _scorer
    _scorer = CiderD(references)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A training process that is killed cannot end its workers, which would wait for it for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _score(picture: int, captions: Sequence[Words]) -> list[float]:
    return _scorer.scores(picture, captions)
