"""BLEU, ROUGE-L, CIDEr-D and METEOR of captions against references, by the scorers of the COCO evaluation.

They are called singly: pycocoevalcap's ``COCOEvalCap`` downloads SPICE and writes into site-packages.
Captions and references are split by :func:`model.vocabulary.tokenize`, which agrees with its Penn Treebank
tokeniser on this data and needs no Java.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from model.vocabulary import tokenize
from training.errors import TrainingError
from training.meteor import meteor

References = Sequence[Sequence[str]]


class Scores(NamedTuple):
    """Metrics of a split as fractions, CIDEr-D of each picture, and why a metric is not among them."""

    split: dict[str, float]
    cider_of_each: list[float]
    not_measured: dict[str, str]


def cider(captions: Sequence[str], references: References) -> float:
    """CIDEr-D with document frequencies from ``references`` (0.5 where papers print 50)."""
    return float(Cider().compute_score(*_as_coco(captions, references))[0])


def all_metrics(captions: Sequence[str], references: References) -> Scores:
    """Every metric; METEOR only where Java runs.

    :param captions: one for each picture
    :param references: for each picture its captions by people
    """
    expected, given = _as_coco(captions, references)
    bleu, _ = Bleu(4).compute_score(expected, given, verbose=0)
    scores = {f"BLEU-{n}": float(score) for n, score in enumerate(bleu, start=1)}
    scores["ROUGE-L"] = float(Rouge().compute_score(expected, given)[0])
    mean, of_each = Cider().compute_score(expected, given)
    scores["CIDEr-D"] = float(mean)
    not_measured = {}
    try:
        scores["METEOR"] = meteor([given[i][0] for i in given], list(expected.values()))
    except TrainingError as error:
        not_measured["METEOR"] = str(error)
    return Scores(scores, [float(score) for score in of_each], not_measured)


def _as_coco(
    captions: Sequence[str], references: References
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """The scorers' own layout: picture → sentences, words parted by one space."""
    expected = {i: [" ".join(tokenize(c)) for c in group] for i, group in enumerate(references)}
    given = {i: [" ".join(tokenize(caption))] for i, caption in enumerate(captions)}
    return expected, given
